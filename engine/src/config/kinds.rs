//! What values look like: durations, sizes, rates and counts here, names, places and choices beside.

mod choices;
mod names;
mod places;

pub(super) use choices::*;
pub(super) use names::*;
pub(super) use places::*;

use super::Rate;
use super::quantities::{duration, rate, size};
use super::raw::{Kind, found};
use std::time::Duration;
use toml::de::DeValue;

pub(super) const DURATION: Kind<Duration> = Kind {
    what: "a duration",
    allowed: "a whole number and a unit: \"100ms\", \"5s\", \"15m\", \"4h\", \"3d\"",
    read: |value| match duration(text(value)?)? {
        Duration::ZERO => Err("no time at all is too short".into()),
        duration => Ok(duration),
    },
};

/// RFC 4865 §3 announces it with at most nine digits.
pub(super) const HOLD: Kind<Duration> = Kind {
    what: DURATION.what,
    allowed: "at most 9999d, as in \"7d\"; \"0s\" for none",
    read: |value| match duration(text(value)?)? {
        long if long.as_secs() > 9999 * 86_400 => Err("it is longer than 9999d".into()),
        time => Ok(time),
    },
};

/// How long others may keep a place of ours: nobody means to give it away for days.
pub(super) const PATIENCE: Kind<Duration> = Kind {
    what: DURATION.what,
    allowed: "more than none and at most a day: \"30s\", \"5m\", \"1h\"",
    read: |value| match (DURATION.read)(value)? {
        long if long.as_secs() > 86_400 => Err("it is longer than a day".into()),
        time => Ok(time),
    },
};

/// Clients have gone when they are kept waiting for longer.
pub(super) const FAILURE_DELAY: Kind<Duration> = Kind {
    what: DURATION.what,
    allowed: "at most a minute: \"500ms\", \"2s\"; \"0s\" for none",
    read: |value| match duration(text(value)?)? {
        long if long.as_secs() > 60 => Err("it is longer than a minute".into()),
        time => Ok(time),
    },
};

pub(super) const DURATION_OR_ZERO: Kind<Duration> =
    Kind { what: DURATION.what, allowed: DURATION.allowed, read: |value| duration(text(value)?) };

pub(super) const SIZE: Kind<u64> = Kind {
    what: "a size",
    allowed: "a whole number and a unit: \"512B\", \"10KB\" (1000), \"10KiB\" (1024), \"25MiB\", \"2GiB\", \"1TiB\"",
    read: |value| size(text(value)?),
};

pub(super) const RATE: Kind<Option<Rate>> = Kind {
    what: "a rate",
    allowed: "\"100/s\", \"600/m\", \"5000/h\", \"20000/d\", or \"unlimited\"",
    read: |value| rate(text(value)?),
};

pub(super) const COUNT: Kind<u32> =
    Kind { what: "a count", allowed: "a whole number from 1 to 1000000", read: |value| whole(value, 1, 1_000_000) };

pub(super) const RECIPIENTS: Kind<u64> = Kind {
    what: "a count",
    allowed: "a whole number from 1 to 1000000000000",
    read: |value| whole(value, 1, 1_000_000_000_000),
};

pub(super) const WORKERS: Kind<usize> = Kind {
    what: "a number of workers",
    allowed: "a whole number from 0 (one per core) to 256",
    read: |value| whole(value, 0, 256),
};

pub(super) const PORT: Kind<u16> =
    Kind { what: "a port", allowed: "a whole number from 1 to 65535", read: |value| whole(value, 1, 65535) };

pub(super) const FRACTION: Kind<f64> = Kind {
    what: "a fraction",
    allowed: "a number from 0 to 1, like 0.2",
    read: |value| {
        let number = match value {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => return Err(found(value)),
        };
        number.filter(|number| (0.0..=1.0).contains(number)).ok_or_else(|| "out of range".to_string())
    },
};

pub(super) const FLAG: Kind<bool> =
    Kind { what: "a switch", allowed: "true, false", read: |value| value.as_bool().ok_or_else(|| found(value)) };

fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    match value {
        DeValue::Integer(_) => Err("this is a number; write it in quotes, with a unit where one belongs".into()),
        _ => value.as_str().ok_or_else(|| found(value)),
    }
}

pub(super) fn whole<T: TryFrom<u64>>(value: &DeValue<'_>, min: u64, max: u64) -> Result<T, String> {
    let DeValue::Integer(number) = value else { return Err(found(value)) };
    let number = u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|n| (min..=max).contains(n));
    number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| "out of range".into())
}

#[cfg(test)]
mod tests;
