//! `posthaste load`.

use super::account::Account;
use super::sink::percentiles;
use crate::exit::{Exit, Failure};
use crate::signals::interrupted;
use crate::units::{show_bytes, show_count, show_rate};
use crate::{terminal, units};
use bench::Address;
use bench::load::{Domains, LoadError, LoadOptions, LoadReport, Progress};
use bench::tls::TlsMode;
use indicatif::ProgressBar;
use smtp::client::{Pipelining, Protocol};
use std::path::PathBuf;
use std::time::Duration;

/// A fast SMTP load generator; prints throughput and latency percentiles
///
/// Recipients are numbered and no number comes twice, so that `posthaste sink --expect` can
/// prove what was lost or doubled. What is refused for now (4xx) is tried again; what may have
/// been taken is not. SIGINT ends the run in good order.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub struct Load {
    /// The server: 127.0.0.1:2525 or unix:/path
    #[arg(long, value_name = "ADDR")]
    to: Address,
    /// How many messages
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10_000)]
    messages: u64,
    /// Connections at once
    #[arg(long, short = 'c', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    connections: u64,
    /// Event loops
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// No faster than this: 500/s, 6000/m, or a number a second; latency then counts from when
    /// a message was due
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Of each message: 10KiB, 10240 (octets)
    #[arg(long, value_name = "SIZE", value_parser = units::size, default_value = "10KiB")]
    size: usize,
    /// Send the .eml files of this directory in turn
    #[arg(long, value_name = "DIR", conflicts_with = "size")]
    corpus: Option<PathBuf>,
    /// Domains of the recipients, in turn; or how many, made from --domain-pattern
    #[arg(long, value_name = "N|NAME...", value_delimiter = ',', default_value = "load.test")]
    domains: Vec<String>,
    /// For --domains N; %N is the number
    #[arg(long, value_name = "NAME", default_value = "d%N.test")]
    domain_pattern: String,
    /// All recipients of a message in one domain
    #[arg(long)]
    same_domain: bool,
    /// Recipients of each message
    #[arg(long, short = 'r', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    recipients: u64,
    /// Reverse-path; "" for none
    #[arg(long, value_name = "ADDRESS", default_value = "load@posthaste.test")]
    from: String,
    /// Recipients are PREFIX + number
    #[arg(long, value_name = "PREFIX", default_value = "u")]
    prefix: String,
    /// EHLO name
    #[arg(long, value_name = "NAME", default_value = "load.posthaste.test")]
    hello: String,
    /// Speak LMTP
    #[arg(long)]
    lmtp: bool,
    /// Encrypt: by STARTTLS, or from the first octet. Any certificate will do
    #[arg(long, value_name = "starttls|implicit", value_parser = super::sink::parse_tls)]
    tls: Option<TlsMode>,
    #[command(flatten)]
    account: Account,
    /// How much is in flight on a connection
    #[arg(long, value_name = "off|transaction|stream", value_parser = parse_pipelining, default_value = "transaction")]
    pipelining: Pipelining,
    /// Transactions in flight on a connection, with --pipelining stream
    #[arg(long, value_name = "N", default_value_t = 8)]
    window: usize,
    /// Use DATA even where CHUNKING is announced
    #[arg(long)]
    no_chunking: bool,
    /// Leave out the stamp by which `posthaste sink --verify` knows the message
    #[arg(long)]
    no_stamp: bool,
    /// Attempts for a message that is refused for now
    #[arg(long, value_name = "N", default_value_t = 1000)]
    attempts: u32,
    /// Give up when no connection at all could be had for so long: 10s
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "10s")]
    patience: Duration,
    /// End after this time with what there is: 5m
    #[arg(long, value_name = "TIME", value_parser = units::interval)]
    timeout: Option<Duration>,
    /// Seed of the generated text
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// End with one JSON object instead of text
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  posthaste load --to 127.0.0.1:2525
  posthaste load --to unix:/run/posthaste/ingest.sock -n 100000 -c 50 --threads 2
  posthaste load --to 127.0.0.1:2525 --domains 1000 --recipients 10 --same-domain
  posthaste load --to 127.0.0.1:2525 --rate 500/s --size 100KiB --json
  posthaste load --to 127.0.0.1:465 --tls implicit --from ann@example.com \\
      --user ann@example.com --password-file password

