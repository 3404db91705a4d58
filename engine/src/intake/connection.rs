//! One injector's connection.

use super::client::{Address, Client};
use super::door::{Guest, NOT_ALLOWED, Trust};
use super::login::Login;
use super::permit::Permit;
use super::transport::Transport;
use super::{Asker, Room, Shared};
use crate::events::Injector;
use crate::now::Now;
use crate::shell::arena::Arena;
use crate::shell::stream::READS_PER_TICK;
use crate::shell::timers::Armed;
use crate::shell::turned::Call;
use mio::Registry;
use mio::event::Source as _;
use smtp::Server;
use smtp::server::Event;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Replies waiting to be written beyond which no more is read (a client that sends but never listens).
const MAX_UNWRITTEN: usize = 64 * 1024;
/// For a TLS handshake, from the moment that it can begin. It is a few round trips; whoever needs longer holds a place.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// For a client to take the last reply (RFC 5321 §3.8 and §4.1.1.10 have it said before the connection is closed): one that
/// never reads would hold its place for ever.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Connection {
    pub transport: Transport,
    pub server: Server,
    pub client: Client,
    /// Goes by the client's address.
    pub(super) trust: Trust,
    /// EHLO or LHLO was said, not HELO.
    pub extended: bool,
    /// Until when the PROXY header has to come, which says who the client is. Nothing is said before.
    pub header_until: Option<Instant>,
    pub login: Login,
    /// As its last message had it.
    injector: Option<Arc<Injector>>,
    /// Until when a TLS handshake may take.
    handshake_until: Option<Instant>,
    /// Tells apart the connections that have had the same key.
    pub generation: u64,
    pub guest: Guest,
    /// Held by the open transaction.
    pub(super) permit: Option<Permit>,
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
            trust: guest.trust(address),
            extended: false,
            header_until: None,
            login: Login::default(),
            injector: None,
            generation,
            guest,
            permit: None,
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

    /// Who hands in messages here. It is made anew only when somebody has logged in, or a proxy speaks for another.
    pub(super) fn injector(&mut self) -> Arc<Injector> {
        let address = match self.client.address {
            Address::Ip(address) => Some(address),
            Address::Local | Address::Unknown => None,
        };
        let user = self.server.user();
        if let Some(known) = &self.injector
            && known.address == address
            && known.user.as_deref() == user
        {
            return known.clone();
        }
        let user = user.map(Box::from);
        let injector = Arc::new(Injector { listener: self.guest.metrics().clone(), address, user });
        self.injector = Some(injector.clone());
        injector
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

    /// The engine ends, and an open transaction comes to its end first. In the midst of a handshake nothing can be said, and
    /// nobody is waited for.
    pub(super) fn shut_down(&mut self, now: Now) {
        self.server.drain(super::door::SHUTTING_DOWN, now.mono);
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
                Event::Etrn(_) if self.trust == Trust::Never => self.server.answer(NOT_ALLOWED),
                Event::Etrn(node) => {
                    self.guest.metrics().etrn();
                    room.outbox.starts.push((Asker { connection: key, generation: self.generation }, node));
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
        self.account(self.server.content_bytes(), room.shared);
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

    /// Gives back what an open transaction holds, and closes.
    pub(super) fn farewell(&mut self, shared: &Shared, registry: &Registry) {
        self.release(shared);
        if !self.broken {
            self.transport.end();
        }
        let _ = self.transport.stream.deregister(registry);
    }
}
