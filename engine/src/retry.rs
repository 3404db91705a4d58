//! When a deferred recipient is tried again, and when it is given up.

use crate::config::RetryPolicy;
use std::time::Duration;

/// Due times are rounded up to whole seconds, so that what was deferred together comes back with one read of the queue.
pub const DUE_STEP_MS: u64 = 1000;

/// What follows an attempt that failed for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Due again at this time (unix ms).
    At(u64),
    /// `[retry] expire` has passed since acceptance: give it up.
    Expired,
}

/// The waiting time after the `attempts`-th attempt (from 1), with jitter.
pub fn wait(policy: &RetryPolicy, attempts: u16, rng: &mut fastrand::Rng) -> Duration {
    let step = usize::from(attempts.max(1)) - 1;
    let base = policy.schedule.get(step).or(policy.schedule.last()).copied().unwrap_or(Duration::from_secs(60));
    let factor = 1.0 + policy.jitter.clamp(0.0, 1.0) * (2.0 * rng.f64() - 1.0);
    base.mul_f64(factor)
}

/// What follows the `attempts`-th attempt. The last attempt is made when the message expires, not a whole step before.
pub fn next(policy: &RetryPolicy, attempts: u16, accepted_ms: u64, now_ms: u64, rng: &mut fastrand::Rng) -> Next {
    let end = accepted_ms.saturating_add(policy.expire.as_millis() as u64);
    if now_ms >= end {
        return Next::Expired;
    }
    let due = now_ms + wait(policy, attempts, rng).as_millis() as u64;
    Next::At(due.min(end).max(now_ms + 1).next_multiple_of(DUE_STEP_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(jitter: f64) -> RetryPolicy {
        let minutes = |m: u64| Duration::from_secs(60 * m);
        RetryPolicy { schedule: vec![minutes(1), minutes(5), minutes(60)], expire: minutes(600), jitter }
    }

    #[test]
    fn follows_the_schedule_and_repeats_its_last_step() {
        let mut rng = fastrand::Rng::with_seed(1);
        for (attempts, seconds) in [(0, 60), (1, 60), (2, 300), (3, 3600), (4, 3600), (u16::MAX, 3600)] {
            assert_eq!(wait(&policy(0.0), attempts, &mut rng), Duration::from_secs(seconds), "after {attempts}");
        }
    }

    #[test]
    fn jitter_spreads_within_its_bounds() {
        let mut rng = fastrand::Rng::with_seed(7);
        let waits: Vec<f64> = (0..1000).map(|_| wait(&policy(0.2), 1, &mut rng).as_secs_f64()).collect();
        assert!(waits.iter().all(|w| (48.0..=72.0).contains(w)));
        assert!(waits.iter().any(|w| *w < 50.0) && waits.iter().any(|w| *w > 70.0));
    }

    #[test]
    fn expires_on_time_with_a_last_attempt_at_the_end() {
        let mut rng = fastrand::Rng::with_seed(1);
        let end = 600 * 60_000;
        for (now_ms, expected) in [
            (1, Next::At(61_000)),
            (60_000, Next::At(120_000)),
            (end - 30_000, Next::At(end)),
            (end - 1, Next::At(end)),
            (end, Next::Expired),
            (end + 5, Next::Expired),
        ] {
            assert_eq!(next(&policy(0.0), 1, 0, now_ms, &mut rng), expected, "at {now_ms}");
        }
    }
}
