//! Deadlines of many connections, cheap in the steady state: a deadline that only moves later costs nothing.
//!
//! Each connection has at most one live entry. When it fires the owner looks at the connection's present deadline and
//! arms again if that lies in the future.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

/// Kept beside each connection: until when it is armed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Armed(Option<Instant>);

impl Timers {
    /// Makes sure that `key` fires no later than `deadline`.
    pub(crate) fn arm(&mut self, key: usize, deadline: Option<Instant>, armed: &mut Armed) {
        let Some(deadline) = deadline else { return };
        if armed.0.is_none_or(|at| deadline < at) {
            armed.0 = Some(deadline);
            self.heap.push(Reverse((deadline, key)));
        }
    }

    /// The next key whose time has come. Its owner asks [`Armed::fired`], looks, and arms again.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, usize)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

impl Armed {
    /// Whether this was the live entry; one that an earlier deadline overtook, or a former owner of the key left
    /// behind, is not.
    pub(crate) fn fired(&mut self, at: Instant) -> bool {
        let live = self.0 == Some(at);
        if live {
            self.0 = None;
        }
        live
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test starts at some instant")]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_later_deadline_adds_nothing_and_an_earlier_one_fires_first() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let (mut timers, mut armed) = (Timers::default(), Armed::default());
        timers.arm(1, Some(at(10)), &mut armed);
        timers.arm(1, Some(at(20)), &mut armed);
        assert_eq!(timers.heap.len(), 1);
        timers.arm(1, Some(at(5)), &mut armed);
        assert_eq!(timers.next(), Some(at(5)));
        assert_eq!(timers.pop(at(4)), None);
        assert_eq!(timers.pop(at(5)), Some((at(5), 1)));
        assert!(armed.fired(at(5)));
        assert!(!armed.fired(at(10)), "the overtaken entry is dead");
    }
}
