//! `posthaste load` and `posthaste send` log in to a daemon, and say why where they cannot.

#[allow(dead_code, reason = "other tests use the rest")]
mod daemon;

use daemon::{Daemon, Home};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// After which a generator that never got in gives up, on a slow machine, too.
const PATIENCE: &str = "5s";

fn posthaste(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("posthaste runs");
    // A program that asks for nothing may have ended already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn check(arguments: &[&str], input: &str, code: i32, said: &str) {
    let output = posthaste(arguments, input);
    let all = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {all}");
    assert!(all.contains(said), "{arguments:?}: {all}");
}

/// Where nobody listens.
fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a free port")
}

/// A certificate with its key, and password files.
fn prepare(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(["mta.test".to_owned()]).expect("a certificate");
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    std::fs::write(dir.join("cert.pem"), pem).expect("written");
    std::fs::write(dir.join("right"), "secret\n").expect("written");
    std::fs::write(dir.join("wrong"), "guess\n").expect("written");
}

#[test]
fn load_and_send_log_in_or_say_why_not() {
    let encrypted = free();
    let home = Home::with_listener(
        tempfile::tempdir().expect("a directory"),
        "auth = \"required\"",
        &format!(
            "[limits]\nsuspend = true\n[[route]]\ndomain = [\"*\"]\nvia = \"smtp://127.0.0.1:9\"\n[auth]\nmechanisms = [\"PLAIN\"]\nfailure_delay = \"0s\"\n[[listener]]\n\
             bind = \"{encrypted}\"\ntls = \"implicit\"\ntls_certificate = \"cert.pem\"\nauth = \"required\"\n"
        ),
    );
    let file = |name: &str| home.directory().join(name).display().to_string();
    prepare(home.directory());
    let add = ["user", "add", "ann", "--sender", "*@a.test", "--config", &file("posthaste.toml")];
    check(&add, "secret\n", 0, "");
    let mut daemon = Daemon::start(&home);
    daemon.wait_until_ready(&home);
    let (clear, encrypted) = (home.ingest().to_string(), encrypted.to_string());
    let (right, wrong) = (file("right"), file("wrong"));
    let load = |to, password, more: &[&'static str]| {
        let arguments = ["load", "--to", to, "--user", "ann", "--password-file", password, "-n", "20", "-c", "4"];
        [&arguments[..], &["--from", "ann@a.test", "--patience", PATIENCE], more].concat()
    };

    check(&load(&encrypted, &right, &["--tls", "implicit"]), "", 0, "messages     20 in ");
    check(&load(&encrypted, &wrong, &["--tls", "implicit"]), "", 69, "at Auth it said 535 ");
    check(&load(&clear, &right, &[]), "", 69, "these show the password, and the connection is not encrypted");
    check(&load(&encrypted, &file("none"), &["--tls", "implicit"]), "", 66, "none: No such file");
    check(&["load", "--to", &clear, "--user", "ann"], "", 64, "--password-file");
    let send = ["send", "--from", "ann@a.test", "--server", &encrypted, "--tls", "implicit", "--to", "u@d.test"];
    let account = ["--user", "ann", "--password-file", &right];
    check(&[&send[..], &account].concat(), "Subject: x\n\nx\n", 0, "queued as ");
    daemon.stop();
    assert_eq!(home.queued(), 21);
    let events = std::fs::read_to_string(home.directory().join("data/events.jsonl")).expect("the event log");
    let who = format!("\"listener\":\"{encrypted}\",\"client_address\":\"127.0.0.1\",\"user\":\"ann\"");
    assert_eq!(events.lines().filter(|line| line.contains(&who)).count(), 21, "{events}");
    let failed = format!("a login failed listener=\"{encrypted}\" client=[127.0.0.1] user=\"ann\" mechanism=\"PLAIN\"");
    assert!(home.log().contains(&failed), "{}", home.log());
}
