//! `posthaste load`.

use super::sink::interrupted;
use crate::exit::{Exit, Failure};
use crate::terminal;
use bench::Address;
use bench::load::{Domains, LoadError, LoadOptions, LoadReport, Progress};
use engine::config::{parse_duration, parse_size};
use indicatif::ProgressBar;
use smtp::client::{Pipelining, Protocol};
use std::path::PathBuf;
use std::time::Duration;

/// A fast SMTP load generator; prints throughput and latency percentiles
#[derive(Debug, clap::Args)]
pub struct Load {
    /// The server: ADDRESS:PORT or unix:/path
    #[arg(long, value_name = "ADDR")]
    to: Address,
    /// How many messages
    #[arg(long, short = 'n', default_value_t = 10_000)]
    messages: u64,
    /// Connections at once
    #[arg(long, short = 'c', default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    connections: u64,
    /// Event loops
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Messages a second; default: as fast as the server takes them
    #[arg(long, value_parser = parse_rate)]
    rate: Option<f64>,
    /// Of each message
    #[arg(long, value_parser = parse_size, default_value = "10KiB")]
    size: u64,
    /// Send the .eml files of this directory in turn
    #[arg(long, value_name = "DIR", conflicts_with = "size")]
    corpus: Option<PathBuf>,
    /// Domains of the recipients, in turn; or how many, made from --domain-pattern
    #[arg(long, value_name = "N|NAME...", value_delimiter = ',', default_value = "load.test")]
    domains: Vec<String>,
    /// For --domains N; %N is the number
    #[arg(long, default_value = "d%N.test")]
    domain_pattern: String,
    /// All recipients of a message in one domain
    #[arg(long)]
    same_domain: bool,
    /// Recipients of each message
    #[arg(long, short = 'r', default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    recipients: u64,
    /// Reverse-path; "" for none
    #[arg(long, default_value = "load@posthaste.test")]
    from: String,
    /// Recipients are PREFIX + number
    #[arg(long, default_value = "u")]
    prefix: String,
    /// EHLO name
    #[arg(long, default_value = "load.posthaste.test")]
    hello: String,
    /// Speak LMTP
    #[arg(long)]
    lmtp: bool,
    /// How much is in flight on a connection
    #[arg(long, value_name = "off|transaction|stream", value_parser = parse_pipelining, default_value = "transaction")]
    pipelining: Pipelining,
    /// Transactions in flight on a connection, with --pipelining stream
    #[arg(long, default_value_t = 8)]
    window: usize,
    /// Use DATA even where CHUNKING is announced
    #[arg(long)]
    no_chunking: bool,
    /// Leave out the stamp by which `posthaste sink --check` knows the message
    #[arg(long)]
    no_stamp: bool,
    /// Attempts for a message that is refused for now
    #[arg(long, default_value_t = 1000)]
    attempts: u32,
    /// End after this time with what there is
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Of the generated text
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// One JSON object at the end
    #[arg(long)]
    json: bool,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.trim_end_matches("/s").parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "a number of messages a second, above 0".into())
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
        let options = LoadOptions { stop: interrupted()?, ..self.options() };
        let bar = terminal::progress_bar(options.messages);
        let report = bench::load::Load::run(options, |progress| show(&bar, progress)).map_err(failure)?;
        bar.finish_and_clear();
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
            connections: self.connections as usize,
            threads: self.threads,
            messages: self.messages,
            rate: self.rate,
            size: usize::try_from(self.size).unwrap_or(usize::MAX),
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
        LoadError::System(_) => Exit::Io,
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

fn show(bar: &ProgressBar, progress: &Progress) {
    let rate = progress.messages as f64 / progress.elapsed.as_secs_f64().max(0.001);
    bar.set_position(progress.messages);
    bar.set_message(format!("{rate:.0}/s, {} deferred, {} failed", progress.deferred, progress.failed));
}

fn text(report: &LoadReport) -> String {
    let latency = &report.latency_ms;
    let mut out = format!(
        "{} messages, {} recipients in {:.2} s: {:.0} messages/s, {:.0} recipients/s\n\
         latency ms  p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}\n\
         {} connections, {} failed; CPU {:.4} ms a message\n",
        report.messages,
        report.recipients,
        report.seconds,
        report.messages_per_second,
        report.recipients_per_second,
        latency.p50,
        latency.p90,
        latency.p99,
        latency.p999,
        latency.max,
        report.connections_opened,
        report.connection_failures,
        report.cpu_ms_per_message,
    );
    for (what, codes) in [("refused", &report.refused), ("deferred", &report.deferred)] {
        for (code, recipients) in codes {
            out += &format!("{what} with {code}: {recipients} recipients\n");
        }
    }
    for (what, recipients) in [("in doubt", report.in_doubt), ("unfinished", report.unfinished)] {
        if recipients > 0 {
            out += &format!("{what}: {recipients} recipients\n");
        }
    }
    out
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
        assert!(text(&report).contains("refused with 550: 3 recipients\n"));
    }

    #[test]
    fn rates_are_positive() {
        assert_eq!((parse_rate("100/s"), parse_rate("0.5")), (Ok(100.0), Ok(0.5)));
        assert!(["0", "-1", "inf", "x"].iter().all(|text| parse_rate(text).is_err()));
    }
}
