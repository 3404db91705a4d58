//! Messages that are given now and go later (RFC 4865).

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::{Duration, SystemTime};

/// When a message may be sent at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// HOLDFOR: so long after MAIL.
    For(Duration),
    /// HOLDUNTIL: from then on. Whether it lies too far ahead is for whoever has a clock to say.
    Until(SystemTime),
}

impl Hold {
    /// Seconds, at most nine digits.
    pub(crate) fn parse_for(value: &str) -> Option<Hold> {
        let digits = !value.is_empty() && value.len() <= 9 && value.bytes().all(|byte| byte.is_ascii_digit());
        Some(Hold::For(Duration::from_secs(value.parse().ok().filter(|_| digits)?)))
    }

    /// A date and time of RFC 3339.
    pub(crate) fn parse_until(value: &str) -> Option<Hold> {
        Some(Hold::Until(value.parse::<Timestamp>().ok()?.into()))
    }

    /// The moment, for a MAIL that was said `now`.
    pub fn release(self, now: SystemTime) -> SystemTime {
        match self {
            Hold::For(time) => now + time,
            Hold::Until(time) => time,
        }
    }

    /// As a notice shows it (RFC 4865 §5.1.2): `for;SECONDS`, `until;DATE`.
    pub fn field(self) -> String {
        match self {
            Hold::For(time) => format!("for;{}", time.as_secs()),
            Hold::Until(time) => format!("until;{}", date(time)),
        }
    }
}

/// A date and time of RFC 3339, in UTC.
pub(crate) fn date(time: SystemTime) -> String {
    let date = Timestamp::try_from(time).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC);
    date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
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
    fn notices_show_it() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(Hold::For(Duration::from_secs(60)).field(), "for;60");
        assert_eq!(Hold::Until(at).field(), "until;2027-01-15T08:00:00Z");
    }
}
