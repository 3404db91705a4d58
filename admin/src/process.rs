//! The process's own metrics, by the names that Prometheus recommends, read from `/proc` at each scrape; what cannot be
//! read is left out. And `posthaste_build_info`, and `posthaste_ready`: what `/readyz` answers.

use std::fmt::Write;
use std::fs;

/// `sysconf(_SC_CLK_TCK)`: part of Linux's ABI, the same on every architecture that Rust's std supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// As Prometheus text.
pub(crate) fn metrics(is_ready: bool) -> String {
    let mut out = String::new();
    let version = env!("CARGO_PKG_VERSION");
    let mut put = |name: &str, kind: &str, labels: &str, value: Option<f64>| {
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# TYPE {name} {kind}\n{name}{labels} {value}");
        }
    };
    put("posthaste_build_info", "gauge", &format!("{{version=\"{version}\"}}"), Some(1.0));
    put("posthaste_ready", "gauge", "", Some(f64::from(u8::from(is_ready))));
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    put("process_cpu_seconds_total", "counter", "", cpu_seconds(&stat));
    put("process_start_time_seconds", "gauge", "", start_time(&stat));
    put("process_resident_memory_bytes", "gauge", "", status_bytes(&status, "VmRSS:"));
    put("process_virtual_memory_bytes", "gauge", "", status_bytes(&status, "VmSize:"));
    put("process_threads", "gauge", "", status_number(&status, "Threads:"));
    put("process_open_fds", "gauge", "", fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as f64));
    put("process_max_fds", "gauge", "", max_fds());
    out
}

/// The n-th field of proc(5)'s stat, from 1. The second, the program's name, may hold anything, so count from behind it.
fn field(stat: &str, n: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(n - 3)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

fn start_time(stat: &str) -> Option<f64> {
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + field(stat, 22)? / TICKS_PER_SECOND)
}

fn status_number(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn status_bytes(status: &str, name: &str) -> Option<f64> {
    status_number(status, name).map(|kib| kib * 1024.0)
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 9 0 77700 1000";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(field(stat, 22), Some(77700.0));
        assert_eq!(cpu_seconds("nothing"), None);
    }

    #[test]
    fn this_process_has_all_of_them() {
        let text = metrics(true);
        assert_eq!(text.matches("# TYPE").count(), 9, "{text}");
        assert!(text.contains("posthaste_build_info{version=\""));
    }
}
