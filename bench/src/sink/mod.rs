//! A fast SMTP or LMTP server that takes everything and keeps what it is asked to keep, and that can misbehave by rule.
//!
//! Threads run one mio loop each; the first accepts and deals connections out evenly. Per message it allocates what the
//! machine needs for addresses and nothing else; content is never copied, and discarded at once where nobody looks at it.
//!
//! Not here: a queue, durability, any judgement of the client.

mod connection;
mod framer;
mod glob;
mod outbox;
mod record;
mod rule;
mod rule_text;
mod script;
mod step;
mod tls;
mod transport;
mod worker;

pub use glob::Glob;
pub use record::{Counters, Keep, Received, SinkReport};
pub use rule::{Action, Rule, Stage};
pub use rule_text::{RULE_HELP, RuleError};
pub use tls::{Certificate, Tls, TlsError, TlsMode};

use crate::proof::Tally;
use crate::report::Percentiles;
use crate::socket::{Address, Listener, Socket};
use crossbeam_channel::{Receiver, Sender};
use hdrhistogram::Histogram;
use mio::{Poll, Waker};
use record::Record;
use rule::RuleSet;
use smtp::server::Protocol;
use smtp::{EnhancedCode, Reply};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use worker::{Mate, Worker};

const ACCEPTED: Reply = Reply::fixed(250, EnhancedCode(2, 0, 0), "Ok");

/// How a sink behaves.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// At least one; port 0 takes a free one.
    pub bind: Vec<Address>,
    /// In the greeting, the EHLO reply and a certificate that is made for it.
    pub hostname: String,
    /// Event loops; 0 counts as 1.
    pub threads: usize,
    /// Neither STARTTLS nor implicit TLS without it.
    pub tls: Option<Tls>,
    /// Clients that come again may go on with their TLS session (tickets under TLS 1.3, session ids under 1.2).
    pub tls_resumption: bool,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// Announce PIPELINING.
    pub pipelining: bool,
    /// Announce CHUNKING.
    pub chunking: bool,
    /// Announce 8BITMIME.
    pub eight_bit_mime: bool,
    /// Announce BINARYMIME (of use with CHUNKING and 8BITMIME only).
    pub binary_mime: bool,
    /// Announce SMTPUTF8.
    pub smtputf8: bool,
    /// Announce DSN.
    pub dsn: bool,
    /// Announce REQUIRETLS once TLS is up.
    pub require_tls: bool,
    /// Announce MT-PRIORITY.
    pub mt_priority: bool,
    /// Announce DELIVERBY.
    pub deliver_by: bool,
    /// Announce LIMITS with `max_recipients`.
    pub limits: bool,
    /// Announced as SIZE; 552 beyond. Octets.
    pub max_message_bytes: usize,
    /// Per message; 452 beyond.
    pub max_recipients: usize,
    /// 421 4.3.2 beyond.
    pub max_connections: u64,
    /// Silence before 421 4.4.2.
    pub idle_timeout: Duration,
    /// Misbehaviour; [`RULE_HELP`] has the written form.
    pub rules: Vec<Rule>,
    /// Every reply leaves this much later: a round trip that is longer by so much, which pipelining can hide.
    pub reply_delay: Duration,
    /// What to keep.
    pub keep: Keep,
    /// For the rules' `p=`.
    pub seed: u64,
}

impl Default for SinkOptions {
    fn default() -> SinkOptions {
        SinkOptions {
            bind: vec![Address::Tcp(([127, 0, 0, 1], 0).into())],
            hostname: "sink.test".into(),
            threads: 1,
            tls: None,
            tls_resumption: true,
            protocol: Protocol::Smtp,
            pipelining: true,
            chunking: true,
            eight_bit_mime: true,
            binary_mime: true,
            smtputf8: true,
            dsn: true,
            require_tls: true,
            mt_priority: true,
            deliver_by: true,
            limits: true,
            max_message_bytes: 100 << 20,
            max_recipients: 50_000,
            max_connections: 50_000,
            idle_timeout: Duration::from_secs(300),
            rules: Vec::new(),
            reply_delay: Duration::ZERO,
            keep: Keep::default(),
            seed: 0,
        }
    }
}

/// Why a sink does not start.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread or an event queue.
    #[error("the operating system refused a thread or an event queue: {0}")]
    System(#[from] io::Error),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    Open,
    /// When all is written, with a FIN.
    Close,
    /// With a reset.
    Reset,
}

/// What the threads of a sink share.
struct Shared {
    machine: Arc<smtp::server::Config>,
    tls: Option<Arc<rustls::ServerConfig>>,
    implicit_tls: bool,
    max_connections: u64,
    reply_delay: Duration,
    record: Record,
    rules: RwLock<Arc<RuleSet>>,
    stop: AtomicBool,
}

