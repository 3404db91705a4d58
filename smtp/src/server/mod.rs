//! The receiving side: ingest sockets, the sink, and the simulation's remote exchangers.
//!
//! ```text
//! handle_bytes / handle_eof / handle_timeout / handle_tls / complete / drain / close
//!   then loop { poll_event } until None, answering each question before polling again,
//!   then write poll_transmit, then arm poll_timeout.
//! ```
//! A *question* (`Event::Mail`, `Recipient`, `XClient`, `Etrn`, `Atrn`, `Auth`) stops parsing until it is answered. A `Message` does not: its
//! reply is given by `complete` when the message is durable, while later pipelined commands are already being parsed;
//! replies always leave in command order (RFC 2920 §3.2).
//!
//! What a client sends never panics and never costs more memory than the limits in [`Config`], a command line, the
//! buffers handed over while [`Server::wants_bytes`] was true, and the replies to what they held.
//!
//! Strict on purpose, against smuggled mail: command lines end with CRLF, DATA ends with CRLF.CRLF, and nothing that came
//! behind STARTTLS survives it. Lenient on purpose: spaces behind `FROM:` and `TO:`, 8-bit content without BODY=8BITMIME,
//! extension parameters after HELO.

mod answers;
mod atrn;
mod auth;
mod command;
mod config;
mod content;
mod drain;
mod etrn;
mod help;
mod hold;
mod input;
mod newline;
mod outbox;
mod session;
#[cfg(test)]
mod tests;
mod transaction;
mod xclient;

pub use auth::Auth;
pub use config::{BareNewline, Config, Protocol};
pub use etrn::Node;
pub use hold::FutureRelease;
pub use xclient::{Introduction, Told};

use crate::sasl::Mechanism;
use crate::sasl::server::Inquiry;
use crate::{Body, MailParameters, Recipient, Reply, ReversePath, reply::EnhancedCode};
use auth::Authentication;
use bytes::{Bytes, BytesMut};
use input::Input;
use outbox::{Final, Outbox};
use session::{Phase, Question};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use transaction::Transaction;

/// Octets that wait to be written before the owner should stop reading.
const MAX_UNSENT_BYTES: usize = 64 << 10;
/// A client that is not wanted has so long, and so many errors, to say QUIT (RFC 5321 §3.1).
const TURNED_AWAY_TIMEOUT: Duration = Duration::from_secs(30);
const TURNED_AWAY_ERRORS: u32 = 3;
/// Replies behind a message that awaits completion before the owner should stop reading.
const MAX_QUEUED_REPLIES: usize = 4096;

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
        /// The others.
        parameters: MailParameters,
    },
    /// Question: RCPT. A 2xx answer adds the recipient.
    Recipient(Recipient),
    /// Question: XCLIENT. A 2xx answer begins the session anew: the greeting is said in its place, and `hello_name` is what
    /// HELO said, `user` what LOGIN said. Any other ends the conversation, as a greeting with that code would.
    XClient(Box<Introduction>),
    /// Question: ETRN, with the replies of RFC 1985 as answers.
    Etrn(Node),
    /// Question: ATRN (RFC 2645) of the user that [`Server::user`] names, for these domains in lower case; none: for all that
    /// are the user's. A 2xx answer turns the connection round: `Turned` follows, and nothing else.
    Atrn(Vec<Box<str>>),
    /// ATRN has succeeded: transmit what is left, then hand the stream to a [`crate::Client`], which awaits the greeting.
    /// What came behind the command before its reply has been thrown away.
    Turned,
    /// Question: what only the owner knows in an AUTH exchange. Answered by `answer_auth`; a plain `answer` ends it.
    Auth {
        /// How.
        mechanism: Mechanism,
        /// What.
        inquiry: Inquiry,
    },
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
    /// `idle_timeout` or `transaction_timeout`.
    Timeout,
    /// More than `max_errors`, or one that ends it at once: HTTP, content far beyond its limit, a chunk of unknown size.
    TooManyErrors,
    /// `drain`, `close` or `refuse` was called.
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
    pub recipients: Vec<Recipient>,
    /// What else MAIL said and goes with the message. (What the content is, its facts tell, whatever BODY said.)
    pub parameters: MailParameters,
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
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    input: Input,
    phase: Phase,
    hello: Option<Box<str>>,
    tls: Option<TlsInfo>,
    authentication: Authentication,
    /// Invariant: present in the phases that take content.
    transaction: Option<Transaction>,
    question: Option<Question>,
    outbox: Outbox,
    events: VecDeque<Event>,
    next_ticket: Ticket,
    errors: u32,
    /// The greeting was a refusal.
    turned_away: bool,
    /// By reason, so it cannot grow.
    refusals: Vec<(&'static str, u64)>,
    /// When bytes came last.
    heard_at: Instant,
    /// When silence has lasted too long.
    deadline: Instant,
    /// A message was completed since bytes last came: silence counts anew from when that is noticed.
    completed_in_silence: bool,
    eof: bool,
    /// `drain` was called: what is said when the transaction that is open has come to its end.
    last_words: Option<Reply>,
    /// Nothing is parsed any more; `Closed` comes when all messages are completed.
    ending: Option<CloseReason>,
    closed: bool,
}

