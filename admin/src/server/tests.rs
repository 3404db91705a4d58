//! Real requests to a real server with a scripted engine.

use super::*;
use crate::control::*;
use queue::{EntryKey, MessageId};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

/// Answers from a script and remembers what it was asked.
#[derive(Default)]
struct Script {
    not_ready: Mutex<Option<String>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    fn note(&self, asked: String) {
        self.asked.lock().unwrap().push(asked);
    }
}

impl Control for Script {
    fn ready(&self) -> Result<(), String> {
        self.not_ready.lock().unwrap().clone().map_or(Ok(()), Err)
    }
    fn summary(&self) -> Result<Summary, Refusal> {
        Ok(Summary { recipients: 7, ..Summary::default() })
    }
    fn list(&self, selection: &Selection, after: Option<EntryKey>, limit: usize) -> Result<Page, Refusal> {
        self.note(format!("list {:?} {} {limit}", selection.domain, after.map_or("start".into(), |key| cursor(&key))));
        Ok(Page { entries: vec![Item { id: "7".into(), ..Item::default() }], ..Page::default() })
    }
    fn show(&self, id: MessageId) -> Result<Message, Refusal> {
        Err(Refusal::not_found(
            format!("message {id} is not in the queue"),
            "it may have been delivered: see the event log",
        ))
    }
    fn act(&self, act: Act, selection: &Selection, from: Option<Place>, limit: usize) -> Result<Acted, Refusal> {
        let from = from.map_or("start".into(), |place| place.to_text());
        let ids = selection.ids.join("+");
        self.note(format!("{} {ids}{:?} {} {from} {limit}", act.as_str(), selection.campaign, selection.all));
        Ok(Acted { recipients: 3, entries: 2, ..Acted::default() })
    }
    fn explain(&self, address: &str) -> Result<Explanation, Refusal> {
        Ok(Explanation { address: address.into(), facts: Vec::new() })
    }
}

fn start(script: &Arc<Script>) -> AdminHandle {
    let handle = crate::recorder::local().handle();
    Admin::start("127.0.0.1:0".parse().unwrap(), script.clone(), handle).unwrap()
}

/// Status and body.
fn ask(admin: &AdminHandle, method: &str, path: &str, body: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        admin.address(),
        body.len()
    );
    raw(admin, &request)
}

