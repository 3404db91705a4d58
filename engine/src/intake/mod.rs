//! Ingest: connections of injectors, up to the point where a message is handed to the queue, and its reply back.
//!
//! One `Intake` belongs to one event loop. It owns sockets and `smtp::Server` machines and decides nothing about
//! delivery. What it accepts piles up in its `Outbox` until the loop submits it, once per tick, as one group.

mod client;
mod connection;
mod door;
mod introduction;
mod labels;
mod listening;
mod login;
mod outbox;
mod permit;
mod proxy;
mod repeated;
mod submission;
mod trace;
mod transaction;
mod transport;
mod turn;

pub(crate) use door::Door;
pub(crate) use listening::is_free;
pub(crate) use outbox::{Asker, Origin, Outbox};
pub(crate) use permit::Permits;

use crate::now::Now;
use crate::shell::arena::Arena;
use crate::shell::stream::Readiness;
use crate::shell::timers::Timers;
use crate::shell::turned::Turned;
use client::Address;
use connection::Connection;
use mio::event::Source as _;
use mio::{Interest, Registry, Token};
use queue::{MessageId, Queue, QueueError};
use slab::Slab;
use smtp::sasl::server::Finding;
use smtp::{EnhancedCode, Reply};
use std::io;
use std::sync::Arc;
use trace::Trace;
use transport::Transport;

/// Accepted connections per listener event before other sockets get their turn.
const ACCEPTS_PER_TICK: usize = 64;

/// Who is left at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// The next one is a new event.
    Nobody,
    /// Others may be waiting.
    More,
    /// So may they, and none can be let in now (out of descriptors, mostly). No event tells when that is over.
    Stuck,
}

/// What the rooms of all loops share.
pub(crate) struct Shared {
    pub queue: Queue,
    pub permits: Permits,
    pub max_hops: u32,
    /// `[auth] failure_delay`.
    pub failure_delay: std::time::Duration,
}

/// The ingest room of one event loop.
pub(crate) struct Intake {
    shared: Arc<Shared>,
    doors: Vec<Door>,
    connections: Slab<Connection>,
    generation: u64,
    arena: Arena,
    trace: Trace,
    timers: Timers,
    /// Connections with something to write at the end of the tick.
    dirty: Vec<usize>,
    /// Connections whose socket may hold more than one tick's share.
    backlog: Vec<usize>,
    outbox: Outbox,
    /// Of customers who got their mail (ATRN): delivery's from now on.
    turned: Vec<Turned>,
    draining: bool,
}

impl Intake {
    pub(crate) fn new(shared: Arc<Shared>, hostname: &Arc<str>, doors: Vec<Door>) -> Intake {
        Intake {
            shared,
            doors,
            connections: Slab::new(),
            generation: 0,
            arena: Arena::default(),
            trace: Trace::new(hostname.clone()),
            timers: Timers::default(),
            dirty: Vec::new(),
            backlog: Vec::new(),
            outbox: Outbox::default(),
            turned: Vec::new(),
            draining: false,
        }
    }

    /// Registers the listening sockets; door `n` gets `token(n)`.
    pub(crate) fn open_doors(&mut self, registry: &Registry, token: impl Fn(usize) -> Token) -> io::Result<()> {
        self.doors.iter_mut().enumerate().try_for_each(|(n, door)| door.register(registry, token(n)))
    }

