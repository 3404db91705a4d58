//! One client of a sink.

use super::outbox::Outbox;
use super::record::Origin;
use super::rule::RuleSet;
use super::script::{Scene, Script};
use super::transport::{Got, ReadBuffer, Transport};
use super::{ACCEPTED, Ending, Shared};
use crate::socket::Socket;
use crate::timers::Armed;
use bytes::BytesMut;
use mio::{Registry, Token};
use smtp::Server;
use smtp::server::{Event, RECIPIENT_OK, SENDER_OK};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// How long a closed connection is kept to throw away what the client still sends: closing at once would answer that
/// with a reset, which can destroy the last reply before the client reads it.
const LINGER: Duration = Duration::from_secs(2);

/// Reads of one connection before the others get their turn.
const READS_PER_TURN: usize = 16;

/// What a connection shares with the others of its thread.
pub(super) struct Context<'a> {
    pub shared: &'a Shared,
    pub rules: &'a RuleSet,
    pub random: &'a mut fastrand::Rng,
    pub buffer: &'a mut ReadBuffer,
    pub registry: &'a Registry,
    pub now: Instant,
    pub wall: SystemTime,
}

/// What the worker does with a connection after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing to do until the socket or the clock says so.
    Wait,
    /// More is waiting to be read.
    Again,
    /// Over.
    Drop,
    /// Over, with a reset.
    Reset,
}

/// How far TLS has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Off,
    /// To begin when what was said in clear text has left.
    Due,
    Handshake,
    On,
}

/// One client.
pub(super) struct Connection {
    transport: Transport,
    machine: Server,
    peer: Option<SocketAddr>,
    script: Option<Box<Script>>,
    outbox: Outbox,
    /// Replies under rules, before they enter the outbox.
    out: BytesMut,
    tls: Tls,
    messages: u64,
    in_transaction: bool,
    /// The socket may hold unread octets.
    readable: bool,
    ending: Ending,
    linger_until: Option<Instant>,
    pub(super) armed: Armed,
}

impl Connection {
    /// Registers the socket and takes the first turn's work up; call `turn` next.
    pub(super) fn new(socket: Socket, token: Token, machine: Server, context: &Context<'_>) -> io::Result<Connection> {
        let peer = if context.shared.record.keep.channel.is_some() { socket.peer() } else { None };
        let scripted = !context.rules.is_empty();
        let mut transport = Transport::new(socket, token);
        transport.register(context.registry)?;
        let implicit_tls = context.shared.tls.as_ref().filter(|_| context.shared.implicit_tls && !scripted);
        if let Some(config) = implicit_tls {
            transport.begin_tls(config.clone())?;
        }
        Ok(Connection {
            transport,
            machine,
            peer,
            script: scripted.then(Box::default),
            outbox: Outbox::default(),
            out: BytesMut::new(),
            tls: if implicit_tls.is_some() { Tls::Handshake } else { Tls::Off },
            messages: 0,
            in_transaction: false,
            readable: true,
            ending: Ending::Open,
            linger_until: None,
            armed: Armed::default(),
        })
    }

