//! `posthaste sink`.

mod figures;

pub use figures::percentiles;

use crate::exit::{Exit, Failure};
use crate::signals::Signals;
use crate::{terminal, units};
use bench::Address;
use bench::sink::{Certificate, Keep, RULE_HELP, Rule, SinkHandle, SinkOptions, Tls, TlsMode};
use figures::{Figures, live};
use smtp::client::Protocol;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often a terminal sees new figures.
const SHOW_INTERVAL: Duration = Duration::from_secs(1);
/// How often it looks whether there are enough messages.
const COUNT_INTERVAL: Duration = Duration::from_millis(20);

/// A fast SMTP server that counts; can delay, refuse, defer, stall and drop by rule
///
/// For tests and benchmarks: it plays the destinations. What it takes is gone unless --store
/// keeps it. It runs until SIGINT or SIGTERM (or --for, --messages), then prints what it
/// counted; on a terminal it shows its counters meanwhile. Where --expect or --verify ask for
/// a proof, the exit code says whether it holds.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_long_help = format!("{EXAMPLES}\n\nRules: {RULE_HELP}"), after_help = EXAMPLES)]
pub struct Sink {
    /// Where to listen: 127.0.0.1:2526, 127.0.0.1:0 (a free port) or unix:/path; repeatable
    #[arg(long, required = true, value_name = "ADDR")]
    bind: Vec<Address>,
    /// How to misbehave (`--help` explains rules); the first that applies wins; repeatable
    #[arg(long, value_name = "RULE")]
    rule: Vec<Rule>,
    /// Every reply leaves this much later, as if the sink were far away: 20ms
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "0s")]
    delay: Duration,
    /// Event loops
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Name in the greeting and in a certificate
    #[arg(long, value_name = "NAME", default_value = "sink.test")]
    hostname: String,
    /// Speak LMTP: a reply for each recipient
    #[arg(long)]
    lmtp: bool,
    /// Offer TLS: after STARTTLS, or from the first octet
    #[arg(long, value_name = "starttls|implicit", value_parser = parse_tls)]
    tls: Option<TlsMode>,
    /// Make every TLS handshake a full one
    #[arg(long, requires = "tls")]
    no_resumption: bool,
    /// PEM file with the certificate and its chain; without it, a self-signed one is made
    #[arg(long, value_name = "FILE", requires_all = ["key", "tls"])]
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
    /// Do not announce DSN
    #[arg(long)]
    no_dsn: bool,
    /// Do not announce DELIVERBY
    #[arg(long)]
    no_deliverby: bool,
    /// Do not announce REQUIRETLS, which is announced once TLS is up
    #[arg(long)]
    no_requiretls: bool,
    /// Announced as SIZE; 552 beyond: 25MiB, 10240 (octets)
    #[arg(long, value_name = "SIZE", value_parser = units::size, default_value = "100MiB")]
    max_message_size: usize,
    /// Recipients of a message; 452 beyond
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    max_recipients: usize,
    /// Connections at once; 421 beyond
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    max_connections: u64,
    /// Silence before 421: 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = units::interval, default_value = "5m")]
    idle_timeout: Duration,
    /// Write each message into this directory: 00000000.eml, and its envelope 00000000.json
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Compare content with the stamp of `posthaste load` (70 if any differs), and measure how
    /// long it was under way
    #[arg(long)]
    verify: bool,
    /// Count how often each numbered recipient of `posthaste load` came, to find doubled ones
    #[arg(long)]
    ids: bool,
    /// Recipients numbered 0 to N-1 should come, each once: say how many did not, and how many
    /// came more than once, and end with 70 if any (implies --ids)
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// For the rules' p=
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// End after this time: 30s, 5m
    #[arg(long = "for", value_name = "TIME", value_parser = units::interval)]
    for_time: Option<Duration>,
    /// End after so many messages
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// Print the figures as a JSON line this often: 1s. (SIGUSR1 prints one at once)
    #[arg(long, value_name = "TIME", value_parser = units::interval)]
    stats_every: Option<Duration>,
    /// End with one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn parse_tls(text: &str) -> Result<TlsMode, String> {
    match text {
        "starttls" => Ok(TlsMode::StartTls),
        "implicit" => Ok(TlsMode::Implicit),
        _ => Err("starttls or implicit".into()),
    }
}

const EXAMPLES: &str = "\
Examples:
  posthaste sink --bind 127.0.0.1:2526
  posthaste sink --bind 127.0.0.1:2526 --rule 'rcpt to=*@full.test reply 452 4.2.2 mailbox full'
  posthaste sink --bind unix:/tmp/s --rule 'final delay=200ms ok' --rule 'body p=0.01 reset'
  posthaste sink --bind [::1]:2526 --rule 'final keep close'   # takes it, dies before it says so
  posthaste sink --bind 127.0.0.1:2526 --expect 100000 --verify --json  # proves `load -n 100000`

