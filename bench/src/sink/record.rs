//! What a sink keeps of the messages it took, and what it counts.

use super::rule::Stage;
use crate::proof::Tally;
use crate::report::{Percentiles, latency_histogram};
use crate::stamp::{Checked, Stamp};
use bytes::Bytes;
use crossbeam_channel::Sender;
use hdrhistogram::Histogram;
use serde::Serialize;
use smtp::server::{Message, TlsInfo};
use smtp::{MailParameters, Recipient};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

/// What to keep of received messages. The default keeps nothing but counts.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// How often each numbered recipient came (a byte each), for [`crate::proof`].
    pub numbers: bool,
    /// Compare content with the generator's stamp, and note how long it was under way.
    pub check: bool,
    /// Write each message as `00000000.eml`, its envelope as `00000000.json`, in this existing directory.
    pub directory: Option<PathBuf>,
    /// Hand each message over. A full channel makes the sink wait.
    pub channel: Option<Sender<Received>>,
}

impl Keep {
    /// Whether content is looked at or stored at all.
    pub(super) fn content(&self) -> bool {
        self.check || self.directory.is_some() || self.channel.is_some()
    }
}

/// A message as it was received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The client; `None` over a Unix socket.
    pub peer: Option<SocketAddr>,
    /// What TLS agreed on.
    pub tls: Option<TlsInfo>,
    /// The EHLO name.
    pub hello: Box<str>,
    /// MAIL FROM, empty for the null reverse-path.
    pub reverse_path: String,
    /// RCPT TO, those that were accepted.
    pub recipients: Vec<String>,
    /// What else MAIL said.
    pub parameters: MailParameters,
    /// The same recipients, with what else RCPT said.
    pub rcpts: Vec<Recipient>,
    /// The content.
    pub body: Bytes,
    /// When its last octet had come.
    pub at: SystemTime,
}

/// Where a message came from.
pub(super) struct Origin<'a> {
    pub peer: Option<SocketAddr>,
    pub tls: Option<&'a TlsInfo>,
    pub hello: &'a str,
}

/// Counts since the start, as `posthaste sink --json` shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counters {
    /// Messages taken.
    pub messages: u64,
    /// Their recipients.
    pub recipients: u64,
    /// Octets of their content.
    pub bytes: u64,
    /// When the first message had come, Unix seconds; 0 when none has.
    pub first_received: f64,
    /// When the last one had come, likewise.
    pub last_received: f64,
    /// Connections accepted.
    pub connections_opened: u64,
    /// Connections now.
    pub connections: u64,
    /// The most at one time.
    pub connections_peak: u64,
    /// TLS handshakes that were finished.
    pub tls_handshakes: u64,
    /// Those of them that went on with an earlier session.
    pub tls_resumed: u64,
    /// Refusals and other misdeeds by rule, by stage.
    pub refused: BTreeMap<&'static str, u64>,
    /// Messages whose content differed from their stamp (where checked).
    pub corrupted: u64,
    /// Messages without a stamp (where checked).
    pub unstamped: u64,
    /// Messages that could not be written to the directory.
    pub unwritten: u64,
}

/// Shared by the threads of a sink.
#[derive(Default)]
pub(super) struct Record {
    pub keep: Keep,
    pub tally: Option<Tally>,
    connections_opened: AtomicU64,
    connections: AtomicU64,
    messages: AtomicU64,
    recipients: AtomicU64,
    bytes: AtomicU64,
    /// Unix microseconds; 0 until there is one.
    first_received_us: AtomicU64,
    last_received_us: AtomicU64,
    connections_peak: AtomicU64,
    tls_handshakes: AtomicU64,
    tls_resumed: AtomicU64,
    corrupted: AtomicU64,
    unstamped: AtomicU64,
    unwritten: AtomicU64,
    refused: [AtomicU64; 11],
    latency: Mutex<Option<Histogram<u64>>>,
}

impl Record {
    pub(super) fn new(keep: Keep) -> Record {
        Record {
            tally: keep.numbers.then(Tally::default),
            latency: Mutex::new(keep.check.then(latency_histogram)),
            keep,
            ..Record::default()
        }
    }

    pub(super) fn opened(&self) -> u64 {
        self.connections_opened.fetch_add(1, Relaxed);
        let now = self.connections.fetch_add(1, Relaxed) + 1;
        self.connections_peak.fetch_max(now, Relaxed);
        now
    }

    pub(super) fn closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// A TLS handshake was finished.
    pub(super) fn encrypted(&self, resumed: bool) {
        self.tls_handshakes.fetch_add(1, Relaxed);
        self.tls_resumed.fetch_add(u64::from(resumed), Relaxed);
    }

    pub(super) fn refused(&self, stage: Stage) {
        self.refused[stage as usize].fetch_add(1, Relaxed);
    }

