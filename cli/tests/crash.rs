//! `kill -9`, again and again, of a real daemon under load: what it acknowledged arrives, and twice only what the settle
//! window explains. The kernel keeps what a killed process wrote, so this is about the order of things within the daemon
//! and about its start; power cuts are tested in `queue/tests/power_cut.rs`.
//!
//! `CRASH_ROUNDS=200` makes it a long sweep, `CRASH_SEED` another one. A failure leaves the data directory and says where.

#[allow(dead_code, reason = "other tests use the rest")]
mod daemon;

use bench::Address;
use bench::dns::{LocalDns, Rule, Zone};
use bench::load::{Domains, Load, LoadOptions, LoadReport};
use bench::proof::Proof;
use bench::sink::{Keep, Sink, SinkHandle, SinkOptions};
use daemon::{Daemon, Home};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Messages a second: more than a daemon that is killed all the time has to spare on a small machine would only fill the
/// queue.
const RATE: f64 = 1500.0;
/// A delivery is settled within this time after the peer's 250, however busy the machine.
const SETTLE_WINDOW: Duration = Duration::from_millis(300);
/// Without any arrival for so long, what is missing is lost.
const STALL: Duration = Duration::from_secs(20);
/// As the configuration of the tests has it: four sites, so many connections each, two transactions on each.
const IN_FLIGHT: u64 = 4 * 5 * 2;

fn rounds(usual: u32) -> u32 {
    std::env::var("CRASH_ROUNDS").map_or(usual, |text| text.parse().expect("CRASH_ROUNDS is a number"))
}

