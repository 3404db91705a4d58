//! Numbers with units: durations, sizes, rates.

use super::Rate;
use std::time::Duration;

/// Splits `25MiB` into the number and the unit.
fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    match (number, unit) {
        ("", _) => Err("it does not begin with a whole number".into()),
        (_, "") => Err("there is no unit".into()),
        (number, unit) => Ok((number.parse().map_err(|_| "the number is too large")?, unit.trim_start())),
    }
}

/// Reads `"100ms"`, `"5s"`, `"15m"`, `"4h"`, `"3d"`.
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("`{unit}` is no unit of time")),
    };
    // A hundred years bounds the sums that are made of durations later.
    let ms = number.checked_mul(unit_ms).filter(|ms| *ms <= 36_525 * 86_400_000).ok_or("longer than a century")?;
    Ok(Duration::from_millis(ms))
}

/// Reads `"512B"`, `"10KB"`, `"10KiB"`, `"25MiB"` as bytes.
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(format!("`{unit}` is no unit of size")),
    };
    number.checked_mul(unit_bytes).filter(|bytes| *bytes <= 1 << 60).ok_or_else(|| "too large".into())
}

/// Reads `100/s`, `600/m`, `5000/h`, `20000/d`; `unlimited` is `None`.
///
/// # Errors
/// What is wrong with it, in a few words.
pub fn rate(text: &str) -> Result<Option<Rate>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    let (count, per) = text.split_once('/').ok_or("there is no \"/\" in it")?;
    let count = count.trim_end().parse().map_err(|_| "it does not begin with a whole number")?;
    if count == 0 {
        return Err("zero never lets anything through; `suspend = true` says that".into());
    }
    let seconds = match per.trim_start() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        unit => return Err(format!("`{unit}` is no unit of time")),
    };
    Ok(Some(Rate { count, per: Duration::from_secs(seconds) }))
}
