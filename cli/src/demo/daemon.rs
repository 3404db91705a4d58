//! The daemon of the demo: `posthaste serve` as a child process.

use super::DemoError;
use bench::report::ProcessUsage;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the start may take.
const START: Duration = Duration::from_secs(20);
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(20);

/// A running daemon; dropped, it is ended by its id.
pub(super) struct Daemon {
    child: Child,
    ingest: SocketAddr,
    admin: SocketAddr,
    directory: TempDir,
}

impl Daemon {
    pub(super) fn start(work_dir: Option<&Path>, dns: SocketAddr, port: u16) -> Result<Daemon, DemoError> {
        let directory = match work_dir {
            Some(parent) => tempfile::Builder::new().prefix("posthaste-demo-").tempdir_in(parent),
            None => tempfile::Builder::new().prefix("posthaste-demo-").tempdir(),
        }?;
        let (ingest, admin) = (free_port()?, free_port()?);
        let file = directory.path().join("posthaste.toml");
        fs::write(&file, configuration(directory.path(), ingest, admin, dns, port))?;
        let log = fs::File::create(log_file(directory.path()))?;
        let child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .arg("--scratch")
            .arg(directory.path())
            // Ours alone to write to: it ends when we do, whatever ends us (`super::leash`).
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // What the terminal signals is meant for us, and a second Ctrl-C would keep the daemon from clearing up.
            .process_group(0)
            .spawn()?;
        let mut daemon = Daemon { child, ingest, admin, directory };
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    fn wait_until_ready(&mut self) -> Result<(), DemoError> {
        let start = Instant::now();
        while start.elapsed() < START && self.child.try_wait()?.is_none() {
            if self.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(DemoError::Daemon(fs::read_to_string(log_file(self.directory.path())).unwrap_or_default()))
    }

    pub(super) fn ingest(&self) -> SocketAddr {
        self.ingest
    }

    pub(super) fn usage(&self) -> io::Result<ProcessUsage> {
        ProcessUsage::of(self.child.id())
    }

    /// The text of `/metrics`, after the gauges have caught up.
    pub(super) fn metrics(&self) -> io::Result<Metrics> {
        std::thread::sleep(Duration::from_millis(600));
        self.get("/metrics").map(Metrics)
    }

    fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// SIGTERM, and its end.
    pub(super) fn stop(mut self) -> Result<(), DemoError> {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM)
            .map_err(io::Error::from)?;
        let start = Instant::now();
        while start.elapsed() < STOP {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    let log = fs::read_to_string(log_file(self.directory.path())).unwrap_or_default();
                    return Err(DemoError::Daemon(format!("{log}ended with {status}")));
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Err(DemoError::Daemon("it did not stop in time".into()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone after `stop`; otherwise the demo failed and nothing of it may stay.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Prometheus text.
pub(super) struct Metrics(String);

impl Metrics {
    /// The sum over all label sets of a metric.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.lines(name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The same, of those with this label text, as `outcome="bounced"`.
    pub(super) fn sum_with(&self, name: &str, label: &str) -> f64 {
        let lines = self.lines(name).filter(|line| line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.lines().filter(move |line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        })
    }
}

fn log_file(directory: &Path) -> PathBuf {
    directory.join("daemon.log")
}

/// A port that was free a moment ago.
fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn configuration(directory: &Path, ingest: SocketAddr, admin: SocketAddr, dns: SocketAddr, port: u16) -> String {
    let data = directory.join("data");
    format!(
        r#"hostname = "demo.posthaste.test"
data_dir = {data:?}
postmaster = "postmaster@demo.posthaste.test"

[[listener]]
bind = "{ingest}"

[admin]
bind = "{admin}"

[dns]
nameservers = ["{dns}"]

[delivery]
port = {port}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_labels_and_names_are_not_prefixes() {
        let metrics = Metrics("# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\n".into());
        assert_eq!((metrics.sum("a"), metrics.sum("ab"), metrics.sum_with("a", "x=\"2\"")), (5.0, 7.0, 3.0));
    }
}
