//! What the machine tells its owner: stages, outcomes, causes, reports, events. Facts only; fate is decided elsewhere.

use super::{AuthError, Features};
use crate::Reply;
use crate::mime::Refusal;
use std::sync::Arc;

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
    /// The message asks for REQUIRETLS, and this server or the connection to it does not promise that.
    #[error("the sender requires TLS all the way (REQUIRETLS), which the receiving server does not promise")]
    RequireTls,
    /// DELIVERBY with return, and the peer would not watch the time (RFC 2852 §4.1.4).
    #[error("the sender wants it back when time is over (DELIVERBY), for which the receiving server does not care")]
    DeliverBy,
    /// DELIVERBY with return: less time is left than the peer takes, or none.
    #[error("the time within which the sender wants it delivered (DELIVERBY) is over")]
    TooLate,
    /// Content beyond 7-bit, no 8BITMIME, and no conversion.
    #[error("the receiving server takes 7-bit content only (no 8BITMIME), and this cannot be converted: {0}")]
    EightBit(Refusal),
    /// Binary content, no BINARYMIME (or no CHUNKING to go with it), and no conversion.
    #[error("the receiving server takes no binary content (no BINARYMIME), and this cannot be converted: {0}")]
    Binary(Refusal),
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
    /// There is no logging in with what the server offers or says.
    Auth(AuthError),
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
