//! A load generator: so many messages over so many connections, as fast as the server takes them or at a rate, with an
//! exact account of what was acknowledged.
//!
//! Threads run one mio loop each. Per message it encodes commands and a head of about 110 octets; the rest of the content
//! is one buffer shared by all messages, written with `writev`.
//!
//! What is refused for now (4xx) or cut off before its content was sent is tried again; what was cut off afterwards is in
//! doubt and is not, so that a second copy is never of the generator's making. Where it is to log in, every connection does
//! before it sends.

mod account;
mod connection;
mod link;
mod pacer;
mod plan;
mod report;
mod submissions;
mod worker;

pub use plan::normalise;
pub use report::{LoadReport, Progress};
pub use submissions::Submissions;

use crate::proof::IdSet;
use crate::report::{Percentiles, latency_histogram};
use crate::socket::Address;
use crate::tls::{self, TlsMode};
use account::Share;
use plan::Plan;
use smtp::client::{Login, Pipelining, Protocol, StartTls, Timeouts};
use smtp::sasl::Nonces;
use smtp::sasl::client::Credentials;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};
use worker::Worker;

/// How often progress is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Whom the recipients belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domains {
    /// These, in turn.
    List(Vec<String>),
    /// `pattern` with `%N` replaced by 0 to `count` - 1, in turn.
    Pattern {
        /// `d%N.test`.
        pattern: String,
        /// How many.
        count: u64,
    },
}

/// What to send, where, and how.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The server.
    pub to: Address,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// TLS; in clear text without. No certificate is asked for, sessions are resumed.
    pub tls: Option<TlsMode>,
    /// Who every connection logs in as, by the strongest mechanism that both sides have. One that shows the password is
    /// used over TLS only.
    pub login: Option<Credentials>,
    /// At one time.
    pub connections: usize,
    /// Event loops; 0 counts as 1, and there are never more than connections.
    pub threads: usize,
    /// How many in all.
    pub messages: u64,
    /// Messages a second; as fast as possible without.
    pub rate: Option<f64>,
    /// Octets of generated content.
    pub size: usize,
    /// Real messages instead: every `.eml` file of this directory, in turn, with CRLF line ends.
    pub corpus: Option<PathBuf>,
    /// Recipients are `<prefix><number>@domain`.
    pub prefix: String,
    /// Their domains.
    pub domains: Domains,
    /// All recipients of a message have the same domain.
    pub same_domain: bool,
    /// Of each message.
    pub recipients_per_message: u64,
    /// MAIL FROM; empty for the null reverse-path.
    pub sender: String,
    /// The EHLO name.
    pub hello_name: String,
    /// How much is in flight on a connection.
    pub pipelining: Pipelining,
    /// With `Stream`: transactions in flight on a connection.
    pub window: usize,
    /// BDAT where it is announced.
    pub chunking: bool,
    /// Put the stamp (number, time, checksum) on top of each message; see [`crate::stamp`].
    pub stamp: bool,
    /// Note here when each message was submitted.
    pub submissions: Option<Arc<Submissions>>,
    /// Of the generated text.
    pub seed: u64,
    /// Attempts for a message that is refused for now.
    pub attempts: u32,
    /// How long no connection at all may be had before the run fails.
    pub patience: Duration,
    /// The whole run; then it ends with what it has.
    pub timeout: Option<Duration>,
    /// Set to true from outside, the run submits nothing more and ends when what is in flight is answered.
    pub stop: Arc<AtomicBool>,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            to: Address::Tcp(([127, 0, 0, 1], 2525).into()),
            protocol: Protocol::Smtp,
            tls: None,
            login: None,
            connections: 20,
            threads: 1,
            messages: 10_000,
            rate: None,
            size: 10 << 10,
            corpus: None,
            prefix: "u".into(),
            domains: Domains::List(vec!["load.test".into()]),
            same_domain: false,
            recipients_per_message: 1,
            sender: "load@posthaste.test".into(),
            hello_name: "load.posthaste.test".into(),
            pipelining: Pipelining::Transaction,
            window: 8,
            chunking: true,
            stamp: true,
            submissions: None,
            seed: 0,
            attempts: 1000,
            patience: Duration::from_secs(10),
            timeout: None,
            stop: Arc::default(),
        }
    }
}

