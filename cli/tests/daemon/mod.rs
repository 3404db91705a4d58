//! A real `posthaste serve` on a directory that outlives it.

use bench::proof::{IdSet, Tally};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;
use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long it may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a daemon lives: its configuration, its data, its log.
pub struct Home {
    directory: TempDir,
    ingest: SocketAddr,
}

impl Home {
    /// `rest` is the end of the configuration.
    pub fn new(rest: &str) -> Home {
        Home::within(TempDir::with_prefix("posthaste-crash-").expect("a directory"), rest)
    }

    /// In a directory of one's own.
    pub fn within(directory: TempDir, rest: &str) -> Home {
        Home::with_listener(directory, "", rest)
    }

    /// With these keys of the listener.
    pub fn with_listener(directory: TempDir, listener: &str, rest: &str) -> Home {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let ingest = port.expect("a free port");
        // The disk has other tests to serve.
        let queue = if rest.contains("[queue]") { "" } else { "[queue]\nprepare = \"0B\"\n" };
        let admin = if rest.contains("[admin]") { "" } else { "[admin]\nbind = \"off\"\n" };
        let configuration = format!(
            "hostname = \"crash.test\"\ndata_dir = {:?}\n[[listener]]\nbind = \"{ingest}\"\n{listener}\n{admin}\
             [log]\nevents = \"events.jsonl\"\n{queue}{rest}",
            directory.path().join("data"),
        );
        fs::write(directory.path().join("posthaste.toml"), configuration).expect("written");
        Home { directory, ingest }
    }

    pub fn ingest(&self) -> SocketAddr {
        self.ingest
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// All that its daemons have said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The directory; it stays when the test fails.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// As if the index had been lost; a daemon must not be running.
    pub fn delete_index(&self) {
        match fs::remove_dir_all(self.path("data/queue/index")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }

    /// Recipients in the queue; a daemon must not be running.
    pub fn queued(&self) -> u64 {
        let options = queue::Options::new(self.path("data/queue"));
        let (queue, recovery) = queue::Queue::open(options).expect("the queue opens");
        let entries = queue.list(None, usize::MAX).expect("the queue can be read");
        let listed: usize = entries.iter().map(|(_, entry)| entry.open.len()).sum();
        assert_eq!(listed as u64, recovery.recipients, "counters and entries differ");
        queue.close().expect("the queue closes");
        recovery.recipients
    }

    /// Every line of the event log can be read, and the delivery of every acknowledged recipient is told: its line is
    /// written before the queue is asked to forget it.
    pub fn check_events(&self, acknowledged: &IdSet) {
        let text = fs::read_to_string(self.path("data/events.jsonl")).expect("an event log");
        let mut told = IdSet::default();
        for (n, line) in text.lines().enumerate() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("line {}: {e}: {line:?}", n + 1));
            let kind = event["event"].as_str().unwrap_or_default();
            assert!(["accepted", "delivered", "deferred"].contains(&kind), "line {}: {line}", n + 1);
            if kind == "delivered" {
                let (local_part, _) = event["recipient"].as_str().and_then(|a| a.split_once('@')).expect("an address");
                told.insert(Tally::number(local_part).expect("a number"));
            }
        }
        let untold = acknowledged.iter().filter(|number| !told.contains(*number)).count();
        assert_eq!(untold, 0, "deliveries are not told, of {}", acknowledged.len());
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.directory.disable_cleanup(std::thread::panicking());
    }
}

/// A running daemon; dropped, it is killed by its id.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Returns at once; see [`Daemon::wait_until_ready`].
    pub fn start(home: &Home) -> Daemon {
        let path = home.path("log");
        let log = File::options().create(true).append(true).open(&path).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_posthaste"))
            .args(["serve", "--config"])
            .arg(home.path("posthaste.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("another handle"))
            .stderr(log)
            .spawn()
            .expect("posthaste runs");
        Daemon { child, log: path }
    }

    /// Until it greets.
    pub fn wait_until_ready(&mut self, home: &Home) {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            self.assert_alive();
            let mut greeting = [0; 3];
            let greeted = TcpStream::connect(home.ingest()).and_then(|mut stream| stream.read_exact(&mut greeting));
            if greeted.is_ok() && &greeting == b"220" {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not start:\n{}", home.log());
    }

    /// `kill -9`. It must have been alive.
    pub fn kill(&mut self) {
        self.assert_alive();
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
    }

    /// SIGHUP, and waits until it has done what that asks for.
    pub fn reload(&mut self, home: &Home) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).expect("signalled");
        let start = Instant::now();
        while !home.log().contains("configuration reloaded") {
            self.assert_alive();
            assert!(start.elapsed() < PATIENCE, "it does not reload:\n{}", home.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets it open so many descriptors more than it has open now.
    pub fn limit_descriptors(&self, more: u64) {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("Linux").count() as u64;
        let (pid, current) = (Pid::from_child(&self.child), Some(open + more));
        let limit = getrlimit(Resource::Nofile);
        prlimit(Some(pid), Resource::Nofile, Rlimit { current, ..limit }).expect("a process of ours");
    }

    /// Octets of it in memory.
    pub fn resident_bytes(&self) -> usize {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("Linux");
        let pages: usize = statm.split(' ').nth(1).expect("a field").parse().expect("a number");
        pages * rustix::param::page_size()
    }

    fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("a child of ours");
        assert!(
            ended.is_none(),
            "it ended by itself, {ended:?}:\n{}",
            fs::read_to_string(&self.log).unwrap_or_default()
        );
    }

    /// SIGTERM; it drains and exits 0.
    pub fn stop(mut self) {
        self.assert_alive();
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("signalled");
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                assert!(status.success(), "{status}:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not stop:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone after `kill` and `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