    /// A message was taken.
    pub(super) fn take(&self, message: &Message, origin: Origin<'_>, at: SystemTime) {
        let at_us = unix_us(at);
        let serial = self.messages.fetch_add(1, Relaxed);
        if serial == 0 {
            self.first_received_us.store(at_us, Relaxed);
        }
        self.last_received_us.fetch_max(at_us, Relaxed);
        self.recipients.fetch_add(message.recipients.len() as u64, Relaxed);
        self.bytes.fetch_add(message.body_bytes as u64, Relaxed);
        if let Some(tally) = &self.tally {
            message.recipients.iter().for_each(|r| tally.record(r.mailbox.local_part()));
        }
        if self.keep.check {
            self.check(message, at_us);
        }
        if let Some(directory) = &self.keep.directory
            && write_message(directory, serial, message, &origin).is_err()
        {
            self.unwritten.fetch_add(1, Relaxed);
        }
        if let Some(channel) = &self.keep.channel {
            // Nobody listens any more: the counters still tell.
            let _ = channel.send(Received {
                peer: origin.peer,
                tls: origin.tls.cloned(),
                hello: origin.hello.into(),
                reverse_path: message.reverse_path.as_str().to_owned(),
                recipients: message.recipients.iter().map(|r| r.mailbox.as_str().to_owned()).collect(),
                parameters: message.parameters.clone(),
                rcpts: message.recipients.clone(),
                body: message.body.to_bytes(),
                at,
            });
        }
    }

    fn check(&self, message: &Message, now_us: u64) {
        let stamp = match Stamp::check(message.body.segments()) {
            Checked::Intact(stamp) => stamp,
            Checked::Corrupted(stamp) => {
                self.corrupted.fetch_add(1, Relaxed);
                stamp
            }
            Checked::Unstamped => {
                self.unstamped.fetch_add(1, Relaxed);
                return;
            }
        };
        // A histogram behind a poisoned lock is still a histogram of what was recorded.
        let mut latency = self.latency.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(histogram) = latency.as_mut() {
            histogram.saturating_record(now_us.saturating_sub(stamp.submitted_us).max(1));
        }
    }

    pub(super) fn latency(&self) -> Option<Histogram<u64>> {
        self.latency.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub(super) fn counters(&self) -> Counters {
        let stages = Stage::ALL.iter().map(|(name, stage)| (*name, self.refused[*stage as usize].load(Relaxed)));
        Counters {
            messages: self.messages.load(Relaxed),
            recipients: self.recipients.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            first_received: self.first_received_us.load(Relaxed) as f64 / 1e6,
            last_received: self.last_received_us.load(Relaxed) as f64 / 1e6,
            connections_opened: self.connections_opened.load(Relaxed),
            connections: self.connections.load(Relaxed),
            connections_peak: self.connections_peak.load(Relaxed),
            tls_handshakes: self.tls_handshakes.load(Relaxed),
            tls_resumed: self.tls_resumed.load(Relaxed),
            refused: stages.filter(|(_, count)| *count > 0).collect(),
            corrupted: self.corrupted.load(Relaxed),
            unstamped: self.unstamped.load(Relaxed),
            unwritten: self.unwritten.load(Relaxed),
        }
    }
}

fn unix_us(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[derive(Serialize)]
struct Envelope<'a> {
    reverse_path: &'a str,
    recipients: Vec<&'a str>,
    hello: &'a str,
    tls: Option<&'a str>,
    /// What else MAIL and RCPT said, where they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    envid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_by: Option<String>,
    /// A list for each recipient.
    #[serde(skip_serializing_if = "Option::is_none")]
    notify: Option<Vec<String>>,
}

fn write_message(directory: &Path, serial: u64, message: &Message, origin: &Origin<'_>) -> io::Result<()> {
    let envelope = Envelope {
        reverse_path: message.reverse_path.as_str(),
        recipients: message.recipients.iter().map(|r| r.mailbox.as_str()).collect(),
        hello: origin.hello,
        tls: origin.tls.map(|tls| tls.version),
        envid: message.parameters.envid.as_deref(),
        priority: Some(message.parameters.priority).filter(|priority| *priority != 0),
        deliver_by: message.parameters.deliver_by.map(|by| format!("{};{}", by.seconds, by.mode_keyword())),
        notify: message
            .recipients
            .iter()
            .any(Recipient::needs_dsn)
            .then(|| message.recipients.iter().map(|to| to.notify.words().collect::<Vec<_>>().join(",")).collect()),
    };
    std::fs::write(directory.join(format!("{serial:08}.eml")), message.body.to_bytes())?;
    std::fs::write(directory.join(format!("{serial:08}.json")), serde_json::to_vec(&envelope)?)
}

/// What a sink shows at its end.
#[derive(Clone, Debug, Serialize)]
pub struct SinkReport {
    /// All counts.
    #[serde(flatten)]
    pub counters: Counters,
    /// Submitted to received, of stamped messages, where that was asked for.
    pub latency_ms: Option<Percentiles>,
    /// Numbered recipients that came more than once, where that was asked for.
    pub doubled: Option<u64>,
    /// CPU time of the sink's threads, seconds.
    pub cpu_seconds: f64,
}
