//! Quantities on the command line, written as in `posthaste.toml`, and how they are shown.

use engine::config::{parse_duration, parse_rate, parse_size};
use std::time::Duration;

/// Octets: `10KiB`, `25MiB`; a bare number counts octets too.
pub fn size(text: &str) -> Result<usize, String> {
    let bytes = match text.parse::<u64>() {
        Ok(bytes) => bytes,
        Err(_) => parse_size(text).map_err(|error| format!("{error}; sizes are like 10KiB, 25MiB or 10240"))?,
    };
    usize::try_from(bytes).ok().filter(|bytes| *bytes <= 1 << 40).ok_or_else(|| "1TiB is the most".into())
}

/// A time: `200ms`, `5s`, `15m`, `4h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| format!("{error}; times are like 200ms, 5s, 15m or 4h"))
}

/// Like [`duration`], but never nothing.
pub fn interval(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| if time.is_zero() { Err("no time at all is too short".into()) } else { Ok(time) })
}

/// Events a second: `100/s`, `6000/m`. `unlimited` is infinitely many.
pub fn rate(text: &str) -> Result<f64, String> {
    match parse_rate(text) {
        Ok(Some(rate)) => Ok(f64::from(rate.count) / rate.per.as_secs_f64()),
        Ok(None) => Ok(f64::INFINITY),
        Err(error) => Err(format!("{error}; rates are like 100/s, 6000/m or unlimited")),
    }
}

/// `1,234,567`.
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 entry`, `2000 entries`: with the noun as it is for one, and for many.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// An address as it stands in MAIL and RCPT, and in what we print, or without the brackets.
pub fn unbracketed(address: &str) -> &str {
    address.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(address)
}

/// `512 B`, `10 KiB`, `1.5 GiB`.
pub fn show_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut amount = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = next;
    }
    format!("{} {unit}", brief(amount))
}

/// The two largest units: `3d 4h`, `1m 30s`, `250ms`.
pub fn show_duration(time: Duration) -> String {
    const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for (unit, unit_ms) in UNITS {
        if rest >= unit_ms {
            parts.push(format!("{}{unit}", rest / unit_ms));
            rest %= unit_ms;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

/// Milliseconds to a thousandth: `0.42 ms`, `12.3 ms`, `1,204 ms`.
pub fn show_ms(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms => format!("{} ms", show_count(ms.round() as u64)),
    }
}

/// `8,123/s`, `0.5/s`.
pub fn show_rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{}/s", brief(per_second)) } else { format!("{}/s", show_count(per_second as u64)) }
}

/// One decimal where it says something.
fn brief(amount: f64) -> String {
    let text = format!("{amount:.1}");
    text.strip_suffix(".0").map_or(text.clone(), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        assert_eq!((size("10KiB"), size("10240"), size("2MB")), (Ok(10_240), Ok(10_240), Ok(2_000_000)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!((rate("100/s"), rate("600/m"), rate("unlimited")), (Ok(100.0), Ok(10.0), Ok(f64::INFINITY)));
        assert!(interval("0s").is_err() && duration("0s").is_ok());
        for error in [size("10 apples"), size("2000TiB")] {
            assert!(error.is_err());
        }
        assert_eq!(duration("5").unwrap_err(), "there is no unit; times are like 200ms, 5s, 15m or 4h");
        assert!(rate("fast").unwrap_err().contains("100/s"));
    }

    #[test]
    fn brackets_are_no_part_of_an_address() {
        for (written, meant) in [("<a@b.c>", "a@b.c"), ("a@b.c", "a@b.c"), ("<a@b.c", "<a@b.c"), ("<>", "")] {
            assert_eq!(unbracketed(written), meant);
        }
    }

    #[track_caller]
    fn check(shown: String, expected: &str) {
        assert_eq!(shown, expected);
    }

    #[test]
    fn quantities_are_shown() {
        check(show_count(0), "0");
        check(show_count(999), "999");
        check(show_count(1_234_567), "1,234,567");
        check(counted(1, "entry", "entries"), "1 entry");
        check(counted(2000, "entry", "entries"), "2000 entries");
        check(counted(0, "entry", "entries"), "0 entries");
        check(show_bytes(512), "512 B");
        check(show_bytes(10 << 10), "10 KiB");
        check(show_bytes(3 << 29), "1.5 GiB");
        check(show_bytes(u64::MAX), "16384 PiB");
        check(show_duration(Duration::ZERO), "0s");
        check(show_duration(Duration::from_millis(250)), "250ms");
        check(show_duration(Duration::from_secs(90)), "1m 30s");
        check(show_duration(Duration::from_secs(3 * 86_400)), "3d");
        check(show_duration(Duration::from_secs(3 * 86_400 + 50)), "3d");
        check(show_duration(Duration::from_secs(86_400 + 3_700)), "1d 1h");
        check(show_duration(Duration::MAX), "213503982334d 14h");
        check(show_ms(0.4239), "0.42 ms");
        check(show_ms(12.34), "12.3 ms");
        check(show_ms(1204.4), "1,204 ms");
        check(show_rate(0.5), "0.5/s");
        check(show_rate(8123.7), "8,123/s");
    }
}
