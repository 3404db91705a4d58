//! The program as its users meet it: arguments in; text, JSON and exit codes out.

use rustix::net::{AddressFamily, SocketType};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

fn posthaste(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
    command.args(arguments).stdin(Stdio::null());
    command
}

#[track_caller]
fn run(arguments: &[&str], code: i32) -> Output {
    let output = posthaste(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_has(text: &str, phrases: &[&str]) {
    for phrase in phrases {
        assert!(text.contains(phrase), "{phrase:?} is not in\n{text}");
    }
}

/// A sink in a process of its own.
struct Sink {
    child: Child,
    address: String,
    /// What it says has a reader as long as it runs.
    messages: BufReader<ChildStderr>,
}

impl Sink {
    fn start(arguments: &[&str]) -> Sink {
        let mut command = posthaste(&["sink", "--bind", "127.0.0.1:0", "--json"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        messages.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Sink { child, address, messages }
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Ends it, and returns the lines that it printed.
    fn stop(self) -> Vec<Value> {
        let (lines, complaint) = self.stop_with(0);
        assert_eq!(complaint, "");
        lines
    }

    /// The same, where it is to end with this code; also what it then complains of.
    #[track_caller]
    fn stop_with(self, code: i32) -> (Vec<Value>, String) {
        self.signal("-TERM");
        self.wait_for(code)
    }

    #[track_caller]
    fn wait_for(mut self, code: i32) -> (Vec<Value>, String) {
        let output = self.child.wait_with_output().unwrap();
        let mut complaint = String::new();
        self.messages.read_to_string(&mut complaint).unwrap();
        assert_eq!(output.status.code(), Some(code), "{complaint}");
        (stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect(), complaint)
    }
}

#[test]
fn help_shows_the_way() {
    let help = stdout(&run(&["--help"], 0));
    assert_has(&help, &["Start with: posthaste demo", "Measure it:", "  load ", "78 bad configuration"]);
    assert_has(&stdout(&run(&["sink", "--help"], 0)), &["--rule", "STAGE   connect greeting", "20ms", "SIGUSR1"]);
    assert_has(&stdout(&run(&["load", "--help"], 0)), &["10KiB", "500/s", "Examples:", "example.com \\\n      --user"]);
    assert_has(&stdout(&run(&["send", "--help"], 0)), &["Examples:", "--server"]);
    let queue = stdout(&run(&["queue", "--help"], 0));
    assert_has(&queue, &["summary", "remove", "Examples:", " 64 ", " 65 ", " 66 ", " 69 ", " 74 ", " 75 "]);
    assert!(stdout(&run(&["--version"], 0)).starts_with("posthaste "));
}

#[test]
fn wrong_arguments_end_with_64() {
    for arguments in [
        &["frobnicate"][..],
        &["check", "--no-such-option"],
        &["load"],
        &["load", "--to", "127.0.0.1:1", "--size", "10 apples"],
        &["sink", "--bind", "127.0.0.1:0", "--rule", "lunch close"],
        &["send", "--from", "a@b.test", "--to", "c@d..test"],
        &["queue", "remove"],
        &["demo", "--messages", "0"],
    ] {
        let output = run(arguments, 64);
        assert!(stdout(&output).is_empty() && stderr(&output).contains("error: "), "{}", stderr(&output));
    }
}

#[test]
fn a_good_configuration_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("posthaste.toml");
    let route = "[[route]]\ndomain = [\"internal.example\"]\nvia = \"smtp://10.0.0.5:2526\"\n";
    std::fs::write(&file, format!("hostname = \"mta1.example.net\"\n{route}")).unwrap();
    let file = file.to_str().unwrap();
    let text = stdout(&run(&["check", "--config", file], 0));
    assert_has(&text, &["no mistakes", "127.0.0.1:2525 SMTP", "20 connections", "smtp://10.0.0.5:2526"]);
    let json: Value = serde_json::from_slice(&run(&["check", "--json", "--config", file], 0).stdout).unwrap();
    assert_eq!((&json["ok"], &json["means"]["data_dir"][0]), (&true.into(), &"/var/lib/posthaste".into()));
}

#[test]
fn a_bad_configuration_shows_every_mistake_and_ends_with_78() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("posthaste.toml");
    std::fs::write(&file, "hostname = \"mta1.example.net\"\n[limits]\nrate = \"fast\"\nspeed = 1\n").unwrap();
    let file = file.to_str().unwrap();
    let output = run(&["check", "--config", file], 78);
    assert_has(&stderr(&output), &["posthaste.toml:3:8", "^^^^^^", "allowed", "posthaste.toml:4:1", "2 mistakes"]);
    assert!(stdout(&output).is_empty() && !stderr(&output).contains('\x1b'));
    let json: Value = serde_json::from_slice(&run(&["check", "--json", "--config", file], 78).stdout).unwrap();
    let first = &json["mistakes"][0];
    assert_eq!((&first["line"], &first["column"], &first["text"]), (&3.into(), &8.into(), &"\"fast\"".into()));
    assert_has(&stderr(&run(&["check", "--config", "/nonexistent/posthaste.toml"], 78)), &["cannot read"]);
}

#[test]
fn a_demo_without_messages_to_send_names_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    for (directory, why) in [(nowhere.as_path(), "No such file"), (dir.path(), "no file ends in .eml")] {
        let directory = directory.to_str().unwrap();
        assert_has(&stderr(&run(&["demo", "--corpus", directory], 66)), &[directory, why]);
    }
}

#[test]
fn what_serve_cannot_have_ends_with_69_and_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("posthaste.toml");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let missing = dir.path().join("missing/socket");
    for (data_dir, bind, remedy) in [
        ("posthaste.toml", "127.0.0.1:0".to_owned(), "; `data_dir` must be a directory"),
        ("data", taken.local_addr().unwrap().to_string(), "; another program has it"),
        ("data", "192.0.2.1:0".into(), "; no interface of this machine"),
        ("data", format!("unix:{}", missing.display()), "; its directory has to exist"),
    ] {
        let data_dir = dir.path().join(data_dir);
        let text = format!(
            "hostname = \"mta.example.net\"\ndata_dir = {data_dir:?}\n[[listener]]\nbind = \"{bind}\"\n[admin]\nbind = \"off\"\n\
             [queue]\nprepare = \"0B\"\n"
        );
        std::fs::write(&file, text).unwrap();
        assert_has(&stderr(&run(&["serve", "--config", file.to_str().unwrap()], 69)), &[remedy]);
    }
}

#[test]
fn serve_says_why_it_refuses_mail_and_what_a_reload_cannot_change() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("posthaste.toml");
    let configure = |more: &str| {
        let text = format!(
            "hostname = \"mta.example.net\"\ndata_dir = {:?}\n[[listener]]\nbind = \"127.0.0.1:0\"\n{more}[admin]\nbind = \"off\"\n\
             [queue]\nprepare = \"0B\"\nmin_free = \"8000000GiB\"\n",
            dir.path()
        );
        std::fs::write(&file, text).unwrap();
    };
    configure("");
    let mut daemon = posthaste(&["serve", "--config", file.to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines().map(Result::unwrap);
    let refusing = "new mail is refused (452 4.3.1): the disk of data_dir has less free space than [queue] min_free";
    assert!(lines.any(|line| line.contains(refusing)));
    assert!(lines.any(|line| line.contains("ready")));
    configure("max_errors = 5\n");
    assert!(Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status().unwrap().success());
    assert!(lines.any(|line| line.ends_with("changes that take effect with a restart only: [[listener]]")));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

#[test]
fn what_load_sends_the_sink_proves() {
    let sink = Sink::start(&["--expect", "300", "--verify"]);
    let arguments = ["load", "--to", &sink.address, "-n", "100", "-r", "3", "-c", "4", "--size", "2KiB", "--json"];
    let load: Value = serde_json::from_slice(&run(&arguments, 0).stdout).unwrap();
    assert_eq!((&load["messages"], &load["recipients"], &load["unfinished"]), (&100.into(), &300.into(), &0.into()));
    assert!(load["latency_ms"]["p99"].as_f64().unwrap() > 0.0 && load["messages_per_second"].as_f64().unwrap() > 0.0);
    let lines = sink.stop();
    let figures = lines.last().unwrap();
    for (key, expected) in
        [("messages", 100), ("recipients", 300), ("lost", 0), ("doubled", 0), ("corrupted", 0), ("unstamped", 0)]
    {
        assert_eq!(figures[key], expected, "{key}: {figures}");
    }
    assert!(figures["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_sink_tells_when_it_is_asked() {
    let mut sink = Sink::start(&["--expect", "10"]);
    sink.signal("-USR1");
    let mut lines = BufReader::new(sink.child.stdout.take().unwrap()).lines();
    let figures: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&figures["messages"], &figures["lost"]), (&0.into(), &10.into()));
    sink.signal("-INT");
    let figures: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(lines.next().is_none() && figures["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(sink.child.wait().unwrap().code(), Some(70));
}

#[test]
fn a_proof_that_fails_decides_how_the_sink_ends() {
    let directory = tempfile::tempdir().unwrap();
    let altered = directory.path().join("altered.eml");
    let stamp = "X-Posthaste-Load: 000000000000 1763841234567890 00000000";
    std::fs::write(&altered, format!("{stamp}\r\nSubject: not what was summed up\r\n\r\n")).unwrap();
    let altered = altered.to_str().unwrap();
    let load = &["load", "-n", "10", "-c", "1", "--size", "1KiB", "--to"][..];
    let send = &["send", "--from", "a@x.test", "--to", "u0@x.test", altered, "--server"][..];
    let lossy = &["--rule", "rcpt every=5 reply 550 5.1.1 no", "--expect", "10"][..];
    for (sink, sent, code, complaint) in [
        (lossy, &[(load, 69)][..], 70, "error: the proof failed: 2 recipients never came\n"),
        (
            &["--expect", "10"],
            &[(load, 0), (load, 0)],
            70,
            "error: the proof failed: 10 recipients came more than once\n",
        ),
        (&["--verify"], &[(send, 0)], 70, "error: the proof failed: 1 message came corrupted\n"),
        (&["--expect", "2"], &[(send, 0)], 70, "error: the proof failed: 1 recipient never came\n"),
        // What is only counted is no proof.
        (&["--ids"], &[(load, 0), (load, 0)], 0, ""),
        (&["--expect", "10", "--verify"], &[(load, 0)], 0, ""),
    ] {
        let sink = Sink::start(sink);
        sent.iter().for_each(|(command, ends)| drop(run(&[command, &[sink.address.as_str()][..]].concat(), *ends)));
        let (lines, said) = sink.stop_with(code);
        assert_eq!((lines.len(), said.as_str()), (1, complaint));
    }
}

#[test]
fn a_sink_that_cannot_store_what_it_takes_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let stored = directory.path().join("stored");
    let sink = Sink::start(&["--store", stored.to_str().unwrap(), "--messages", "1"]);
    std::fs::remove_dir(&stored).unwrap();
    run(&["load", "--to", &sink.address, "-n", "1", "--size", "1KiB"], 0);
    let (_, said) = sink.wait_for(74);
    assert_eq!(said, "error: --store: 1 message could not be written\n");
}

#[test]
fn what_is_refused_decides_how_load_ends() {
    for (rule, code, phrase) in [
        ("rcpt every=2 reply 550 5.1.1 no", 69, "refused      550: 5 recipients"),
        ("final close", 75, "in doubt     10 recipients"),
    ] {
        let sink = Sink::start(&["--rule", rule]);
        let output = run(&["load", "--to", &sink.address, "-n", "10", "-c", "1", "--size", "1KiB"], code);
        assert_has(&stdout(&output), &["latency      p50 ", phrase]);
        sink.stop();
    }
}

#[test]
fn send_takes_files_and_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let (stored, file) = (directory.path().join("stored"), directory.path().join("m.eml"));
    std::fs::write(&file, "Subject: one\n\n.dot\nend").unwrap();
    let sink = Sink::start(&["--store", stored.to_str().unwrap()]);
    let file = file.to_str().unwrap();
    let arguments =
        ["send", "--from", "a@x.test", "--server", &sink.address, "--to", "b@x.test", "c@x.test", file, "-", "--json"];
    let mut child = posthaste(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"Subject: two\r\n\r\ntext\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((said.len(), &said[0]["file"], &said[1]["file"]), (2, &file.into(), &"-".into()));
    assert_eq!(said[1]["recipients"][1]["accepted"], true);
    assert_eq!(sink.stop().last().unwrap()["recipients"], 4);
    assert_eq!(std::fs::read(stored.join("00000000.eml")).unwrap(), b"Subject: one\r\n\r\n.dot\r\nend\r\n");
    assert_eq!(std::fs::read(stored.join("00000001.eml")).unwrap(), b"Subject: two\r\n\r\ntext\r\n");
}

#[test]
fn send_passes_on_what_it_is_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let (stored, file) = (directory.path().join("stored"), directory.path().join("m.eml"));
    std::fs::write(&file, "Subject: one\n\ntext\n").unwrap();
    let sink = Sink::start(&["--store", stored.to_str().unwrap()]);
    let send = ["send", "--from", "a@x.test", "--server", &sink.address, "--to", "b@x.test", file.to_str().unwrap()];
    let wishes =
        ["--notify", "success,delay", "--ret", "hdrs", "--envid", "QQ+2B1", "--priority", "-3", "--deliver-by", "60;N"];
    run(&[&send[..], &wishes[..]].concat(), 0);
    for (wish, value) in [("--notify", "NEVER,DELAY"), ("--envid", "a=b"), ("--priority", "10"), ("--deliver-by", "60")]
    {
        run(&[&send[..], &[wish, value]].concat(), 64);
    }
    run(&[&send[..], &["--require-tls"]].concat(), 69);
    sink.stop();
    let envelope: Value = serde_json::from_slice(&std::fs::read(stored.join("00000000.json")).unwrap()).unwrap();
    assert_eq!((&envelope["envid"], &envelope["priority"]), (&"QQ+2B1".into(), &(-3).into()), "{envelope}");
    assert_eq!(envelope["deliver_by"], "60;N", "{envelope}");
    assert_eq!(envelope["notify"][0], "SUCCESS,DELAY", "{envelope}");
}

#[test]
fn nobody_there_ends_with_69() {
    // Whoever has a port and does not listen keeps it from the other tests.
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddrV4::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap().to_string();
    for arguments in [
        &["send", "--from", "a@x.test", "--to", "b@x.test", "--server", &address][..],
        &["load", "--to", &address, "--patience", "100ms", "-n", "1"],
        &["queue", "summary", "--admin", &address],
        &["explain", "a@x.test", "--admin", &address],
    ] {
        assert_has(&stderr(&run(arguments, 69)), &[&address]);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = posthaste(&["--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0));
}
