//! Messages that are given now and go later (RFC 4865).

use super::command::number;
use jiff::Timestamp;
use jiff::tz::TimeZone;
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

/// When a message may be sent at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// HOLDFOR: so long after MAIL.
    For(Duration),
    /// HOLDUNTIL: from then on. Whether it lies too far ahead is for the owner to say, who has a clock.
    Until(SystemTime),
}

impl FutureRelease {
    /// The keyword and its two limits (RFC 4865 §3).
    pub(super) fn announcement(&self, now: Instant) -> String {
        let latest = self.wall + now.saturating_duration_since(self.mono) + self.longest;
        let date = Timestamp::try_from(latest).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC);
        format!("FUTURERELEASE {} {}", self.longest.as_secs(), date.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl Hold {
    /// Seconds, at most nine digits.
    pub(super) fn parse_for(value: &str) -> Option<Hold> {
        let seconds = number(value).filter(|_| !value.is_empty() && value.len() <= 9)?;
        Some(Hold::For(Duration::from_secs(seconds)))
    }

    /// A date and time of RFC 3339.
    pub(super) fn parse_until(value: &str) -> Option<Hold> {
        Some(Hold::Until(value.parse::<Timestamp>().ok()?.into()))
    }

    /// The moment, for a MAIL that was said `now`.
    pub fn release(self, now: SystemTime) -> SystemTime {
        match self {
            Hold::For(time) => now + time,
            Hold::Until(time) => time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        assert_eq!(Hold::parse_for("60"), Some(Hold::For(Duration::from_secs(60))));
        for text in ["", "-1", "+1", "1s", "1234567890"] {
            assert_eq!(Hold::parse_for(text), None, "{text}");
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for text in ["2027-01-15T08:00:00Z", "2027-01-15T09:00:00+01:00", "2027-01-15t08:00:00.0z"] {
            assert_eq!(Hold::parse_until(text), Some(Hold::Until(at)), "{text}");
        }
        for text in ["", "2027-01-15", "2027-01-15T08:00:00", "2027-13-15T08:00:00Z", "tomorrow"] {
            assert_eq!(Hold::parse_until(text), None, "{text}");
        }
    }

    #[test]
    fn the_limit_moves_with_the_clock() {
        let mono = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let future = FutureRelease { longest: Duration::from_secs(3600), mono, wall };
        let later = mono + Duration::from_secs(60);
        assert_eq!(future.announcement(later), "FUTURERELEASE 3600 2027-01-15T09:01:00Z");
    }
}