impl Shared {
    fn rules(&self) -> Arc<RuleSet> {
        self.rules.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

/// Starts sinks.
#[derive(Debug)]
pub struct Sink;

impl Sink {
    /// Binds every address and starts the threads; connections are accepted when it returns.
    ///
    /// # Errors
    /// An address that cannot be bound, a certificate that cannot be used, or no thread to be had.
    pub fn start(options: SinkOptions) -> Result<SinkHandle, SinkError> {
        let bind = |address: &Address| {
            Listener::bind(address).map_err(|source| SinkError::Bind { address: address.clone(), source })
        };
        let mut listeners = options.bind.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let addresses = listeners.iter().map(Listener::address).collect::<Result<Vec<_>, _>>()?;
        let shared = Arc::new(share(&options)?);

        let mut seats = Vec::new();
        let mut mates = Vec::new();
        for _ in 0..options.threads.max(1) {
            let poll = Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), worker::WAKER)?);
            let (inbox, sockets): (Sender<Socket>, Receiver<Socket>) = crossbeam_channel::unbounded();
            mates.push(Mate { inbox, waker });
            seats.push((poll, sockets));
        }
        let wakers: Vec<_> = mates.iter().map(|mate| mate.waker.clone()).collect();
        let mut threads = Vec::new();
        for (index, (poll, inbox)) in seats.into_iter().enumerate() {
            let worker = Worker {
                poll,
                shared: shared.clone(),
                inbox,
                mates: std::mem::take(&mut mates),
                listeners: std::mem::take(&mut listeners),
                random: fastrand::Rng::with_seed(options.seed.wrapping_add(index as u64)),
            };
            let builder = std::thread::Builder::new().name(format!("sink-{index}"));
            threads.push(builder.spawn(move || worker.run())?);
        }
        Ok(SinkHandle { shared, addresses, wakers, threads })
    }
}

fn share(options: &SinkOptions) -> Result<Shared, SinkError> {
    let mode = options.tls.as_ref().map(|tls| tls.mode);
    let make = |tls: &Tls| tls::server_config(&tls.certificate, &options.hostname, options.tls_resumption);
    let tls = options.tls.as_ref().map(make).transpose()?;
    let machine = smtp::server::Config {
        hostname: options.hostname.clone(),
        protocol: options.protocol,
        max_message_bytes: options.max_message_bytes,
        max_recipients: options.max_recipients,
        idle_timeout: options.idle_timeout,
        starttls: mode == Some(TlsMode::StartTls),
        pipelining: options.pipelining,
        chunking: options.chunking,
        eight_bit_mime: options.eight_bit_mime,
        binary_mime: options.binary_mime,
        smtputf8: options.smtputf8,
        dsn: options.dsn,
        require_tls: options.require_tls,
        mt_priority: options.mt_priority,
        deliver_by: options.deliver_by,
        limits: options.limits,
        bare_newline: smtp::server::BareNewline::Keep,
        discard_content: !options.keep.content(),
        ..smtp::server::Config::default()
    };
    Ok(Shared {
        machine: Arc::new(machine),
        tls,
        implicit_tls: mode == Some(TlsMode::Implicit),
        max_connections: options.max_connections,
        reply_delay: options.reply_delay,
        record: Record::new(options.keep.clone()),
        rules: RwLock::new(Arc::new(RuleSet::new(options.rules.clone()))),
        stop: AtomicBool::new(false),
    })
}

/// A running sink. Dropping it stops it.
pub struct SinkHandle {
    shared: Arc<Shared>,
    addresses: Vec<Address>,
    wakers: Vec<Arc<Waker>>,
    threads: Vec<JoinHandle<io::Result<Duration>>>,
}

impl SinkHandle {
    /// As bound, in the order of the options.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Counts so far.
    pub fn counters(&self) -> Counters {
        self.shared.record.counters()
    }

    /// How often each numbered recipient came, if that was asked for.
    pub fn tally(&self) -> Option<&Tally> {
        self.shared.record.tally.as_ref()
    }

    /// Submitted to received, in microseconds, of stamped messages, if that was asked for.
    pub fn latency(&self) -> Option<Histogram<u64>> {
        self.shared.record.latency()
    }

    /// Replaces the rules, with fresh counts. Open connections follow them from their next transaction on; one that has
    /// been stalled stays stalled.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        *self.shared.rules.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(RuleSet::new(rules));
        self.wake();
    }

    fn wake(&self) {
        for waker in &self.wakers {
            // Fails only when that thread is gone.
            let _ = waker.wake();
        }
    }

    /// Closes all connections and listeners and waits for the threads: from then on what was counted stays as it is. CPU
    /// time of the threads.
    ///
    /// # Errors
    /// What a thread ended with, if it did not end by itself.
    pub fn halt(&mut self) -> io::Result<Duration> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wake();
        let mut cpu = Duration::ZERO;
        for thread in self.threads.drain(..) {
            cpu += thread.join().map_err(|_| io::Error::other("a sink thread panicked"))??;
        }
        Ok(cpu)
    }

    /// Halts it, and says what it saw.
    ///
    /// # Errors
    /// What a thread ended with, if it did not end by itself.
    pub fn stop(mut self) -> io::Result<SinkReport> {
        let cpu = self.halt()?;
        Ok(SinkReport {
            counters: self.counters(),
            latency_ms: self.latency().map(|histogram| Percentiles::of_micros(&histogram)),
            doubled: self.tally().map(Tally::doubled),
            cpu_seconds: cpu.as_secs_f64(),
        })
    }
}

impl Drop for SinkHandle {
    fn drop(&mut self) {
        // Whoever wants to know calls `stop`.
        let _ = self.halt();
    }
}
