//! Deadlines of connections. Lazy: setting a later deadline costs nothing, because the earlier entry, when it comes up,
//! finds out and is put back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

/// What one connection knows of its own entry: the earliest that is in the heap.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Armed(Option<Instant>);

impl Timers {
    /// Makes sure that `key` comes up at `at` or before.
    pub(crate) fn arm(&mut self, armed: &mut Armed, key: usize, at: Option<Instant>) {
        let Some(at) = at else { return };
        if armed.0.is_none_or(|earliest| at < earliest) {
            self.heap.push(Reverse((at, key)));
            armed.0 = Some(at);
        }
    }

    /// The next key whose time has come. It may be an old entry: its owner calls `fired`, then looks at its own deadline.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, usize)> {
        let &Reverse((at, key)) = self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some((at, key))
    }

    /// How long until the next entry.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, _))| at.saturating_duration_since(now))
    }
}

impl Armed {
    /// The entry for `at` came up.
    pub(crate) fn fired(&mut self, at: Instant) {
        if self.0 == Some(at) {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_deadline_adds_no_entry_and_an_earlier_one_does() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        let mut armed = Armed::default();
        timers.arm(&mut armed, 7, Some(at(50)));
        timers.arm(&mut armed, 7, Some(at(90)));
        assert_eq!(timers.heap.len(), 1);
        timers.arm(&mut armed, 7, Some(at(10)));
        assert_eq!(timers.wait(start), Some(Duration::from_millis(10)));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(10)), Some((at(10), 7)));
        armed.fired(at(10));
        timers.arm(&mut armed, 7, Some(at(90)));
        assert_eq!(timers.heap.len(), 2);
    }
}
