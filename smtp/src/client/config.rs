//! How one connection speaks: the level of pipelining, the TLS policy, and the waiting times. All defaults stand here.

use super::{Login, Protocol};
use std::sync::Arc;
use std::time::Duration;

/// Bodies beyond this many octets wait for the RCPT replies even where CHUNKING would let them go at once: a refusal
/// then costs a round trip instead of the whole content.
pub const LARGE_BODY_BYTES: usize = 256 * 1024;

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
    /// Not offered or refused: the connection ends with `Event::Closed` at `Stage::StartTls`.
    Required,
}

/// Waiting times per stage; defaults from RFC 5321 §4.5.3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the 220 greeting: 5 minutes.
    pub greeting: Duration,
    /// For EHLO, HELO, STARTTLS, the TLS handshake, AUTH, RSET, MAIL and RCPT: 5 minutes.
    pub command: Duration,
    /// For 354 after DATA: 2 minutes.
    pub data: Duration,
    /// For any progress while content is being written: 3 minutes.
    pub write: Duration,
    /// For the reply to the final dot or BDAT LAST: 10 minutes; a shorter one makes duplicates.
    pub final_reply: Duration,
    /// For the peer to close after QUIT, of no consequence: 2 seconds.
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
    /// EHLO (LHLO) first; else HELO at once, for servers that end the connection over EHLO.
    pub extended: bool,
    /// STARTTLS policy. (Implicit TLS is the shell's; then this is `Off`.)
    pub starttls: StartTls,
    /// The level wanted; what the peer does not announce is not used.
    pub pipelining: Pipelining,
    /// Transactions submitted and not yet reported, at most, at every level; beyond `Stream` a second one is all that helps.
    pub window: usize,
    /// Use BDAT when CHUNKING is announced.
    pub chunking: bool,
    /// Content waits for the replies to its recipients also under CHUNKING, as if it were a large body.
    pub careful: bool,
    /// Who to log in as before any mail is sent.
    pub login: Option<Login>,
    /// Waiting times.
    pub timeouts: Timeouts,
}
