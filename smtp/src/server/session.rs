//! Commands put into effect: order, limits, replies.

use super::auth::MAX_AUTH_LINE_BYTES;
use super::command::{Command, Hello, Parameters};
use super::content::{DataScan, Fault, is_far_too_large};
use super::drain::DRAIN_TIMEOUT;
use super::help::help;
use super::input::{Line, MAX_LINE_BYTES};
use super::transaction::{BodyType, MailCommand, read_recipient};
use super::xclient::Claims;
use super::{CloseReason, Event, Protocol, Server, TURNED_AWAY_ERRORS, TURNED_AWAY_TIMEOUT, Ticket, answers};
use crate::{Mailbox, Recipient, Reply, ReversePath};
use std::time::Duration;

/// What the next octets are.
#[derive(Debug)]
pub(super) enum Phase {
    /// Command lines.
    Commands,
    /// Content up to CRLF.CRLF.
    Data(DataScan),
    /// So many octets of BDAT. Where the command was refused, its octets are swallowed before it says so.
    Chunk { left: u64, last: bool, refusal: Option<Reply> },
    /// Lines of an AUTH exchange.
    Auth,
    /// The TLS handshake, which is not for this machine. It is announced when all replies before it have been given.
    Tls { announced: bool },
    /// The other side of the conversation, which is not for this machine either.
    Turned { announced: bool },
}

/// What the owner was asked.
#[derive(Debug)]
pub(super) enum Question {
    Mail(ReversePath, MailCommand),
    Recipient(Recipient),
    XClient(Claims),
    Etrn,
    Atrn,
    Auth,
}

impl Server {
    /// Parses one thing. False: there is nothing that can be parsed now.
    pub(super) fn step(&mut self) -> bool {
        match &self.phase {
            Phase::Commands if self.is_paused() => false,
            Phase::Commands => self.step_command(),
            Phase::Auth if self.is_paused() => false,
            Phase::Auth => self.step_auth(),
            Phase::Data(_) => self.step_data(),
            Phase::Chunk { .. } => self.step_chunk(),
            Phase::Tls { announced: false } if self.outbox.pending() == 0 => {
                self.phase = Phase::Tls { announced: true };
                self.events.push_back(Event::StartTls);
                true
            }
            Phase::Turned { announced: false } if self.outbox.pending() == 0 => {
                self.phase = Phase::Turned { announced: true };
                self.events.push_back(Event::Turned);
                true
            }
            Phase::Tls { .. } | Phase::Turned { .. } => false,
        }
    }

    /// As many messages await completion as may.
    pub(super) fn is_paused(&self) -> bool {
        self.outbox.pending() >= self.config.max_pending_messages.max(1)
    }

    /// Ends an open transaction without a message.
    pub(super) fn abort(&mut self) {
        if self.transaction.take().is_some() {
            self.events.push_back(Event::Aborted);
        }
    }

    /// Queues the reply to a command, or what the client gets in its place when this was one error too many.
    pub(super) fn say(&mut self, reply: Reply) {
        self.errors += u32::from(reply.is_permanent());
        let most = if self.turned_away { TURNED_AWAY_ERRORS } else { self.config.max_errors };
        if self.errors > most {
            self.end(CloseReason::TooManyErrors, Some(answers::TOO_MANY_ERRORS));
        } else {
            self.outbox.push(reply);
        }
    }

    /// How long silence may last.
    pub(super) fn patience(&self) -> Duration {
        let patience = if self.turned_away { TURNED_AWAY_TIMEOUT } else { self.config.idle_timeout };
        if self.last_words.is_some() { patience.min(DRAIN_TIMEOUT) } else { patience }
    }

