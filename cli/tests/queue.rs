//! `posthaste queue` and `posthaste explain` against the real admin server with a scripted engine behind it.

use admin::control::{
    Act, Acted, Control, DomainCount, Explanation, Fact, Item, Message, Page, Place, Refusal, Selection, Summary,
};
use admin::{Admin, AdminHandle};
use queue::{Domain, EntryKey, Flow, MessageId};
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The message that is not there when it is acted upon.
const MISSING: u64 = 404;

/// Answers from a script and remembers what it was told.
#[derive(Default)]
struct Script {
    told: Mutex<Vec<String>>,
    steps: u64,
    step: Duration,
}

fn item(number: u64) -> Item {
    Item {
        id: MessageId(number).to_string(),
        state: "deferred".into(),
        sender: "news@x.test".into(),
        domain: "y.test".into(),
        recipients: vec![format!("u{number}@y.test")],
        recipient_count: 3,
        last_error: "450 4.2.1 \u{1b}[2Jlater".into(),
        ..Item::default()
    }
}

impl Control for Script {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
    fn summary(&self) -> Result<Summary, Refusal> {
        let domains = vec![DomainCount { domain: "y.test".into(), recipients: 41 }];
        Ok(Summary { recipients: 42, domains, ..Summary::default() })
    }
    /// Five entries, two on a page at most.
    fn list(&self, _: &Selection, after: Option<EntryKey>, limit: usize) -> Result<Page, Refusal> {
        let first = after.map_or(0, |key| key.id.0 + 1);
        let end = (first + limit.min(2) as u64).min(5);
        let key = |number| EntryKey {
            domain: Domain::new("y.test"),
            flow: Flow::default(),
            due_ms: 1,
            id: MessageId(number),
        };
        let next = (end < 5).then(|| admin::control::cursor(&key(end - 1)));
        Ok(Page { entries: (first..end).map(item).collect(), looked_at: 0, next })
    }
    fn show(&self, id: MessageId) -> Result<Message, Refusal> {
        match id {
            MessageId(1) => Ok(Message { entries: vec![item(1)], header: "Subject: \u{1b}[2Jx\r\n".into() }),
            _ => Err(Refusal::not_found(format!("message {id} is not in the queue"), "see the event log")),
        }
    }
    /// In so many steps as `steps` says; each takes its time.
    fn act(&self, act: Act, selection: &Selection, from: Option<Place>, _: usize) -> Result<Acted, Refusal> {
        self.told.lock().unwrap().push(format!("{} {}", act.as_str(), serde_json::to_string(selection).unwrap()));
        std::thread::sleep(self.step);
        let at = from.map_or(1, |place| place.passed.id.0 + 1);
        let (domain, flow, id) = (Domain::new("y.test"), Flow::default(), MessageId(at));
        let next = Place { walk: 1, passed: EntryKey { domain, flow, due_ms: 1, id } };
        let next = (at < self.steps).then(|| next.to_text());
        let met = selection.ids.iter().filter(|id| **id != MessageId(MISSING).to_string()).cloned().collect();
        Ok(Acted { recipients: 10, entries: 5, met, next, ..Acted::default() })
    }
    fn explain(&self, address: &str) -> Result<Explanation, Refusal> {
        let fact = Fact { name: "route".into(), value: "mx".into(), origin: "default".into() };
        Ok(Explanation { address: address.into(), facts: vec![fact] })
    }
}

struct World {
    admin: AdminHandle,
    script: Arc<Script>,
}

impl World {
    /// Every test has one of its own; the recorder is the process's, and nobody looks at it here.
    fn new() -> World {
        World::acting(2, Duration::ZERO)
    }

    /// Where acts take so many steps, each so long.
    fn acting(steps: u64, step: Duration) -> World {
        let script = Arc::new(Script { steps, step, ..Script::default() });
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let admin = Admin::start("127.0.0.1:0".parse().unwrap(), script.clone(), recorder.handle()).unwrap();
        World { admin, script }
    }

