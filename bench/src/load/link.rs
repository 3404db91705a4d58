//! What a connection of the generator runs over: a socket, and TLS above it once that has begun.

use crate::socket::Socket;
use crate::tls;
use rustls::{ClientConfig, ClientConnection};
use smtp::Client;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;
use std::time::Instant;

/// Buffers in one `writev`.
const SLICES: usize = 32;

pub(super) struct Link {
    pub socket: Socket,
    tls: Option<Box<Tls>>,
}

struct Tls {
    session: ClientConnection,
    shaking_hands: bool,
}

impl Link {
    pub(super) fn new(socket: Socket) -> Link {
        Link { socket, tls: None }
    }

    pub(super) fn begin_tls(&mut self, config: Arc<ClientConfig>) -> io::Result<()> {
        let session = ClientConnection::new(config, tls::nameless()).map_err(io::Error::other)?;
        self.tls = Some(Box::new(Tls { session, shaking_hands: true }));
        Ok(())
    }

    /// Reads until the socket is drained and tells the machine. False: the server has closed its side.
    pub(super) fn read(
        &mut self,
        client: &mut Client,
        buffer: &mut [u8],
        closed: bool,
        now: Instant,
    ) -> io::Result<bool> {
        let result = match &mut self.tls {
            None => read_clear(&mut self.socket, client, buffer, closed, now),
            Some(tls) => tls.read(&mut self.socket, client, buffer, now),
        };
        match result {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// False when there was no room for all.
    pub(super) fn write(&mut self, client: &mut Client, now: Instant) -> io::Result<bool> {
        let result = match &mut self.tls {
            None => write_clear(&mut self.socket, client, now),
            Some(tls) => tls.write(&mut self.socket, client, now),
        };
        match result {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            result => result.map(|()| true),
        }
    }
}

/// The end of the stream is `UnexpectedEof`.
fn read_clear(
    socket: &mut Socket,
    client: &mut Client,
    buffer: &mut [u8],
    closed: bool,
    now: Instant,
) -> io::Result<()> {
    loop {
        match socket.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                client.handle_bytes(&buffer[..len], now);
                if len < buffer.len() && !closed {
                    return Ok(());
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn write_clear(socket: &mut Socket, client: &mut Client, now: Instant) -> io::Result<()> {
    loop {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = client.transmit(&mut slices);
        if count == 0 {
            return Ok(());
        }
        match socket.write_vectored(&slices[..count]) {
            Ok(len) => client.advance(len, now),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

impl Tls {
    fn read(&mut self, socket: &mut Socket, client: &mut Client, buffer: &mut [u8], now: Instant) -> io::Result<()> {
        loop {
            match self.session.read_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            self.session.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if self.shaking_hands && !self.session.is_handshaking() {
                self.shaking_hands = false;
                if let Some(info) = tls::info(&self.session) {
                    // No certificate is looked at: whoever names the server answers for it.
                    client.trust();
                    client.handle_tls(info, now);
                }
            }
            loop {
                match self.session.reader().read(buffer) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(len) => client.handle_bytes(&buffer[..len], now),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                }
            }
        }
    }

    fn write(&mut self, socket: &mut Socket, client: &mut Client, now: Instant) -> io::Result<()> {
        loop {
            while self.session.wants_write() {
                match self.session.write_tls(socket) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    result => result.map(drop)?,
                }
            }
            if self.shaking_hands {
                return Ok(());
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = client.transmit(&mut slices);
            if count == 0 {
                return Ok(());
            }
            let len = self.session.writer().write_vectored(&slices[..count])?;
            client.advance(len, now);
        }
    }
}
