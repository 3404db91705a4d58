//! Sites that take fewer connections at once than we may open.
//!
//! They say so in many ways (421 as greeting, a reset, silence), none of which RFC 5321 sets apart from other failures. But where
//! all hosts fail new connections while others work, they are not down: they have enough of us. Then what works goes on, what
//! ends is replaced, and one more is tried now and then.

use super::host::Pause;
use crate::limit::{Admit, Limit};
use std::time::Instant;

/// How many connections a site seems to take.
#[derive(Default)]
pub(super) struct Capacity {
    /// So many worked when others failed.
    most: Option<usize>,
    /// Until when no more than these are opened.
    pause: Pause,
    /// So many that worked have ended, and not been replaced.
    ended: usize,
}

impl Capacity {
    /// All hosts fail new connections while so many work.
    pub(super) fn limit(&mut self, working: usize, now: Instant) {
        self.most = Some(working);
        self.pause.fail(now);
    }

    /// Another one is of use; so many are, with it.
    pub(super) fn succeed(&mut self, working: usize, now: Instant) {
        if self.most.is_none_or(|most| working <= most) {
            return;
        }
        match self.pause.until(now) {
            // Of those that were opened together, the last to be greeted may be the first to work.
            Some(_) => self.most = Some(working),
            // It was one more to try, and there is room.
            None => *self = Capacity::default(),
        }
    }

    /// Whether another connection may be opened beside so many.
    pub(super) fn admit(&self, open: usize, now: Instant) -> Admit {
        match (self.most, self.pause.until(now)) {
            (Some(most), Some(until)) if open >= most => Admit::At(until, Limit::Connections.into()),
            // One more is being tried.
            (Some(most), None) if open > most => Admit::Wait(Limit::Connections.into()),
            _ => Admit::Now,
        }
    }

    /// One that was of use ended: there is room for another.
    pub(super) fn end(&mut self) {
        self.ended += usize::from(self.most.is_some());
    }

    /// Whether one that ended may be replaced.
    pub(super) fn may_replace(&self) -> bool {
        self.ended > 0
    }

    /// Another is opened: one that ended is replaced, whatever comes of it.
    pub(super) fn open(&mut self) {
        self.ended = self.ended.saturating_sub(1);
    }

    /// One more may be tried now.
    pub(super) fn lift(&mut self) {
        self.pause.lift();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::bounds::HOST_PAUSE;

    fn is_admitted(capacity: &Capacity, open: usize, now: Instant) -> bool {
        matches!(capacity.admit(open, now), Admit::Now)
    }

    #[test]
    fn what_ends_is_replaced_and_those_that_come_to_work_late_count() {
        let (mut capacity, now) = (Capacity::default(), Instant::now());
        capacity.end();
        assert!(is_admitted(&capacity, 100, now) && !capacity.may_replace());
        capacity.limit(1, now);
        (2..=5).for_each(|working| capacity.succeed(working, now));
        assert!(!is_admitted(&capacity, 5, now) && !capacity.may_replace());
        for _ in 0..9 {
            capacity.end();
            assert!(is_admitted(&capacity, 4, now) && capacity.may_replace());
            capacity.open();
            assert!(!capacity.may_replace(), "if that fails, it is not tried again at once");
        }
    }

    #[test]
    fn one_more_is_tried_after_a_growing_time_until_there_is_room() {
        let (mut capacity, mut now) = (Capacity::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            capacity.limit(3, now);
            let Admit::At(until, _) = capacity.admit(3, now) else { panic!("admitted") };
            pauses.push(until - now);
            now = until;
            assert!(is_admitted(&capacity, 3, now) && !is_admitted(&capacity, 4, now), "one");
        }
        assert!(pauses.is_sorted() && pauses[0] == HOST_PAUSE.0 && pauses[7] == HOST_PAUSE.1, "{pauses:?}");
        capacity.succeed(3, now);
        assert!(!is_admitted(&capacity, 4, now), "it replaced another");
        capacity.succeed(4, now);
        assert!(is_admitted(&capacity, 100, now));
    }
}