Exit codes: 0 done, and what was to be proven holds, 69 an address cannot be had,
            70 something was lost or doubled (--expect) or corrupted (--verify),
            74 something could not be written (--store)";

impl Sink {
    /// Does it.
    pub fn run(self) -> Result<Exit, Failure> {
        let signals = Signals::catch()?;
        if let Some(directory) = &self.store {
            std::fs::create_dir_all(directory)
                .map_err(|error| Failure::new(Exit::Io, format!("--store {}: {error}", directory.display())))?;
        }
        let mut sink = bench::sink::Sink::start(self.options())
            .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        for address in sink.addresses() {
            terminal::note(&format!("listening on {address}"));
        }
        let start = Instant::now();
        self.watch(&sink, &signals, start)?;
        // Only then nothing is counted here and not yet there.
        sink.halt()?;
        let figures = Figures::of(&sink, start, self.expect);
        figures.print(self.json)?;
        figures.verdict()
    }

    /// Until it is to end.
    fn watch(&self, sink: &SinkHandle, signals: &Signals, start: Instant) -> Result<(), Failure> {
        let bar = terminal::status_line();
        let mut stats = self.stats_every.map(|interval| Tick::new(interval, start));
        let mut show = (!bar.is_hidden()).then(|| Tick::new(SHOW_INTERVAL, start));
        let mut count = self.messages.map(|_| Tick::new(COUNT_INTERVAL, start));
        let end = self.for_time.map(|time| start + time);
        let enough = || self.messages.is_some_and(|enough| sink.counters().messages >= enough);
        let mut before = (start, 0);
        while !signals.stop() && !enough() && end.is_none_or(|end| Instant::now() < end) {
            let ticks = [&stats, &show, &count];
            signals.wait(ticks.iter().filter_map(|tick| Some(tick.as_ref()?.at)).chain(end).min());
            let now = Instant::now();
            let is_due = |tick: &mut Option<Tick>| tick.as_mut().is_some_and(|tick| tick.is_due(now));
            is_due(&mut count);
            if is_due(&mut stats) | signals.take_show() {
                bar.suspend(|| Figures::of(sink, start, self.expect).print(true))?;
            }
            if is_due(&mut show) {
                let counters = sink.counters();
                let rate = (counters.messages - before.1) as f64 / (now - before.0).as_secs_f64();
                before = (now, counters.messages);
                bar.set_message(live(&counters, rate));
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn options(&self) -> SinkOptions {
        let certificate = match (&self.certificate, &self.key) {
            (Some(chain), Some(key)) => Certificate::Files { chain: chain.clone(), key: key.clone() },
            _ => Certificate::SelfSigned,
        };
        SinkOptions {
            bind: self.bind.clone(),
            hostname: self.hostname.clone(),
            threads: self.threads,
            tls: self.tls.map(|mode| Tls { certificate, mode }),
            tls_resumption: !self.no_resumption,
            protocol: if self.lmtp { Protocol::Lmtp } else { Protocol::Smtp },
            pipelining: !self.no_pipelining,
            chunking: !self.no_chunking,
            eight_bit_mime: !self.no_8bitmime,
            smtputf8: !self.no_smtputf8,
            dsn: !self.no_dsn,
            deliver_by: !self.no_deliverby,
            require_tls: !self.no_requiretls,
            max_message_bytes: self.max_message_size,
            max_recipients: self.max_recipients,
            max_connections: self.max_connections,
            idle_timeout: self.idle_timeout,
            rules: self.rule.clone(),
            reply_delay: self.delay,
            keep: Keep {
                numbers: self.ids || self.expect.is_some(),
                check: self.verify,
                directory: self.store.clone(),
                channel: None,
            },
            seed: self.seed,
            ..SinkOptions::default()
        }
    }
}

/// Something that is done regularly.
struct Tick {
    interval: Duration,
    at: Instant,
}

impl Tick {
    fn new(interval: Duration, start: Instant) -> Tick {
        Tick { interval, at: start + interval }
    }

    /// Whether its time has come; then the next is an interval away, but never in the past.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.at <= now;
        if is_due {
            self.at = (self.at + self.interval).max(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_come_in_their_interval() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut tick = Tick::new(second, start);
        assert_eq!([start, start + second, start + second].map(|now| tick.is_due(now)), [false, true, false]);
        // After a long sleep they do not come in a bunch.
        assert!(tick.is_due(start + 10 * second) && tick.at == start + 10 * second);
    }
}
