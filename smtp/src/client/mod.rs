//! The sending side: set-up as a sequence of phases, then mail as two cursors over the replies that are expected.
//!
//! ```text
//! handle_bytes / handle_eof / handle_timeout / handle_tls / submit / quit
//!   then loop { poll_event } until None,
//!   then write what `transmit` shows and call `advance`, then arm poll_timeout.
//! ```
//! The machine never decides the fate of a message: it reports what the peer said, at which stage. What a connection's
//! end means for a transaction follows three rules. Whose turn it was to be answered: `Replied` if a 421 answered it,
//! else `Lost`. Whose content was written to its last octet without a final reply: `Lost`, in doubt. All others: `NotSent`.
//!
//! Content that a peer cannot take is converted for it where that can be done (`crate::mime`).
//!
//! Not here: sockets, TLS itself, random numbers. A peer that
//! drains content one octet at a time is bounded only by `Timeouts::write` for each step.

mod auth;
mod command;
mod config;
mod exchange;
mod features;
mod mail;
mod phase;
mod report;
mod setup;
#[cfg(test)]
mod tests;
mod transmit;

pub use self::auth::{AuthError, Login};
pub use self::config::{Config, LARGE_BODY_BYTES, Pipelining, StartTls, Timeouts};
pub use self::features::{Features, Limits};
pub use self::report::{Cause, Event, Outcome, Report, Stage, Unsupported};
pub use crate::server::Protocol;

use self::exchange::Awaited;
use self::mail::Mail;
use self::phase::Phase;
use self::setup::{Channel, Command, Setup, Step};
use self::transmit::Transmit;
use crate::reply::{ReplyParser, ReplyRef};
use crate::{Body, MailParameters, Recipient, ReversePath, server::TlsInfo};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

/// One message for some recipients, as `submit` takes it. Commands are encoded at once; only the body is kept (shared).
pub struct Transaction<'a> {
    /// The caller's name for it; comes back in the report.
    pub id: u64,
    /// MAIL FROM.
    pub reverse_path: &'a ReversePath,
    /// RCPT TO, in order; at least one.
    pub recipients: &'a mut dyn Iterator<Item = &'a Recipient>,
    /// The content.
    pub body: &'a Body,
    /// What MAIL said when the message came.
    pub parameters: &'a MailParameters,
    /// Seconds since then, for DELIVERBY.
    pub age_seconds: u32,
}

/// The sending state machine of one connection.
#[derive(Debug)]
pub struct Client {
    config: Arc<Config>,
    phase: Phase,
    parser: ReplyParser,
    transmit: Transmit,
    events: VecDeque<Event>,
    tls: Option<TlsInfo>,
    /// `trust` was called.
    trusted: bool,
    /// `quit` was called.
    quitting: bool,
    /// Since when the oldest expected reply is waited for.
    waiting_since: Instant,
    /// When writing last made progress, or began.
    written_at: Instant,
}

impl Client {
    /// A connection that was just established; the greeting is awaited.
    ///
    /// # Panics
    /// If the EHLO name holds a control character.
    pub fn new(config: Arc<Config>, now: Instant) -> Client {
        assert!(!config.hello_name.bytes().any(|byte| byte.is_ascii_control()), "the EHLO name is one line of text");
        Client {
            config,
            phase: Phase::Setup(Setup::Greeting(Channel::Clear)),
            parser: ReplyParser::default(),
            transmit: Transmit::default(),
            events: VecDeque::new(),
            tls: None,
            trusted: false,
            quitting: false,
            waiting_since: now,
            written_at: now,
        }
    }

