//! The sending side: set-up as a sequence of phases, then mail as two cursors over a queue of expected replies.
//!
//! ```text
//! handle_bytes / handle_eof / handle_timeout / handle_tls / submit / quit
//!   then loop { poll_event } until None,
//!   then write what `transmit` shows and call `advance`, then arm poll_timeout.
//! ```
//! The machine never decides the fate of a message: it reports what the peer said, at which stage.

use crate::{Body, Mailbox, Reply, ReversePath, server::TlsInfo};
use bytes::Bytes;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::server::Protocol;

/// How much is in flight before a reply is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Pipelining {
    /// One command at a time.
    Off,
    /// MAIL, RCPT…, DATA in one flight; with CHUNKING MAIL, RCPT…, BDAT LAST and the body: one round trip a message.
    #[default]
    Transaction,
    /// The next transaction follows without waiting (RFC 2920 §3.1, RFC 3030 §4.2).
    Stream,
}

/// Whether to use STARTTLS (RFC 3207).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StartTls {
    /// Never ask.
    Off,
    /// When the peer offers it; refused or not offered: go on in clear text.
    #[default]
    Opportunistic,
    /// Not offered or refused: the connection ends with [`Closed`] at [`Stage::StartTls`].
    Required,
}

/// Waiting times per stage; defaults from RFC 5321 §4.5.3.2.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For the 220 greeting: 5 minutes.
    pub greeting: Duration,
    /// For EHLO, HELO, STARTTLS, RSET, MAIL and RCPT: 5 minutes.
    pub command: Duration,
    /// For 354 after DATA: 2 minutes.
    pub data: Duration,
    /// For any progress while content is being written: 3 minutes.
    pub write: Duration,
    /// For the reply to the final dot or BDAT LAST: 10 minutes; a shorter one makes duplicates.
    pub final_reply: Duration,
    /// For 221 after QUIT, of no consequence: 2 seconds.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            greeting: Duration::from_secs(300),
            command: Duration::from_secs(300),
            data: Duration::from_secs(120),
            write: Duration::from_secs(180),
            final_reply: Duration::from_secs(600),
            quit: Duration::from_secs(2),
        }
    }
}

/// How to speak on one connection.
#[derive(Clone, Debug)]
pub struct Config {
    /// The EHLO name.
    pub hello_name: Arc<str>,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// STARTTLS policy. (Implicit TLS is the shell's; then this is `Off`.)
    pub starttls: StartTls,
    /// The level wanted; what the peer does not announce is not used.
    pub pipelining: Pipelining,
    /// Transactions submitted and not yet reported, at most; only `Stream` makes use of more than 2.
    pub window: usize,
    /// Use BDAT when CHUNKING is announced.
    pub chunking: bool,
    /// Waiting times.
    pub timeouts: Timeouts,
}

/// What the peer announced in EHLO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// PIPELINING.
    pub pipelining: bool,
    /// CHUNKING.
    pub chunking: bool,
    /// 8BITMIME.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// STARTTLS.
    pub starttls: bool,
    /// DSN.
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES.
    pub enhanced_status_codes: bool,
    /// SIZE: `Some(0)` where it names no limit.
    pub size: Option<u64>,
    /// AUTH mechanisms, upper case.
    pub auth: Vec<Box<str>>,
    /// The name in the peer's greeting or EHLO reply, unverified.
    pub peer_name: Box<str>,
}

/// One message for some recipients, as `submit` takes it. Commands are encoded at once; only the body is kept (shared).
pub struct Transaction<'a> {
    /// The caller's name for it; comes back in the report.
    pub id: u64,
    /// MAIL FROM.
    pub reverse_path: &'a ReversePath,
    /// RCPT TO, in order; at least one.
    pub recipients: &'a mut dyn Iterator<Item = &'a Mailbox>,
    /// The content.
    pub body: &'a Body,
    /// The message asks for SMTPUTF8.
    pub smtputf8: bool,
}

/// Where in the conversation something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// TCP or Unix connect (reported by the shell, never by this machine).
    Connect,
    /// Awaiting 220.
    Greeting,
    /// EHLO, HELO, LHLO.
    Hello,
    /// STARTTLS and its reply.
    StartTls,
    /// The TLS handshake (reported by the shell).
    Tls,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA up to 354.
    Data,
    /// Content sent (or being sent), final reply awaited.
    Final,
    /// Between transactions.
    Idle,
    /// QUIT.
    Quit,
}

