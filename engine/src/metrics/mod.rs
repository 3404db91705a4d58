//! The numbers of `/metrics` (`names.rs` describes each), kept where the shell can touch them cheaply.
//!
//! Every handle is looked up once; what happens per message is one atomic operation each (per recipient there is one
//! uncontended lock more: dispatch alone counts recipients). Handles belong to the recorder that is installed when
//! [`EngineMetrics::new`] runs: install it first (`admin::install_recorder`), or every number goes nowhere, which is what
//! `[admin] bind = "off"` wants.

mod failure;
mod handshakes;
mod labels;
mod listener;
mod names;
mod site;

pub use handshakes::Handshakes;
pub use labels::SiteLabels;
pub use listener::ListenerMetrics;

use crate::config::Config;
use crate::dispatch::{Counts, Happened, Kind, OpenConnections};
use crate::notice;
use dns::resolver::Lookup;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use queue::service::Stats;
use site::Sites;
use smtp::client::{Cause, Stage};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Everything the engine counts. Shared by all its threads.
pub struct EngineMetrics {
    listeners: Vec<ListenerMetrics>,
    sites: Mutex<Sites>,
    lookups: Mutex<Vec<Lookups>>,
    removed: Counter,
    discarded: Counter,
    /// failure, delay, success.
    notices: [Counter; 3],
    ingest_commit: Histogram,
    commits: Counter,
    commit_batch: Histogram,
    syncs: Counter,
    journal_bytes: Gauge,
    spare_bytes: Gauge,
    events_lost: Counter,
    /// ready, active, deferred, held.
    recipients: [Gauge; 4],
}

/// Of one kind of question with one kind of answer.
struct Lookups {
    kind: &'static str,
    result: &'static str,
    total: Counter,
    seconds: Histogram,
}

impl EngineMetrics {
    /// Registers and describes every metric with the recorder that is installed now.
    pub fn new(config: &Config) -> EngineMetrics {
        names::describe();
        let recipients = |state| gauge!(names::QUEUE_RECIPIENTS, "state" => state);
        EngineMetrics {
            listeners: config.listeners.iter().map(|listener| ListenerMetrics::new(&listener.bind)).collect(),
            sites: Mutex::new(Sites::new(SiteLabels::new(config))),
            lookups: Mutex::default(),
            removed: counter!(names::REMOVED),
            discarded: counter!(names::DISCARDED),
            notices: ["failure", "delay", "success"].map(|kind| counter!(names::NOTICES, "kind" => kind)),
            ingest_commit: histogram!(names::INGEST_COMMIT),
            commits: counter!(names::COMMITS),
            commit_batch: histogram!(names::COMMIT_BATCH),
            syncs: counter!(names::SYNCS),
            journal_bytes: gauge!(names::JOURNAL_BYTES),
            spare_bytes: gauge!(names::SPARE_BYTES),
            events_lost: counter!(names::EVENTS_LOST),
            recipients: ["ready", "active", "deferred", "held"].map(recipients),
        }
    }

    /// What a listener's thread counts with, by the listener's place in the configuration.
    pub fn listener(&self, listener: usize) -> &ListenerMetrics {
        &self.listeners[listener]
    }

    /// A recipient took a step. An `attempt_time` is counted wherever there is one: dispatch has it on one recipient of a
    /// transaction only.
    pub fn happened(&self, happened: &Happened) {
        if happened.kind == Kind::Removed {
            self.removed.increment(1);
            return;
        }
        let mut sites = self.sites();
        let domain = || {
            let recipients = &happened.content.as_ref()?.envelope.recipients;
            Some(recipients.get(happened.recipient as usize)?.mailbox.domain().to_ascii_lowercase())
        };
        let site = sites.busy(&happened.site, domain);
        site.outcome(happened.kind);
        if happened.in_doubt {
            site.in_doubt.increment(1);
        }
        if let Some(took) = happened.attempt_time {
            site.attempt.record(took.as_secs_f64());
        }
        if happened.kind == Kind::Delivered {
            if happened.mx.is_none() {
                // Only a route to nowhere delivers without a host.
                self.discarded.increment(1);
            }
            let us = happened.now.wall_us.saturating_sub(happened.accepted_us);
            site.latency.record(Duration::from_micros(us).as_secs_f64());
        }
    }

    /// A notice to a sender was written.
    pub fn noticed(&self, kind: notice::Kind) {
        self.notices[kind as usize].increment(1);
    }

    /// A connection to a site was opened.
    pub fn opened(&self, site: &Arc<str>) {
        self.sites().met(site).opened.increment(1);
    }

    /// A connection ended.
    pub fn closed(&self, site: &str, stage: Stage, cause: &Cause) {
        if let Some(reason) = failure::reason(stage, cause) {
            self.sites().of(site).failed(reason);
        }
    }

    /// A connection could not be opened, which was nobody's fault but ours.
    pub fn not_opened(&self, site: &str) {
        self.sites().of(site).failed("local");
    }

    /// A limit kept a site waiting.
    pub fn throttled(&self, site: &Arc<str>, limit: &'static str, waited: Duration) {
        self.sites().met(site).throttled(limit, waited);
    }

    /// A question went out to a name server.
    pub fn dns(&self, lookup: Lookup) {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lookups.iter().position(|known| (known.kind, known.result) == (lookup.kind, lookup.result));
        let at = known.unwrap_or_else(|| {
            lookups.push(Lookups {
                kind: lookup.kind,
                result: lookup.result,
                total: counter!(names::DNS_LOOKUPS, "kind" => lookup.kind, "result" => lookup.result),
                seconds: histogram!(names::DNS_LOOKUP_SECONDS, "kind" => lookup.kind, "result" => lookup.result),
            });
            lookups.len() - 1
        });
        lookups[at].total.increment(1);
        lookups[at].seconds.record(lookup.took.as_secs_f64());
    }

    /// A group of messages became durable: how many, and how long each waited from the end of its data.
    pub fn commit(&self, messages: usize, waited: Duration) {
        self.commit_batch.record(messages as f64);
        self.ingest_commit.record_many(waited.as_secs_f64(), messages);
    }

    /// What is queued: from dispatch's counts and the queue's.
    pub fn set_queue(&self, counts: &Counts, stats: &Stats) {
        let deferred = stats.recipients.saturating_sub(counts.ready + counts.active + stats.held_recipients);
        let states = [counts.ready, counts.active, deferred, stats.held_recipients];
        for (gauge, recipients) in self.recipients.iter().zip(states) {
            gauge.set(recipients as f64);
        }
        self.commits.absolute(stats.commits);
        self.syncs.absolute(stats.syncs);
        self.journal_bytes.set(stats.journal_bytes as f64);
        self.spare_bytes.set(stats.spare_bytes as f64);
    }

    /// Open connections of every site that has any; a site that is not among them has none.
    pub fn set_connections<'a>(&self, open: impl IntoIterator<Item = (&'a str, OpenConnections)>) {
        self.sites().set_connections(open);
    }

    /// Lines that the event log could not write, since the start.
    pub fn set_events_lost(&self, lines: u64) {
        self.events_lost.absolute(lines);
    }

    /// SIGHUP: other sites are named now. Labels that were given stay given.
    pub fn reload(&self, config: &Arc<Config>) {
        self.sites().reload(config);
    }

    fn sites(&self) -> MutexGuard<'_, Sites> {
        // Counters are right after a panic elsewhere, too.
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
