//! Figures as they are printed and written: percentiles, and what a process costs, from `/proc`.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::io;
use std::time::Duration;

/// Latency percentiles in milliseconds, by the names that `--json` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are faster.
    pub p50: f64,
    /// 90% are faster.
    pub p90: f64,
    /// 99% are faster.
    pub p99: f64,
    /// 99.9% are faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Percentiles {
    /// From a histogram of microseconds; zeros where it is empty.
    pub fn of_micros(histogram: &Histogram<u64>) -> Percentiles {
        let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Percentiles {
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
            p999: ms(0.999),
            max: if histogram.is_empty() { 0.0 } else { histogram.max() as f64 / 1000.0 },
        }
    }
}

/// A histogram of microseconds, up to an hour, to three digits (at most 0.1% off).
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("constant bounds that hdrhistogram accepts")
}

/// CPU time of the calling thread so far, user and system.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUsage {
    /// CPU time in user mode, all threads, also those that have ended; steps of 10 ms.
    pub user: Duration,
    /// CPU time in the kernel, likewise.
    pub system: Duration,
    /// Resident memory, octets, with what is shared with others counted in full.
    pub rss_bytes: u64,
    /// The highest `rss_bytes` so far.
    pub peak_rss_bytes: u64,
    /// Resident memory, octets, with shared pages divided among those who share them. 0 where it may not be read.
    pub pss_bytes: u64,
}

impl ProcessUsage {
    /// Reads `/proc/<pid>`.
    ///
    /// # Errors
    /// The process does not exist, or `/proc` is not what Linux makes it.
    pub fn of(pid: u32) -> io::Result<ProcessUsage> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        let (user, system) = cpu_times(&read("stat")?).ok_or(io::ErrorKind::InvalidData)?;
        let status = read("status")?;
        Ok(ProcessUsage {
            user,
            system,
            rss_bytes: kib_field(&status, "VmRSS:").unwrap_or(0),
            peak_rss_bytes: kib_field(&status, "VmHWM:").unwrap_or(0),
            pss_bytes: read("smaps_rollup").ok().and_then(|text| kib_field(&text, "Pss:")).unwrap_or(0),
        })
    }

    /// The calling process.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn own() -> io::Result<ProcessUsage> {
        ProcessUsage::of(std::process::id())
    }

    /// User and system time together.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// Fields 14 and 15 of `/proc/<pid>/stat`. The second field is the program's name in parentheses and may hold anything.
fn cpu_times(stat: &str) -> Option<(Duration, Duration)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(11);
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    let mut next = || Some(Duration::from_secs_f64(fields.next()?.parse::<f64>().ok()? / ticks_per_second));
    Some((next()?, next()?))
}

fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let mut histogram = latency_histogram();
        (1..=1000).for_each(|n| histogram.record(n * 1000).unwrap());
        let p = Percentiles::of_micros(&histogram);
        assert!((p.p50 - 500.0).abs() < 1.0 && (p.p99 - 990.0).abs() < 1.0 && (p.max - 1000.0).abs() < 1.0, "{p:?}");
        assert_eq!(Percentiles::of_micros(&latency_histogram()), Percentiles::default());
    }

    #[test]
    fn cpu_times_survive_a_nasty_program_name() {
        let stat = "7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        let hz = rustix::param::clock_ticks_per_second() as f64;
        let expected = (Duration::from_secs_f64(250.0 / hz), Duration::from_secs_f64(50.0 / hz));
        assert_eq!(cpu_times(stat), Some(expected));
        assert_eq!(cpu_times("nonsense"), None);
    }

    #[test]
    fn our_own_process_has_memory() {
        let usage = ProcessUsage::own().unwrap();
        assert!(usage.rss_bytes > 1 << 20 && usage.peak_rss_bytes >= usage.rss_bytes / 2, "{usage:?}");
        assert!(ProcessUsage::of(u32::MAX).is_err());
    }
}
