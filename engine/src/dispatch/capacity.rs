//! Sites that take fewer connections at once than we may open.
//!
//! They say so in many ways (421 as greeting, a reset, silence), none of which RFC 5321 sets apart from other failures. But where
//! all hosts fail new connections while others work, they are not down: they have enough of us. Then what works goes on, what
//! ends is replaced, and one more is tried now and then. Nor are they down for certain where the only one that worked has ended
//! and no other is let in: they may count it still, and are asked once more.

use super::bounds::COUNTED_STILL;
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
    /// One was of use since the last time that it was tried once more.
    worked: bool,
    /// Nothing is opened before.
    not_before: Option<Instant>,
}

impl Capacity {
    /// All hosts fail new connections while so many work.
    pub(super) fn limit(&mut self, working: usize, now: Instant) {
        self.most = Some(working);
        self.pause.fail(now);
    }

    /// Another one is of use; so many are, with it.
    pub(super) fn succeed(&mut self, working: usize, now: Instant) {
        (self.worked, self.not_before) = (true, None);
        if self.most.is_none_or(|most| working <= most) {
            return;
        }
        // Of those that were opened together, the last to be greeted may be the first to work. After that, it was one more to
        // try, and there is room: for how many is found out one by one.
        self.most = Some(working);
        if self.pause.until(now).is_none() {
            self.pause.clear();
        }
    }

    /// Whether another connection may be opened beside so many.
    pub(super) fn admit(&self, open: usize, now: Instant) -> Admit {
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            return Admit::At(at, Limit::Backoff.into());
        }
        match (self.most, self.pause.until(now)) {
            (Some(most), Some(until)) if open >= most => Admit::At(until, Limit::Connections.into()),
            // One more is being tried.
            (Some(most), None) if open > most => Admit::Wait(Limit::Connections.into()),
            _ => Admit::Now,
        }
    }

    /// One that was of use ended, and so many are left: there is room for another. When none is left, one shows whether the
    /// host lets any in: what each of them would find out alone, they do not have to, one after the other.
    pub(super) fn end(&mut self, working: usize) {
        self.ended += usize::from(self.most.is_some());
        if working == 0 {
            self.ended = self.ended.min(1);
        }
    }

    /// Whether one that ended may be replaced.
    pub(super) fn may_replace(&self) -> bool {
        self.ended > 0
    }

    /// Another is opened: one that ended is replaced, whatever comes of it.
    pub(super) fn open(&mut self) {
        self.ended = self.ended.saturating_sub(1);
    }

    /// None is left that works, and no host lets another in: whether it is tried once more, in place of the last that worked,
    /// before the site is taken for down.
    pub(super) fn try_again(&mut self, now: Instant) -> bool {
        let worked = std::mem::take(&mut self.worked);
        if worked {
            (self.ended, self.not_before) = (1, Some(now + COUNTED_STILL));
        }
        worked
    }

    /// A connection was let in, and came to nothing for another reason.
    pub(super) fn rule_out(&mut self) {
        self.worked = false;
    }

    /// One more may be tried now.
    pub(super) fn lift(&mut self) {
        self.pause.lift();
        self.not_before = None;
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
        capacity.end(1);
        assert!(is_admitted(&capacity, 100, now) && !capacity.may_replace());
        capacity.limit(1, now);
        (2..=5).for_each(|working| capacity.succeed(working, now));
        assert!(!is_admitted(&capacity, 5, now) && !capacity.may_replace());
        for _ in 0..9 {
            capacity.end(4);
            assert!(is_admitted(&capacity, 4, now) && capacity.may_replace());
            capacity.open();
            assert!(!capacity.may_replace(), "if that fails, it is not tried again at once");
        }
        (0..5).rev().for_each(|left| capacity.end(left));
        capacity.open();
        assert!(!capacity.may_replace(), "after the last, one for all");
    }

    #[test]
    fn where_none_works_any_more_one_is_tried_again_once() {
        let (mut capacity, now) = (Capacity::default(), Instant::now());
        assert!(!capacity.try_again(now), "it never worked");
        for _ in 0..2 {
            capacity.succeed(1, now);
            assert!(capacity.try_again(now));
            assert_eq!(capacity.admit(0, now), Admit::At(now + COUNTED_STILL, Limit::Backoff.into()));
            assert!(is_admitted(&capacity, 0, now + COUNTED_STILL) && capacity.may_replace());
            capacity.open();
            assert!(!capacity.may_replace() && !capacity.try_again(now), "once");
        }
        capacity.succeed(1, now);
        assert!(is_admitted(&capacity, 1, now), "what works is waited for no longer");
        capacity.rule_out();
        assert!(!capacity.try_again(now), "it is not for their number");
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
        for working in 4..9 {
            capacity.succeed(working, now);
            assert!(is_admitted(&capacity, working, now) && !is_admitted(&capacity, working + 1, now), "one by one");
        }
        capacity.limit(8, now);
        let pause = capacity.admit(8, now);
        assert_eq!(pause, Admit::At(now + HOST_PAUSE.0, Limit::Connections.into()), "it begins anew");
    }
}
