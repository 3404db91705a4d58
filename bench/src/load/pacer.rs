//! When messages may go, at a given rate: an open loop, which a slow server does not slow down.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between two messages, seconds; beyond, a rate has no meaning for one thread.
const SHORTEST_INTERVAL: f64 = 1e-6;
const LONGEST_INTERVAL: f64 = 86_400.0;

/// Lets messages go at their times.
pub(super) struct Pacer {
    start: Instant,
    interval: Duration,
    released: u64,
    /// When those that wait for a connection became due.
    due: VecDeque<Instant>,
}

impl Pacer {
    /// So many a second from `start` on.
    pub(super) fn new(start: Instant, rate: f64) -> Pacer {
        let interval = Duration::from_secs_f64((1.0 / rate).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL));
        Pacer { start, interval, released: 0, due: VecDeque::new() }
    }

    /// Lets go what is due.
    pub(super) fn release(&mut self, now: Instant) {
        while self.next() <= now {
            self.released += 1;
            // What counts is when the generator could have sent it, not the timer's lateness.
            self.due.push_back(now);
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Instant {
        self.start + self.interval.mul_f64(self.released as f64)
    }

    /// One that was let go, by the time from which its latency counts.
    pub(super) fn take(&mut self) -> Option<Instant> {
        self.due.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_at_their_times_and_wait_to_be_taken() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pacer = Pacer::new(start, 100.0);
        pacer.release(at(0));
        assert_eq!((pacer.take(), pacer.take()), (Some(at(0)), None));
        assert_eq!(pacer.next(), at(10));
        pacer.release(at(9));
        assert_eq!(pacer.take(), None);
        pacer.release(at(35));
        let taken: Vec<_> = std::iter::from_fn(|| pacer.take()).collect();
        assert_eq!(taken, [at(35); 3]);
    }
}
