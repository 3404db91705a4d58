//! The demo's stage: a local DNS, a sink, the daemon as a process of its own, and a load generator.
//!
//! The daemon is this very program, run as `serve`: what is measured is what is shipped, and its CPU and memory are its
//! own.

mod corpus;
mod daemon;
mod leash;
mod outcome;

pub use leash::Leash;
pub use outcome::Outcome;

use crate::signals;
use bench::Address;
use bench::dns::{LocalDns, Zone};
use bench::load::{Domains, Load, LoadError, LoadOptions, LoadReport, Progress, Submissions};
use bench::sink::{Keep, Sink, SinkError, SinkHandle, SinkOptions};
use corpus::Comparison;
use daemon::Daemon;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Without any delivery for so long, the demo ends and says what is missing.
const STALL: Duration = Duration::from_secs(20);
/// Between two looks at what has arrived.
const LOOK: Duration = Duration::from_millis(20);

/// What to play.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Messages of one recipient each.
    pub messages: u64,
    /// Destination domains.
    pub domains: u64,
    /// Octets of a message.
    pub size: usize,
    /// Ingest connections.
    pub connections: usize,
    /// Real messages instead of generated ones.
    pub corpus: Option<PathBuf>,
    /// For the queue.
    pub work_dir: Option<PathBuf>,
}

/// Why the demo cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The sink.
    #[error("the sink cannot start: {0}")]
    Sink(#[from] SinkError),
    /// The generator.
    #[error("the load generator failed: {0}")]
    Load(#[from] LoadError),
    /// The messages to send.
    #[error("the corpus {}: {source}", .directory.display())]
    Corpus {
        /// As given.
        directory: PathBuf,
        /// What the system said, or that there are none.
        source: io::Error,
    },
    /// The daemon.
    #[error("the daemon did not start:\n{0}")]
    Daemon(String),
    /// SIGINT or SIGTERM.
    #[error("interrupted; nothing of the demo is left behind")]
    Interrupted,
    /// Anything else of the system.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// How far the show has come.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Arrived at the sink.
    pub delivered: u64,
    /// Lately, messages a second.
    pub rate: f64,
}

/// Everything running, nothing sent yet.
pub struct Scene {
    terms: Terms,
    _dns: LocalDns,
    sink: SinkHandle,
    comparison: Option<Comparison>,
    /// Of messages without a stamp.
    submissions: Option<Arc<Submissions>>,
    daemon: Daemon,
    stop: Arc<AtomicBool>,
}

impl Scene {
    /// Starts everything.
    pub fn set(terms: &Terms) -> Result<Scene, DemoError> {
        // First of all: what is started from here on is also ended.
        let stop = signals::interrupted()?;
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let dns = LocalDns::start(loopback, Zone::everything_at(Ipv4Addr::LOCALHOST.into()))?;
        let submissions = terms.corpus.is_some().then(Arc::<Submissions>::default);
        let (channel, comparison) = match terms.corpus.as_ref().zip(submissions.clone()) {
            None => (None, None),
            Some((directory, submissions)) => {
                let (sender, comparison) = Comparison::start(directory, submissions)
                    .map_err(|source| DemoError::Corpus { directory: directory.clone(), source })?;
                (Some(sender), Some(comparison))
            }
        };
        let sink = Sink::start(SinkOptions {
            keep: Keep { numbers: true, check: terms.corpus.is_none(), channel, ..Keep::default() },
            ..SinkOptions::default()
        })?;
        let Some(Address::Tcp(port)) = sink.addresses().first() else {
            return Err(io::Error::other("the sink has no TCP address").into());
        };
        let daemon = Daemon::start(terms.work_dir.as_deref(), dns.address(), port.port())?;
        Ok(Scene { terms: terms.clone(), _dns: dns, sink, comparison, submissions, daemon, stop })
    }

    /// Sends everything, waits until it has arrived, proves it.
    pub fn play(self, mut watch: impl FnMut(Moment)) -> Result<Outcome, DemoError> {
        let before = self.daemon.usage()?;
        let start = Instant::now();
        let load = self.start_load();
        let mut pace = Pace::new(start);
        while !load.is_finished() {
            std::thread::sleep(LOOK);
            watch(pace.look(self.sink.counters().messages));
        }
        let report = load.join().map_err(|_| io::Error::other("the load generator panicked"))??;
        self.wait_for_deliveries(&report, &mut pace, &mut watch);
        if self.is_interrupted() {
            return Err(DemoError::Interrupted);
        }
        let usage = self.daemon.usage()?;
        let metrics = self.daemon.metrics()?;
        self.daemon.stop()?;
        let attempted = self.terms.messages;
        let proof = self.sink.tally().map(|tally| tally.prove(&report.acknowledged, attempted)).unwrap_or_default();
        let latency = self.sink.latency();
        let sink = self.sink.stop()?;
        let comparison = self.comparison.map(Comparison::finish).transpose()?;
        let cpu = usage.cpu().saturating_sub(before.cpu());
        Ok(Outcome::new(outcome::Evidence { report, proof, sink, latency, comparison, metrics, usage, cpu }))
    }

    fn start_load(&self) -> std::thread::JoinHandle<Result<LoadReport, LoadError>> {
        let options = LoadOptions {
            to: Address::Tcp(self.daemon.ingest()),
            connections: self.terms.connections,
            messages: self.terms.messages,
            size: self.terms.size,
            corpus: self.terms.corpus.clone(),
            domains: Domains::Pattern { pattern: "d%N.demo.test".into(), count: self.terms.domains },
            stamp: self.terms.corpus.is_none(),
            submissions: self.submissions.clone(),
            stop: self.stop.clone(),
            ..LoadOptions::default()
        };
        std::thread::spawn(move || Load::run(options, |_: &Progress| {}))
    }

    fn is_interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn wait_for_deliveries(&self, report: &LoadReport, pace: &mut Pace, watch: &mut impl FnMut(Moment)) {
        let all_here = |scene: &Scene| scene.sink.counters().recipients >= report.recipients;
        while !all_here(self) && !self.is_interrupted() && pace.last_arrival.elapsed() < STALL {
            std::thread::sleep(LOOK);
            watch(pace.look(self.sink.counters().messages));
        }
    }
}

/// Remembers when the last message arrived, and how fast they come.
struct Pace {
    delivered: u64,
    last_arrival: Instant,
    since: (Instant, u64),
    rate: f64,
}

impl Pace {
    fn new(start: Instant) -> Pace {
        Pace { delivered: 0, last_arrival: start, since: (start, 0), rate: 0.0 }
    }

    fn look(&mut self, delivered: u64) -> Moment {
        let now = Instant::now();
        if delivered > self.delivered {
            self.delivered = delivered;
            self.last_arrival = now;
        }
        let (from, count) = self.since;
        let elapsed = now.duration_since(from).as_secs_f64();
        if elapsed >= 0.5 {
            self.rate = (delivered - count) as f64 / elapsed;
            self.since = (now, delivered);
        }
        Moment { delivered, rate: self.rate }
    }
}
