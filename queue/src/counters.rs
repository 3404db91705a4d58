//! Counters and gauges that are read without a lock.

use crate::checkpoint::Totals;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters and gauges, as they stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Entries in the queue (message × domain × due).
    pub entries: u64,
    /// Recipients in the queue.
    pub recipients: u64,
    /// Recipients that are held.
    pub held_recipients: u64,
    /// Octets of journal on disk, spares included.
    pub journal_bytes: u64,
    /// Of them, octets of spares: they hold nothing.
    pub spare_bytes: u64,
    /// Of the rest, octets of messages still queued, about (never less than there are).
    pub live_bytes: u64,
    /// Groups written and synced since the start.
    pub commits: u64,
    /// Syncs of any file since the start.
    pub syncs: u64,
    /// Messages accepted since the start.
    pub messages: u64,
    /// Checkpoints since the start.
    pub checkpoints: u64,
    /// Messages copied forward since the start.
    pub moved: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    entries: AtomicU64,
    recipients: AtomicU64,
    held: AtomicU64,
    journal_bytes: AtomicU64,
    spare_bytes: AtomicU64,
    live_bytes: AtomicU64,
    commits: AtomicU64,
    syncs: AtomicU64,
    messages: AtomicU64,
    checkpoints: AtomicU64,
    moved: AtomicU64,
}

impl Counters {
    pub(crate) fn sync(&self) {
        self.syncs.fetch_add(1, Relaxed);
    }

    pub(crate) fn commit(&self) {
        self.commits.fetch_add(1, Relaxed);
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Relaxed)
    }

    pub(crate) fn checkpoint(&self) {
        self.checkpoints.fetch_add(1, Relaxed);
    }

    pub(crate) fn accepted(&self, messages: u64) {
        self.messages.fetch_add(messages, Relaxed);
    }

    pub(crate) fn moved(&self, messages: u64) {
        self.moved.fetch_add(messages, Relaxed);
    }

    pub(crate) fn set_totals(&self, totals: &Totals, live_bytes: u64) {
        self.entries.store(totals.entries, Relaxed);
        self.recipients.store(totals.recipients, Relaxed);
        self.held.store(totals.held, Relaxed);
        self.live_bytes.store(live_bytes, Relaxed);
    }

    pub(crate) fn set_journal_bytes(&self, segments: u64, spares: u64) {
        self.journal_bytes.store(segments + spares, Relaxed);
        self.spare_bytes.store(spares, Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        Stats {
            entries: self.entries.load(Relaxed),
            recipients: self.recipients.load(Relaxed),
            held_recipients: self.held.load(Relaxed),
            journal_bytes: self.journal_bytes.load(Relaxed),
            spare_bytes: self.spare_bytes.load(Relaxed),
            live_bytes: self.live_bytes.load(Relaxed),
            commits: self.commits.load(Relaxed),
            syncs: self.syncs.load(Relaxed),
            messages: self.messages.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
            moved: self.moved.load(Relaxed),
        }
    }
}