    #[track_caller]
    fn run(&self, arguments: &str, code: i32) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
        command.args(arguments.split_whitespace()).args(["--admin", &self.admin.address().to_string()]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    #[track_caller]
    fn text(&self, arguments: &str) -> String {
        String::from_utf8(self.run(arguments, 0).stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.text(&format!("{arguments} --json"))).unwrap()
    }
}

#[test]
fn what_is_queued_is_shown() {
    let world = World::new();
    let summary = world.text("queue summary");
    assert!(summary.contains("recipients             42") && summary.contains("41          y.test"), "{summary}");
    assert_eq!(world.json("queue summary")["recipients"], 42);
    let list = world.text("queue list");
    assert!(list.contains("u4@y.test +2") && list.lines().count() == 6 && !list.contains('\u{1b}'), "{list}");
    let list = world.json("queue list --limit 3");
    assert_eq!((list["entries"].as_array().unwrap().len(), list["next"].is_string()), (3, true));
    let message = world.text(&format!("queue show {}", MessageId(1)));
    assert!(message.contains("u1@y.test") && message.contains("Subject: ") && !message.contains('\u{1b}'), "{message}");
}

/// Whoever reads JSON learns what was done although a message that is named as well is not there.
#[test]
fn what_was_done_is_printed_beside_the_failure() {
    let world = World::new();
    let (here, gone) = (MessageId(7), MessageId(MISSING));
    let output = world.run(&format!("queue retry {here} {gone} --json"), 65);
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&done["recipients"], &done["met"]), (&20.into(), &serde_json::json!([here.to_string()])));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("message {gone} is not in the queue")), "{said}");
    assert!(world.run(&format!("queue retry {here} {gone}"), 65).stdout.is_empty());
}

#[test]
fn what_is_told_is_done_to_the_end() {
    let world = World::new();
    assert_eq!(world.json("queue retry --domain y.test")["recipients"], 20);
    assert_eq!(world.text("queue remove --campaign spring --tenant a --yes"), "20 recipients in 10 entries removed\n");
    // However many are named, the queue is looked through once.
    let (id, other) = (MessageId(7), MessageId(8));
    world.run(&format!("queue hold {id} {other}"), 0);
    let told = world.script.told.lock().unwrap();
    let hold = format!("hold {{\"id\":[\"{id}\",\"{other}\"]}}");
    let remove = "remove {\"tenant\":\"a\",\"campaign\":\"spring\"}";
    let retry = "retry {\"domain\":\"y.test\"}";
    assert_eq!(*told, [retry, retry, remove, remove, &hold, &hold]);
}

#[test]
fn patience_is_with_a_step_not_with_the_whole() {
    let world = World::acting(5, Duration::from_millis(100));
    assert_eq!(world.json("queue hold --all --timeout 400ms")["recipients"], 50);
    let world = World::acting(5, Duration::from_millis(400));
    let output = world.run("queue hold --all --timeout 100ms", 75);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("within 100ms") && output.stdout.is_empty(), "{error}");
}

#[test]
fn an_interrupt_ends_it_behind_a_step_and_tells_what_was_done() {
    let world = World::acting(1000, Duration::from_millis(20));
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
    command.args(["queue", "hold", "--all", "--admin", &world.admin.address().to_string()]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while world.script.told.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let steps = world.script.told.lock().unwrap().len();
    let error = String::from_utf8(output.stderr).unwrap();
    let until_then = format!("until then: {} recipients in {} entries", steps * 10, steps * 5);
    assert!(output.status.code() == Some(75) && steps < 1000, "{steps} steps: {error}");
    assert!(error.contains("interrupted; the same command does the rest") && error.contains(&until_then), "{error}");
}

#[test]
fn what_is_not_there_ends_with_65() {
    let output = World::new().run(&format!("queue show {}", MessageId(9)), 65);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("is not in the queue (see the event log)") && output.stdout.is_empty(), "{error}");
}

#[test]
fn an_address_is_explained() {
    let world = World::new();
    assert!(world.text("explain a+b@y.test").contains("route  mx     default"));
    assert_eq!(world.json("explain a+b@y.test")["address"], "a+b@y.test");
}
