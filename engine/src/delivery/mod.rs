//! The hands: outbound connections of one event loop. It owns sockets, TLS and `smtp::Client` machines, does what
//! dispatch says and tells what came of it; it decides nothing.

mod connection;
mod fault;
mod own;
#[cfg(test)]
mod tests;
mod tls;
mod transport;

pub(crate) use own::Ourselves;
pub(crate) use tls::{TlsConfigs, TlsError};

use crate::dispatch::{ConnectionId, Deliver, Input, Open};
use crate::metrics::Handshakes;
use crate::now::Now;
use crate::passwords::Passwords;
use crate::shell::stream::Readiness;
use crate::shell::timers::Timers;
use crate::shell::turned::Turned;
use connection::Connection;
use mio::{Registry, Token};
use slab::Slab;
use smtp::client::{Cause, Stage, Timeouts};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// One read from a peer; replies are short.
const READ_BUFFER: usize = 32 * 1024;

/// What all delivery rooms share.
pub(crate) struct Settings {
    pub ourselves: Ourselves,
    pub connect_timeout: Duration,
    pub timeouts: Timeouts,
    pub tls: TlsConfigs,
    pub handshakes: Handshakes,
    pub passwords: Passwords,
}

/// The delivery room of one event loop.
pub(crate) struct Delivery {
    settings: Arc<Settings>,
    connections: Slab<Connection>,
    keys: HashMap<ConnectionId, usize>,
    timers: Timers,
    dirty: Vec<usize>,
    /// Connections whose socket may hold more than one tick's share.
    backlog: Vec<usize>,
    buffer: Vec<u8>,
    /// For dispatch, in order.
    news: Vec<Input>,
}

impl Delivery {
    pub(crate) fn new(settings: Arc<Settings>) -> Delivery {
        Delivery {
            settings,
            connections: Slab::new(),
            keys: HashMap::new(),
            timers: Timers::default(),
            dirty: Vec::new(),
            backlog: Vec::new(),
            buffer: vec![0; READ_BUFFER],
            news: Vec::new(),
        }
    }

    /// Begins to connect, or to speak on a connection that a customer has turned round.
    pub(crate) fn open(
        &mut self,
        open: Box<Open>,
        turned: Option<Box<Turned>>,
        now: Now,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) {
        let id = open.connection;
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let there = turned.is_some();
        let ends = fault::Ends::of(&open);
        let connection = match turned {
            Some(turned) => Connection::adopt(open, *turned, &self.settings, now, registry, token(key)),
            None => Connection::open(open, &self.settings, now, registry, token(key)),
        };
        match connection {
            Ok(connection) => {
                let connection = entry.insert(connection);
                self.keys.insert(id, key);
                self.timers.arm(key, connection.poll_timeout(), &mut connection.armed);
                if there {
                    // TLS may hold what no event tells of.
                    self.handle_ready(key, Readiness { readable: true, ended: false }, now);
                }
            }
            Err(error) => self.news.push(match ends.own_fault(&error) {
                Some(fault) => Input::NotOpened(id, fault),
                None => Input::Closed(id, Stage::Connect, Cause::Io(error.kind())),
            }),
        }
    }

    /// Hands a transaction to its connection. If that has just ended, dispatch hears so before anything else of it.
    pub(crate) fn deliver(&mut self, deliver: &Deliver, now: Now) {
        let Some(&key) = self.keys.get(&deliver.connection) else { return };
        let connection = &mut self.connections[key];
        connection.deliver(deliver, &self.settings, now, &mut self.news);
        self.touch(key, now);
    }

    /// Quits after what was handed over.
    pub(crate) fn close(&mut self, id: ConnectionId, now: Now) {
        let Some(&key) = self.keys.get(&id) else { return };
        self.connections[key].quit(now);
        self.touch(key, now);
    }

    /// The socket of a connection became readable or writable.
    pub(crate) fn handle_ready(&mut self, key: usize, ready: Readiness, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let has_more = connection.handle_ready(ready, &self.settings, &mut self.buffer, now, &mut self.news);
        self.after_reading(key, has_more, now);
    }

    /// Goes on with connections that had more to read than one tick's share.
    pub(crate) fn handle_backlog(&mut self, now: Now) {
        for key in std::mem::take(&mut self.backlog) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.in_backlog = false;
            let has_more = connection.read(&self.settings, &mut self.buffer, now);
            self.after_reading(key, has_more, now);
        }
    }

    fn after_reading(&mut self, key: usize, has_more: bool, now: Now) {
        let connection = &mut self.connections[key];
        if has_more && !connection.in_backlog {
            connection.in_backlog = true;
            self.backlog.push(key);
        }
        self.touch(key, now);
    }

    /// Wakes the connections whose time has come.
    pub(crate) fn handle_timers(&mut self, now: Now) {
        while let Some((at, key)) = self.timers.pop(now.mono) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if connection.armed.fired(at) {
                connection.handle_timeout(now);
                self.touch(key, now);
            }
        }
    }

    /// After anything happened to a connection: hears its machine out, keeps its timer, marks it for writing.
    fn touch(&mut self, key: usize, now: Now) {
        let connection = &mut self.connections[key];
        connection.drain_events(&self.settings, now, &mut self.news);
        self.timers.arm(key, connection.poll_timeout(), &mut connection.armed);
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Writes what this tick produced, each connection once, and closes what is over.
    pub(crate) fn flush(&mut self, now: Now, registry: &Registry) {
        for key in std::mem::take(&mut self.dirty) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.dirty = false;
            connection.flush(&self.settings, &mut self.buffer, now);
            connection.drain_events(&self.settings, now, &mut self.news);
            self.timers.arm(key, connection.poll_timeout(), &mut connection.armed);
            if connection.is_over() {
                let mut gone = self.connections.remove(key);
                self.keys.remove(&gone.id());
                gone.farewell(registry);
            }
        }
    }

    /// What dispatch has to hear, in order.
    pub(crate) fn take_news(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.news)
    }

    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Something was handed over since the last flush.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Something can be read without a new event.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    pub(crate) fn next_timer(&self) -> Option<std::time::Instant> {
        self.timers.next()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}