/// What became of a transaction or of one of its recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer said this at this stage. Success is a 2xx at `Stage::Final`.
    Replied(Stage, Reply),
    /// The connection ended first. In doubt if and only if the stage is `Final` and all content was handed to the socket.
    Lost {
        /// How far it had come.
        stage: Stage,
        /// Why.
        cause: Cause,
        /// The peer may have it (RFC 1047).
        in_doubt: bool,
    },
    /// Nothing of it was sent, or it was cut short before any content by another transaction's failure: try elsewhere at
    /// once, it is nobody's fault.
    NotSent,
    /// This peer cannot take it; nothing was sent.
    Unsupported(Unsupported),
}

/// What the peer lacks for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The address or header needs SMTPUTF8.
    #[error("the receiving server does not support internationalised mail (SMTPUTF8)")]
    Smtputf8,
    /// Larger than the SIZE it announced.
    #[error("the message is larger than the receiving server accepts ({limit} bytes)")]
    Size {
        /// As announced.
        limit: u64,
    },
    /// Binary content and no BINARYMIME.
    #[error("the receiving server does not support binary content (BINARYMIME)")]
    Binary,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// We asked for it, or the peer closed between transactions.
    Done,
    /// The peer said so (421 anywhere, a refused greeting, EHLO and HELO both refused, STARTTLS refused though required …).
    Replied(Reply),
    /// The peer closed in the middle.
    Eof,
    /// No reply in time.
    Timeout,
    /// Socket error (reported by the shell through `handle_error`).
    Io(std::io::ErrorKind),
    /// TLS failed: what rustls said.
    Tls(Arc<str>),
    /// What came is no SMTP: said in a sentence.
    Protocol(&'static str),
}

/// The report on one submitted transaction: every submitted id is reported exactly once, whatever happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As submitted.
    pub id: u64,
    /// What holds for every recipient not listed below.
    pub outcome: Outcome,
    /// Recipients (positions in the order of submission) that fared differently: refused at RCPT, or under LMTP.
    pub exceptions: Vec<(u32, Outcome)>,
}

/// What the machine wants its owner to know.
#[derive(Debug)]
pub enum Event {
    /// Hand the stream to TLS, then call `handle_tls` (or `handle_error`).
    StartTls,
    /// Set-up is done: transactions can be submitted.
    Ready(Arc<Features>),
    /// A transaction's result; room for another is free.
    Report(Report),
    /// The connection is over: transmit what is left and close it. All reports came before.
    Closed {
        /// Where.
        stage: Stage,
        /// Why.
        cause: Cause,
    },
}

/// The sending state machine of one connection.
pub struct Client {
    config: Arc<Config>,
}

impl Client {
    /// A connection that was just established; the greeting is awaited.
    pub fn new(config: Arc<Config>, now: Instant) -> Client {
        let _ = now;
        Client { config }
    }
    /// Bytes that arrived.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        let _ = (bytes, now);
        todo!()
    }
    /// The peer closed its side.
    pub fn handle_eof(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }
    /// The socket or TLS failed.
    pub fn handle_error(&mut self, cause: Cause, now: Instant) {
        let _ = (cause, now);
        todo!()
    }
    /// The time that `poll_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }
    /// TLS is up: the machine forgets what it knew and says EHLO again (RFC 3207 §4.2).
    pub fn handle_tls(&mut self, info: TlsInfo, now: Instant) {
        let _ = (info, now);
        todo!()
    }
    /// How many more transactions can be submitted now; 0 before `Ready`, after `quit`, and while the window is full.
    pub fn credit(&self) -> usize {
        todo!()
    }
    /// Queues a transaction. Returns what makes it impossible with this peer (then nothing is reported later).
    ///
    /// # Panics
    /// If `credit` is 0.
    pub fn submit(&mut self, transaction: Transaction<'_>, now: Instant) -> Result<(), Unsupported> {
        let _ = (transaction, now);
        todo!()
    }
    /// Says QUIT when all that was submitted is reported; submits nothing more.
    pub fn quit(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }
    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }
    /// Fills `slices` from the front with what is to be written, and says how many it filled; 0: nothing to write.
    pub fn transmit<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let _ = slices;
        todo!()
    }
    /// So many octets of `transmit` were written.
    pub fn advance(&mut self, bytes: usize, now: Instant) {
        let _ = (bytes, now);
        todo!()
    }
    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// Transactions submitted and not reported.
    pub fn in_flight(&self) -> usize {
        todo!()
    }
    /// What TLS agreed on, if it is up.
    pub fn tls(&self) -> Option<&TlsInfo> {
        todo!()
    }
    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

#[allow(dead_code)]
type Unused = Bytes;
