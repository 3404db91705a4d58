//! Mail whose place in the journal got damaged under a running daemon: the log, `queue list` and `queue show` say so, and
//! it stays in the queue. What a start does about it is tested in `queue/tests`.

#[allow(dead_code, reason = "other tests use the rest")]
mod daemon;

use daemon::{Daemon, Home};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::FileExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// Content does not wait in memory, and goes nowhere until `suspend` is taken back.
const SUSPENDED: &str = "[queue]\nprepare = \"0B\"\nbody_cache = \"0B\"\n[[route]]\ndomain = [\"*\"]\nvia = \"discard\"\n[limits]\nsuspend = true\n";

fn run(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn send(home: &Home, from: &str, body: &str) -> String {
    let server = home.ingest().to_string();
    let text = format!("Subject: x\r\n\r\n{body}\r\n");
    let arguments = ["send", "--json", "--server", &server, "--from", from, "--to", "u@y.test", "--to", "v@y.test"];
    let sent: Value = serde_json::from_slice(&run(&arguments, &text).stdout).unwrap();
    sent["id"].as_str().unwrap().to_owned()
}

/// Overwrites where this text stands in the journal, and some octets before it.
#[track_caller]
fn damage(home: &Home, text: &str, before: usize) {
    for file in fs::read_dir(home.directory().join("data/queue/journal")).unwrap() {
        let path = file.unwrap().path();
        let octets = fs::read(&path).unwrap();
        if let Some(at) = octets.windows(text.len()).position(|octets| octets == text.as_bytes()) {
            let file = File::options().write(true).open(&path).unwrap();
            return file.write_all_at(&vec![0xff; before + 1], (at - before) as u64).unwrap();
        }
    }
    panic!("{text} is not in the journal");
}

#[track_caller]
fn eventually(home: &Home, what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}: never\n{}", home.log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_message_that_cannot_be_read_is_named() {
    let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).unwrap();
    let home = Home::new(&format!("{SUSPENDED}[admin]\nbind = \"{admin}\"\n"));
    let mut daemon = Daemon::start(&home);
    daemon.wait_until_ready(&home);
    let body = send(&home, "one@x.test", "damaged-body");
    let envelope = send(&home, "damaged-sender@x.test", "Hello.");
    let sound = send(&home, "three@x.test", "Hello.");
    damage(&home, "damaged-body", 0);
    // What says how long the sender is, too: without it nothing of the envelope is known.
    damage(&home, "damaged-sender@x.test", 16);

    let queue = |arguments: &[&str]| {
        let output = run(&[&["queue"], arguments, &["--admin", &admin.to_string()]].concat(), "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // Of a list, envelopes are read.
    let list = queue(&["list"]);
    let line = |id: &str| list.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(line(&envelope).contains("  ?  "), "{list}");
    assert!(
        line(&envelope).contains("  2 at y.test  cannot be read: the journal is damaged at 0000000001.seg"),
        "{list}"
    );
    assert!(line(&body).contains("<one@x.test>") && line(&sound).contains("<three@x.test>"), "{list}");
    let shown = queue(&["show", &envelope]);
    assert!(shown.contains("  2 at y.test  cannot be read: ") && shown.lines().count() == 2, "{shown}");
    let shown = queue(&["show", &body]);
    assert!(shown.contains("<one@x.test>  u@y.test +1  cannot be read: "), "{shown}");
    let shown: Value = serde_json::from_str(&queue(&["show", &sound, "--json"])).unwrap();
    assert!(shown["header"].as_str().unwrap().ends_with("\nSubject: x\n"), "{shown}");
    assert!(shown["entries"][0].get("unreadable").is_none(), "{shown}");

    // Its turn comes.
    assert!(!home.log().contains("ERROR"), "{}", home.log());
    let file = home.directory().join("posthaste.toml");
    let changed = fs::read_to_string(&file).unwrap().replace("suspend = true", "suspend = false");
    fs::write(file, changed).unwrap();
    daemon.reload(&home);
    for id in [&body, &envelope] {
        let faults = || home.log().lines().filter(|line| line.contains("ERROR") && line.contains(id)).count();
        eventually(&home, "the log", || faults() > 0);
        assert!(home.log().contains("cannot be read; it stays in the queue"), "{}", home.log());
        eventually(&home, "deferred", || queue(&["list", "--json"]).contains("the queue cannot read the message: "));
        assert_eq!(faults(), 1, "{}", home.log());
    }
    eventually(&home, "what can be read is gone", || !queue(&["list"]).contains(&sound));
    queue(&["remove", &body, &envelope, "--yes"]);
    assert_eq!(queue(&["list"]), "nothing is queued that matches\n");
    daemon.kill();
}
