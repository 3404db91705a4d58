//! Limits as values: what may happen now, and if not, when and because of which limit.
//!
//! Nothing here waits or sleeps. A check answers [`Admit`]; the caller arms a timer, shows the binding limits to the
//! operator, or goes on.

use crate::config::Rate;
use std::fmt;
use std::time::{Duration, Instant};

/// What can keep a site waiting, by its name in `posthaste_throttled_seconds_total` and `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// As many connections as allowed are open.
    Connections,
    /// New connections per time.
    ConnectionRate,
    /// Messages per time.
    Rate,
    /// No host of the site could be reached a moment ago.
    Backoff,
    /// An operator's stop.
    Suspend,
    /// Outcomes that were decided wait to be written.
    Settling,
}

impl Limit {
    /// All of them, in the order of their bits in [`Binding`].
    pub const ALL: [Limit; 6] =
        [Limit::Connections, Limit::ConnectionRate, Limit::Rate, Limit::Backoff, Limit::Suspend, Limit::Settling];

    /// The name in metrics and `explain`.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Connections => "connections",
            Limit::ConnectionRate => "connection_rate",
            Limit::Rate => "rate",
            Limit::Backoff => "backoff",
            Limit::Suspend => "suspend",
            Limit::Settling => "settling",
        }
    }
}

/// The set of limits that bind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Binding(u8);

impl Binding {
    /// No limit binds.
    pub const NONE: Binding = Binding(0);

    /// This set with one more.
    #[must_use]
    pub fn with(self, limit: Limit) -> Binding {
        Binding(self.0 | 1 << limit as u8)
    }
    /// Whether nothing binds.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Whether this one binds.
    pub fn contains(self, limit: Limit) -> bool {
        self.0 & 1 << limit as u8 != 0
    }
    /// The limits that bind.
    pub fn iter(self) -> impl Iterator<Item = Limit> {
        Limit::ALL.into_iter().filter(move |l| self.contains(*l))
    }
}

impl From<Limit> for Binding {
    fn from(limit: Limit) -> Binding {
        Binding::NONE.with(limit)
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, limit) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            f.write_str(limit.name())?;
        }
        Ok(())
    }
}

/// The answer of a limit check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Go on.
    Now,
    /// Not before this time, because of these limits.
    At(Instant, Binding),
    /// Not before something else happens (a connection closes, an operator resumes), because of these limits.
    Wait(Binding),
}

/// Counts events against a rate: the generic cell rate algorithm (ITU-T I.371), which needs one time stamp.
///
/// For a rate of `n` per `p` no half-open window of length `p` ever holds more than `n` events. Where `n` is large a
/// small burst is allowed, so that a late wake-up does not cost throughput; the pace is slowed by as much, so that the
/// promise holds.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Between two events; `None`: unlimited.
    interval: Option<Duration>,
    /// How far events may run ahead of their pace.
    tolerance: Duration,
    /// When the next event is on pace.
    next: Option<Instant>,
    /// The last event before which less than an interval was used up. What came before it no longer weighs.
    slack: Option<Instant>,
}

