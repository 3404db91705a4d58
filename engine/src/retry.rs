//! When a deferred recipient is tried again, and when it is given up.

use crate::config::RetryPolicy;
use queue::Terms;
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

/// When a recipient is given up (unix ms): `[retry] expire` after acceptance, or when its sender wants it back (RFC 2852).
pub fn end(policy: &RetryPolicy, accepted_ms: u64, terms: Terms) -> u64 {
    let expiry = accepted_ms.saturating_add(policy.expire.as_millis() as u64);
    terms.deadline.filter(|deadline| deadline.returns).map_or(expiry, |deadline| expiry.min(deadline.at_ms))
}

/// What follows the `attempts`-th attempt. The last attempt is made when the message expires, not a whole step before; one
/// is made when its sender's time runs out, so that the notice of that is timely.
pub fn next(
    policy: &RetryPolicy,
    attempts: u16,
    accepted_ms: u64,
    terms: Terms,
    now_ms: u64,
    rng: &mut fastrand::Rng,
) -> Next {
    let end = end(policy, accepted_ms, terms);
    if now_ms >= end {
        return Next::Expired;
    }
    let due = now_ms + wait(policy, attempts, rng).as_millis() as u64;
    let look = terms.deadline.map(|deadline| deadline.at_ms).filter(|at_ms| *at_ms > now_ms).unwrap_or(end);
    Next::At(due.min(end).min(look).max(now_ms + 1).next_multiple_of(DUE_STEP_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(jitter: f64) -> RetryPolicy {
        let minutes = |m: u64| Duration::from_secs(60 * m);
        RetryPolicy {
            schedule: vec![minutes(1), minutes(5), minutes(60)],
            expire: minutes(600),
            notify_delay: None,
            jitter,
        }
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
            assert_eq!(next(&policy(0.0), 1, 0, Terms::default(), now_ms, &mut rng), expected, "at {now_ms}");
        }
    }

    #[test]
    fn the_senders_time_is_kept() {
        let mut rng = fastrand::Rng::with_seed(1);
        for (returns, now_ms, expected) in [
            (true, 0, Next::At(60_000)),
            (true, 50_000, Next::At(90_000)),
            (true, 90_000, Next::Expired),
            (false, 50_000, Next::At(90_000)),
            (false, 90_000, Next::At(150_000)),
        ] {
            let terms = Terms { deadline: Some(queue::Deadline { at_ms: 90_000, returns }), priority: 0 };
            assert_eq!(next(&policy(0.0), 1, 0, terms, now_ms, &mut rng), expected, "{returns} at {now_ms}");
        }
    }
}
