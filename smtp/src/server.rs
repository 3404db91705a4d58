//! The receiving side: ingest sockets, the sink, and the simulation's remote exchangers.
//!
//! ```text
//! handle_bytes / handle_eof / handle_timeout / handle_tls
//!   then loop { poll_event } until None, answering each question before polling again,
//!   then write poll_transmit, then arm poll_timeout.
//! ```
//! A *question* (`Event::Mail`, `Event::Recipient`) stops parsing until `answer` is called. A `Message` does not: its
//! reply is given by `complete` when the message is durable, while later pipelined commands are already being parsed;
//! replies always leave in command order (RFC 2920 §3.2).

use crate::{Body, Mailbox, Reply, ReversePath, reply::EnhancedCode};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// SMTP or its local cousin (RFC 2033).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// RFC 5321.
    #[default]
    Smtp,
    /// RFC 2033: LHLO, one reply per accepted recipient after the data.
    Lmtp,
}

/// What one listener allows and announces. Shared by its connections.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name in the greeting and in the EHLO reply.
    pub hostname: String,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// Octets; announced as SIZE (RFC 1870). 552 5.3.4 beyond.
    pub max_message_bytes: usize,
    /// Per message; 452 4.5.3 beyond (RFC 5321 §4.5.3.1.10).
    pub max_recipients: usize,
    /// Errors (5xx to commands) before 421 4.7.0 and close.
    pub max_errors: u32,
    /// Messages whose `complete` is outstanding before parsing pauses (back-pressure on a pipelining client).
    pub max_pending_messages: usize,
    /// Silence before 421 4.4.2 (RFC 5321 §4.5.3.2.7: at least 5 minutes).
    pub idle_timeout: Duration,
    /// Announce STARTTLS. The shell gets `Event::StartTls` and later calls `handle_tls`.
    pub starttls: bool,
    /// Announce PIPELINING.
    pub pipelining: bool,
    /// Announce CHUNKING (RFC 3030).
    pub chunking: bool,
    /// Announce 8BITMIME.
    pub eight_bit_mime: bool,
    /// Announce SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// Announce ENHANCEDSTATUSCODES; without it replies carry none.
    pub enhanced_status_codes: bool,
    /// What to do with a CR or LF outside CRLF in DATA.
    pub bare_newline: BareNewline,
    /// Count and scan content but do not keep it: `Message::body` is empty, `Message::body_bytes` is right. For sinks.
    pub discard_content: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            hostname: "localhost".into(),
            protocol: Protocol::Smtp,
            max_message_bytes: 25 << 20,
            max_recipients: 1000,
            max_errors: 20,
            max_pending_messages: 64,
            idle_timeout: Duration::from_secs(300),
            starttls: false,
            pipelining: true,
            chunking: true,
            eight_bit_mime: true,
            smtputf8: true,
            enhanced_status_codes: true,
            bare_newline: BareNewline::Reject,
            discard_content: false,
        }
    }
}

/// A CR or LF that is not part of CRLF: what smuggling is made of. Only CRLF.CRLF ever ends DATA, whatever is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// Take the rest of the message, then 550 5.6.11.
    #[default]
    Reject,
    /// Keep the octets as they are.
    Keep,
}

/// Identifies a message between `Event::Message` and `complete`, within its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What the machine wants its owner to know or decide.
#[derive(Debug)]
pub enum Event {
    /// EHLO, HELO or LHLO was accepted. No answer.
    Hello {
        /// The name that the client gave, unverified.
        name: Box<str>,
        /// EHLO or LHLO.
        extended: bool,
    },
    /// Question: MAIL. A 2xx answer opens the transaction; any other refuses it (452 4.3.1 when the queue is full).
    Mail {
        /// The reverse-path.
        reverse_path: ReversePath,
        /// Octets declared by SIZE= (RFC 1870).
        declared_bytes: Option<u64>,
    },
    /// Question: RCPT. A 2xx answer adds the recipient.
    Recipient(Mailbox),
    /// A whole message. The owner calls `complete` with this ticket, sooner or later, in any order.
    Message(Box<Message>),
    /// An open transaction (after an accepted MAIL) ended without a message: RSET, a new EHLO, a refused or broken body,
    /// the end of the connection. Whatever was reserved at MAIL can be released.
    Aborted,
    /// 220 was queued: transmit it, then hand the stream to TLS, then call `handle_tls`. Bytes that came in clear text
    /// behind the command have been thrown away (RFC 3207 §6).
    StartTls,
    /// The conversation is over: transmit what is left and close.
    Closed(CloseReason),
}

