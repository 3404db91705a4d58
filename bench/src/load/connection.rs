//! One connection of the load generator: a socket and the client machine on it.

use super::link::Link;
use crate::socket::{Address, Socket};
use crate::timers::Armed;
use mio::{Registry, Token};
use smtp::Client;
use smtp::client::{Cause, Config};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FIRST_BACKOFF: Duration = Duration::from_millis(10);
const LAST_BACKOFF: Duration = Duration::from_secs(1);

/// How a connection stands.
pub(super) enum Line {
    /// To be made at this time.
    Down(Instant),
    /// Being made.
    Connecting(Socket),
    /// Speaking.
    Up(Link, Box<Client>),
    /// No longer needed.
    Done,
}

/// One connection, made again when it breaks.
pub(super) struct Connection {
    pub line: Line,
    pub armed: Armed,
    /// Waits for work in the worker's list.
    pub idle: bool,
    /// The server can be submitted to.
    pub ready: bool,
    /// QUIT is on its way.
    pub quitting: bool,
    token: Token,
    blocked: bool,
    failures: u32,
}

impl Connection {
    pub(super) fn new(token: Token, now: Instant) -> Connection {
        Connection {
            line: Line::Down(now),
            armed: Armed::default(),
            idle: false,
            ready: false,
            quitting: false,
            token,
            blocked: false,
            failures: 0,
        }
    }

    /// When it wants a turn without an event.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.line {
            Line::Down(until) => Some(*until),
            Line::Up(_, client) => client.poll_timeout(),
            Line::Connecting(_) | Line::Done => None,
        }
    }

    pub(super) fn connect(&mut self, to: &Address, registry: &Registry) -> io::Result<()> {
        let mut socket = Socket::connect(to)?;
        socket.register(registry, self.token)?;
        self.blocked = false;
        self.line = Line::Connecting(socket);
        Ok(())
    }

    pub(super) fn client(&mut self) -> Option<&mut Client> {
        match &mut self.line {
            Line::Up(_, client) => Some(client),
            _ => None,
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<smtp::client::Event> {
        self.client()?.poll_event()
    }

    /// Whether another transaction fits, when `wanted` are to be in flight.
    pub(super) fn room(&mut self, wanted: usize) -> bool {
        self.ready && self.client().is_some_and(|client| client.in_flight() < wanted && client.credit() > 0)
    }

    /// While connecting: looks whether it is done. True when the machine has just begun. `tls`: from the start.
    pub(super) fn establish(
        &mut self,
        config: Arc<Config>,
        tls: Option<&Arc<rustls::ClientConfig>>,
        registry: &Registry,
        now: Instant,
    ) -> io::Result<bool> {
        let Line::Connecting(socket) = &mut self.line else { return Ok(false) };
        if !socket.finish_connect()? {
            return Ok(false);
        }
        socket.ask_writable(registry, self.token, false)?;
        if let Line::Connecting(socket) = std::mem::replace(&mut self.line, Line::Done) {
            let mut link = Link::new(socket);
            if let Some(tls) = tls {
                link.begin_tls(tls.clone())?;
            }
            self.line = Line::Up(link, Box::new(Client::new(config, now)));
        }
        Ok(true)
    }

    /// Reads until the socket is drained and tells the machine.
    pub(super) fn read(&mut self, buffer: &mut [u8], closed: bool, now: Instant) {
        let Line::Up(link, client) = &mut self.line else { return };
        match link.read(client, buffer, closed, now) {
            Ok(true) => {}
            Ok(false) => client.handle_eof(),
            Err(e) => client.handle_error(cause(e)),
        }
    }

    /// Writes what the machine has, as far as there is room.
    pub(super) fn write(&mut self, registry: &Registry, now: Instant) {
        let Line::Up(link, client) = &mut self.line else { return };
        let blocked = match link.write(client, now) {
            Ok(done) => !done,
            Err(e) => {
                client.handle_error(cause(e));
                false
            }
        };
        if blocked != self.blocked {
            self.blocked = blocked;
            if let Err(e) = link.socket.ask_writable(registry, self.token, blocked) {
                client.handle_error(Cause::Io(e.kind()));
            }
        }
    }

    /// The reply to STARTTLS was 220.
    pub(super) fn begin_tls(&mut self, config: Arc<rustls::ClientConfig>) {
        let Line::Up(link, client) = &mut self.line else { return };
        if let Err(e) = link.begin_tls(config) {
            client.handle_error(cause(e));
        }
    }

    /// It broke or could not be made: try again a little later each time.
    pub(super) fn back_off(&mut self, now: Instant) {
        self.ready = false;
        let wait = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(10)).min(LAST_BACKOFF);
        self.failures += 1;
        self.line = Line::Down(now + wait);
    }

    /// It ended in order: make it again at once.
    pub(super) fn reconnect(&mut self, now: Instant) {
        self.ready = false;
        self.line = Line::Down(now);
    }

    /// Something was acknowledged on it.
    pub(super) fn set_healthy(&mut self) {
        self.failures = 0;
    }
}

fn cause(error: io::Error) -> Cause {
    match error.get_ref() {
        Some(inner) if inner.is::<rustls::Error>() => Cause::Tls(inner.to_string().into()),
        _ => Cause::Io(error.kind()),
    }
}
