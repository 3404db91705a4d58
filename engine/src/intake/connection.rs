//! One injector's connection.

use super::client::{Address, Client};
use super::door::Guest;
use super::labels::Labels;
use super::login::Login;
use super::permit::Permit;
use super::submission::{self, Missing};
use super::trace::{Source, With};
use super::transport::Transport;
use super::{Asker, Origin, Refusal, Room, Shared};
use crate::now::Now;
use crate::shell::arena::Arena;
use crate::shell::timers::Armed;
use crate::shell::turned::Call;
use mio::Registry;
use mio::event::Source as _;
use queue::{Content, Envelope, NewMessage};
use smtp::parameters::DeliverBy;
use smtp::server::{Event, Message, RECIPIENT_OK, SENDER_OK, Ticket};
use smtp::{EnhancedCode, MailParameters, Mailbox, Reply, ReversePath, Server};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Reads of one connection per tick before others get their turn.
const READS_PER_TICK: usize = 8;
/// Replies waiting to be written beyond which no more is read (a client that sends but never listens).
const MAX_UNWRITTEN: usize = 64 * 1024;
/// For a TLS handshake, from the moment that it can begin. It is a few round trips; whoever needs longer holds a place.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// For a client to take the last reply (RFC 5321 §3.8 and §4.1.1.10 have it said before the connection is closed): one that
/// never reads would hold its place for ever.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(30);

const LOOP: Reply = Reply::fixed(554, EnhancedCode(5, 4, 6), "Too many hops: this message is going round in circles");

const HOLD_TOO_LONG: Reply = Reply::fixed(
    501,
    EnhancedCode(5, 5, 4),
    "HOLDUNTIL lies further ahead than the limit announced in the reply to EHLO",
);

/// RFC 4865 §5.2.2.
const RELEASED_TOO_LATE: Reply = Reply::fixed(
    501,
    EnhancedCode(5, 5, 4),
    "The message would be released after the time within which it is to be delivered (BY)",
);

pub(super) struct Connection {
    pub transport: Transport,
    pub server: Server,
    pub client: Client,
    /// EHLO or LHLO was said, not HELO.
    pub extended: bool,
    /// Until when the PROXY header has to come, which says who the client is. Nothing is said before.
    pub header_until: Option<Instant>,
    pub login: Login,
    /// Until when a TLS handshake may take.
    handshake_until: Option<Instant>,
    /// Tells apart the connections that have had the same key.
    pub generation: u64,
    pub guest: Guest,
    /// Held by the open transaction.
    permit: Option<Permit>,
    /// Held by messages on their way to the disk, in ticket order of arrival.
    pending: VecDeque<(Ticket, Permit)>,
    pub armed: Armed,
    dirty: bool,
    /// The socket said so and has not been read dry since.
    pub readable: bool,
    pub in_backlog: bool,
    /// The client will send nothing beyond what the socket holds.
    pub ended: bool,
    /// The machine is done: close once all is written.
    closing: bool,
    /// What the customer has come for (ATRN), and whether the connection is turned round: it goes over to delivery once
    /// all is written.
    pub(super) call: Option<Call>,
    pub(super) turned: bool,
    /// Until when the last words may be taken.
    farewell_until: Option<Instant>,
    broken: bool,
}

impl Connection {
    pub(super) fn new(transport: Transport, server: Server, address: Address, generation: u64, guest: Guest) -> Self {
        Connection {
            handshake_until: None,
            transport,
            server,
            client: Client::at(address),
            extended: false,
            header_until: None,
            login: Login::default(),
            generation,
            guest,
            permit: None,
            pending: VecDeque::new(),
            armed: Armed::default(),
            dirty: true,
            readable: false,
            in_backlog: false,
            ended: false,
            closing: false,
            call: None,
            turned: false,
            farewell_until: None,
            broken: false,
        }
    }