/// Why a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// QUIT.
    Quit,
    /// The client closed without it.
    Eof,
    /// `idle_timeout`.
    Timeout,
    /// More than `max_errors`.
    TooManyErrors,
    /// `close` was called.
    Shutdown,
}

/// A received message.
#[derive(Debug)]
pub struct Message {
    /// For `complete`.
    pub ticket: Ticket,
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// Accepted recipients in order; never empty.
    pub recipients: Vec<Mailbox>,
    /// BODY=8BITMIME was declared.
    pub eight_bit_mime: bool,
    /// SMTPUTF8 was declared (RFC 6531).
    pub smtputf8: bool,
    /// The content, not dot-stuffed, without any trace field of ours.
    pub body: Body,
    /// Octets of the content, also where it was discarded.
    pub body_bytes: usize,
    /// `Received:` fields in the header (loops, RFC 5321 §6.3).
    pub received_count: u32,
}

/// What TLS agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// `TLSv1.3`.
    pub version: &'static str,
    /// IANA name of the cipher suite.
    pub cipher: String,
}

/// The receiving state machine of one connection.
pub struct Server {
    config: Arc<Config>,
}

impl Server {
    /// A new connection; the 220 greeting is already queued. Call `refuse` instead where the connection is not wanted.
    pub fn new(config: Arc<Config>, now: Instant) -> Server {
        let _ = now;
        Server { config }
    }
    /// A connection that only gets this reply (421 4.3.2, 550 5.7.1 …) as its greeting and is closed.
    pub fn refuse(config: Arc<Config>, reply: Reply, now: Instant) -> Server {
        let _ = (reply, now);
        Server { config }
    }
    /// Bytes that arrived. Content is taken from them without copying, so the caller hands over its buffer.
    pub fn handle_bytes(&mut self, bytes: Bytes, now: Instant) {
        let _ = (bytes, now);
        todo!()
    }
    /// The client closed its sending side. Messages that are complete are still answered.
    pub fn handle_eof(&mut self) {
        todo!()
    }
    /// The time that `poll_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
        todo!()
    }
    /// TLS is up after `Event::StartTls` (or from the start on an implicit-TLS listener): the machine forgets all it knew
    /// and awaits EHLO (RFC 3207 §4.2).
    pub fn handle_tls(&mut self, info: TlsInfo) {
        let _ = info;
        todo!()
    }
    /// Parses on and returns the next event. `None`: needs bytes, or a completion.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }
    /// Answers the question that `poll_event` returned last.
    pub fn answer(&mut self, reply: Reply) {
        let _ = reply;
        todo!()
    }
    /// The final reply of a message. Under LMTP it stands for every recipient of that message.
    pub fn complete(&mut self, ticket: Ticket, reply: Reply) {
        let _ = (ticket, reply);
        todo!()
    }
    /// Under LMTP: one reply per recipient, in their order (RFC 2033 §4.2).
    pub fn complete_each(&mut self, ticket: Ticket, replies: Vec<Reply>) {
        let _ = (ticket, replies);
        todo!()
    }
    /// Says 421 with this reply once everything pending is answered, and ends the conversation. Commands that come
    /// meanwhile get the 421 too.
    pub fn close(&mut self, reply: Reply) {
        let _ = reply;
        todo!()
    }
    /// What to write. The caller consumes from the front (`advance`) what it has written.
    pub fn poll_transmit(&mut self) -> &mut BytesMut {
        todo!()
    }
    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// False while parsing is paused by `max_pending_messages`: the owner should stop reading from the socket.
    pub fn wants_bytes(&self) -> bool {
        todo!()
    }
    /// The EHLO name, once given.
    pub fn hello_name(&self) -> Option<&str> {
        todo!()
    }
    /// What TLS agreed on, if it is up.
    pub fn tls(&self) -> Option<&TlsInfo> {
        todo!()
    }
    /// The listener's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// `250 2.1.0 Sender ok`, the usual answer to `Event::Mail`.
pub const SENDER_OK: Reply = Reply::fixed(250, EnhancedCode(2, 1, 0), "Sender ok");
/// `250 2.1.5 Recipient ok`, the usual answer to `Event::Recipient`.
pub const RECIPIENT_OK: Reply = Reply::fixed(250, EnhancedCode(2, 1, 5), "Recipient ok");