impl Meter {
    /// A meter for this rate; `None` admits everything. A rate of 0 admits one event per time.
    pub fn new(rate: Option<Rate>) -> Meter {
        let Some(rate) = rate else {
            return Meter { interval: None, tolerance: Duration::ZERO, next: None, slack: None };
        };
        let count = rate.count.max(1);
        let burst = if count < 20 { 0 } else { (count / 50).max(1) };
        // Rounded up to a whole nanosecond: rounding down would let one event too many in.
        let interval = Duration::from_nanos((rate.per.as_nanos() as u64).div_ceil(u64::from(count - burst)));
        Meter { interval: Some(interval), tolerance: interval * burst, next: None, slack: None }
    }
    /// Takes another rate, and keeps what was already counted.
    pub fn change(&mut self, rate: Option<Rate>) {
        // Counted by another interval: given back, it would come to more or less than it was.
        let (next, slack) = (self.next, self.next);
        *self = Meter { next, slack, ..Meter::new(rate) };
    }
    /// Whether an event may happen; if not, when.
    pub fn check(&self, now: Instant) -> Result<(), Instant> {
        match self.next {
            Some(next) if self.interval.is_some() && next > now + self.tolerance => Err(next - self.tolerance),
            _ => Ok(()),
        }
    }
    /// Counts an event that was admitted.
    pub fn take(&mut self, now: Instant) {
        if let Some(interval) = self.interval {
            if self.next.is_none_or(|next| next < now + interval) {
                self.slack = Some(now);
            }
            self.next = Some(self.next.map_or(now, |next| next.max(now)) + interval);
        }
    }
    /// Takes back an event that was counted at `taken` and did not happen. Where the pace has slackened since, it has no
    /// weight any more: to give it back would let another one in beside those that did happen.
    pub fn give_back(&mut self, taken: Instant, now: Instant) {
        if let (Some(interval), Some(next)) = (self.interval, self.next)
            && self.slack.is_none_or(|slack| slack <= taken)
        {
            self.next = Some(next.checked_sub(interval).map_or(now, |before| before.max(now)));
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test starts at some instant")]
mod tests {
    use super::*;

    /// Runs a greedy sender for some windows, looking every `step`; returns the events.
    fn run(rate: Rate, step: Duration, windows: u32) -> Vec<Duration> {
        let start = Instant::now();
        let (mut meter, mut at, mut events) = (Meter::new(Some(rate)), Duration::ZERO, Vec::new());
        while at < rate.per * windows {
            while meter.check(start + at).is_ok() {
                meter.take(start + at);
                events.push(at);
            }
            at += step;
        }
        events
    }

    #[test]
    fn no_window_holds_more_than_the_rate_says() {
        for (count, per, step_us) in
            [(1, 1, 7000), (3, 1, 100), (20, 1, 1000), (200, 1, 1000), (1000, 1, 3000), (5000, 60, 9999)]
        {
            let rate = Rate { count, per: Duration::from_secs(per) };
            let events = run(rate, Duration::from_micros(step_us), 4);
            for (i, first) in events.iter().enumerate() {
                let inside = events[i..].iter().take_while(|e| **e < *first + rate.per).count();
                assert!(inside <= count as usize, "{count}/{per}s: {inside} events within one window");
            }
            let share = events.len() as f64 / f64::from(count * 4);
            assert!(share > 0.9, "{count}/{per}s, looking every {step_us} µs: only {share} of the rate is used");
        }
    }

    #[test]
    fn what_is_given_back_late_lets_nothing_in_beside_the_rest() {
        let (start, mut rng) = (Instant::now(), fastrand::Rng::with_seed(1));
        for (count, per) in [(1, 1), (5, 1), (30, 60), (200, 1)] {
            let rate = Rate { count, per: Duration::from_secs(per) };
            let (mut meter, mut kept, mut pending) = (Meter::new(Some(rate)), Vec::new(), Vec::new());
            let mut at = Duration::ZERO;
            while at < rate.per * 50 {
                while meter.check(start + at).is_ok() && rng.u8(..4) > 0 {
                    meter.take(start + at);
                    if rng.bool() { pending.push(at) } else { kept.push(at) }
                }
                if !pending.is_empty() && rng.u8(..8) == 0 {
                    let taken = pending.swap_remove(rng.usize(..pending.len()));
                    meter.give_back(start + taken, start + at);
                }
                let pause = rng.u8(..200) == 0;
                at += if pause { rate.per / 2 } else { rate.per / (4 * count) };
            }
            kept.append(&mut pending);
            kept.sort();
            for (i, first) in kept.iter().enumerate() {
                let inside = kept[i..].iter().take_while(|e| **e < *first + rate.per).count();
                assert!(inside <= count as usize, "{count}/{per}s: {inside} events within one window");
            }
        }
    }

    #[test]
    fn what_is_given_back_at_once_is_free_again() {
        let mut meter = Meter::new(Some(Rate { count: 5, per: Duration::from_secs(1) }));
        let now = Instant::now();
        for _ in 0..100 {
            assert!(meter.check(now).is_ok());
            meter.take(now);
            meter.give_back(now, now);
        }
    }

    #[test]
    fn the_time_it_names_is_the_time_it_admits() {
        let mut meter = Meter::new(Some(Rate { count: 2, per: Duration::from_secs(1) }));
        let now = Instant::now();
        assert!(meter.check(now).is_ok());
        meter.take(now);
        let at = meter.check(now).unwrap_err();
        assert_eq!(at, now + Duration::from_millis(500));
        assert!(meter.check(at - Duration::from_nanos(1)).is_err());
        assert!(meter.check(at).is_ok());
    }

    #[test]
    fn all_limits_that_bind_are_named() {
        assert_eq!(Binding::from(Limit::Rate).with(Limit::Connections).to_string(), "connections, rate");
    }
}