fn random() -> fastrand::Rng {
    let seed = std::env::var("CRASH_SEED").map_or(1, |text| text.parse().expect("CRASH_SEED is a number"));
    println!("CRASH_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Everything around the daemon.
struct Stage {
    dns: LocalDns,
    sink: SinkHandle,
    home: Home,
    load: Option<(JoinHandle<LoadReport>, Arc<AtomicBool>)>,
}

impl Stage {
    /// Destinations that are down are at an address where nobody listens.
    fn set(workers: usize, up: bool) -> Stage {
        let dns = LocalDns::start((Ipv4Addr::LOCALHOST, 0).into(), Zone::default()).expect("a DNS server");
        let keep = Keep { numbers: true, check: true, ..Keep::default() };
        let sink = Sink::start(SinkOptions { keep, ..SinkOptions::default() }).expect("a sink");
        let Address::Tcp(at) = sink.addresses()[0] else { panic!("a sink on TCP") };
        let home = Home::new(&format!(
            "[dns]\nnameservers = [\"{}\"]\n[delivery]\nport = {}\nworkers = {workers}\n\
             [limits]\nconnections = 5\n[retry]\nschedule = [\"1s\"]\njitter = 0.0\n",
            dns.address(),
            at.port(),
        ));
        let stage = Stage { dns, sink, home, load: None };
        stage.point_to(if up { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(127, 0, 0, 9) });
        stage
    }

    /// Where the destinations are.
    fn point_to(&self, address: Ipv4Addr) {
        self.dns.set("*", Rule::records().mx(10, "mx.{}").address(IpAddr::V4(address)));
    }

    fn start_load(&mut self) {
        let stop = Arc::new(AtomicBool::new(false));
        let options = LoadOptions {
            to: Address::Tcp(self.home.ingest()),
            connections: 8,
            messages: u64::from(u32::MAX) >> 4,
            rate: Some(RATE),
            size: 4096,
            recipients_per_message: 3,
            domains: Domains::Pattern { pattern: "d%N.crash.test".into(), count: 4 },
            patience: Duration::from_secs(60),
            stop: stop.clone(),
            ..LoadOptions::default()
        };
        let run = move || Load::run(options, |_| {}).expect("the generator runs");
        self.load = Some((std::thread::spawn(run), stop));
    }

    fn end_load(&mut self) -> LoadReport {
        let (load, stop) = self.load.take().expect("it was started");
        stop.store(true, Ordering::Relaxed);
        load.join().expect("the generator ends")
    }

    /// Arrived so far.
    fn received(&self) -> u64 {
        self.sink.counters().recipients
    }

    fn proof(&self, report: &LoadReport) -> Proof {
        let asked = report.acknowledged.iter().last().max(report.doubtful.iter().last()).map_or(0, |last| last + 1);
        self.sink.tally().expect("it keeps numbers").prove(&report.acknowledged, asked)
    }

    /// Until the queue is empty, or nothing comes any more. Stops and starts the daemon on the way, which repeats nothing.
    fn empty_queue(&self, mut daemon: Daemon) {
        let (mut last, mut seen) = (Instant::now(), self.received());
        loop {
            // On a busy machine a start takes longer than the window.
            daemon.wait_until_ready(&self.home);
            std::thread::sleep(SETTLE_WINDOW);
            if std::mem::replace(&mut seen, self.received()) != seen {
                last = Instant::now();
                continue;
            }
            daemon.stop();
            let queued = self.home.queued();
            if queued == 0 {
                return;
            }
            assert!(last.elapsed() < STALL, "{queued} are never delivered; see {}", self.home.directory().display());
            daemon = Daemon::start(&self.home);
        }
    }

    /// One life of the daemon, of random length. Returns how many deliveries it may not have settled when it died: what
    /// came just before, and what was under way.
    fn kill_one(&self, random: &mut fastrand::Rng) -> u64 {
        let mut daemon = Daemon::start(&self.home);
        let life = Duration::from_millis(random.u64(20..900));
        std::thread::sleep(life.saturating_sub(SETTLE_WINDOW));
        let before = self.received();
        std::thread::sleep(life.min(SETTLE_WINDOW));
        daemon.kill();
        // What is on the way to the sink still counts.
        std::thread::sleep(Duration::from_millis(20));
        self.received() - before + IN_FLIGHT
    }

    /// The last checks, after everything has been delivered.
    fn check(self, daemon: Daemon, report: &LoadReport, unsettled: u64) {
        self.empty_queue(daemon);
        let proof = self.proof(report);
        println!("{proof:?}; at most {unsettled} deliveries were unsettled at the kills");
        assert!(!report.acknowledged.is_empty(), "the load was none: {report:?}");
        assert_eq!(proof.lost, 0, "acknowledged and lost; see {}", self.home.directory().display());
        assert!(proof.copies <= unsettled, "more doubled than the settle window explains: {proof:?}");
        assert_eq!((proof.strangers, self.sink.counters().corrupted), (0, 0));
        self.home.check_events(&report.acknowledged);
    }
}

#[test]
fn killed_under_load_it_loses_nothing() {
    let mut random = random();
    for workers in [1, 2] {
        let mut stage = Stage::set(workers, true);
        stage.start_load();
        let unsettled = (0..rounds(4)).map(|_| stage.kill_one(&mut random)).sum();
        let daemon = Daemon::start(&stage.home);
        let report = stage.end_load();
        stage.check(daemon, &report, unsettled);
    }
}

#[test]
fn the_queue_survives_kills_while_destinations_are_down() {
    let mut random = random();
    let mut stage = Stage::set(1, false);
    stage.start_load();
    for round in 0..rounds(4) {
        stage.kill_one(&mut random);
        if round % 2 == 1 {
            stage.home.delete_index();
        }
    }
    let mut daemon = Daemon::start(&stage.home);
    daemon.wait_until_ready(&stage.home);
    let report = stage.end_load();
    daemon.stop();
    let queued = stage.home.queued();
    assert!(queued >= report.acknowledged.len(), "{queued} queued of {}", report.acknowledged.len());
    assert!(queued <= report.acknowledged.len() + report.in_doubt, "{queued} queued of {report:?}");
    stage.home.delete_index();
    assert_eq!(stage.home.queued(), queued, "the journal alone says the same");
    stage.point_to(Ipv4Addr::LOCALHOST);
    let daemon = Daemon::start(&stage.home);
    stage.check(daemon, &report, 0);
}
