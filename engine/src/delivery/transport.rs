//! Octets between one peer and its machine: a stream, and TLS above it once that has begun.

use crate::shell::stream::{READS_PER_TICK, Stream};
use crate::tls::Session;
use mio::event::Source as _;
use mio::{Interest, Registry, Token};
use smtp::Client;
use std::io::{self, IoSlice, Read, Write};
use std::time::Instant;

/// Buffers of one vectored write.
const SLICES: usize = 64;

pub(super) struct Transport {
    pub stream: Stream,
    tls: Option<Box<Session>>,
}

impl Transport {
    /// Over a stream that is watched from now on. `tls`: it has begun already.
    pub(super) fn new(
        mut stream: Stream,
        tls: Option<Box<Session>>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Transport> {
        stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Transport { stream, tls })
    }

    pub(super) fn begin_tls(&mut self, session: rustls::ClientConnection) {
        self.tls = Some(Session::new(session));
    }

    pub(super) fn tls(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Tells the machine what came, until the socket is empty, or `to_end` of the stream, which is `UnexpectedEof`; at most
    /// one tick's share. Says whether there may be more, of which no event will tell. When the handshake has ended, `secured`
    /// is called.
    pub(super) fn read(
        &mut self,
        client: &mut Client,
        to_end: bool,
        buffer: &mut [u8],
        now: Instant,
        secured: impl Fn(&Session, &mut Client),
    ) -> io::Result<bool> {
        let read = match &mut self.tls {
            None => read_clear(&mut self.stream, client, to_end, buffer, now),
            Some(tls) => read_tls(tls, &mut self.stream, client, buffer, now, secured),
        };
        match read {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            read => read,
        }
    }

    /// Writes what the machine has to say, until the socket takes no more.
    pub(super) fn flush(&mut self, client: &mut Client, now: Instant) -> io::Result<()> {
        match &mut self.tls {
            None => flush_clear(&mut self.stream, client, now),
            Some(tls) => flush_tls(tls, &mut self.stream, client, now),
        }
    }

    /// Says that nothing more comes, in TLS too if the socket takes it.
    pub(super) fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.end(&mut self.stream);
        }
        self.stream.shut_down();
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        let _ = self.stream.deregister(registry);
    }
}

fn read_clear(
    stream: &mut Stream,
    client: &mut Client,
    to_end: bool,
    buffer: &mut [u8],
    now: Instant,
) -> io::Result<bool> {
    for _ in 0..READS_PER_TICK {
        if client.is_closed() {
            return Ok(false);
        }
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                client.handle_bytes(&buffer[..n], now);
                if n < buffer.len() && !to_end {
                    return Ok(false); // A short read has emptied the socket; see `Readiness`.
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn read_tls(
    tls: &mut Session,
    stream: &mut Stream,
    client: &mut Client,
    buffer: &mut [u8],
    now: Instant,
    secured: impl Fn(&Session, &mut Client),
) -> io::Result<bool> {
    // It may hold what came before the connection was ours.
    decipher(tls, client, buffer, now)?;
    for _ in 0..READS_PER_TICK {
        if client.is_closed() {
            return Ok(false);
        }
        let received = tls.receive(stream);
        if let Ok(true) = received {
            secured(tls, client);
        }
        // Also when that failed: what came before the octets that are wrong was said all the same.
        decipher(tls, client, buffer, now)?;
        received?;
    }
    Ok(true)
}

/// Tells the machine the clear text that there is.
fn decipher(tls: &mut Session, client: &mut Client, buffer: &mut [u8], now: Instant) -> io::Result<()> {
    while !tls.is_shaking_hands() {
        match tls.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => client.handle_bytes(&buffer[..n], now),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn flush_clear(stream: &mut Stream, client: &mut Client, now: Instant) -> io::Result<()> {
    loop {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = client.transmit(&mut slices);
        if filled == 0 {
            return Ok(());
        }
        match stream.write_vectored(&slices[..filled]) {
            Ok(n) => client.advance(n, now),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn flush_tls(tls: &mut Session, stream: &mut Stream, client: &mut Client, now: Instant) -> io::Result<()> {
    loop {
        tls.send(stream)?;
        if tls.is_shaking_hands() {
            return Ok(());
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = client.transmit(&mut slices);
        if filled == 0 {
            return Ok(());
        }
        let taken = tls.write(&slices[..filled])?;
        client.advance(taken, now);
    }
}
