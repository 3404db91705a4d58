//! What a listener says of messages that are given now and go later (RFC 4865).

use crate::parameters::hold::date;
use std::time::{Duration, Instant, SystemTime};

/// What a listener offers of FUTURERELEASE.
#[derive(Clone, Copy, Debug)]
pub struct FutureRelease {
    /// How far ahead a message may be given.
    pub longest: Duration,
    /// A moment, and the time of day then: the announcement names a date.
    pub mono: Instant,
    /// See `mono`.
    pub wall: SystemTime,
}

impl FutureRelease {
    /// The keyword and its two limits (RFC 4865 §3).
    pub(super) fn announcement(&self, now: Instant) -> String {
        let latest = self.wall + now.saturating_duration_since(self.mono) + self.longest;
        format!("FUTURERELEASE {} {}", self.longest.as_secs(), date(latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_moves_with_the_clock() {
        let mono = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let future = FutureRelease { longest: Duration::from_secs(3600), mono, wall };
        let later = mono + Duration::from_secs(60);
        assert_eq!(future.announcement(later), "FUTURERELEASE 3600 2027-01-15T09:01:00Z");
    }
}