/// Why a run fails.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The list is empty, or the count 0.
    #[error("there is no domain to send to")]
    NoDomains,
    /// Sender, prefix or domain make no address.
    #[error("{text:?} is no address: {source}")]
    Address {
        /// What they make.
        text: String,
        /// Why not.
        source: smtp::address::AddressError,
    },
    /// It would not be one word on one line.
    #[error("{0:?} cannot be said in EHLO")]
    HelloName(String),
    /// The corpus cannot be read.
    #[error("{path}: {source}")]
    Corpus {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing was ready to speak SMTP there for too long.
    #[error("{to} cannot be reached: {cause}")]
    Unreachable {
        /// The server.
        to: Address,
        /// The last failure.
        cause: String,
    },
    /// The library refuses.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// A thread or an event queue.
    #[error("the operating system refused a thread or an event queue: {0}")]
    System(#[from] io::Error),
}

/// What the threads share.
struct Shared {
    plan: Plan,
    options: LoadOptions,
    client: Arc<smtp::client::Config>,
    tls: Option<(TlsMode, Arc<rustls::ClientConfig>)>,
    /// For logins.
    nonces: Nonces,
    /// The next message's number.
    next: AtomicU64,
    messages: AtomicU64,
    recipients: AtomicU64,
    deferred: AtomicU64,
    failed: AtomicU64,
    /// Ends everything at once.
    abort: AtomicBool,
}

/// Runs loads.
#[derive(Debug)]
pub struct Load;

impl Load {
    /// Sends everything; calls `progress` about ten times a second and once at the end.
    ///
    /// # Errors
    /// An impossible load, or a server that cannot be reached. What a server refuses is no error but part of the report.
    pub fn run(options: LoadOptions, mut progress: impl FnMut(&Progress)) -> Result<LoadReport, LoadError> {
        let start = Instant::now();
        let threads = options.threads.clamp(1, options.connections.max(1));
        let shared = Arc::new(Shared {
            plan: Plan::new(&options)?,
            client: Arc::new(client_config(&options)),
            tls: options.tls.map(|mode| Ok::<_, LoadError>((mode, tls::client_config()?))).transpose()?,
            nonces: Nonces::new(tls::random().map_err(io::Error::other)?),
            next: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            recipients: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            abort: AtomicBool::new(false),
            options,
        });
        let (ended, endings) = crossbeam_channel::unbounded();
        for index in 0..threads {
            let worker = Worker::new(shared.clone(), index, threads, start)?;
            let ended = ended.clone();
            let run = move || {
                // The receiver outlives every sender.
                let _ = ended.send(worker.run());
            };
            std::thread::Builder::new().name(format!("load-{index}")).spawn(run)?;
        }
        drop(ended);
        let mut shares = Vec::new();
        let mut failure = None;
        loop {
            match endings.recv_timeout(PROGRESS_INTERVAL) {
                Ok(Ok(share)) => shares.push(share),
                Ok(Err(error)) => {
                    shared.abort.store(true, Relaxed);
                    failure = failure.or(Some(error));
                }
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break,
            }
            progress(&shared.progress(start));
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(report(&shared, shares)),
        }
    }
}

fn client_config(options: &LoadOptions) -> smtp::client::Config {
    smtp::client::Config {
        hello_name: options.hello_name.as_str().into(),
        protocol: options.protocol,
        extended: true,
        starttls: if options.tls == Some(TlsMode::StartTls) { StartTls::Required } else { StartTls::Off },
        pipelining: options.pipelining,
        window: options.window.max(1),
        chunking: options.chunking,
        login: None,
        careful: false,
        timeouts: Timeouts::default(),
    }
}

impl Shared {
    /// For one connection.
    fn client_config(&self) -> Arc<smtp::client::Config> {
        let Some(credentials) = self.options.login.clone() else { return self.client.clone() };
        let login = Login { credentials, nonce: self.nonces.issue().into(), in_clear: false };
        Arc::new(smtp::client::Config { login: Some(login), ..(*self.client).clone() })
    }

    fn tls_from_the_start(&self) -> Option<&Arc<rustls::ClientConfig>> {
        self.tls.as_ref().filter(|(mode, _)| *mode == TlsMode::Implicit).map(|(_, config)| config)
    }

    fn progress(&self, start: Instant) -> Progress {
        Progress {
            total: self.options.messages,
            messages: self.messages.load(Relaxed),
            recipients: self.recipients.load(Relaxed),
            deferred: self.deferred.load(Relaxed),
            failed: self.failed.load(Relaxed),
            elapsed: start.elapsed(),
        }
    }
}

fn report(shared: &Shared, shares: Vec<Share>) -> LoadReport {
    let mut report = LoadReport::default();
    let mut latency = latency_histogram();
    let mut span: Option<(Instant, Instant)> = None;
    for share in shares {
        report.messages += share.messages;
        report.bytes += share.bytes;
        report.connections_opened += share.connections_opened;
        report.connection_failures += share.connection_failures;
        report.cpu_seconds += share.cpu.as_secs_f64();
        for (total, part) in [(&mut report.refused, &share.refused), (&mut report.deferred, &share.deferred)] {
            part.iter().for_each(|(code, count)| *total.entry(*code).or_default() += count);
        }
        unite(&mut report.acknowledged, share.acknowledged);
        unite(&mut report.doubtful, share.doubtful);
        latency.add(&share.latency).expect("all histograms have the same bounds");
        span = match (span, share.span) {
            (Some((first, last)), Some((f, l))) => Some((first.min(f), last.max(l))),
            (one, other) => one.or(other),
        };
    }
    report.recipients = report.acknowledged.len();
    report.in_doubt = report.doubtful.len();
    let settled = report.recipients + report.in_doubt + report.refused.values().sum::<u64>();
    let asked = shared.options.messages.saturating_mul(shared.plan.recipients_per_message);
    report.unfinished = asked.saturating_sub(settled);
    report.latency_ms = Percentiles::of_micros(&latency);
    if let Some((first, last)) = span {
        let started = SystemTime::now() - first.elapsed();
        report.started = started.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        report.seconds = (last - first).as_secs_f64();
    }
    if report.seconds > 0.0 {
        report.messages_per_second = report.messages as f64 / report.seconds;
        report.recipients_per_second = report.recipients as f64 / report.seconds;
    }
    if report.messages > 0 {
        report.cpu_ms_per_message = report.cpu_seconds * 1000.0 / report.messages as f64;
    }
    report
}

fn unite(total: &mut IdSet, part: IdSet) {
    if total.is_empty() { *total = part } else { total.union(&part) }
}
