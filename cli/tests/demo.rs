//! `posthaste demo` of the real program: what it measures, and that nothing of it stays, however it ends.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn demo(work_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
    command.args(["demo", "--size", "1KiB", "--work-dir"]).arg(work_dir).args(arguments).stdin(Stdio::null());
    command
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "no longer waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).expect("a directory").next().is_none()
}

/// The parent of a process that runs.
fn parent(process: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before may hold anything.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    // The last trace of an orphan is for the system to clear away.
    words.next().filter(|state| *state != "Z")?;
    words.next()?.parse().ok()
}

/// The demo's child; dropped, it is ended if it still runs.
struct Daemon(i32);

impl Daemon {
    fn of(demo: &Child) -> Option<Daemon> {
        let processes = fs::read_dir("/proc").expect("Linux").filter_map(|entry| {
            let process: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((process, parent(process)?))
        });
        processes.filter(|(_, parent)| *parent == demo.id()).map(|(process, _)| Daemon(process)).next()
    }

    fn runs(&self) -> bool {
        parent(self.0).is_some()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.runs() {
            // It may have ended just now.
            let _ = kill_process(Pid::from_raw(self.0).expect("a process"), Signal::KILL);
        }
    }
}

/// A demo with much to do gets these signals while it is at it, as a terminal sends them: to its whole group.
fn check(signals: &[Signal]) -> ExitStatus {
    let work_dir = tempfile::tempdir().expect("a directory");
    let mut demo = demo(work_dir.path(), &["--messages", "100000000"]);
    demo.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut demo = demo.spawn().expect("posthaste runs");
    let mail_has_come = || {
        let stage = fs::read_dir(work_dir.path()).expect("a directory").next()?.ok()?.path();
        let log = fs::read_to_string(stage.join("daemon.log")).ok()?;
        (log.contains("ready") && fs::metadata(stage.join("data/events.jsonl")).ok()?.len() > 0).then_some(())
    };
    wait_until("mail", || mail_has_come().is_some());
    let daemon = Daemon::of(&demo).expect("a child of the demo");
    for signal in signals {
        kill_process_group(Pid::from_child(&demo), *signal).expect("a child of ours, waited for or not");
    }
    let status = demo.wait().expect("a child of ours");
    wait_until(&format!("the daemon's end after {signals:?}"), || !daemon.runs());
    wait_until(&format!("an empty directory after {signals:?}"), || is_empty(work_dir.path()));
    status
}

#[test]
fn killed_it_leaves_no_daemon_and_no_directory() {
    check(&[Signal::KILL]);
}

#[test]
fn when_its_terminal_goes_it_leaves_nothing() {
    check(&[Signal::HUP]);
}

#[test]
fn asked_to_end_it_leaves_nothing() {
    assert_eq!(check(&[Signal::TERM]).code(), Some(75));
}

#[test]
fn asked_twice_it_ends_at_once_and_leaves_nothing() {
    // One of a kind would be delivered once.
    check(&[Signal::INT, Signal::TERM]);
}

#[test]
fn how_long_real_messages_are_under_way_is_measured() {
    let (work_dir, corpus) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    for (name, text) in [("a.eml", "Subject: a\n\n.one\n"), ("b.eml", "Subject: b\r\n\r\ntwo")] {
        fs::write(corpus.path().join(name), text).expect("written");
    }
    let arguments = ["--messages", "100", "--json", "--corpus", corpus.path().to_str().expect("a path in UTF-8")];
    let start = Instant::now();
    let output = demo(work_dir.path(), &arguments).output().expect("posthaste runs");
    let took_ms = start.elapsed().as_secs_f64() * 1e3;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let outcome: Value = serde_json::from_slice(&output.stdout).expect("an object");
    assert_eq!((&outcome["delivered"], &outcome["corrupted"]), (&100.into(), &0.into()), "{outcome}");
    let [least, most] = ["p50", "max"].map(|key| outcome["latency_ms"][key].as_f64().expect("a number"));
    assert!(0.0 < least && least <= most && most < took_ms, "{outcome} in {took_ms} ms");
    assert!(is_empty(work_dir.path()));
}
