//! What a load run shows while it runs and at its end.

use crate::proof::IdSet;
use crate::report::Percentiles;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Messages asked for.
    pub total: u64,
    /// Messages acknowledged for at least one recipient.
    pub messages: u64,
    /// Recipients acknowledged.
    pub recipients: u64,
    /// Temporary refusals so far, in recipients; each is tried again.
    pub deferred: u64,
    /// Recipients refused for good, or in doubt.
    pub failed: u64,
    /// Since the start of the run.
    pub elapsed: Duration,
}

/// The result, as `posthaste load --json` shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LoadReport {
    /// Messages acknowledged for at least one recipient.
    pub messages: u64,
    /// Recipients acknowledged.
    pub recipients: u64,
    /// Octets of acknowledged content, once per message.
    pub bytes: u64,
    /// When the first message was submitted, Unix seconds; 0 when none was.
    pub started: f64,
    /// First submission to last reply.
    pub seconds: f64,
    /// `messages / seconds`.
    pub messages_per_second: f64,
    /// `recipients / seconds`.
    pub recipients_per_second: f64,
    /// MAIL to the final reply, of acknowledged messages; with a rate, from when the message was due.
    pub latency_ms: Percentiles,
    /// Recipients refused for good (5xx, or 4xx to the last attempt), by reply code; 0: without a reply, since
    /// the server lacks what they need or broke off every time.
    pub refused: BTreeMap<u16, u64>,
    /// Temporary refusals, in recipients, by reply code; each was tried again.
    pub deferred: BTreeMap<u16, u64>,
    /// Recipients whose content was sent and never answered.
    pub in_doubt: u64,
    /// Recipients never submitted or given up because the run was cut short.
    pub unfinished: u64,
    /// Connections made.
    pub connections_opened: u64,
    /// Connections that failed or were closed by the server in the middle.
    pub connection_failures: u64,
    /// CPU time of the generator's threads.
    pub cpu_seconds: f64,
    /// `cpu_seconds` per acknowledged message, in milliseconds.
    pub cpu_ms_per_message: f64,
    /// Exactly which recipients were acknowledged.
    #[serde(skip)]
    pub acknowledged: IdSet,
    /// Exactly which recipients are in doubt.
    #[serde(skip)]
    pub doubtful: IdSet,
}
