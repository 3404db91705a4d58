//! A disk that really runs full under a real daemon: new mail is refused, what was acknowledged stays, also through a
//! `kill -9` and a start without room, and all is well when there is room again.
//!
//! Needs to mount a small tmpfs, hence root; says so and does nothing otherwise. What happens within the queue is tested
//! without such means in `queue/tests/faults.rs`.

#[allow(dead_code, reason = "other tests use the rest")]
mod daemon;

use bench::Address;
use bench::dns::{LocalDns, Rule, Zone};
use bench::load::{Domains, Load, LoadOptions, LoadReport};
use bench::sink::{Keep, Sink, SinkHandle, SinkOptions};
use daemon::{Daemon, Home};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A small file system of our own; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    /// `None`: this is not allowed here.
    fn new(directory: &Path) -> Option<Mount> {
        run("mount", &["-t", "tmpfs", "-o", "size=40m", "posthaste-test"], directory)
            .then(|| Mount(directory.to_owned()))
    }
    fn grow(&self) {
        assert!(run("mount", &["-o", "remount,size=200m"], &self.0), "a larger file system");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a daemon of a failed test may still be about to end.
        run("umount", &["-l"], &self.0);
    }
}

fn run(program: &str, arguments: &[&str], directory: &Path) -> bool {
    let output = Command::new(program).args(arguments).arg(directory).output();
    output.is_ok_and(|output| output.status.success())
}

/// Sends until this many messages were refused.
fn load(home: &Home, prefix: &str, messages: u64, refusals: u64) -> LoadReport {
    let stop = Arc::new(AtomicBool::new(false));
    let options = LoadOptions {
        to: Address::Tcp(home.ingest()),
        connections: 4,
        messages,
        // The daemon looks at the disk twice a second: by then much less has come than it leaves free.
        rate: Some(150.0),
        size: 60_000,
        prefix: prefix.into(),
        domains: Domains::List(vec!["full.test".into()]),
        stop: stop.clone(),
        patience: PATIENCE,
        timeout: Some(PATIENCE),
        ..LoadOptions::default()
    };
    Load::run(options, |progress| {
        if progress.deferred >= refusals {
            stop.store(true, Ordering::Relaxed);
        }
    })
    .expect("the generator runs")
}

/// What a test of a full disk works with.
struct World {
    /// Dropped, and with that unmounted, before `home` is removed.
    mount: Mount,
    home: Home,
    dns: LocalDns,
    sink: SinkHandle,
}

impl World {
    /// With a disk of 40 MiB, of which the daemon leaves `min_free`; destinations cannot be reached. `None`: said so.
    fn new(min_free: &str) -> Option<World> {
        let outside = tempfile::tempdir().expect("a directory");
        let data = outside.path().join("data");
        std::fs::create_dir(&data).expect("made");
        let Some(mount) = Mount::new(&data) else {
            eprintln!("SKIPPED: a tmpfs cannot be mounted here; run as root");
            return None;
        };
        let dns = LocalDns::start((Ipv4Addr::LOCALHOST, 0).into(), Zone::default()).expect("a DNS server");
        let keep = Keep { numbers: true, check: true, ..Keep::default() };
        let sink = Sink::start(SinkOptions { keep, ..SinkOptions::default() }).expect("a sink");
        let Address::Tcp(sink_at) = sink.addresses()[0] else { panic!("a sink on TCP") };
        let home = Home::within(
            outside,
            &format!(
                "[dns]\nnameservers = [\"{}\"]\n[delivery]\nport = {}\n[queue]\nmin_free = \"{min_free}\"\n\
                 [retry]\nschedule = [\"1s\"]\njitter = 0.0\n",
                dns.address(),
                sink_at.port(),
            ),
        );
        let world = World { mount, home, dns, sink };
        world.destinations_at(Ipv4Addr::new(127, 0, 0, 9));
        Some(world)
    }

    fn destinations_at(&self, address: Ipv4Addr) {
        self.dns.set("*", Rule::records().mx(10, "mx.{}").address(address.into()));
    }

    /// Waits until so many have arrived, each once and whole.
    fn all_arrive(&self, all: u64) {
        let start = Instant::now();
        while self.sink.counters().recipients < all && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!((self.sink.counters().recipients, self.sink.counters().corrupted), (all, 0));
    }
}

/// `min_free`: how much the daemon leaves free; `codes`: how it refuses.
fn check(min_free: &str, codes: &[u16]) {
    let Some(world) = World::new(min_free) else { return };
    let World { mount, home, .. } = &world;
    let mut daemon = Daemon::start(home);
    daemon.wait_until_ready(home);
    let report = load(home, "u", 100_000, 8);
    assert!(report.deferred.keys().all(|code| codes.contains(code)) && !report.deferred.is_empty(), "{report:?}");
    assert!(report.acknowledged.len() > 50 && report.in_doubt == 0, "{report:?}");

    println!("refused with {:?} after {}", report.deferred, report.acknowledged.len());
    daemon.kill();
    let log = home.log();
    // However many messages that was.
    assert_eq!(log.matches("refused").count(), 1, "{log}");
    assert!(log.contains("WARN new mail is refused (452 4.3.1): the disk of data_dir "), "{log}");
    assert_eq!(home.queued(), report.acknowledged.len(), "what was refused left nothing behind");
    let mut daemon = Daemon::start(home);
    daemon.wait_until_ready(home);
    let still_full = load(home, "u", 100_000, 4);
    assert!(still_full.acknowledged.len() < 50, "there is hardly room: {still_full:?}");

    mount.grow();
    let again = load(home, "v", 50, u64::MAX);
    assert_eq!(again.acknowledged.len(), 50, "there is room again: {again:?}");
    daemon.stop();
    world.destinations_at(Ipv4Addr::LOCALHOST);
    let daemon = Daemon::start(home);
    world.all_arrive(report.acknowledged.len() + still_full.acknowledged.len() + 50);
    daemon.stop();
    assert_eq!(home.queued(), 0);
}

#[test]
fn room_that_is_left_free_refuses_before_the_body() {
    check("16MiB", &[452]);
}

#[test]
fn a_disk_that_is_full_all_the_same_refuses_after_it() {
    check("1KiB", &[451, 452]);
}

#[test]
fn when_others_fill_the_disk_the_daemon_goes_on_with_what_it_has_spare() {
    let Some(world) = World::new("1KiB") else { return };
    let home = &world.home;
    world.mount.grow();
    world.dns.set("*", Rule::servfail());
    let mut daemon = Daemon::start(home);
    daemon.wait_until_ready(home);
    let before = load(home, "u", 300, u64::MAX);
    assert_eq!(before.acknowledged.len(), 300, "{before:?}");
    // Attempts go on, and so does what is written to the index.
    let others = world.mount.0.join("others");
    let mut file = std::fs::File::create(&others).expect("made");
    while file.write_all(&[7; 1 << 12]).is_ok() {}
    wait_until("a full disk to be felt", || home.log().contains("checkpoint: "));
    wait_until("the index to be opened again", || home.log().contains("the index is open again"));
    std::fs::remove_file(&others).expect("removed");
    drop(file);
    let after = load(home, "v", 50, u64::MAX);
    assert_eq!(after.acknowledged.len(), 50, "{after:?}");
    world.destinations_at(Ipv4Addr::LOCALHOST);
    // Names are asked for anew.
    daemon.reload(home);
    world.all_arrive(350);
    daemon.stop();
    assert_eq!(home.queued(), 0);
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "no longer waiting for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
