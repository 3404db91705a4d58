//! What a seed came to, or many together.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub trace: u64,
    pub events: u64,
    pub messages: u64,
    pub recipients: u64,
    pub delivered: u64,
    pub bounced: u64,
    pub expired: u64,
    pub removed: u64,
    /// Notices of delay, and of success.
    pub delayed: u64,
    pub succeeded: u64,
    pub crashes: u64,
    /// Messages that clients were told to try later with; groups of outcomes that had to wait.
    pub refused: u64,
    pub postponed: u64,
    /// Times that an index which broke was opened again without a restart.
    pub reopened: u64,
    /// Other configurations; recipients who were still kept back by one when all else was delivered.
    pub reloads: u64,
    pub suspended: u64,
    /// Copies beyond the first: the outcome was in doubt, or its settle was lost in a crash.
    pub doubled_in_doubt: u64,
    pub doubled_by_crash: u64,
}

impl Summary {
    /// A sweep that lacks any of these shows less than it should.
    pub fn has_everything(&self) -> bool {
        let outcomes = [self.delivered, self.bounced, self.expired, self.removed, self.delayed, self.succeeded];
        let troubles = [self.crashes, self.refused, self.postponed, self.reopened, self.reloads, self.suspended];
        let doubled = [self.doubled_in_doubt, self.doubled_by_crash];
        outcomes.into_iter().chain(troubles).chain(doubled).all(|count| count > 0)
    }

    pub fn add(&mut self, other: &Summary) {
        self.trace ^= other.trace;
        self.events += other.events;
        self.messages += other.messages;
        self.recipients += other.recipients;
        self.delivered += other.delivered;
        self.bounced += other.bounced;
        self.expired += other.expired;
        self.removed += other.removed;
        self.crashes += other.crashes;
        self.delayed += other.delayed;
        self.succeeded += other.succeeded;
        self.refused += other.refused;
        self.postponed += other.postponed;
        self.reopened += other.reopened;
        self.reloads += other.reloads;
        self.suspended += other.suspended;
        self.doubled_in_doubt += other.doubled_in_doubt;
        self.doubled_by_crash += other.doubled_by_crash;
    }
}