fn raw(admin: &AdminHandle, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

#[test]
fn every_path_answers() {
    let script = Arc::new(Script::default());
    let admin = start(&script);
    let error =
        |error: &str, hint: &str| serde_json::to_string(&Problem { error: error.into(), hint: hint.into() }).unwrap();
    let nothing = error("nothing is selected", "name an id, domain, sender, tenant or campaign; or say \"all\": true");
    let missing = error(
        &format!("message {} is not in the queue", MessageId(7)),
        "it may have been delivered: see the event log",
    );
    let id = MessageId(7);
    let acted = r#"{"recipients":3,"entries":2,"looked_at":0,"met":[],"queued":0}"#;
    for (method, path, body, status, expected) in [
        ("GET", "/healthz", "", 200, "ok\n"),
        ("GET", "/readyz", "", 200, "ready\n"),
        ("GET", "/api/explain?address=a%40b.example", "", 200, "{\"address\":\"a@b.example\",\"facts\":[]}"),
        ("GET", &format!("/api/queue/{id}"), "", 404, &missing),
        ("POST", "/api/queue/retry", "{\"campaign\":\"x\"}", 200, acted),
        ("POST", "/api/queue/remove", "{}", 400, &nothing),
        ("POST", "/api/queue/remove", "{\"all\":true}", 200, acted),
        ("POST", "/api/queue/hold", &format!("{{\"id\":\"{id}\"}}"), 200, acted),
        ("POST", "/api/queue/hold", &format!("{{\"id\":[\"{id}\",\"{id}\"]}}"), 200, acted),
    ] {
        assert_eq!(ask(&admin, method, path, body), (status, expected.to_string()), "{method} {path}");
    }
    for (method, path, body, status) in [
        ("GET", "/nowhere", "", 404),
        ("DELETE", "/healthz", "", 405),
        ("GET", "/api/explain", "", 400),
        ("GET", "/api/queue?after=x", "", 400),
        ("GET", "/api/queue?limit=x", "", 400),
        ("GET", "/api/queue?campain=spring", "", 400),
        ("POST", "/api/queue/hold?limt=1", "{\"all\":true}", 400),
        ("GET", "/api/queue/not-an-id!", "", 400),
        ("POST", "/api/queue/hold?after=1.2", "{\"all\":true}", 400),
        ("POST", "/api/queue/hold?limit=x", "{\"all\":true}", 400),
        ("POST", "/api/queue/eat", "{\"all\":true}", 404),
        ("POST", "/api/queue/hold", "{\"colour\":1}", 422),
        ("POST", "/api/queue/hold", "{\"id\":7}", 422),
        ("POST", "/api/queue/hold", "{\"id\":[\"!\"]}", 400),
        ("POST", "/api/queue/hold", "{\"all\":true,\"domain\":\"a.b\"}", 400),
    ] {
        let (answered, body) = ask(&admin, method, path, body);
        assert_eq!(answered, status, "{method} {path} {body}");
        assert!(serde_json::from_str::<Problem>(&body).is_ok(), "{method} {path} {body}");
    }
    assert_eq!(
        *script.asked.lock().unwrap(),
        [
            "retry Some(\"x\") false start 100000".to_owned(),
            "remove None true start 100000".into(),
            format!("hold {id}None false start 100000"),
            format!("hold {id}+{id}None false start 100000"),
        ]
    );
}

#[test]
fn lists_are_bounded_and_go_on() {
    let script = Arc::new(Script::default());
    let admin = start(&script);
    let key =
        EntryKey { domain: queue::Domain::new("a.example"), flow: queue::Flow::default(), due_ms: 5, id: MessageId(7) };
    ask(&admin, "GET", "/api/queue", "");
    ask(&admin, "GET", &format!("/api/queue?domain=a.example&limit=99999&after={}", cursor(&key)), "");
    let expected = ["list None start 100".to_string(), format!("list Some(\"a.example\") {} 1000", cursor(&key))];
    assert_eq!(*script.asked.lock().unwrap(), expected);
    let place = Place { walk: 9, passed: key }.to_text();
    script.asked.lock().unwrap().clear();
    ask(&admin, "POST", &format!("/api/queue/hold?limit=0&after={place}"), "{\"all\":true}");
    assert_eq!(*script.asked.lock().unwrap(), [format!("hold None true {place} 1")]);
}

#[test]
fn readiness_gives_its_reason() {
    let script = Arc::new(Script::default());
    *script.not_ready.lock().unwrap() = Some("draining".into());
    let admin = start(&script);
    assert_eq!(ask(&admin, "GET", "/readyz", ""), (503, "draining\n".into()));
    assert_eq!(ask(&admin, "GET", "/healthz", "").0, 200);
    assert!(ask(&admin, "GET", "/metrics", "").1.contains("\nposthaste_ready 0\n"));
    *script.not_ready.lock().unwrap() = None;
    assert!(ask(&admin, "GET", "/metrics", "").1.contains("\nposthaste_ready 1\n"));
}

#[test]
fn a_scrape_has_the_process_too() {
    let admin = start(&Arc::new(Script::default()));
    let (status, text) = ask(&admin, "GET", "/metrics", "");
    assert_eq!(status, 200);
    assert!(text.contains("posthaste_build_info") && text.contains("process_cpu_seconds_total"), "{text}");
}

#[test]
fn names_of_others_and_forms_of_browsers_are_refused() {
    let script = Arc::new(Script::default());
    let admin = start(&script);
    let foreign = "GET /api/queue HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(raw(&admin, foreign).0, 403);
    let form = "POST /api/queue/remove HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
                Content-Type: text/plain\r\nContent-Length: 12\r\n\r\n{\"all\":true}";
    assert_eq!(raw(&admin, form).0, 415);
    assert!(script.asked.lock().unwrap().is_empty());
}

#[test]
fn a_taken_address_is_said_and_stopping_frees_it() {
    let script = Arc::new(Script::default());
    let admin = start(&script);
    let address = admin.address();
    let again = Admin::start(address, script.clone(), crate::recorder::local().handle());
    assert!(matches!(again, Err(AdminError::Bind { .. })));
    admin.stop();
    assert!(TcpStream::connect(address).is_err());
}