    /// Somebody knocks at door `n`. Says who is left there.
    pub(crate) fn handle_door(
        &mut self,
        n: usize,
        now: Now,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> Crowd {
        for _ in 0..ACCEPTS_PER_TICK {
            // Somebody may have knocked in the tick in which the doors were closed.
            let Some(door) = self.doors.get_mut(n) else { return Crowd::Nobody };
            match door.accept() {
                Ok(Some((transport, address))) => self.welcome(n, transport, address, now, registry, &token),
                Ok(None) => return Crowd::Nobody,
                Err(error) => {
                    door.note_failure(&error);
                    return Crowd::Stuck;
                }
            }
        }
        Crowd::More
    }

    fn welcome(
        &mut self,
        n: usize,
        mut transport: Transport,
        address: Address,
        now: Now,
        registry: &Registry,
        token: &impl Fn(usize) -> Token,
    ) {
        let door = &self.doors[n];
        let expects_header = door.expects_header(address);
        let admitted = door.admit(self.draining);
        let mut guest = door.guest();
        // A proxy has as many places as its clients take.
        let admitted = if expects_header { admitted } else { admitted.and_then(|()| guest.take_place(address)) };
        let (server, expects_header) = match admitted {
            // It has still to be said who the client is; then there will be another machine.
            Ok(()) if expects_header => (smtp::Server::new(door.server_config(address), now.mono), true),
            Ok(()) => (door.receive(address, now), false),
            Err((reason, reply)) => {
                door.metrics().rejected(reason);
                (smtp::Server::refuse(door.server_config(address), reply, now.mono), false)
            }
        };
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        if let Err(error) = transport.stream.register(registry, token(key), Interest::READABLE | Interest::WRITABLE) {
            tracing::warn!(%error, "cannot watch an accepted connection");
            return;
        }
        self.generation += 1;
        let mut connection = Connection::new(transport, server, address, self.generation, guest);
        match expects_header {
            true => connection.expect_header(now),
            false => connection.expect_handshake(now),
        }
        entry.insert(connection);
        self.dirty.push(key);
        // A refused one is over as soon as it has its reply.
        self.serve(key, now);
    }

    /// The socket of a connection became readable or writable.
    pub(crate) fn handle_ready(&mut self, key: usize, ready: Readiness, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.mark_dirty(key, &mut self.dirty);
        connection.ended |= ready.ended;
        if ready.readable {
            connection.readable = true;
            self.read(key, now);
        }
    }

    /// Goes on with connections that had more to read than one tick's share.
    pub(crate) fn handle_backlog(&mut self, now: Now) {
        for key in std::mem::take(&mut self.backlog) {
            self.read(key, now);
        }
    }

    fn read(&mut self, key: usize, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let has_more = connection.read(&mut self.arena, now);
        self.serve(key, now);
        if let (true, Some(connection)) = (has_more, self.connections.get_mut(key))
            && !connection.in_backlog
        {
            connection.in_backlog = true;
            self.backlog.push(key);
        }
    }

    /// Lets a connection's machine run until it has nothing more to say.
    fn serve(&mut self, key: usize, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let mut room = Room { shared: &self.shared, trace: &mut self.trace, outbox: &mut self.outbox };
        connection.serve(key, &mut room, now);
        connection.mark_dirty(key, &mut self.dirty);
        self.timers.arm(key, connection.poll_timeout(), &mut connection.armed);
    }

    /// Takes what this tick's connections want of others.
    pub(crate) fn take_outbox(&mut self) -> Outbox {
        std::mem::take(&mut self.outbox)
    }

    /// The messages of these origins are durable, or (`failed`) are not and never will be.
    pub(crate) fn handle_durable(
        &mut self,
        mut origins: Vec<Origin>,
        ids: Result<&[MessageId], &QueueError>,
        now: Now,
    ) {
        for (n, origin) in origins.iter_mut().enumerate() {
            if ids.is_ok() {
                origin.injector.listener.accepted(origin.recipients);
            }
            if let Some(permit) = origin.permit.take() {
                self.shared.permits.give_back(permit);
            }
            let Some(connection) = self.connections.get_mut(origin.connection) else { continue };
            if connection.generation != origin.generation {
                continue; // It hung up before its reply; the message is queued all the same.
            }
            let reply = match ids {
                Ok(ids) => Reply::new(250, EnhancedCode(2, 0, 0), format!("Ok: queued as {}", ids[n])),
                Err(error) => permit::refused(error),
            };
            connection.complete(origin.ticket, reply);
            connection.mark_dirty(origin.connection, &mut self.dirty);
        }
        // A machine that paused for its pending messages goes on with what it has.
        for origin in origins {
            if self.connections.get(origin.connection).is_some_and(|c| c.generation == origin.generation) {
                self.serve(origin.connection, now);
            }
        }
    }

    /// Takes the connections that were turned round.
    pub(crate) fn take_turned(&mut self) -> Vec<Turned> {
        std::mem::take(&mut self.turned)
    }

    /// What was found; the connection may have ended meanwhile.
    pub(crate) fn handle_finding(&mut self, asker: Asker, finding: Finding, now: Now) {
        let connection = self.connections.get_mut(asker.connection);
        if let Some(connection) = connection.filter(|connection| connection.generation == asker.generation) {
            connection.handle_finding(finding, self.shared.failure_delay, now);
            self.serve(asker.connection, now);
        }
    }

    /// The answer to what a connection asked; it may have hung up meanwhile.
    pub(crate) fn handle_answer(&mut self, asker: Asker, reply: Reply, now: Now) {
        let connection = self.connections.get_mut(asker.connection);
        if let Some(connection) = connection.filter(|connection| connection.generation == asker.generation) {
            connection.server.answer(reply);
            self.serve(asker.connection, now);
        }
    }

    /// Writes what this tick produced, and closes what is over.
    pub(crate) fn flush(&mut self, registry: &Registry) {
        for key in std::mem::take(&mut self.dirty) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if connection.flush() {
                let mut gone = self.connections.remove(key);
                gone.farewell(&self.shared, registry);
            } else if connection.is_turned() {
                let gone = self.connections.remove(key);
                self.turned.extend(gone.into_turned(registry));
            } else if connection.can_resume() {
                // It had stopped reading: too many messages pending, or too many replies unwritten.
                connection.in_backlog = true;
                self.backlog.push(key);
            }
        }
    }

