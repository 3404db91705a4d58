//! What the demo found, for people and for programs.

use super::corpus::Compared;
use super::daemon::Metrics;
use bench::load::LoadReport;
use bench::proof::Proof;
use bench::report::{Percentiles, ProcessUsage};
use bench::sink::SinkReport;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// The result, with the names of `posthaste demo --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    messages: u64,
    recipients: u64,
    delivered: u64,
    bounced: u64,
    lost: u64,
    doubled: u64,
    corrupted: u64,
    refused: u64,
    seconds: f64,
    messages_per_second: f64,
    latency_ms: Percentiles,
    syncs: u64,
    cpu_ms_per_message: f64,
    peak_rss_bytes: u64,
    connections: u64,
}

/// What the parts of the demo saw.
pub(super) struct Evidence {
    pub report: LoadReport,
    pub proof: Proof,
    pub sink: SinkReport,
    pub latency: Option<Histogram<u64>>,
    pub comparison: Option<Compared>,
    pub metrics: Metrics,
    pub usage: ProcessUsage,
    pub cpu: Duration,
}

impl Outcome {
    pub(super) fn new(seen: Evidence) -> Outcome {
        let messages = seen.report.messages;
        let per_message = |total: f64| if messages == 0 { 0.0 } else { total / messages as f64 };
        let different = seen.comparison.as_ref().map_or(0, |compared| compared.different);
        let latency = seen.comparison.map(|compared| compared.latency).or(seen.latency);
        let seconds = (seen.sink.counters.last_received - seen.report.started).max(0.0);
        Outcome {
            messages,
            recipients: seen.report.recipients,
            delivered: seen.proof.received,
            bounced: seen.metrics.sum_with("posthaste_deliveries_total", "outcome=\"bounced\"") as u64,
            lost: seen.proof.lost,
            doubled: seen.proof.doubled,
            corrupted: seen.sink.counters.corrupted + different,
            refused: seen.report.refused.values().sum::<u64>() + seen.report.unfinished,
            seconds,
            messages_per_second: if seconds > 0.0 { messages as f64 / seconds } else { 0.0 },
            latency_ms: latency.as_ref().map(Percentiles::of_micros).unwrap_or_default(),
            syncs: seen.metrics.sum("posthaste_queue_syncs_total") as u64,
            cpu_ms_per_message: per_message(seen.cpu.as_secs_f64() * 1e3),
            peak_rss_bytes: seen.usage.peak_rss_bytes,
            connections: seen.sink.counters.connections_opened,
        }
    }

    /// Everything arrived, once, as it was sent.
    pub fn is_proven(&self) -> bool {
        self.messages > 0 && self.lost + self.doubled + self.corrupted + self.refused == 0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let l = &self.latency_ms;
        let per_sync = self.messages as f64 / (self.syncs.max(1)) as f64;
        writeln!(
            f,
            "  throughput       {:>9.0} messages/s, accepted, synced to disk, delivered",
            self.messages_per_second
        )?;
        writeln!(f, "  messages         {:>9} in {:.2} s", self.messages, self.seconds)?;
        if l.max > 0.0 {
            writeln!(
                f,
                "  latency          {:>9.1} ms p50   {:.1} p90   {:.1} p99   {:.1} p99.9   {:.1} max",
                l.p50, l.p90, l.p99, l.p999, l.max
            )?;
        }
        writeln!(f, "  syncs            {:>9}    one for {per_sync:.0} messages", self.syncs)?;
        writeln!(f, "  CPU              {:>9.3} ms per message, the whole daemon", self.cpu_ms_per_message)?;
        writeln!(f, "  memory           {:>9.0} MiB at most", self.peak_rss_bytes as f64 / (1 << 20) as f64)?;
        writeln!(f, "  connections      {:>9}    to the destinations", self.connections)?;
        if self.refused > 0 {
            writeln!(f, "  refused          {:>9} at the ingest socket", self.refused)?;
        }
        let verdict =
            if self.is_proven() { "every message arrived exactly once, octet for octet" } else { "NOT PROVEN" };
        write!(
            f,
            "  lost {}, doubled {}, corrupted {}, bounced {}: {verdict}",
            self.lost, self.doubled, self.corrupted, self.bounced
        )
    }
}
