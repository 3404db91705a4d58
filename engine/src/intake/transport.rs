//! Octets of one injector: a stream, and TLS above it once that has begun.

use crate::shell::arena::{Arena, Piece};
use crate::shell::stream::Stream;
use crate::tls::Session;
use bytes::{Buf, BytesMut};
use rustls::{ServerConfig, ServerConnection};
use smtp::server::TlsInfo;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

pub(super) struct Transport {
    pub stream: Stream,
    layer: Layer,
    /// The handshake ended, and nobody has asked so far.
    established: bool,
}

enum Layer {
    Clear,
    /// The reply to STARTTLS has still to leave. Nothing is read until then: what came behind the command is for TLS.
    Upgrading(Box<Session>),
    Tls(Box<Session>),
}

impl Transport {
    pub(super) fn new(stream: Stream) -> Transport {
        Transport { stream, layer: Layer::Clear, established: false }
    }

    /// TLS from the first octet (RFC 8314 §3.3).
    pub(super) fn begin_with_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        self.layer = Layer::Tls(Session::new(session));
        Ok(())
    }

    /// TLS behind what is waiting to be written, the reply to STARTTLS.
    pub(super) fn go_on_with_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        self.layer = Layer::Upgrading(Session::new(session));
        Ok(())
    }

    /// TLS has begun, and no clear text can move yet.
    pub(super) fn is_shaking_hands(&self) -> bool {
        match &self.layer {
            Layer::Clear => false,
            Layer::Upgrading(_) => true,
            Layer::Tls(session) => session.is_shaking_hands(),
        }
    }

    /// What was agreed on, once, after the read that ended the handshake.
    pub(super) fn take_established(&mut self) -> Option<TlsInfo> {
        match &self.layer {
            Layer::Tls(session) if std::mem::take(&mut self.established) => Some(session.info()),
            _ => None,
        }
    }

    /// One read, as [`Arena::read`]. Above TLS no read is known to be the last: read until `WouldBlock`.
    pub(super) fn read(&mut self, arena: &mut Arena) -> io::Result<Piece> {
        match &mut self.layer {
            Layer::Clear => arena.read(&mut self.stream),
            Layer::Upgrading(_) => Err(io::ErrorKind::WouldBlock.into()),
            Layer::Tls(session) => {
                let mut text = Deciphered { session, stream: &mut self.stream, established: &mut self.established };
                Ok(Piece { full: true, ..arena.read(&mut text)? })
            }
        }
    }

    /// Writes `out` as far as there is room, taking it off the front. True: all has left.
    pub(super) fn write(&mut self, out: &mut BytesMut) -> io::Result<bool> {
        let written = match &mut self.layer {
            Layer::Clear => write_clear(&mut self.stream, out),
            Layer::Upgrading(_) => self.upgrade(out),
            Layer::Tls(session) => write_tls(session, &mut self.stream, out),
        };
        match written {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            result => result,
        }
    }

    fn upgrade(&mut self, out: &mut BytesMut) -> io::Result<bool> {
        write_clear(&mut self.stream, out)?;
        if let Layer::Upgrading(session) = std::mem::replace(&mut self.layer, Layer::Clear) {
            self.layer = Layer::Tls(session);
        }
        Ok(false)
    }

    /// Stream and TLS, for whoever goes on with them.
    pub(super) fn into_parts(self) -> (Stream, Option<Box<Session>>) {
        let session = match self.layer {
            Layer::Clear => None,
            Layer::Upgrading(session) | Layer::Tls(session) => Some(session),
        };
        (self.stream, session)
    }

    /// Says in TLS that nothing more comes.
    pub(super) fn end(&mut self) {
        if let Layer::Tls(session) = &mut self.layer {
            session.end(&mut self.stream);
        }
    }
}

/// Clear text out of TLS, as a reader.
struct Deciphered<'a> {
    session: &'a mut Session,
    stream: &'a mut Stream,
    established: &'a mut bool,
}

impl Read for Deciphered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // The end without a word: whoever cut it off gained nothing, as content ends only where it says so.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            match self.session.receive(self.stream) {
                Ok(true) => *self.established = true,
                Ok(false) => {}
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof && !self.session.is_shaking_hands() => return Ok(0),
                Err(e) => return Err(e),
            }
        }
    }
}

fn write_clear(stream: &mut Stream, out: &mut BytesMut) -> io::Result<bool> {
    while !out.is_empty() {
        match stream.write(out) {
            Ok(n) => out.advance(n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn write_tls(session: &mut Session, stream: &mut Stream, out: &mut BytesMut) -> io::Result<bool> {
    loop {
        session.send(stream)?;
        if session.is_shaking_hands() {
            return Ok(false);
        }
        if out.is_empty() {
            return Ok(true);
        }
        let taken = session.write(&[IoSlice::new(out)])?;
        out.advance(taken);
    }
}
