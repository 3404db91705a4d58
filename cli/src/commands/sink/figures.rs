//! What a sink shows: while it runs, when it is asked, and at its end.

use crate::exit::{Exit, Failure};
use crate::terminal;
use crate::units::{counted, show_bytes, show_count, show_ms, show_rate};
use bench::proof::{IdSet, Tally};
use bench::report::{Percentiles, ProcessUsage};
use bench::sink::{Counters, SinkHandle};
use serde::Serialize;
use std::time::Instant;

/// The object that `--json`, `--stats-every` and SIGUSR1 print.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Since the start.
    seconds: f64,
    #[serde(flatten)]
    pub counters: Counters,
    /// Submitted to received, of stamped messages; null without `--verify`.
    latency_ms: Option<Percentiles>,
    /// Numbered recipients that came more than once; null without `--ids`.
    doubled: Option<u64>,
    /// As given.
    expected: Option<u64>,
    /// Of those expected; null without `--expect`.
    lost: Option<u64>,
    /// CPU time of this process.
    cpu_seconds: f64,
}

impl Figures {
    /// As they are now.
    pub fn of(sink: &SinkHandle, start: Instant, expected: Option<u64>) -> Figures {
        let lost = |tally: &Tally| Some(lost(tally, expected?));
        Figures {
            seconds: start.elapsed().as_secs_f64(),
            counters: sink.counters(),
            latency_ms: sink.latency().map(|histogram| Percentiles::of_micros(&histogram)),
            doubled: sink.tally().map(Tally::doubled),
            expected,
            lost: sink.tally().and_then(lost),
            cpu_seconds: ProcessUsage::own().map_or(0.0, |usage| usage.cpu().as_secs_f64()),
        }
    }

    /// For people or for programs.
    pub fn print(&self, json: bool) -> Result<(), Failure> {
        if json { terminal::print_json(self) } else { terminal::print(&self.text()) }
    }

    /// How the command ends: with what was to be proven and does not hold, else with what could not be stored.
    pub fn verdict(&self) -> Result<Exit, Failure> {
        let counters = &self.counters;
        let doubled = self.expected.and(self.doubled).unwrap_or(0);
        let faults = [
            (self.lost.unwrap_or(0), "recipient", "recipients", "never came"),
            (doubled, "recipient", "recipients", "came more than once"),
            (counters.corrupted, "message", "messages", "came corrupted"),
        ];
        let faults: Vec<String> = faults
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many, fate)| format!("{} {fate}", counted(*count, one, many)))
            .collect();
        if !faults.is_empty() {
            return Err(Failure::new(Exit::Software, format!("the proof failed: {}", faults.join(", "))));
        }
        if counters.unwritten > 0 {
            let messages = counted(counters.unwritten, "message", "messages");
            return Err(Failure::new(Exit::Io, format!("--store: {messages} could not be written")));
        }
        Ok(Exit::Done)
    }

    fn text(&self) -> String {
        let counters = &self.counters;
        let opened = show_count(counters.connections_opened);
        let span = counters.last_received - counters.first_received;
        let rate = if span > 0.0 { format!(", {}", show_rate(counters.messages as f64 / span)) } else { String::new() };
        let mut rows = vec![
            ("messages".to_owned(), show_count(counters.messages) + &rate),
            ("recipients".into(), show_count(counters.recipients)),
            ("content".into(), show_bytes(counters.bytes)),
            ("connections".into(), format!("{opened}, {} at most at once", show_count(counters.connections_peak))),
        ];
        if counters.tls_handshakes > 0 {
            let (handshakes, resumed) = (show_count(counters.tls_handshakes), show_count(counters.tls_resumed));
            rows.push(("TLS".into(), format!("{handshakes} handshakes, {resumed} of them resumed")));
        }
        rows.extend(counters.refused.iter().map(|(stage, count)| (format!("rules at {stage}"), show_count(*count))));
        if let Some(latency) = &self.latency_ms {
            let (corrupted, unstamped) = (show_count(counters.corrupted), show_count(counters.unstamped));
            rows.push(("verified".into(), format!("{corrupted} corrupted, {unstamped} without a stamp")));
            rows.push(("under way".into(), percentiles(latency)));
        }
        rows.extend(self.doubled.map(|doubled| ("doubled".into(), show_count(doubled))));
        if let (Some(lost), Some(expected)) = (self.lost, self.expected) {
            rows.push(("lost".into(), format!("{} of {}", show_count(lost), show_count(expected))));
        }
        if counters.unwritten > 0 {
            rows.push(("not stored".into(), show_count(counters.unwritten)));
        }
        rows.iter().map(|(name, value)| format!("{name:<16} {value}\n")).collect()
    }
}

/// How many of the recipients 0 to `expected` - 1 never came.
fn lost(tally: &Tally, expected: u64) -> u64 {
    tally.prove(&(0..expected).collect::<IdSet>(), expected).lost
}

/// One line for a terminal.
pub fn live(counters: &Counters, messages_per_second: f64) -> String {
    format!(
        "{} messages, {}; {} recipients, {} connections, {} met a rule",
        show_count(counters.messages),
        show_rate(messages_per_second),
        show_count(counters.recipients),
        show_count(counters.connections),
        show_count(counters.refused.values().sum()),
    )
}

/// `p50 0.42 ms, p90 …`.
pub fn percentiles(latency: &Percentiles) -> String {
    let Percentiles { p50, p90, p99, p999, max } = *latency;
    let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(show_ms);
    format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_is_lost() {
        let tally = Tally::default();
        ["u0", "u1", "u1", "u7"].iter().for_each(|local| tally.record(local));
        assert_eq!((lost(&tally, 2), lost(&tally, 5), lost(&tally, 8)), (0, 3, 5));
    }

    #[test]
    fn figures_are_put_into_words() {
        let counters = Counters { messages: 1234, refused: [("rcpt", 5)].into(), ..Counters::default() };
        let latency_ms = Some(Percentiles { p50: 0.5, ..Percentiles::default() });
        let figures = Figures {
            seconds: 1.0,
            counters,
            latency_ms,
            doubled: Some(2),
            expected: Some(2000),
            lost: Some(3),
            cpu_seconds: 0.1,
        };
        let text = figures.text();
        for line in
            ["messages         1,234\n", "rules at rcpt    5\n", "p50 0.50 ms", "doubled          2\n", "3 of 2,000\n"]
        {
            assert!(text.contains(line), "{line}: {text}");
        }
        let json = serde_json::to_value(&figures).unwrap();
        assert_eq!(
            (&json["messages"], &json["lost"], &json["latency_ms"]["p50"]),
            (&1234.into(), &3.into(), &0.5.into())
        );
    }
}
