//! The server's event loop: one UDP socket, one TCP listener, and answers that wait for their time.

use super::Tally;
use super::answer::{Transport, answer};
use super::zone::Zone;
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Instant;

const UDP: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);
const WAKER: Token = Token(usize::MAX - 2);

/// Room for a burst of questions while the thread does something else.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
const MAX_DATAGRAM_BYTES: usize = 4096;
const MAX_CONNECTIONS: usize = 1024;
/// Tries to find a port that is free for both UDP and TCP.
const PORT_TRIES: usize = 32;

pub(super) struct Server {
    poll: Poll,
    udp: UdpSocket,
    listener: TcpListener,
    connections: Slab<Connection>,
    later: BinaryHeap<Reverse<Later>>,
    /// Distinguishes connections that get the same slot, for answers that come late.
    opened: u64,
    address: SocketAddr,
    zone: Arc<RwLock<Zone>>,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
}

struct Connection {
    stream: TcpStream,
    number: u64,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// An answer that waits for its time.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Later {
    at: Instant,
    to: Destination,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Destination {
    Udp(SocketAddr),
    Tcp { slot: usize, number: u64 },
}

impl Server {
    pub(super) fn bind(
        bind: SocketAddr,
        zone: Arc<RwLock<Zone>>,
        tally: Arc<Tally>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<(Server, Waker)> {
        let (mut udp, mut listener) = sockets(bind)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut udp, UDP, Interest::READABLE)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let address = udp.local_addr()?;
        let (connections, later) = (Slab::new(), BinaryHeap::new());
        Ok((Server { poll, udp, listener, connections, later, opened: 0, address, zone, tally, stop }, waker))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop, or until polling fails, which leaves nothing to serve with.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        while !self.stop.load(Ordering::Acquire) {
            let wait = self.later.peek().map(|Reverse(later)| later.at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return,
                _ => {}
            }
            for event in &events {
                match event.token() {
                    UDP => self.serve_udp(),
                    LISTENER => self.accept(),
                    WAKER => {}
                    Token(slot) => self.serve_tcp(slot),
                }
            }
            self.send_due(Instant::now());
        }
    }

    fn serve_udp(&mut self) {
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        loop {
            match self.udp.recv_from(&mut buffer) {
                Ok((length, from)) => self.serve(&buffer[..length], Transport::Udp, Destination::Udp(from)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            if self.connections.len() >= MAX_CONNECTIONS {
                continue;
            }
            let interest = Interest::READABLE | Interest::WRITABLE;
            let slot = self.connections.vacant_key();
            if self.poll.registry().register(&mut stream, Token(slot), interest).is_ok() {
                self.opened += 1;
                let connection = Connection { stream, number: self.opened, input: Vec::new(), output: Vec::new() };
                self.connections.insert(connection);
            }
        }
    }

    fn serve_tcp(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let open = connection.receive();
        let to = Destination::Tcp { slot, number: connection.number };
        let mut input = std::mem::take(&mut connection.input);
        let mut rest = &input[..];
        while let Some((question, after)) = frame(rest) {
            self.serve(question, Transport::Tcp, to);
            rest = after;
        }
        let used = input.len() - rest.len();
        input.drain(..used);
        let connection = &mut self.connections[slot];
        connection.input = input;
        if !connection.flush() || !open {
            self.connections.remove(slot);
        }
    }

    fn serve(&mut self, question: &[u8], transport: Transport, to: Destination) {
        let answered = {
            let zone = self.zone.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            answer(question, &zone, transport)
        };
        let Some(answered) = answered else { return };
        self.tally.count(answered.kind, transport);
        let Some(bytes) = answered.bytes else { return };
        if answered.delay.is_zero() {
            self.send(to, &bytes);
        } else {
            self.later.push(Reverse(Later { at: Instant::now() + answered.delay, to, bytes }));
        }
    }

    fn send_due(&mut self, now: Instant) {
        while self.later.peek().is_some_and(|Reverse(later)| later.at <= now) {
            let Some(Reverse(later)) = self.later.pop() else { return };
            self.send(later.to, &later.bytes);
        }
    }

    fn send(&mut self, to: Destination, bytes: &[u8]) {
        match to {
            // A datagram that does not leave is a lost datagram: the client asks again.
            Destination::Udp(to) => drop(self.udp.send_to(bytes, to)),
            Destination::Tcp { slot, number } => {
                let Some(connection) = self.connections.get_mut(slot).filter(|found| found.number == number) else {
                    return;
                };
                // An encoded message is at most 65,535 bytes.
                connection.output.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
                connection.output.extend_from_slice(bytes);
                connection.flush();
            }
        }
    }
}

impl Connection {
    /// Reads what is there; whether more may come.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Writes what it can; whether the connection is still good. What is left goes when it is writable again.
    fn flush(&mut self) -> bool {
        let mut written = 0;
        while written < self.output.len() {
            match self.stream.write(&self.output[written..]) {
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.output.drain(..written);
        true
    }
}

/// The first message of a stream and what follows (RFC 1035 §4.2.2).
fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// Both sockets on one port.
fn sockets(bind: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if bind.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let udp = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
        // As much as the system grants.
        let _ = udp.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        udp.set_nonblocking(true)?;
        udp.bind(&bind.into())?;
        let udp = UdpSocket::from_std(udp.into());
        match TcpListener::bind(udp.local_addr()?) {
            Ok(listener) => return Ok((udp, listener)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}