impl Server {
    /// A new connection; the 220 greeting is already queued. Call `refuse` instead where the connection is not wanted.
    pub fn new(config: Arc<Config>, now: Instant) -> Server {
        let greeting = config.greeting();
        Server::greet(config, greeting, None, now)
    }
    /// A connection that only gets this reply as its greeting. With 421 it is closed; with 554 it is given a while to say
    /// QUIT, and nothing else is listened to (RFC 5321 §3.1).
    pub fn refuse(config: Arc<Config>, reply: Reply, now: Instant) -> Server {
        if reply.code == 421 {
            return Server::greet(config, reply, Some(CloseReason::Shutdown), now);
        }
        let mut server = Server::greet(config, reply, None, now);
        server.turned_away = true;
        server.deadline = now + server.patience();
        server
    }
    fn greet(config: Arc<Config>, greeting: Reply, ending: Option<CloseReason>, now: Instant) -> Server {
        let mut outbox = Outbox::new(config.enhanced_status_codes);
        outbox.push(greeting);
        Server {
            input: Input::default(),
            phase: Phase::Commands,
            hello: None,
            tls: None,
            authentication: Authentication::default(),
            transaction: None,
            question: None,
            outbox,
            events: VecDeque::new(),
            next_ticket: Ticket(0),
            errors: 0,
            turned_away: false,
            refusals: Vec::new(),
            heard_at: now,
            deadline: now + config.idle_timeout,
            completed_in_silence: false,
            eof: false,
            last_words: None,
            ending,
            closed: false,
            config,
        }
    }