    /// When it wants a turn without an event.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.linger_until.is_some() {
            return self.linger_until;
        }
        let script = self.script.as_ref().and_then(|script| script.deadline());
        [script, self.machine.poll_timeout(), self.outbox.deadline()].into_iter().flatten().min()
    }

    /// The socket has something to read. `closed`: the peer will send nothing more; true when that is the end, because
    /// a stalled connection does not read and would never notice.
    pub(super) fn handle_readable(&mut self, closed: bool) -> bool {
        self.readable = true;
        closed && self.script.as_ref().is_some_and(|script| script.stalled())
    }

    /// Reads, works and writes as far as possible.
    pub(super) fn turn(&mut self, context: &mut Context<'_>) -> Turn {
        // A socket that fails is a client that left.
        self.try_turn(context).unwrap_or(Turn::Drop)
    }

    fn try_turn(&mut self, context: &mut Context<'_>) -> io::Result<Turn> {
        if self.linger_until.is_some() {
            return self.linger(context);
        }
        if self.machine.poll_timeout().is_some_and(|at| at <= context.now) {
            self.machine.handle_timeout(context.now);
        }
        self.work(context)?;
        for _ in 0..READS_PER_TURN {
            if !self.readable || !self.wants_bytes() {
                break;
            }
            match self.transport.read(context.buffer)? {
                Got::Bytes(bytes, more) => {
                    self.readable = more;
                    // The client's first words may come with the end of the handshake.
                    if self.tls == Tls::Handshake && !self.transport.handshaking() {
                        self.end_handshake(context);
                    }
                    match &mut self.script {
                        Some(script) => script.handle_bytes(bytes),
                        None => self.machine.handle_bytes(bytes, context.now),
                    }
                }
                Got::Nothing => self.readable = false,
                Got::End => {
                    self.readable = false;
                    self.machine.handle_eof();
                }
            }
            self.work(context)?;
        }
        self.write(context)?;
        self.finish(context)
    }

    fn wants_bytes(&self) -> bool {
        match self.tls {
            Tls::Due => false,
            Tls::Handshake => true,
            Tls::Off | Tls::On => {
                self.ending == Ending::Open
                    && self.machine.wants_bytes()
                    && self.script.as_ref().is_none_or(|script| script.wants_bytes())
            }
        }
    }

    /// Lets the machine, or the rules with it, go as far as they can with what they have.
    fn work(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            match self.tls {
                Tls::Handshake if self.transport.handshaking() => return self.write(context),
                Tls::Handshake => self.end_handshake(context),
                Tls::Due => {
                    // The 220 leaves in clear text first.
                    self.write(context)?;
                    if !self.flushed() {
                        return Ok(());
                    }
                    let config = context.shared.tls.clone().ok_or(io::ErrorKind::Unsupported)?;
                    self.transport.begin_tls(config)?;
                    self.tls = Tls::Handshake;
                    return Ok(());
                }
                Tls::Off | Tls::On => {}
            }
            if self.script.is_none() && !context.rules.is_empty() && !self.in_transaction {
                self.script = Some(Box::new(Script::midway(self.messages)));
            }
            match self.script.is_some() {
                true => self.work_by_rules(context),
                false => self.work_plainly(context),
            }
            if self.tls != Tls::Due {
                return Ok(());
            }
        }
    }

    fn end_handshake(&mut self, context: &Context<'_>) {
        self.tls = Tls::On;
        context.shared.record.encrypted(self.transport.tls_resumed());
        if let Some(info) = self.transport.tls_info() {
            self.machine.handle_tls(info);
        }
        if let Some(script) = &mut self.script {
            script.handle_tls();
        }
    }

    fn work_plainly(&mut self, context: &mut Context<'_>) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Hello { .. } => {}
                Event::Mail { .. } => {
                    self.in_transaction = true;
                    self.machine.answer(SENDER_OK);
                }
                Event::Recipient(_) => self.machine.answer(RECIPIENT_OK),
                Event::Message(message) => {
                    self.in_transaction = false;
                    self.messages += 1;
                    let hello = self.machine.hello_name().unwrap_or("");
                    let origin = Origin { peer: self.peer, tls: self.machine.tls(), hello };
                    context.shared.record.take(&message, origin, context.wall);
                    self.machine.complete(message.ticket, ACCEPTED);
                }
                Event::Aborted => self.in_transaction = false,
                Event::StartTls => self.tls = Tls::Due,
                // Not announced, so the machine refuses them by itself.
                Event::XClient(_) | Event::Etrn(_) | Event::Atrn(_) | Event::Turned | Event::Auth { .. } => {}
                Event::Closed(_) => self.ending = Ending::Close,
            }
        }
    }

    fn work_by_rules(&mut self, context: &mut Context<'_>) {
        let Some(script) = &mut self.script else { return };
        script.run(&mut Scene {
            machine: &mut self.machine,
            out: &mut self.out,
            rules: context.rules,
            record: &context.shared.record,
            random: context.random,
            peer: self.peer,
            implicit_tls: context.shared.implicit_tls,
            now: context.now,
            wall: context.wall,
        });
        self.ending = script.ending;
        if script.awaits_tls() {
            self.tls = Tls::Due;
        }
    }

    /// Writes what may leave now. Without rules and delay it goes out of the machine's own buffer.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let delay = context.shared.reply_delay;
        if self.script.is_none() && delay.is_zero() {
            return self.transport.write(self.machine.poll_transmit(), context.registry);
        }
        let fresh = if self.script.is_some() { &mut self.out } else { self.machine.poll_transmit() };
        self.outbox.hold(fresh, delay, context.now);
        self.outbox.release(context.now);
        self.transport.write(&mut self.outbox.ready, context.registry)
    }

    fn flushed(&mut self) -> bool {
        let machine_done = self.script.is_some() || self.machine.poll_transmit().is_empty();
        machine_done && self.outbox.is_empty() && self.transport.flushed()
    }

    fn finish(&mut self, context: &mut Context<'_>) -> io::Result<Turn> {
        if self.ending == Ending::Reset {
            return Ok(Turn::Reset);
        }
        if self.ending == Ending::Close && self.flushed() {
            self.transport.finish();
            self.linger_until = Some(context.now + LINGER);
            return self.linger(context);
        }
        let again = self.readable && self.wants_bytes();
        Ok(if again { Turn::Again } else { Turn::Wait })
    }

    fn linger(&mut self, context: &mut Context<'_>) -> io::Result<Turn> {
        if self.linger_until.is_some_and(|until| until <= context.now) {
            return Ok(Turn::Drop);
        }
        for _ in 0..READS_PER_TURN {
            match self.transport.read(context.buffer)? {
                Got::Bytes(..) => {}
                Got::Nothing => return Ok(Turn::Wait),
                Got::End => return Ok(Turn::Drop),
            }
        }
        Ok(Turn::Again)
    }

    pub(super) fn into_socket(self) -> Socket {
        self.transport.into_socket()
    }
}
