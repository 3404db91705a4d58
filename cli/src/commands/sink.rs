//! `posthaste sink`.

use crate::exit::{Exit, Failure};
use crate::terminal;
use bench::Address;
use bench::sink::{Certificate, Keep, Rule, SinkOptions, Tls, TlsMode};
use engine::config::{parse_duration, parse_size};
use smtp::client::Protocol;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often it looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);

/// A fast SMTP server that accepts and counts; for tests and benchmarks
///
/// Runs until interrupted (or --for, --messages), then prints what it counted. A rule makes it misbehave; the first that
/// applies wins:
///
///   STAGE [to=GLOB] [from=GLOB] [p=0.1] [every=N] [skip=N] [first=N] [delay=TIME] ACTION
///   STAGE   connect greeting hello starttls tls mail rcpt data body final idle
///   ACTION  reply CODE [X.Y.Z] TEXT | ok | stall | close | reset | garbage | lose
///
/// For example "rcpt to=*@full.test reply 452 4.2.2 mailbox full", "final delay=200ms ok".
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Sink {
    /// Where to listen: ADDRESS:PORT or unix:/path; may be given several times
    #[arg(long, required = true, value_name = "ADDR")]
    bind: Vec<Address>,
    /// How to misbehave; may be given several times
    #[arg(long, value_name = "RULE")]
    rule: Vec<Rule>,
    /// Every reply leaves this much later, as over a long line
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0ms")]
    reply_delay: Duration,
    /// Event loops
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Name in the greeting and in a certificate
    #[arg(long, default_value = "sink.test")]
    hostname: String,
    /// Speak LMTP
    #[arg(long)]
    lmtp: bool,
    /// Offer TLS
    #[arg(long, value_name = "starttls|implicit", value_parser = parse_tls)]
    tls: Option<TlsMode>,
    /// PEM file with the certificate; default: one made at start
    #[arg(long, value_name = "FILE", requires = "key", requires = "tls")]
    certificate: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Do not announce PIPELINING
    #[arg(long)]
    no_pipelining: bool,
    /// Do not announce CHUNKING
    #[arg(long)]
    no_chunking: bool,
    /// Do not announce 8BITMIME
    #[arg(long)]
    no_8bitmime: bool,
    /// Do not announce SMTPUTF8
    #[arg(long)]
    no_smtputf8: bool,
    /// Announced as SIZE
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "100MiB")]
    max_message_size: u64,
    /// Per message
    #[arg(long, default_value_t = 50_000)]
    max_recipients: usize,
    /// At once
    #[arg(long, default_value_t = 50_000)]
    max_connections: u64,
    /// Write each message and its envelope into this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Compare content with `posthaste load`'s stamp, and measure how long it was under way
    #[arg(long)]
    check: bool,
    /// Count how often each numbered recipient of `posthaste load` came
    #[arg(long)]
    numbers: bool,
    /// For the rules' p=
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    for_time: Option<Duration>,
    /// End after so many messages
    #[arg(long)]
    messages: Option<u64>,
    /// One JSON object at the end
    #[arg(long)]
    json: bool,
}

fn parse_tls(text: &str) -> Result<TlsMode, String> {
    match text {
        "starttls" => Ok(TlsMode::StartTls),
        "implicit" => Ok(TlsMode::Implicit),
        _ => Err("starttls or implicit".into()),
    }
}

impl Sink {
    /// Does it.
    pub fn run(self) -> Result<Exit, Failure> {
        let stop = interrupted()?;
        if let Some(directory) = &self.keep {
            std::fs::create_dir_all(directory)?;
        }
        let (json, end, enough) = (self.json, self.for_time.map(|time| Instant::now() + time), self.messages);
        let sink = bench::sink::Sink::start(self.options())
            .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        for address in sink.addresses() {
            eprintln!("listening on {address}");
        }
        let is_over = || {
            stop.load(Ordering::Relaxed)
                || end.is_some_and(|end| Instant::now() >= end)
                || enough.is_some_and(|enough| sink.counters().messages >= enough)
        };
        while !is_over() {
            std::thread::sleep(TICK);
        }
        let report = sink.stop()?;
        if json {
            terminal::print_json(&report)?;
        } else {
            let counters = &report.counters;
            let refused: u64 = counters.refused.values().sum();
            let text = format!(
                "{} messages, {} recipients, {} bytes over {} connections (at most {} at once); {refused} refused\n",
                counters.messages,
                counters.recipients,
                counters.bytes,
                counters.connections_opened,
                counters.connections_peak
            );
            terminal::print(&text)?;
        }
        Ok(Exit::Done)
    }

    fn options(self) -> SinkOptions {
        let certificate = match (self.certificate, self.key) {
            (Some(chain), Some(key)) => Certificate::Files { chain, key },
            _ => Certificate::SelfSigned,
        };
        SinkOptions {
            bind: self.bind,
            hostname: self.hostname,
            threads: self.threads,
            tls: self.tls.map(|mode| Tls { certificate, mode }),
            protocol: if self.lmtp { Protocol::Lmtp } else { Protocol::Smtp },
            pipelining: !self.no_pipelining,
            chunking: !self.no_chunking,
            eight_bit_mime: !self.no_8bitmime,
            smtputf8: !self.no_smtputf8,
            max_message_bytes: usize::try_from(self.max_message_size).unwrap_or(usize::MAX),
            max_recipients: self.max_recipients,
            max_connections: self.max_connections,
            rules: self.rule,
            reply_delay: self.reply_delay,
            keep: Keep { numbers: self.numbers, check: self.check, directory: self.keep, channel: None },
            seed: self.seed,
            ..SinkOptions::default()
        }
    }
}

/// Becomes true at SIGINT or SIGTERM; a second one ends the program at once.
pub fn interrupted() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the second signal finds the flag set.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}