    /// Bytes that arrived. Content is taken from them without copying, so the caller hands over its buffer.
    pub fn handle_bytes(&mut self, bytes: Bytes, now: Instant) {
        self.heard_at = now;
        self.completed_in_silence = false;
        // A command counts once it is whole: a client that sends an octet now and then is as good as silent.
        if matches!(self.phase, Phase::Data(_) | Phase::Chunk { .. }) {
            self.deadline = now + self.patience();
        }
        // While TLS is being set up, clear text is an injection (RFC 3207 §6); behind ATRN nothing is a command.
        if self.ending.is_none() && !self.eof && !self.is_out_of_hand() {
            self.input.push(bytes);
        }
    }
    /// The client closed its sending side. Messages that are complete are still answered.
    pub fn handle_eof(&mut self) {
        self.eof = true;
    }
    /// The time that `poll_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.transaction.as_ref().is_some_and(|transaction| transaction.until <= now) {
            self.end(CloseReason::Timeout, Some(answers::TOO_SLOW));
        } else if std::mem::take(&mut self.completed_in_silence) {
            self.deadline = now + self.patience();
        } else {
            self.end_silence();
        }
    }
    /// TLS is up after `Event::StartTls` (or from the start on an implicit-TLS listener): the machine forgets all it knew
    /// and awaits EHLO (RFC 3207 §4.2).
    pub fn handle_tls(&mut self, info: TlsInfo) {
        self.tls = Some(info);
        self.hello = None;
        self.authentication.forget();
        self.phase = Phase::Commands;
        self.abort();
    }
    /// Parses on and returns the next event. `None`: needs bytes, or a completion.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.closed || self.question.is_some() {
                return None;
            }
            self.end_if_drained();
            if let Some(reason) = self.ending {
                if self.outbox.pending() > 0 {
                    return None;
                }
                self.closed = true;
                return Some(Event::Closed(reason));
            }
            if self.step() {
                continue;
            }
            if !self.eof || self.is_paused() {
                return None;
            }
            self.end(CloseReason::Eof, None);
        }
    }
    /// Answers the question that `poll_event` returned last. (Where `close` was faster, its reply stands.)
    pub fn answer(&mut self, reply: Reply) {
        match self.question.take() {
            Some(Question::Mail(reverse_path, command)) => {
                let until = self.heard_at + self.config.transaction_timeout;
                self.transaction = reply.is_success().then(|| Transaction::new(reverse_path, command, until));
            }
            Some(Question::Recipient(recipient)) => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.judge(recipient, reply.is_success());
                }
            }
            Some(Question::XClient(claims)) => return self.introduced(claims, reply),
            Some(Question::Etrn) => {}
            Some(Question::Atrn) if reply.is_success() => self.turn(),
            Some(Question::Atrn) => {}
            Some(Question::Auth) => self.authentication.give_up(),
            None => return,
        }
        self.say(reply);
    }
    /// The final reply of a message. Under LMTP it stands for every recipient of that message.
    ///
    /// # Panics
    /// If the ticket is of no message, or of one that was completed already.
    pub fn complete(&mut self, ticket: Ticket, reply: Reply) {
        self.completed_in_silence = true;
        self.outbox.fill(ticket, Final::Same(reply));
    }
    /// Under LMTP: one reply per recipient, in their order (RFC 2033 §4.2). Under SMTP there is room for one only.
    ///
    /// # Panics
    /// If the ticket is of no message, or of one that was completed already, or if there are more or fewer replies.
    pub fn complete_each(&mut self, ticket: Ticket, replies: Vec<Reply>) {
        self.completed_in_silence = true;
        self.outbox.fill(ticket, Final::Each(replies));
    }
    /// Says 421 with this reply once everything pending is answered, and ends the conversation. Commands that come
    /// meanwhile get the 421 too.
    pub fn close(&mut self, reply: Reply) {
        self.end(CloseReason::Shutdown, Some(reply));
    }
    /// What to write. The caller consumes from the front (`advance`) what it has written.
    pub fn poll_transmit(&mut self) -> &mut BytesMut {
        &mut self.outbox.transmit
    }
    /// When to call `handle_timeout`. `None` while a message awaits completion: then it is us who are slow; and once the
    /// connection is turned round.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let turned = matches!(self.phase, Phase::Turned { .. });
        let awaited = self.ending.is_none() && self.outbox.pending() == 0 && !turned;
        let deadline = self.transaction.as_ref().map_or(self.deadline, |open| open.until.min(self.deadline));
        awaited.then_some(deadline)
    }
    /// False while parsing is paused by a question or by `max_pending_messages`, or too much is waiting to be written, or the
    /// conversation is ending: the owner should stop reading from the socket. Look again after each answer, each completion
    /// and each write.
    pub fn wants_bytes(&self) -> bool {
        self.ending.is_none()
            && self.question.is_none()
            && !matches!(self.phase, Phase::Turned { .. })
            && !self.is_paused()
            && self.outbox.queued() < MAX_QUEUED_REPLIES
            && self.outbox.transmit.len() < MAX_UNSENT_BYTES
    }
    /// Octets of the open transaction's content that have come so far.
    pub fn content_bytes(&self) -> u64 {
        self.transaction.as_ref().map_or(0, |transaction| transaction.content.bytes())
    }
    /// What was refused since the last call, by the machine itself: a word for why, and how often. (What the owner refuses
    /// it knows.)
    pub fn take_refusals(&mut self) -> Vec<(&'static str, u64)> {
        std::mem::take(&mut self.refusals)
    }
    /// The EHLO name, once given.
    pub fn hello_name(&self) -> Option<&str> {
        self.hello.as_deref()
    }
    /// What TLS agreed on, if it is up.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
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
