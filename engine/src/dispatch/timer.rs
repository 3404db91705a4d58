//! When to look at what again. Lazy: a later look at the same thing costs nothing, a stale one does nothing.

use super::ConnectionId;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Domain(u32),
    Site(u32),
    Idle(ConnectionId),
}

#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, Timer)>>);

impl Timers {
    /// Looks at `what` at `at`, unless `armed` says that this happens no later anyway.
    pub(super) fn arm(&mut self, armed: &mut Option<Instant>, at: Instant, what: Timer) {
        if armed.is_none_or(|earlier| earlier > at) {
            *armed = Some(at);
            self.push(at, what);
        }
    }
    pub(super) fn push(&mut self, at: Instant, what: Timer) {
        self.0.push(Reverse((at, what)));
    }
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
    /// What has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(due)| due)
    }
}