Exit codes: 0 all acknowledged, 69 unreachable or something refused for good,
            75 something unfinished or in doubt";

/// Messages a second: `500/s`, `6000/m`, `0.5`.
fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if f64::is_finite(rate) && rate > 0.0 => Ok(rate),
        Ok(_) => Err("a rate is above 0".into()),
        Err(_) => units::rate(text),
    }
}

fn parse_pipelining(text: &str) -> Result<Pipelining, String> {
    match text {
        "off" => Ok(Pipelining::Off),
        "transaction" => Ok(Pipelining::Transaction),
        "stream" => Ok(Pipelining::Stream),
        _ => Err("off, transaction or stream".into()),
    }
}

fn parse_domains(written: Vec<String>, pattern: String) -> Domains {
    match written.as_slice() {
        [one] if !one.is_empty() && one.bytes().all(|byte| byte.is_ascii_digit()) => {
            Domains::Pattern { pattern, count: one.parse().unwrap_or(u64::MAX) }
        }
        _ => Domains::List(written),
    }
}

impl Load {
    /// Does it.
    pub fn run(self) -> Result<Exit, Failure> {
        let json = self.json;
        let login = self.account.credentials()?;
        let options = LoadOptions { stop: interrupted()?, login, ..self.options() };
        let bar = terminal::progress_bar(options.messages);
        let mut rate = LiveRate::default();
        let report = bench::load::Load::run(options, |progress| show(&bar, &mut rate, progress));
        bar.finish_and_clear();
        let report = report.map_err(failure)?;
        if json {
            terminal::print_json(&report)?
        } else {
            terminal::print(&text(&report))?
        }
        Ok(outcome(&report))
    }

    fn options(self) -> LoadOptions {
        LoadOptions {
            to: self.to,
            protocol: if self.lmtp { Protocol::Lmtp } else { Protocol::Smtp },
            tls: self.tls,
            connections: self.connections as usize,
            threads: self.threads,
            messages: self.messages,
            rate: self.rate.filter(|rate| rate.is_finite()),
            size: self.size,
            corpus: self.corpus,
            prefix: self.prefix,
            domains: parse_domains(self.domains, self.domain_pattern),
            same_domain: self.same_domain,
            recipients_per_message: self.recipients,
            sender: self.from,
            hello_name: self.hello,
            pipelining: self.pipelining,
            window: self.window,
            chunking: !self.no_chunking,
            stamp: !self.no_stamp,
            attempts: self.attempts,
            patience: self.patience,
            timeout: self.timeout,
            seed: self.seed,
            ..LoadOptions::default()
        }
    }
}

fn failure(error: LoadError) -> Failure {
    let exit = match &error {
        LoadError::NoDomains | LoadError::Address { .. } | LoadError::HelloName(_) => Exit::Usage,
        LoadError::Corpus { .. } => Exit::NoInput,
        LoadError::Unreachable { .. } => Exit::Unavailable,
        LoadError::System(_) | LoadError::Tls(_) => Exit::Io,
    };
    Failure::new(exit, error.to_string())
}

/// Refused for good outweighs what might go better at another time.
fn outcome(report: &LoadReport) -> Exit {
    match () {
        () if !report.refused.is_empty() => Exit::Unavailable,
        () if report.in_doubt + report.unfinished > 0 => Exit::Temporary,
        () => Exit::Done,
    }
}

/// Messages a second over the last second or so.
#[derive(Debug, Default)]
struct LiveRate {
    at: Duration,
    messages: u64,
    per_second: f64,
}