    /// Bytes that arrived.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if matches!(self.phase, Phase::Setup(Setup::Handshake)) && !bytes.is_empty() {
            return self.close(Stage::Tls, Cause::Protocol("clear text came where TLS was to begin"), None);
        }
        let mut parser = std::mem::take(&mut self.parser);
        let mut input = bytes;
        while !matches!(self.phase, Phase::Closed) {
            match parser.parse(&mut input) {
                Ok(Some(reply)) => self.handle_reply(reply, !input.is_empty(), now),
                Ok(None) => break,
                Err(_) if matches!(self.phase, Phase::Quit) => self.close(Stage::Quit, Cause::Done, None),
                Err(error) => self.close(self.stage(), Cause::Protocol(error.sentence()), None),
            }
        }
        self.parser = parser;
    }

    /// The peer closed its side.
    pub fn handle_eof(&mut self) {
        let cause = if self.phase.is_idle(self.transmit.written()) { Cause::Done } else { Cause::Eof };
        self.end(cause);
    }

    /// The socket or TLS failed.
    pub fn handle_error(&mut self, cause: Cause) {
        self.end(cause);
    }

    /// The time that `poll_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.end(Cause::Timeout);
        }
    }

    /// TLS is up: the machine forgets what it knew and says EHLO again (RFC 3207 §4.2). Where TLS came before SMTP
    /// (RFC 8314), call it before any bytes; then the greeting is awaited as ever and STARTTLS is never asked for.
    pub fn handle_tls(&mut self, info: TlsInfo, now: Instant) {
        let secured = if self.trusted { Channel::Proven } else { Channel::Encrypted };
        match &mut self.phase {
            Phase::Setup(Setup::Greeting(channel)) => *channel = secured,
            Phase::Setup(Setup::Handshake) => {
                self.parser = ReplyParser::default();
                let step = Setup::hello(secured, &self.config);
                self.take(step, now);
            }
            _ => return,
        }
        self.tls = Some(info);
    }

    /// The peer proves by its certificate that it is who it was taken for: it may be shown a password. To be said before
    /// `handle_tls`.
    pub fn trust(&mut self) {
        self.trusted = true;
    }

    /// How many more transactions can be submitted now; 0 before `Ready`, after `quit`, and while the window is full.
    pub fn credit(&self) -> usize {
        match &self.phase {
            Phase::Mail(mail) if !self.quitting => mail.credit(),
            _ => 0,
        }
    }

    /// Queues a transaction. Returns what makes it impossible with this peer (then nothing is reported later).
    ///
    /// # Panics
    /// If `credit` is 0, or the transaction has no recipient.
    pub fn submit(&mut self, transaction: Transaction<'_>, now: Instant) -> Result<(), Unsupported> {
        assert!(self.credit() > 0, "submit needs credit");
        let Phase::Mail(mail) = &mut self.phase else { unreachable!("credit is 0 in every other phase") };
        mail.submit(transaction)?;
        if mail.awaited().is_none() {
            self.waiting_since = now;
        }
        self.release(now);
        Ok(())
    }

    /// Says QUIT when all that was submitted is reported; submits nothing more.
    pub fn quit(&mut self, now: Instant) {
        self.quitting = true;
        match &self.phase {
            // QUIT is out of place before the greeting and where TLS is about to begin.
            Phase::Setup(Setup::Hello { .. }) => self.say_quit(now),
            Phase::Setup(_) => self.close(Stage::Quit, Cause::Done, None),
            Phase::Mail(mail) if mail.in_flight() == 0 => self.say_quit(now),
            Phase::Mail(_) | Phase::Quit | Phase::Closed => {}
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Fills `slices` from the front with what is to be written, and says how many it filled; 0: nothing to write.
    pub fn transmit<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.transmit.fill(slices)
    }

    /// So many octets of `transmit` were written.
    ///
    /// # Panics
    /// If `transmit` had fewer.
    pub fn advance(&mut self, bytes: usize, now: Instant) {
        let waited = self.reply_is_due();
        self.transmit.advance(bytes);
        self.written_at = now;
        if !waited && self.reply_is_due() {
            self.waiting_since = now;
        }
    }

    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let timeouts = &self.config.timeouts;
        let reply = self.reply_is_due().then(|| self.waiting_since + self.phase.patience(timeouts));
        let write = match &self.phase {
            Phase::Mail(_) if !self.transmit.is_empty() => Some(self.written_at + timeouts.write),
            _ => None,
        };
        match (reply, write) {
            (Some(reply), Some(write)) => Some(reply.min(write)),
            (reply, write) => reply.or(write),
        }
    }

    /// Transactions submitted and not reported.
    pub fn in_flight(&self) -> usize {
        self.phase.in_flight()
    }

    /// It is over: nothing more is listened to, and nothing but a QUIT is left to be said.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// What TLS agreed on, if it is up.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    fn reply_is_due(&self) -> bool {
        self.phase.reply_is_due(self.transmit.written())
    }

    fn stage(&self) -> Stage {
        self.phase.stage(self.transmit.written())
    }

    fn handle_reply(&mut self, reply: ReplyRef<'_>, more: bool, now: Instant) {
        if matches!(self.phase, Phase::Quit | Phase::Closed) {
            // Whatever it says, it closes next (RFC 5321 §4.1.1.10). Until then it counts this connection among those that
            // are open, and so do we.
            return;
        }
        self.waiting_since = now;
        match &mut self.phase {
            Phase::Setup(setup) => {
                let setup = std::mem::replace(setup, Setup::Handshake);
                let step = setup.reply(reply, more, &self.config);
                self.take(step, now);
            }
            Phase::Mail(_) => self.handle_mail_reply(reply, now),
            Phase::Quit | Phase::Closed => {}
        }
    }

    fn handle_mail_reply(&mut self, reply: ReplyRef<'_>, now: Instant) {
        let Phase::Mail(mail) = &mut self.phase else { return };
        // Between transactions a server that gives up waiting says 421, or what it holds for that: 451 or 221 are seen.
        let farewell = !mail.is_begun(self.transmit.written()) && matches!(reply.code, 221 | 400..=499);
        if farewell || reply.code == 421 {
            return self.close(self.stage(), Cause::Replied(reply.to_reply()), Some(reply));
        }
        let awaited = mail.awaited();
        if awaited == Some(Awaited::Final) && mail.is_unknown_chunk(reply.code) {
            // It takes the content for commands, and answers each of them.
            let cause = Cause::Protocol("BDAT was refused as unknown by a server that announced CHUNKING");
            return self.close(Stage::Final, cause, Some(reply));
        }
        match mail.reply(reply, self.transmit.written()) {
            Ok(report) => {
                self.events.extend(report.map(Event::Report));
                self.release(now);
            }
            Err(sentence) => {
                let stage = awaited.map_or(Stage::Idle, Awaited::stage);
                self.close(stage, Cause::Protocol(sentence), None);
            }
        }
    }

    /// Sends what may go now; QUIT if that was all.
    fn release(&mut self, now: Instant) {
        let Phase::Mail(mail) = &mut self.phase else { return };
        let was_empty = self.transmit.is_empty();
        mail.release(&mut self.transmit);
        if was_empty {
            self.written_at = now;
        }
        if self.quitting && mail.in_flight() == 0 {
            self.say_quit(now);
        }
    }

    fn take(&mut self, step: Step, now: Instant) {
        self.waiting_since = now;
        match step {
            Step::Say(command, setup) => {
                self.transmit.push(match command {
                    Command::Hello(verb) => Bytes::from([verb, &self.config.hello_name, "\r\n"].concat()),
                    Command::StartTls => Bytes::from_static(b"STARTTLS\r\n"),
                    Command::Line(line) => Bytes::from(line + "\r\n"),
                });
                self.phase = Phase::Setup(setup);
            }
            Step::Handshake => {
                self.phase = Phase::Setup(Setup::Handshake);
                self.events.push_back(Event::StartTls);
            }
            Step::Ready(features) => {
                let features = Arc::new(features);
                self.phase = Phase::Mail(Mail::new(features.clone(), &self.config));
                self.events.push_back(Event::Ready(features));
            }
            Step::Close(stage, cause) => {
                let polite = matches!(&cause, Cause::Replied(reply) if reply.code != 421);
                self.close(stage, cause, None);
                if polite {
                    self.transmit.push(Bytes::from_static(b"QUIT\r\n"));
                }
            }
        }
    }

    fn say_quit(&mut self, now: Instant) {
        self.phase = Phase::Quit;
        self.waiting_since = now;
        self.transmit.push(Bytes::from_static(b"QUIT\r\n"));
    }

    /// The connection ended for a reason that lies outside of the conversation.
    fn end(&mut self, cause: Cause) {
        match self.phase {
            Phase::Closed => {}
            Phase::Quit => self.close(Stage::Quit, Cause::Done, None),
            _ => self.close(self.stage(), cause, None),
        }
    }

    /// Reports all that is in flight, then the end. `said`: a 421 answered the oldest command.
    fn close(&mut self, stage: Stage, cause: Cause, said: Option<ReplyRef<'_>>) {
        if let Phase::Mail(mail) = &mut self.phase {
            let events = &mut self.events;
            let said = said.map(ReplyRef::to_reply);
            mail.lose(&cause, said.as_ref(), self.transmit.written(), |report| events.push_back(Event::Report(report)));
        }
        self.phase = Phase::Closed;
        self.transmit.clear();
        self.events.push_back(Event::Closed { stage, cause });
    }
}