    pub(super) fn mark_dirty(&mut self, key: usize, dirty: &mut Vec<usize>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(key);
        }
    }

    /// Reads what the socket holds, at most one tick's share, into the machine. Says whether it may hold more.
    pub(super) fn read(&mut self, arena: &mut Arena, now: Now) -> bool {
        self.in_backlog = false;
        if self.header_until.is_some() && !self.read_header(now) {
            return false;
        }
        for _ in 0..READS_PER_TICK {
            if !self.may_read() {
                return false; // `readable` stays: somebody resumes.
            }
            let read = self.transport.read(arena);
            if let Some(info) = self.transport.take_established() {
                self.handshake_until = None;
                self.server.handle_tls(info);
            }
            match read {
                Ok(piece) if piece.bytes.is_empty() => {
                    self.readable = false;
                    self.server.handle_eof();
                    return false;
                }
                Ok(piece) => {
                    self.server.handle_bytes(piece.bytes, now.mono);
                    if !piece.full && !self.ended {
                        // A short read has emptied the socket; see `Readiness`.
                        self.readable = false;
                        return false;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return false;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.lose(&error);
                    return false;
                }
            }
        }
        true
    }

    /// Nothing more can be read or written.
    fn lose(&mut self, error: &io::Error) {
        if self.transport.is_shaking_hands() && !self.broken {
            self.guest.metrics().rejected("tls_handshake");
            tracing::debug!(%error, client = %self.client, "a TLS handshake failed");
        }
        self.abandon();
    }

    /// There is nobody at the other end.
    pub(super) fn abandon(&mut self) {
        self.broken = true;
        self.server.handle_eof();
    }

    /// Sets the time that a handshake has, if one comes next.
    pub(super) fn expect_handshake(&mut self, now: Now) {
        self.handshake_until = self.transport.is_shaking_hands().then(|| now.mono + HANDSHAKE_TIMEOUT);
    }

    /// When to call `handle_timeout`.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let before = self.header_until.or(self.handshake_until).or(self.login.refuse_at);
        before.or(self.farewell_until).or_else(|| self.server.poll_timeout())
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        if self.header_until.is_some_and(|until| until <= now.mono) {
            self.miss_header(now);
        } else if self.handshake_until.is_some_and(|until| until <= now.mono) {
            self.handshake_until = None;
            self.lose(&io::ErrorKind::TimedOut.into());
        } else if self.login.refuse_at.is_some_and(|at| at <= now.mono) {
            self.tell_refusal();
        } else if self.farewell_until.is_some_and(|until| until <= now.mono) {
            self.abandon();
        } else {
            self.server.handle_timeout(now.mono);
        }
    }

    /// The engine ends. In the midst of a handshake nothing can be said, and nobody is waited for.
    pub(super) fn shut_down(&mut self) {
        self.server.close(super::door::SHUTTING_DOWN);
        self.broken |= self.transport.is_shaking_hands() || self.header_until.is_some();
    }

    /// A refused client gets its reply behind the handshake, so that one goes on.
    fn may_read(&mut self) -> bool {
        let wanted = (self.server.wants_bytes() && !self.closing) || self.transport.is_shaking_hands();
        wanted && !self.broken && !self.is_clogged()
    }

    /// It stopped reading before the socket was empty, and the reason has gone.
    pub(super) fn can_resume(&mut self) -> bool {
        self.readable && !self.in_backlog && self.may_read()
    }

    fn is_clogged(&mut self) -> bool {
        self.server.poll_transmit().len() > MAX_UNWRITTEN
    }

    /// Answers the machine's questions and takes its messages.
    pub(super) fn serve(&mut self, key: usize, room: &mut Room<'_>, now: Now) {
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Mail { reverse_path, declared_bytes, parameters } => {
                    let checked = self.check_mail(&reverse_path, &parameters, now);
                    self.handle_mail(checked, declared_bytes, room.shared);
                }
                Event::Recipient(recipient) => self.handle_recipient(&recipient.mailbox),
                Event::Message(message) => self.handle_message(key, *message, room, now),
                Event::Aborted => self.release(room.shared),
                Event::Auth { mechanism, inquiry } => self.look_up(key, mechanism, inquiry, room),
                Event::XClient(said) => self.handle_xclient(&said),
                Event::Etrn(node) => {
                    self.guest.metrics().etrn();
                    room.starts.push((Asker { connection: key, generation: self.generation }, node));
                }
                Event::Atrn(domains) => self.ask_to_turn(key, domains, room),
                Event::Turned => {
                    self.turned = true;
                    self.farewell_until = Some(now.mono + FAREWELL_TIMEOUT);
                }
                Event::Hello { extended, .. } => self.extended = extended,
                Event::StartTls => self.start_tls(now),
                Event::Closed(_) => {
                    self.closing = true;
                    self.farewell_until = Some(now.mono + FAREWELL_TIMEOUT);
                }
            }
        }
        for (reason, count) in self.server.take_refusals() {
            self.guest.metrics().rejected_often(reason, count);
        }
    }

    fn start_tls(&mut self, now: Now) {
        self.handshake_until = Some(now.mono + HANDSHAKE_TIMEOUT);
        let begun = match self.guest.tls() {
            Some(config) => self.transport.go_on_with_tls(config),
            None => Err(io::Error::other("this listener has no certificate")),
        };
        if let Err(error) = begun {
            tracing::error!(%error, "TLS cannot begin");
            self.lose(&error);
        }
    }

    fn check_mail(&self, reverse_path: &ReversePath, parameters: &MailParameters, now: Now) -> Result<(), Refusal> {
        if let Some(hold) = parameters.hold {
            let release = hold.release(now.wall());
            let longest = self.server.config().future_release.map_or(Duration::ZERO, |future| future.longest);
            if release > now.wall() + longest {
                return Err(("hold_too_long", HOLD_TOO_LONG));
            }
            let useful = |by: DeliverBy| now.wall() + Duration::from_secs(by.seconds.try_into().unwrap_or(0));
            if parameters.deliver_by.is_some_and(|by| release > useful(by)) {
                return Err(("hold_too_long", RELEASED_TOO_LATE));
            }
        }
        self.check_owner(reverse_path)?;
        if self.guest.is_submission() { submission::check_sender(reverse_path) } else { Ok(()) }
    }

    fn handle_mail(&mut self, checked: Result<(), Refusal>, declared_bytes: Option<u64>, shared: &Shared) {
        self.release(shared);
        let reply = match checked.and_then(|()| shared.permits.take(declared_bytes)) {
            Ok(permit) => {
                self.permit = Some(permit);
                SENDER_OK
            }
            Err(refusal) => self.refuse(refusal),
        };
        self.server.answer(reply);
    }

    fn handle_recipient(&mut self, mailbox: &Mailbox) {
        let checked = if self.guest.is_submission() { submission::check_recipient(mailbox) } else { Ok(()) };
        let reply = checked.map_or_else(|refusal| self.refuse(refusal), |()| RECIPIENT_OK);
        self.server.answer(reply);
    }

    /// Counts a refusal. On a submission listener it is logged: there, something of ours wants mending (RFC 6409 §5.2).
    fn refuse(&self, (reason, reply): Refusal) -> Reply {
        self.guest.metrics().rejected(reason);
        if self.guest.is_submission() {
            tracing::info!(client = %self.client, %reply, "a submission was refused");
        }
        reply
    }

    fn handle_message(&mut self, key: usize, message: Message, room: &mut Room<'_>, now: Now) {
        let ticket = message.ticket;
        let missing = match self.check_message(&message, room.shared) {
            Ok(missing) => missing,
            Err(refusal) => {
                let reply = self.refuse(refusal);
                self.release(room.shared);
                return self.server.complete(ticket, reply);
            }
        };
        let release = message.parameters.hold.map(|hold| unix_ms(hold.release(now.wall())));
        let due_ms = release.map_or(now.wall_ms(), |release_ms| release_ms.max(now.wall_ms()));
        let content = Arc::new(self.content(message, missing, room, now));
        room.received.push(NewMessage::new(content, due_ms));
        room.origins.push(Origin { connection: key, generation: self.generation, ticket });
        if let Some(permit) = self.permit.take() {
            self.pending.push_back((ticket, permit));
        }
    }

    /// Whether it can be taken, and what is to be added to it.
    fn check_message(&self, message: &Message, shared: &Shared) -> Result<Missing, Refusal> {
        if message.received_count >= shared.max_hops {
            return Err(("loop", LOOP));
        }
        if self.guest.is_submission() { Missing::of(&message.body) } else { Ok(Missing::default()) }
    }

    fn content(&self, message: Message, missing: Missing, room: &mut Room<'_>, now: Now) -> Content {
        let id = room.shared.queue.next_id();
        let source = Source {
            hello_name: self.server.hello_name().unwrap_or_default(),
            client: &self.client,
            with: With {
                protocol: self.server.config().protocol,
                extended: self.extended,
                smtputf8: message.parameters.smtputf8,
                priority: message.parameters.priority,
                tls: self.server.tls(),
                authenticated: self.server.user().is_some(),
            },
        };
        let Labels { tenant, campaign } = Labels::of(&message.body);
        let body = message.body.with_prefix(room.trace.received(&source, missing, id, now));
        let envelope = Envelope {
            reverse_path: message.reverse_path,
            recipients: message.recipients,
            accepted_us: now.wall_us,
            parameters: message.parameters,
            tenant,
            campaign,
        };
        Content { id, envelope, body }
    }

    /// The final reply of a message.
    pub(super) fn complete(&mut self, ticket: Ticket, reply: Reply, shared: &Shared) {
        let held = self.pending.iter().position(|(t, _)| *t == ticket).and_then(|at| self.pending.remove(at));
        if let Some((_, permit)) = held {
            shared.permits.give_back(permit);
        }
        if reply.is_success() {
            self.guest.metrics().accepted(1);
        }
        self.server.complete(ticket, reply);
    }

    fn release(&mut self, shared: &Shared) {
        if let Some(permit) = self.permit.take() {
            shared.permits.give_back(permit);
        }
    }

    /// Writes what the machine has to say. Returns whether the connection is over.
    pub(super) fn flush(&mut self) -> bool {
        self.dirty = false;
        let written = !self.broken
            && self.header_until.is_none()
            && match self.transport.write(self.server.poll_transmit()) {
                Ok(written) => written,
                Err(error) => {
                    self.lose(&error);
                    false
                }
            };
        if self.broken && !self.closing {
            self.server.handle_eof();
            // Its messages go on to the disk; only the replies have nobody to go to.
            self.closing = true;
        }
        self.closing && (written || self.broken)
    }

    /// Gives back what is still held, and closes.
    pub(super) fn farewell(&mut self, shared: &Shared, registry: &Registry) {
        self.release(shared);
        for (_, permit) in self.pending.drain(..) {
            shared.permits.give_back(permit);
        }
        if !self.broken {
            self.transport.end();
        }
        let _ = self.transport.stream.deregister(registry);
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