impl LiveRate {
    fn update(&mut self, progress: &Progress) -> f64 {
        let passed = progress.elapsed.saturating_sub(self.at);
        // The first figure comes soon, later ones are steadier.
        if passed >= Duration::from_secs(1) || self.at.is_zero() && passed >= Duration::from_millis(200) {
            self.per_second = progress.messages.saturating_sub(self.messages) as f64 / passed.as_secs_f64();
            (self.at, self.messages) = (progress.elapsed, progress.messages);
        }
        self.per_second
    }
}

fn show(bar: &ProgressBar, rate: &mut LiveRate, progress: &Progress) {
    let rate = show_rate(rate.update(progress));
    bar.set_position(progress.messages);
    bar.set_message(format!("{rate}, {} deferred, {} failed", progress.deferred, progress.failed));
}

fn text(report: &LoadReport) -> String {
    let (per_second, cpu_ms) = (show_rate(report.messages_per_second), report.cpu_ms_per_message);
    let recipients_per_second = show_rate(report.recipients_per_second);
    let mut rows = vec![
        ("messages".to_owned(), format!("{} in {:.2} s, {per_second}", show_count(report.messages), report.seconds)),
        ("recipients".into(), format!("{}, {recipients_per_second}", show_count(report.recipients))),
        ("content".into(), show_bytes(report.bytes)),
        ("latency".into(), percentiles(&report.latency_ms)),
        (
            "connections".into(),
            format!("{}, {} failed", show_count(report.connections_opened), show_count(report.connection_failures)),
        ),
        ("own CPU".into(), format!("{cpu_ms:.4} ms a message")),
    ];
    for (what, codes) in [("refused", &report.refused), ("deferred", &report.deferred)] {
        for (code, recipients) in codes {
            let code = if *code == 0 { "not supported by the server".into() } else { code.to_string() };
            rows.push((what.into(), format!("{code}: {} recipients", show_count(*recipients))));
        }
    }
    for (what, recipients) in [("in doubt", report.in_doubt), ("unfinished", report.unfinished)] {
        if recipients > 0 {
            rows.push((what.into(), format!("{} recipients", show_count(recipients))));
        }
    }
    rows.iter().map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_names_or_a_number() {
        let parse = |words: &[&str]| parse_domains(words.iter().map(|word| word.to_string()).collect(), "d%N".into());
        assert_eq!(parse(&["100"]), Domains::Pattern { pattern: "d%N".into(), count: 100 });
        assert_eq!(parse(&["a.b", "c.d"]), Domains::List(vec!["a.b".into(), "c.d".into()]));
    }

    #[test]
    fn a_run_ends_with_what_became_of_it() {
        let report = LoadReport::default();
        assert_eq!(outcome(&report), Exit::Done);
        assert_eq!(outcome(&LoadReport { in_doubt: 1, ..report.clone() }), Exit::Temporary);
        let refused = [(550, 3)].into();
        let report = LoadReport { refused, unfinished: 1, ..report };
        assert_eq!(outcome(&report), Exit::Unavailable);
        assert!(text(&report).contains("refused      550: 3 recipients\n"));
    }

    #[test]
    fn rates_are_positive() {
        assert_eq!((parse_rate("100/s"), parse_rate("0.5"), parse_rate("600/m")), (Ok(100.0), Ok(0.5), Ok(10.0)));
        assert!(["0", "-1", "inf", "x"].iter().all(|text| parse_rate(text).is_err()));
    }

    #[test]
    fn the_live_rate_is_that_of_the_last_second() {
        let mut rate = LiveRate::default();
        let mut at = |ms, messages| {
            rate.update(&Progress { messages, elapsed: Duration::from_millis(ms), ..Progress::default() })
        };
        assert_eq!([at(100, 50), at(200, 100), at(700, 900), at(1200, 1100)], [0.0, 500.0, 500.0, 1000.0]);
    }
}
