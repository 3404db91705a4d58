//! Ten thousand clients that say nothing, under a real daemon: they cost it little memory, and keep nobody waiting.
//!
//! Each end needs a descriptor in its own process. Where so many may not be open, as many as may be are held, and that is
//! said.

#[allow(dead_code, reason = "other tests use the rest")]
mod daemon;

use bench::Address;
use bench::dns::{LocalDns, Zone};
use bench::load::{Domains, Load, LoadOptions};
use bench::sink::{Sink, SinkOptions};
use daemon::{Daemon, Home};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const WANTED: usize = 10_000;
/// Descriptors for everything else, of the daemon or of this process.
const OTHERS: u64 = 500;
/// Octets of the daemon's memory, at most: for each connection, and what its allocator takes at a time.
const MOST_BYTES: (usize, usize) = (8 << 10, 32 << 20);

fn allow_descriptors(current: Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("no more than is allowed");
}

/// How many may be held here: both ends may open what is allowed, the daemon sees to that by itself.
fn count() -> usize {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let count = WANTED.min(most.saturating_sub(OTHERS) as usize);
    if count < WANTED {
        // Not by a macro: those are heard only of tests that fail.
        let note = format!("only {count} connections instead of {WANTED}: the limit of descriptors is {most} here\n");
        let _ = std::io::stderr().write_all(note.as_bytes());
    }
    count
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(to: SocketAddr) -> Client {
        let stream = TcpStream::connect(to).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        // Commands are short.
        Client(BufReader::with_capacity(512, stream))
    }
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a reply in time");
        line
    }
    fn expect(&mut self, command: &str, expected: &str) {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("a peer that listens");
        let heard = self.hear();
        assert!(heard.starts_with(expected), "{command}: {heard:?}");
    }
}

/// Sends so many messages over connections of their own.
fn send(home: &Home, messages: u64) {
    let options = LoadOptions {
        to: Address::Tcp(home.ingest()),
        connections: 2,
        messages,
        size: 1024,
        domains: Domains::List(vec!["d.test".into()]),
        patience: PATIENCE,
        timeout: Some(PATIENCE),
        ..LoadOptions::default()
    };
    let report = Load::run(options, |_| ()).expect("the generator runs");
    assert_eq!(report.messages, messages, "{report:?}");
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_keep_nobody_waiting() {
    let count = count();
    let zone = Zone::everything_at(Ipv4Addr::LOCALHOST.into());
    let dns = LocalDns::start((Ipv4Addr::LOCALHOST, 0).into(), zone).expect("a DNS server");
    let sink = Sink::start(SinkOptions::default()).expect("a sink");
    let Address::Tcp(sink_at) = sink.addresses()[0] else { panic!("a sink on TCP") };
    let home = Home::with_listener(
        tempfile::tempdir().expect("a directory"),
        "max_connections = 20000",
        &format!("[dns]\nnameservers = [\"{}\"]\n[delivery]\nport = {}\n", dns.address(), sink_at.port()),
    );
    let maximum = getrlimit(Resource::Nofile).maximum;
    allow_descriptors(maximum.map_or(Some(1024), |maximum| Some(maximum.min(1024))));
    let mut daemon = Daemon::start(&home);
    allow_descriptors(maximum);
    daemon.wait_until_ready(&home);
    // What the first message needs is no cost of the connections.
    send(&home, 10);
    let before = daemon.resident_bytes();
    let mut idle: Vec<Client> = (0..count).map(|_| Client::connect(home.ingest())).collect();
    idle.iter_mut().for_each(|client| assert!(client.hear().starts_with("220 ")));
    let grown = daemon.resident_bytes().saturating_sub(before);
    println!("{} octets for each of {count} connections", grown / count);
    assert!(grown < count * MOST_BYTES.0 + MOST_BYTES.1, "{grown} octets for {count} connections");

    send(&home, 20);
    // They are served still, when they wake up.
    let mut last = idle.pop().expect("one");
    last.expect("HELO app.example", "250 ");
    last.expect("MAIL FROM:<s@d.test>", "250 ");
    last.expect("RCPT TO:<u@d.test>", "250 ");
    last.expect("DATA", "354 ");
    last.expect("Subject: x\r\n\r\nx\r\n.", "250 2.0.0 Ok: queued as ");
    for n in [0, count / 2] {
        idle[n].expect("NOOP", "250 ");
    }
    drop(idle);
    daemon.stop();
    assert_eq!(sink.counters().recipients + home.queued(), 31, "each once, or still queued");
}
