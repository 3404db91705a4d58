//! Operating a running daemon: `posthaste serve` as a process, mail that its destination defers, and everything that an
//! operator can see and do: `queue`, `explain`, signals, health, metrics, the event log.

use bench::Address;
use bench::dns::{LocalDns, Zone};
use bench::sink::{Rule, Sink, SinkHandle, SinkOptions};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Far more than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something.
#[track_caller]
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A daemon with everything around it.
struct World {
    sink: SinkHandle,
    dns: LocalDns,
    daemon: Child,
    dir: TempDir,
    ingest: String,
    admin: SocketAddr,
}

impl World {
    /// `*.route.test` is routed to the sink, everything else finds it by MX. `settings` are more of the configuration.
    fn start(rules: &str, settings: &str) -> World {
        let options = SinkOptions { rules: parse_rules(rules), ..SinkOptions::default() };
        let sink = Sink::start(options).unwrap();
        let dns =
            LocalDns::start("127.0.0.1:0".parse().unwrap(), Zone::everything_at(Ipv4Addr::LOCALHOST.into())).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let configuration = configuration(dir.path().to_str().unwrap(), port(&sink), dns.address(), settings);
        std::fs::write(dir.path().join("posthaste.toml"), configuration).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
        command.arg("serve").arg("--config").arg(dir.path().join("posthaste.toml"));
        let mut daemon = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(daemon.stderr.take().unwrap());
        let (ingest, admin) = addresses(&mut log);
        // The log has a reader as long as it is written.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        World { sink, dns, daemon, dir, ingest, admin }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
        command.args(arguments).args(["--admin", &self.admin.to_string()]).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        output
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat(), 0);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn text(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.run(arguments, 0).stdout).unwrap()
    }

    /// Submits a message, of the campaign that is named like the recipient, and returns its id.
    #[track_caller]
    fn send(&self, from: &str, to: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
        command.args(["send", "--from", from, "--server", &self.ingest, "--json", "--to", to]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let campaign = to.split('@').next().unwrap();
        let text = format!("From: {from}\r\nSubject: to {to}\r\nX-Posthaste-Campaign: {campaign}\r\n\r\nHello.\r\n");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let sent: Value = serde_json::from_slice(&output.stdout).unwrap();
        sent["id"].as_str().unwrap().to_owned()
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.admin).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.daemon.id().to_string()]).status().unwrap().success());
    }

    /// The entries that `queue list` shows, as soon as they are as wanted.
    #[track_caller]
    fn list(&self, arguments: &[&str], as_wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let arguments = [&["queue", "list"], arguments].concat();
        eventually(&format!("{arguments:?}"), || {
            let page = self.json(&arguments);
            let entries = page["entries"].as_array().unwrap();
            as_wanted(entries).then(|| entries.clone())
        })
    }

    #[track_caller]
    fn act(&self, arguments: &[&str], recipients: u64) {
        let acted = self.json(&[&["queue"], arguments].concat());
        assert_eq!(acted["recipients"], recipients, "{arguments:?}");
    }

    /// What `explain` says of a subject: value and origin, line by line.
    fn explain(&self, address: &str, subject: &str) -> Vec<String> {
        let explanation = self.json(&["explain", address]);
        let facts = explanation["facts"].as_array().unwrap();
        let of_subject = facts.iter().filter(|fact| fact["name"] == subject);
        of_subject.map(|fact| format!("{} ({})", text(fact, "value"), text(fact, "origin"))).collect()
    }

    /// Events of a kind, as soon as there are so many.
    #[track_caller]
    fn events(&self, kind: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} events {kind}"), || {
            let log = std::fs::read_to_string(self.file("events.jsonl")).ok()?;
            let whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let parsed = whole.map(|line| serde_json::from_str::<Value>(line).unwrap());
            let found: Vec<Value> = parsed.filter(|event| event["event"] == kind).collect();
            (found.len() >= count).then_some(found)
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Fails when the test has ended it already.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn configuration(dir: &str, sink: u16, dns: SocketAddr, settings: &str) -> String {
    // The disk has other tests to serve.
    let queue = if settings.contains("[queue]") { "" } else { "[queue]\nprepare = \"0B\"\n" };
    format!(
        "hostname = \"mta.test\"\ndata_dir = \"{dir}\"\n\
         [[listener]]\nbind = \"127.0.0.1:0\"\nallow = [\"127.0.0.0/8\"]\n[admin]\nbind = \"127.0.0.1:0\"\n\
         [dns]\nnameservers = [\"{dns}\"]\n[delivery]\nport = {sink}\nworkers = 1\nip_family = \"ipv4\"\n\
         [log]\nformat = \"json\"\n\
         [[route]]\ndomain = [\"*.route.test\"]\nvia = \"smtp://127.0.0.1:{sink}\"\n{queue}{settings}"
    )
}

