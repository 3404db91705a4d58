//! One thread of a sink: a mio loop over its share of the connections. The first one also accepts, and deals out.

use super::Shared;
use super::connection::{Connection, Context, Turn};
use super::rule::RuleSet;
use super::transport::ReadBuffer;
use crate::report::thread_cpu;
use crate::socket::{Listener, Socket};
use crate::timers::Timers;
use crossbeam_channel::{Receiver, Sender};
use mio::{Events, Poll, Registry, Token, Waker};
use slab::Slab;
use smtp::{EnhancedCode, Reply, Server};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Connections have the small tokens, listeners the large ones.
pub(super) const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX / 2;
const EVENTS: usize = 1024;
const BUSY: Reply = Reply::fixed(421, EnhancedCode(4, 3, 2), "Too many connections");

/// Where the accepting thread sends what it accepts.
pub(super) struct Mate {
    pub inbox: Sender<Socket>,
    pub waker: Arc<Waker>,
}

/// What is needed to start a thread.
pub(super) struct Worker {
    pub poll: Poll,
    pub shared: Arc<Shared>,
    pub inbox: Receiver<Socket>,
    /// With listeners: all threads, this one first.
    pub mates: Vec<Mate>,
    pub listeners: Vec<Listener>,
    pub random: fastrand::Rng,
}

/// The changing part.
struct Floor {
    shared: Arc<Shared>,
    registry: Registry,
    connections: Slab<Connection>,
    timers: Timers,
    /// Connections that have more to read.
    again: Vec<usize>,
    buffer: ReadBuffer,
    random: fastrand::Rng,
    rules: Arc<RuleSet>,
    now: Instant,
    wall: SystemTime,
}

impl Worker {
    /// Runs until the sink is stopped; returns the CPU time used.
    pub(super) fn run(mut self) -> io::Result<Duration> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener.register(self.poll.registry(), Token(FIRST_LISTENER + index))?;
        }
        let mut floor = Floor {
            shared: self.shared.clone(),
            registry: self.poll.registry().try_clone()?,
            connections: Slab::new(),
            timers: Timers::default(),
            again: Vec::new(),
            buffer: ReadBuffer::default(),
            random: self.random,
            rules: self.shared.rules(),
            now: Instant::now(),
            wall: SystemTime::now(),
        };
        let mut events = Events::with_capacity(EVENTS);
        let mut next_mate = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let wait = if floor.again.is_empty() { floor.timers.wait(floor.now) } else { Some(Duration::ZERO) };
            match self.poll.poll(&mut events, wait) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            floor.begin_tick();
            for event in &events {
                match event.token() {
                    WAKER => floor.rules = self.shared.rules(),
                    Token(key) if key >= FIRST_LISTENER => {
                        accept(&self.listeners[key - FIRST_LISTENER], &self.mates, &mut next_mate);
                    }
                    Token(key) => floor.handle_event(key, event),
                }
            }
            while let Ok(socket) = self.inbox.try_recv() {
                floor.open(socket);
            }
            floor.end_tick();
        }
        Ok(thread_cpu())
    }
}

/// Takes all that wait and deals them out in turn.
fn accept(listener: &Listener, mates: &[Mate], next: &mut usize) {
    let mut dealt = vec![false; mates.len()];
    loop {
        match listener.accept() {
            Ok(socket) => {
                let mate = *next % mates.len();
                *next += 1;
                dealt[mate] = mates[mate].inbox.send(socket).is_ok();
            }
            Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // Nobody is waiting; or no descriptors are left, then the next arrival tries again.
            Err(_) => break,
        }
    }
    for (mate, _) in mates.iter().zip(dealt).skip(1).filter(|(_, dealt)| *dealt) {
        // Fails only when that thread is gone.
        let _ = mate.waker.wake();
    }
}

impl Floor {
    fn begin_tick(&mut self) {
        self.now = Instant::now();
        self.wall = SystemTime::now();
    }

    fn handle_event(&mut self, key: usize, event: &mio::event::Event) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            let closed = event.is_read_closed() || event.is_error();
            if connection.handle_readable(closed) {
                return self.end(key, Turn::Drop);
            }
        }
        self.turn(key);
    }

    fn end_tick(&mut self) {
        for key in std::mem::take(&mut self.again) {
            if self.connections.contains(key) {
                self.turn(key);
            }
        }
        while let Some((at, key)) = self.timers.pop(self.now) {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.armed.fired(at);
                self.turn(key);
            }
        }
    }

    fn open(&mut self, socket: Socket) {
        let shared = self.shared.clone();
        let machine = match shared.record.opened() > shared.max_connections {
            true => Server::refuse(shared.machine.clone(), BUSY, self.now),
            false => Server::new(shared.machine.clone(), self.now),
        };
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let context = Context {
            shared: &shared,
            rules: &self.rules,
            random: &mut self.random,
            buffer: &mut self.buffer,
            registry: &self.registry,
            now: self.now,
            wall: self.wall,
        };
        match Connection::new(socket, Token(key), machine, &context) {
            Ok(connection) => {
                entry.insert(connection);
                self.turn(key);
            }
            Err(_) => shared.record.closed(),
        }
    }

    fn turn(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let turn = connection.turn(&mut Context {
            shared: &self.shared,
            rules: &self.rules,
            random: &mut self.random,
            buffer: &mut self.buffer,
            registry: &self.registry,
            now: self.now,
            wall: self.wall,
        });
        match turn {
            Turn::Drop | Turn::Reset => return self.end(key, turn),
            Turn::Again => self.again.push(key),
            Turn::Wait => {}
        }
        let deadline = connection.deadline();
        self.timers.arm(&mut connection.armed, key, deadline);
    }

    fn end(&mut self, key: usize, turn: Turn) {
        let socket = self.connections.remove(key).into_socket();
        if turn == Turn::Reset {
            socket.reset();
        }
        self.shared.record.closed();
    }
}