    /// For the owner's counters.
    fn count_refusal(&mut self, reply: &Reply) {
        let Some(reason) = answers::reason(reply) else { return };
        match self.refusals.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.refusals.push((reason, 1)),
        }
    }

    /// Queues the last reply. In the midst of a TLS handshake nothing can be said, nor to a client that has become a
    /// server.
    pub(super) fn end(&mut self, reason: CloseReason, last_reply: Option<Reply>) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(reason);
        if let (CloseReason::Timeout | CloseReason::TooManyErrors, Some(reply)) = (reason, &last_reply) {
            self.count_refusal(reply);
        }
        self.question = None;
        self.input.clear();
        self.abort();
        if let (Some(reply), false) = (last_reply, self.is_out_of_hand()) {
            self.outbox.push(reply);
        }
    }

    /// What comes is not for this machine.
    pub(super) fn is_out_of_hand(&self) -> bool {
        matches!(self.phase, Phase::Tls { .. } | Phase::Turned { .. })
    }

    fn step_command(&mut self) -> bool {
        let most = if self.config.auth.is_some() { MAX_AUTH_LINE_BYTES } else { MAX_LINE_BYTES };
        let Some(line) = self.input.next_line(most) else { return false };
        self.deadline = self.heard_at + self.patience();
        let executed = match line {
            Line::TooLong => Err(answers::LINE_TOO_LONG),
            Line::Whole(line) => Command::parse(&line).and_then(|command| self.execute(command)),
        };
        if let Err(reply) = executed {
            self.count_refusal(&reply);
            self.say(reply);
        }
        true
    }

    /// The error is the reply.
    fn execute(&mut self, command: Command<'_>) -> Result<(), Reply> {
        if self.turned_away && command != Command::Quit {
            return Err(answers::TURNED_AWAY);
        }
        if self.config.tls_first && self.tls.is_none() && !may_precede_tls(command) {
            return Err(answers::STARTTLS_FIRST);
        }
        match command {
            Command::Hello { verb, name } => self.hello(verb, name)?,
            Command::Mail { path, parameters } => self.mail(path, parameters)?,
            Command::Rcpt { path, parameters } => self.rcpt(path, parameters)?,
            Command::Data => self.data()?,
            Command::Bdat { octets, last } => self.bdat(octets, last),
            Command::MalformedBdat => self.end(CloseReason::TooManyErrors, Some(answers::BAD_CHUNK)),
            Command::Rset => {
                self.abort();
                self.say(answers::OK);
            }
            Command::Noop => self.say(answers::OK),
            Command::Help => self.say(help(&self.config)),
            Command::Verify => self.say(answers::CANNOT_VERIFY),
            Command::Expand => return Err(answers::NO_LISTS),
            Command::XClient(attributes) => self.xclient(attributes)?,
            Command::Etrn(node) => self.etrn(node)?,
            Command::Atrn(domains) => self.atrn(domains)?,
            Command::Auth(argument) => self.auth(argument)?,
            Command::Turn => return Err(answers::NO_TURN),
            Command::StartTls => self.start_tls()?,
            Command::Quit => self.end(CloseReason::Quit, Some(answers::BYE)),
            Command::Proxy => self.end(CloseReason::TooManyErrors, Some(answers::PROXY_HEADER)),
            Command::Http => self.end(CloseReason::TooManyErrors, Some(answers::NOT_HTTP)),
            Command::NotImplemented => return Err(answers::NOT_IMPLEMENTED),
        }
        Ok(())
    }

    fn hello(&mut self, verb: Hello, name: &str) -> Result<(), Reply> {
        match (self.config.protocol, verb) {
            (Protocol::Lmtp, Hello::Ehlo | Hello::Helo) => return Err(answers::LHLO_HERE),
            (Protocol::Smtp, Hello::Lhlo) => return Err(answers::NO_LHLO_HERE),
            _ => self.abort(),
        }
        let extended = verb != Hello::Helo;
        let text = if extended {
            self.config.announcement(self.tls.is_some(), self.heard_at)
        } else {
            self.config.hostname.clone()
        };
        self.say(Reply { code: 250, enhanced: None, text: text.into() });
        self.hello = Some(name.into());
        self.events.push_back(Event::Hello { name: name.into(), extended });
        Ok(())
    }

    fn mail(&mut self, path: &str, parameters: Parameters<'_>) -> Result<(), Reply> {
        self.must_have_said_hello()?;
        if self.transaction.is_some() {
            return Err(answers::NESTED_MAIL);
        }
        self.must_know_who()?;
        let mailbox = if path.is_empty() { None } else { Some(Mailbox::parse(path).map_err(|_| answers::BAD_SENDER)?) };
        let command = MailCommand::read(parameters, &self.config, self.tls.is_some())?;
        if !command.parameters.smtputf8 && !path.is_ascii() {
            return Err(answers::NEEDS_SMTPUTF8);
        }
        let reverse_path = ReversePath(mailbox);
        self.question = Some(Question::Mail(reverse_path.clone(), command.clone()));
        let MailCommand { declared_bytes, parameters, .. } = command;
        self.events.push_back(Event::Mail { reverse_path, declared_bytes, parameters });
        Ok(())
    }

    fn rcpt(&mut self, path: &str, parameters: Parameters<'_>) -> Result<(), Reply> {
        let transaction = self.transaction.as_mut().ok_or(answers::MAIL_FIRST)?;
        if transaction.chunked {
            return Err(answers::CHUNKS_BEGUN);
        }
        // Until one is accepted, whatever else is wrong with a recipient counts as its refusal.
        transaction.recipient_refused = true;
        let smtputf8 = transaction.command.parameters.smtputf8;
        let recipient = read_recipient(mailbox(path, &self.config.hostname)?, parameters, &self.config, smtputf8)?;
        if !smtputf8 && !recipient.mailbox.is_ascii() {
            return Err(answers::NEEDS_SMTPUTF8);
        }
        if transaction.recipients.len() >= self.config.max_recipients {
            return Err(answers::TOO_MANY_RECIPIENTS);
        }
        self.question = Some(Question::Recipient(recipient.clone()));
        self.events.push_back(Event::Recipient(recipient));
        Ok(())
    }

    fn data(&mut self) -> Result<(), Reply> {
        let transaction = self.transaction.as_ref().ok_or(answers::MAIL_FIRST)?;
        if transaction.chunked {
            return Err(answers::CHUNKS_BEGUN);
        }
        if transaction.command.body_type == BodyType::BinaryMime {
            return Err(answers::BINARY_NEEDS_BDAT);
        }
        // What is out of order changes nothing (RFC 5321 §4.1.4).
        if let Some(reply) = transaction.without_recipients(self.config.protocol) {
            return Err(reply);
        }
        self.say(answers::SEND_DATA);
        self.phase = Phase::Data(DataScan::default());
        Ok(())
    }

    fn step_data(&mut self) -> bool {
        let (Phase::Data(scan), Some(transaction)) = (&mut self.phase, &mut self.transaction) else { return false };
        let content = &mut transaction.content;
        let Some(ended) = self.input.with_front(|front| scan.take(front, content, &self.config)) else { return false };
        if ended {
            self.phase = Phase::Commands;
            self.finish_content();
        } else if is_far_too_large(content.bytes(), &self.config) {
            self.end(CloseReason::TooManyErrors, Some(answers::FAR_TOO_LARGE));
        }
        true
    }

    /// The octets of a chunk follow whatever is thought of the command (RFC 3030 §2).
    fn bdat(&mut self, octets: u64, last: bool) {
        let refusal = match &self.transaction {
            _ if !self.config.chunking => Some(answers::NOT_IMPLEMENTED),
            None => Some(answers::MAIL_FIRST),
            Some(transaction) => transaction.without_recipients(self.config.protocol),
        };
        if refusal.is_some() {
            self.abort();
        }
        let content_bytes = self.transaction.as_ref().map_or(0, |transaction| transaction.content.bytes());
        if is_far_too_large(content_bytes.saturating_add(octets), &self.config) {
            return self.end(CloseReason::TooManyErrors, Some(answers::FAR_TOO_LARGE));
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.chunked = true;
        }
        self.phase = Phase::Chunk { left: octets, last, refusal };
    }

    fn step_chunk(&mut self) -> bool {
        let Phase::Chunk { left, .. } = &mut self.phase else { return false };
        if *left == 0 {
            self.finish_chunk();
            return true;
        }
        let some = |front: &mut bytes::Bytes| {
            let octets = usize::try_from(*left).map_or(front.len(), |left| left.min(front.len()));
            front.split_to(octets)
        };
        let Some(piece) = self.input.with_front(some) else { return false };
        *left -= piece.len() as u64;
        if let Some(transaction) = &mut self.transaction {
            transaction.content.push(piece, &self.config);
        }
        true
    }

    /// Errors here are not counted: a client that sent its chunks ahead gets one for each, and can't help it.
    fn finish_chunk(&mut self) {
        let Phase::Chunk { last, refusal, .. } = std::mem::replace(&mut self.phase, Phase::Commands) else { return };
        self.deadline = self.heard_at + self.patience();
        let too_large = self.transaction.as_ref().is_some_and(|open| open.content.is_too_large(&self.config));
        match refusal {
            Some(reply) => self.outbox.push(reply),
            None if last || too_large => self.finish_content(),
            None => self.outbox.push(answers::OK),
        }
    }

    /// The content is there to its end, or far enough to be refused: a message for the owner, or our own final reply.
    fn finish_content(&mut self) {
        let Some(mut transaction) = self.transaction.take() else { return };
        transaction.content.finish(&self.config);
        let replies = match self.config.protocol {
            Protocol::Smtp => 1,
            Protocol::Lmtp => transaction.recipients.len(),
        };
        let refusal = match transaction.content.fault(&self.config) {
            None => {
                let ticket = self.next_ticket;
                self.next_ticket = Ticket(ticket.0 + 1);
                self.errors = 0;
                self.outbox.push_pending(ticket, replies);
                return self.events.push_back(Event::Message(transaction.into_message(ticket)));
            }
            Some(Fault::TooLarge) => answers::TOO_LARGE,
            Some(Fault::BareNewline) => answers::BARE_NEWLINE,
        };
        self.count_refusal(&refusal);
        self.events.push_back(Event::Aborted);
        (0..replies).for_each(|_| self.outbox.push(refusal.clone()));
    }

    fn start_tls(&mut self) -> Result<(), Reply> {
        if !self.config.starttls {
            return Err(answers::NOT_IMPLEMENTED);
        }
        if self.tls.is_some() {
            return Err(answers::TLS_IS_UP);
        }
        if self.transaction.is_some() {
            return Err(answers::IN_TRANSACTION);
        }
        self.say(answers::START_TLS);
        // What came behind the command could be an attacker's (RFC 3207 §6).
        self.input.clear();
        self.phase = Phase::Tls { announced: false };
        Ok(())
    }
}

/// RFC 3207 §4. (What is no command of ours ends the connection as ever, and a chunk's octets have to be swallowed.)
fn may_precede_tls(command: Command<'_>) -> bool {
    match command {
        Command::Hello { verb, .. } => verb != Hello::Helo,
        Command::Noop | Command::StartTls | Command::Quit => true,
        Command::Bdat { .. } | Command::MalformedBdat | Command::Http | Command::Proxy => true,
        _ => false,
    }
}

/// The mailbox of a RCPT; `postmaster` alone is ours (RFC 5321 §4.5.1).
fn mailbox(path: &str, hostname: &str) -> Result<Mailbox, Reply> {
    let mailbox = if path.eq_ignore_ascii_case("postmaster") {
        Mailbox::parse(&format!("{path}@{hostname}"))
    } else {
        Mailbox::parse(path)
    };
    mailbox.map_err(|_| answers::BAD_RECIPIENT)
}