fn parse_rules(rules: &str) -> Vec<Rule> {
    rules.lines().map(|rule| rule.parse().unwrap()).collect()
}

fn port(sink: &SinkHandle) -> u16 {
    match &sink.addresses()[0] {
        Address::Tcp(address) => address.port(),
        address => panic!("{address:?}"),
    }
}

/// Where the daemon listens, as its log says before "ready".
fn addresses(log: &mut impl BufRead) -> (String, SocketAddr) {
    let (mut ingest, mut admin, mut seen) = (None, None, String::new());
    for line in log.lines().map_while(Result::ok) {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = entry["fields"]["address"].as_str().map(String::from);
        match text(&entry["fields"], "message") {
            "accepting mail" => ingest = address,
            "ready" => break,
            _ if address.is_some() => admin = address,
            _ => seen += &line,
        }
    }
    let admin = admin.and_then(|address| address.parse().ok());
    ingest.zip(admin).unwrap_or_else(|| panic!("the daemon did not start: {seen}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

const LATER: &str = "rcpt to=*@*.route.test reply 450 4.2.1 come back later";

#[test]
fn deferred_mail_is_seen_and_acted_upon() {
    let world = World::start(LATER, "");
    let first = world.send("news@x.test", "u1@slow.route.test");
    let second = world.send("other@x.test", "u2@slow.route.test");
    let third = world.send("news@x.test", "u3@late.route.test");

    let all = world.list(&[], |entries| entries.len() == 3 && entries.iter().all(|entry| entry["state"] == "deferred"));
    for entry in &all {
        assert_eq!((entry["attempts"].as_u64(), text(entry, "last_error")), (Some(1), "450 4.2.1 come back later"));
    }
    let ids = |arguments: &[&str]| {
        let mut ids: Vec<String> = world.list(arguments, |_| true).iter().map(|e| text(e, "id").to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&["--domain", "Slow.Route.test"]), [first.clone(), second.clone()]);
    assert_eq!(ids(&["--sender", "news@x.test"]), [first.clone(), third.clone()]);
    assert_eq!(ids(&["--sender", "<news@x.test>", "--domain", "slow.route.test"]), [&*first]);
    assert_eq!(ids(&["--campaign", "u2"]), [&*second]);
    assert_eq!(ids(&["--campaign", "none"]), [""; 0]);
    assert_eq!(ids(&["--limit", "1"]).len(), 1);
    let shown = world.text(&["queue", "show", &first]);
    assert!(shown.contains("u1@slow.route.test") && shown.contains("Subject: to u1@slow.route.test\n"), "{shown}");
    assert!(!shown.contains("Hello."), "{shown}");

    // What is held is not tried, and not hurried either.
    world.act(&["hold", "--domain", "slow.route.test"], 2);
    world.list(&["--domain", "slow.route.test"], |entries| entries.iter().all(|entry| entry["state"] == "held"));
    world.act(&["hold", "--domain", "slow.route.test"], 0);
    let summary = eventually("summary", || {
        let summary = world.json(&["queue", "summary"]);
        (summary["held"] == 2 && summary["deferred"] == 1).then_some(summary)
    });
    assert_eq!((summary["recipients"].as_u64(), summary["entries"].as_u64()), (Some(3), Some(3)));
    assert_eq!(summary["domains"][0]["domain"], "slow.route.test");
    world.sink.set_rules(Vec::new());
    world.act(&["retry", "--sender", "news@x.test"], 1);
    assert_eq!(text(&world.events("delivered", 1)[0], "id"), third);
    world.act(&["release", &first], 1);
    assert_eq!(text(&world.events("delivered", 2)[1], "id"), first);
    world.act(&["remove", &second, "--yes"], 1);
    let removed = &world.events("removed", 1)[0];
    assert_eq!((text(removed, "id"), text(removed, "sender")), (&*second, "other@x.test"));
    assert_eq!(text(removed, "recipient"), "u2@slow.route.test", "the event log is all that is left of it");
    world.list(&[], <[Value]>::is_empty);
    for command in ["show", "retry"] {
        let said = world.run(&["queue", command, &second], 65);
        assert!(String::from_utf8_lossy(&said.stderr).contains("is not in the queue"));
    }
    assert_eq!(world.sink.counters().messages, 2);
}

#[test]
fn everything_is_acted_upon_at_once() {
    let world = World::start(LATER, "");
    for n in 0..5 {
        world.send("news@x.test", &format!("u@d{n}.route.test"));
    }
    world.list(&[], |entries| entries.len() == 5 && entries.iter().all(|entry| entry["state"] == "deferred"));
    // An attempt that fails at once is not repeated by the same command.
    world.act(&["retry", "--all"], 5);
    world.list(&[], |entries| entries.iter().all(|entry| entry["attempts"] == 2));
    world.act(&["remove", "--all", "--yes"], 5);
    world.list(&[], <[Value]>::is_empty);
}

/// Senders write an internationalised domain in either form, and so do operators.
#[test]
fn a_domain_is_found_in_both_its_forms() {
    let site = "[[site]]\nmatch = { domain = [\"bucher.route.test\", \"bücher.route.test\", \"*.bücher.route.test\"] }\nsuspend = true\n";
    let world = World::start("", site);
    let forms = ["bücher.route.test", "xn--bcher-kva.route.test"];
    for domain in ["bucher.route.test", forms[0], forms[1]] {
        world.send("news@x.test", &format!("u@{domain}"));
    }
    for form in forms {
        world.list(&["--domain", form], |entries| {
            entries.len() == 2 && forms.iter().all(|form| entries.iter().any(|entry| entry["domain"] == *form))
        });
        let page = world.json(&["queue", "list", "--limit", "1", "--domain", form]);
        assert_eq!((page["entries"].as_array().unwrap().len(), page["next"].is_string()), (1, true));
        world.act(&["hold", "--domain", form], 2);
        world.act(&["release", "--domain", form], 2);
        world.act(&["retry", "--domain", form], 2);
    }
    // As DNS has it, and what is none.
    assert_eq!(world.list(&["--domain", "Bucher.route.test."], |entries| entries.len() == 1).len(), 1);
    world.act(&["hold", "--domain", "bucher.route.test."], 1);
    for nonsense in ["a b", "a..b", ".", "x@a.b"] {
        let said = world.run(&["queue", "list", "--domain", nonsense], 65).stderr;
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(&format!("`{nonsense}` is no domain (write it as")), "{said}");
        world.run(&["queue", "remove", "--yes", "--domain", nonsense], 65);
    }
    let id = world.send("news@x.test", &format!("v@{}", forms[0]));
    let of_message = world.json(&["queue", "hold", &id, "--domain", forms[1]]);
    assert_eq!(of_message["recipients"], 1);
    world.act(&["remove", "--domain", forms[1], "--yes"], 3);
    world.list(&[], |entries| entries.len() == 1 && entries[0]["domain"] == "bucher.route.test");
    // Of the other form alone is anything known.
    world.send("news@x.test", &format!("u@mail.{}", forms[0]));
    eventually("how its site stands", || world.explain(&format!("u@mail.{}", forms[1]), "queued").pop());
}

#[test]
fn what_is_ready_names_the_limits_that_it_waits_for() {
    let site = "[[site]]\nmatch = { domain = [\"special.route.test\"] }\nsuspend = true\n";
    let world = World::start(LATER, site);
    world.send("news@x.test", "u@special.route.test");
    world.send("news@x.test", "u@other.route.test");
    let entries =
        world.list(&[], |entries| entries.len() == 2 && entries.iter().any(|entry| entry["waits_for"][0] == "suspend"));
    let waits: Vec<&str> = entries.iter().filter(|e| e.get("waits_for").is_some()).map(|e| text(e, "domain")).collect();
    assert_eq!(waits, ["special.route.test"], "{entries:?}");
    let shown = world.text(&["queue", "list", "--domain", "special.route.test"]);
    assert!(shown.contains("waits because of suspend\n"), "{shown}");
}

/// What is due is ready, whatever holds it up.
#[test]
fn list_summary_and_explain_agree_on_what_is_ready() {
    let site = "[[site]]\nmatch = { domain = [\"special.route.test\"] }\nsuspend = true\n";
    let world = World::start(LATER, site);
    for to in ["u@special.route.test", "v@special.route.test", "u@other.route.test", "u@held.route.test"] {
        world.send("news@x.test", to);
    }
    let standing = |domain: &str, state: &str| {
        world.list(&["--domain", domain], |entries| {
            !entries.is_empty() && entries.iter().all(|entry| entry["state"] == state)
        });
    };
    standing("other.route.test", "deferred");
    standing("held.route.test", "deferred");
    world.act(&["hold", "--domain", "held.route.test"], 1);
    standing("held.route.test", "held");
    standing("special.route.test", "ready");
    let summary = world.json(&["queue", "summary"]);
    let counts = ["ready", "active", "deferred", "held", "recipients"].map(|state| summary[state].as_u64().unwrap());
    assert_eq!(counts, [2, 0, 1, 1, 4], "{summary}");
    assert_eq!(summary["domains"][0], serde_json::json!({"domain": "special.route.test", "recipients": 2}));
    let queued = ["0 ready in memory and more on disk, 0 active (now)"];
    assert_eq!(world.explain("u@special.route.test", "queued"), queued);
}

#[test]
fn an_address_is_explained_before_and_after_a_reload() {
    let site = "[[site]]\nmatch = { domain = [\"special.test\"] }\nrate = \"5/h\"\ntls = \"required\"\n";
    let world = World::start("", site);
    world.dns.set("gone.test", bench::dns::Rule::nxdomain());

    let sink = port(&world.sink);
    let configured = std::fs::read_to_string(world.file("posthaste.toml")).unwrap();
    let line = |text: &str| configured.lines().position(|line| line == text).unwrap() + 1;
    let (route, site) = (line("[[route]]"), line("[[site]]"));
    assert_eq!(world.explain("u@a.route.test", "route"), [format!("smtp://127.0.0.1:{sink} (posthaste.toml:{route})")]);
    assert_eq!(world.explain("u@a.route.test", "site"), [format!("127.0.0.1:{sink} (default)")]);

    assert_eq!(world.explain("u@a.test", "route"), ["mx (default)"]);
    assert_eq!(world.explain("u@a.test", "mx"), ["10 mx.a.test: 127.0.0.1 (dns)"]);
    assert_eq!(world.explain("u@a.test", "site"), ["mx.a.test (default)"]);
    assert_eq!(world.explain("u@a.test", "connections"), ["20 (default)"]);
    assert_eq!(world.explain("u@Special.test", "site"), [format!("special.test (posthaste.toml:{site})")]);
    assert_eq!(world.explain("u@special.test", "rate"), [format!("5/h (posthaste.toml:{})", site + 2)]);
    let tls = &world.explain("u@special.test", "tls")[0];
    assert!(tls.starts_with("required: ") && tls.ends_with(&format!(" (posthaste.toml:{})", site + 3)), "{tls}");
    assert_eq!(world.explain("u@special.test", "connections"), ["20 (default)"]);
    let gone = world.explain("u@gone.test", "mx");
    assert!(gone.len() == 1 && gone[0].ends_with("; mail bounces (dns)"), "{gone:?}");
    assert_eq!(world.explain("u@gone.test", "site"), [""; 0]);
    world.run(&["explain", "nobody"], 65);
    let ours = world.json(&["explain", "Postmaster"]);
    assert_eq!(text(&ours, "address"), "Postmaster@mta.test");

    // A site that mail has gone to is explained as it stands.
    world.send("news@x.test", "u@a.test");
    world.events("delivered", 1);
    assert_eq!(world.explain("u@a.test", "queued"), ["0 ready, 0 active (now)"]);
    assert_eq!(world.explain("u@a.test", "mx"), ["10 mx.a.test: 127.0.0.1 (dns)"]);

    // What a customer comes for needs a listener where it can log in.
    let odmr = "[[listener]]\nbind = \"127.0.0.1:366\"\nauth = \"required\"\n\
                [[route]]\ndomain = [\"odmr.test\"]\nvia = \"odmr\"\nuser = \"ann\"\n";
    let changed = format!("{configured}{odmr}[limits]\nconnections = 7\n").replace("5/h", "6/h");
    std::fs::write(world.file("posthaste.toml"), &changed).unwrap();
    world.signal("-HUP");
    let limits = changed.lines().count();
    for address in ["u@a.test", "u@b.test"] {
        let expected = [format!("7 (posthaste.toml:{limits})")];
        eventually(address, || (world.explain(address, "connections") == expected).then_some(()));
    }
    assert_eq!(world.explain("u@special.test", "rate"), [format!("6/h (posthaste.toml:{})", site + 2)]);
    let route = world.explain("u@odmr.test", "route");
    assert!(route.len() == 1 && route[0].starts_with("odmr: waits for ATRN of user ann "), "{route:?}");
    assert!(world.explain("u@odmr.test", "site")[0].starts_with("odmr:ann "));
    assert_eq!(["mx", "host", "connections", "tls"].map(|subject| world.explain("u@odmr.test", subject).len()), [0; 4]);
    // A mistake changes nothing.
    std::fs::write(world.file("posthaste.toml"), "hostname = 5").unwrap();
    world.signal("-HUP");
    world.send("news@x.test", "u@b.test");
    world.events("delivered", 2);
    assert_eq!(world.explain("u@b.test", "rate"), ["unlimited (default)"]);
}

#[test]
fn a_site_in_trouble_says_why() {
    let world = World::start("greeting reply 421 4.3.2 out of order", "");
    world.send("news@x.test", "u@a.test");
    let error = eventually("last_error", || world.explain("u@a.test", "last_error").pop());
    assert!(error.contains("421 out of order"), "{error}");
    let mx = eventually("a host that is left alone", || {
        world.explain("u@a.test", "mx").pop().filter(|mx| mx.contains("left alone"))
    });
    assert!(mx.starts_with("10 mx.a.test: 127.0.0.1; 127.0.0.1 failed, left alone for "), "{mx}");
}

#[test]
fn a_server_without_room_is_not_ready() {
    let world = World::start("", "[queue]\nprepare = \"0B\"\nmin_free = \"8000000GiB\"\n");
    let reason = "the disk of data_dir has less free space than [queue] min_free\n";
    assert_eq!(world.get("/readyz"), (503, reason.into()));
    assert_eq!(world.get("/healthz").0, 200);
}

#[test]
fn draining_is_said_while_it_lasts() {
    let mut world = World::start("final delay=1500ms ok", "");
    assert_eq!(world.get("/readyz"), (200, "ready\n".into()));
    assert_eq!(world.get("/healthz").0, 200);
    world.send("news@x.test", "u@a.test");
    let is_active = |entries: &[Value]| entries.iter().any(|entry| entry["state"] == "active");
    world.list(&[], is_active);
    assert_eq!(world.json(&["queue", "summary"])["active"], 1);
    // Its outcome is being spoken of.
    world.act(&["remove", "--all", "--yes"], 0);
    world.signal("-TERM");
    eventually("not ready", || (world.get("/readyz") == (503, "shutting down\n".into())).then_some(()));
    let status = eventually("the end", || world.daemon.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_eq!(world.events("delivered", 1).len(), 1);
}

/// Every metric of the interface, with its labels.
const METRICS: [(&str, &[&str]); 18] = [
    ("posthaste_messages_accepted_total", &["listener"]),
    ("posthaste_recipients_accepted_total", &["listener"]),
    ("posthaste_listener_connections", &["listener"]),
    ("posthaste_messages_rejected_total", &["listener", "reason"]),
    ("posthaste_deliveries_total", &["site", "outcome"]),
    ("posthaste_notices_total", &["kind"]),
    ("posthaste_delivery_latency_seconds_count", &["site"]),
    ("posthaste_attempt_seconds_count", &["site"]),
    ("posthaste_ingest_commit_seconds_count", &[]),
    ("posthaste_queue_recipients", &["state"]),
    ("posthaste_connections", &["site", "state"]),
    ("posthaste_connections_opened_total", &["site"]),
    ("posthaste_connection_failures_total", &["site", "reason"]),
    ("posthaste_throttled_seconds_total", &["site", "limit"]),
    ("posthaste_dns_lookups_total", &["kind", "result"]),
    ("posthaste_queue_commits_total", &[]),
    ("posthaste_build_info", &["version"]),
    ("posthaste_ready", &[]),
];

#[test]
fn metrics_and_events_have_their_names() {
    let rules = "rcpt to=*@later.test reply 450 4.2.1 come back later\nrcpt to=*@no.test reply 550 5.1.1 no such user";
    let site = "[[site]]\nmatch = { domain = [\"paced.test\"] }\nrate = \"1/s\"\n";
    let world = World::start(rules, site);
    world.dns.set("mx.dead.test", bench::dns::Rule::records().address(Ipv4Addr::new(127, 0, 0, 2).into()));
    for to in ["u@a.test", "u@later.test", "u@no.test", "u@dead.test", "u@paced.test", "v@paced.test", "w@paced.test"] {
        world.send("news@x.test", to);
    }
    let mut refused = TcpStream::connect(&world.ingest).unwrap();
    let looped = "Received: by x.test\r\n".repeat(100);
    let letter = format!("MAIL FROM:<a@x.test>\r\nRCPT TO:<u@a.test>\r\nDATA\r\n{looped}\r\n.\r\n");
    write!(refused, "EHLO x.test\r\n{letter}QUIT\r\n").unwrap();
    let mut said = String::new();
    refused.read_to_string(&mut said).unwrap();
    assert!(said.contains(" 5.4.6 "), "{said}");

    // The notice about u@no.test is the fifth.
    let delivered = world.events("delivered", 5);
    let deferred = world.events("deferred", 2);
    let bounced = world.events("bounced", 1);
    let accepted = world.events("accepted", 7);
    check_event(&accepted[0], &["campaign", "listener"]);
    assert_eq!((text(&accepted[0], "client_address"), &accepted[0]["user"]), ("127.0.0.1", &Value::Null));
    let everywhere = ["campaign", "site", "attempt", "mx", "mx_address", "reply"];
    let to_a = |events: &[Value], to| events.iter().find(|event| event["recipient"] == to).cloned().unwrap();
    check_event(&to_a(&delivered, "u@a.test"), &everywhere);
    let later = to_a(&deferred, "u@later.test");
    check_event(&later, &everywhere);
    check_event(&bounced[0], &everywhere);
    assert_eq!(later["reply"], serde_json::json!({"code": 450, "enhanced": "4.2.1", "text": "come back later"}));
    assert_eq!((text(&later, "mx"), text(&later, "site")), ("mx.later.test", "mx.later.test"));

    let has = |metrics: &str, name: &str, labels: &[&str]| {
        let mut lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.any(|line| labels.iter().all(|label| line.contains(&format!("{label}=\""))))
    };
    for (name, labels) in METRICS {
        eventually(name, || has(&world.get("/metrics").1, name, labels).then_some(()));
    }
    let (_, metrics) = world.get("/metrics");
    for name in ["posthaste_dns_lookup_seconds_count", "posthaste_queue_commit_batch_size_count", "process_cpu_seconds"]
    {
        assert!(has(&metrics, name, &[]), "{name} is not in\n{metrics}");
    }
    for outcome in ["delivered", "deferred", "bounced"] {
        assert!(metrics.contains(&format!("outcome=\"{outcome}\"")), "{outcome} is not in\n{metrics}");
    }
    for state in ["ready", "active", "deferred", "held"] {
        assert!(metrics.contains(&format!("posthaste_queue_recipients{{state=\"{state}\"}}")), "{state}\n{metrics}");
    }
}

/// What was accepted, and the notices, are what came to an end and what is queued: whatever clients, destinations and operators
/// do. Clients that do not wait for the reply to what they sent are no exception.
#[test]
fn what_is_counted_adds_up() {
    let rules = "rcpt to=*@later.test reply 450 4.2.1 come back later\nrcpt to=*@no.test reply 550 5.1.1 no such user";
    let world = World::start(rules, "");
    for to in ["u@a.test", "u@later.test", "v@later.test", "u@no.test"] {
        world.send("news@x.test", to);
    }
    for n in 0..10 {
        let mut hasty = TcpStream::connect(&world.ingest).unwrap();
        let to = format!("RCPT TO:<a{n}@hasty.test>\r\nRCPT TO:<b{n}@hasty.test>");
        write!(hasty, "EHLO x.test\r\nMAIL FROM:<a@x.test>\r\n{to}\r\nDATA\r\nSubject: x\r\n\r\n.\r\n").unwrap();
        // With replies unread the system resets the connection.
        std::thread::sleep(Duration::from_millis(1));
    }
    // With a notice.
    world.events("delivered", 22);
    world.list(&["--domain", "later.test"], |entries| entries.iter().all(|entry| entry["attempts"] == 1));
    let later = world.list(&["--domain", "later.test"], |entries| entries.len() == 2);
    world.act(&["remove", text(&later[0], "id"), "--yes"], 1);

    let added = |metrics: &str, names: &[&str]| -> f64 {
        let lines = metrics.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    let (came, ended) = eventually("the same sum twice", || {
        let (_, metrics) = world.get("/metrics");
        let came = added(&metrics, &["posthaste_recipients_accepted_total{", "posthaste_notices_total{"]);
        let ended = ["delivered", "bounced", "expired"].map(|outcome| {
            let lines = metrics.lines().filter(|line| line.contains(&format!("outcome=\"{outcome}\"")));
            added(&lines.collect::<Vec<_>>().join("\n"), &["posthaste_deliveries_total{"])
        });
        let rest = added(&metrics, &["posthaste_recipients_removed_total ", "posthaste_queue_recipients{"]);
        // The queue's gauges are set twice a second.
        (rest == 2.0).then(|| (came, ended.iter().sum::<f64>() + rest))
    });
    assert_eq!((came, ended), (25.0, 25.0));
    let (_, metrics) = world.get("/metrics");
    assert_eq!(added(&metrics, &["posthaste_messages_accepted_total{"]), 14.0);
}

/// The fields that every event has, and these.
#[track_caller]
fn check_event(event: &Value, more: &[&str]) {
    for field in ["time", "event", "id", "recipient", "sender", "size", "latency_ms"].iter().chain(more) {
        assert!(!event[*field].is_null(), "{field} is not in {event}");
    }
    let time = text(event, "time");
    assert!(time.len() == "2026-11-22T20:25:41.123456Z".len() && time.ends_with('Z'), "{time}");
}