    /// Wakes the connections whose time has come.
    pub(crate) fn handle_timers(&mut self, now: Now) {
        while let Some((at, key)) = self.timers.pop(now.mono) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if !connection.armed.fired(at) {
                continue;
            }
            if connection.poll_timeout().is_some_and(|deadline| deadline <= now.mono) {
                connection.handle_timeout(now);
                self.serve(key, now);
            } else {
                self.timers.arm(key, connection.poll_timeout(), &mut connection.armed);
            }
        }
    }

    pub(crate) fn next_timer(&self) -> Option<std::time::Instant> {
        self.timers.next()
    }

    /// Stops accepting; every connection gets 421 once its transaction is over and what it has pending is answered.
    pub(crate) fn drain(&mut self, registry: &Registry, now: Now) {
        self.draining = true;
        for mut door in self.doors.drain(..) {
            door.close(registry);
        }
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.connections[key].shut_down(now);
            self.serve(key, now);
        }
    }

    /// Something can be read without a new event.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Nobody is connected any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}

/// What a connection may touch of the room around it.
struct Room<'a> {
    shared: &'a Shared,
    trace: &'a mut Trace,
    outbox: &'a mut Outbox,
}

/// Why a message or connection was turned away: the metric's `reason`, and the reply that says so.
type Refusal = (&'static str, Reply);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::QueueLimits;

    /// A queue, and what counts against its limits. The directory lives as long as the test wants it.
    fn shared(dir: &tempfile::TempDir) -> Arc<Shared> {
        let (queue, _) = Queue::open(queue::Options::new(dir.path().join("queue"))).unwrap();
        let limits = QueueLimits {
            max_recipients: 100,
            max_bytes: 1 << 40,
            min_free_bytes: 0,
            max_arriving_bytes: 1,
            body_cache_bytes: 1,
            prepare_bytes: 0,
        };
        let permits = Permits::new(limits, queue.clone());
        Arc::new(Shared { queue, permits, max_hops: 1, failure_delay: std::time::Duration::ZERO })
    }

    /// SIGTERM and a caller in one tick: the doors are gone when the caller's event is looked at.
    #[test]
    fn a_knock_at_a_door_that_has_just_closed_is_not_answered() {
        let dir = tempfile::tempdir().unwrap();
        let mut intake = Intake::new(shared(&dir), &"a.test".into(), Vec::new());
        let now = crate::shell::read_clock();
        let poll = mio::Poll::new().unwrap();
        intake.drain(poll.registry(), now);
        assert_eq!(intake.handle_door(0, now, poll.registry(), Token), Crowd::Nobody);
        assert!(intake.is_empty());
    }

    /// Else who hangs up and comes again fills the memory, while the disk hangs.
    #[test]
    fn a_message_counts_as_arriving_until_it_is_durable_though_its_client_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("smtp");
        let text = format!(
            "hostname = \"a.test\"\ndata_dir = \"/nowhere\"\n[[listener]]\nbind = \"unix:{}\"\n",
            socket.display()
        );
        let config = crate::config::Config::parse(&text, "test.toml").unwrap();
        let metrics = crate::metrics::EngineMetrics::new(&config);
        let now = crate::shell::read_clock();
        let listener = Arc::new(config.listeners[0].clone());
        let (_, doors) = Door::bind(&listener, "a.test", metrics.listener(0), None, None, 1, now).unwrap();
        let shared = shared(&dir);
        let mut intake = Intake::new(shared.clone(), &"a.test".into(), doors);
        let poll = mio::Poll::new().unwrap();
        let mut client = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        intake.handle_door(0, now, poll.registry(), Token);
        intake.flush(poll.registry());
        let mut hear = |text: &str| {
            io::Write::write_all(&mut client, text.as_bytes()).unwrap();
            intake.handle_ready(0, Readiness { readable: true, ended: false }, now);
            intake.flush(poll.registry());
        };
        hear("EHLO b.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n");
        hear("Subject: x\r\n\r\nx\r\n.\r\n");
        let outbox = intake.take_outbox();
        assert_eq!(outbox.received.len(), 1);
        assert!(shared.permits.take(None).is_err(), "it is coming in");
        intake.connections[0].abandon();
        intake.connections[0].mark_dirty(0, &mut intake.dirty);
        intake.flush(poll.registry());
        assert!(intake.is_empty());
        assert!(shared.permits.take(None).is_err(), "so it is still");
        intake.handle_durable(outbox.origins, Ok(&[MessageId(1)]), now);
        assert!(shared.permits.take(None).is_ok(), "and now it is not");
    }
}
