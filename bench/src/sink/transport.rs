//! Octets in and out of one accepted connection, in clear or through rustls.

use crate::socket::Socket;
use crate::tls;
use bytes::{Buf, Bytes, BytesMut};
use mio::{Registry, Token};
use rustls::{HandshakeKind, ServerConnection};
use smtp::server::TlsInfo;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// A read is offered at least this much room, so that a shorter one proves that the socket is drained.
const READ_BYTES: usize = 32 << 10;
const BLOCK_BYTES: usize = 256 << 10;

/// Where a thread's reads land: zeroed once per block, then handed out piece by piece without copying.
#[derive(Debug, Default)]
pub(super) struct ReadBuffer(BytesMut);

impl ReadBuffer {
    fn space(&mut self) -> &mut [u8] {
        if self.0.len() < READ_BYTES {
            self.0.clear();
            // The same block again, warm in the cache, once nobody holds a piece of it any more.
            if !self.0.try_reclaim(BLOCK_BYTES) {
                self.0 = BytesMut::with_capacity(BLOCK_BYTES);
            }
            self.0.resize(BLOCK_BYTES, 0);
        }
        &mut self.0
    }

    fn take(&mut self, len: usize) -> Bytes {
        self.0.split_to(len).freeze()
    }
}

/// What a read gave.
pub(super) enum Got {
    /// These octets; nothing more is waiting if the flag is false.
    Bytes(Bytes, bool),
    /// Nothing now.
    Nothing,
    /// The client closed its side.
    End,
}

/// A socket, and TLS above it once that has begun.
pub(super) struct Transport {
    socket: Socket,
    token: Token,
    tls: Option<Box<ServerConnection>>,
    /// The kernel was asked to say when there is room to write.
    blocked: bool,
}

impl Transport {
    pub(super) fn new(socket: Socket, token: Token) -> Transport {
        Transport { socket, token, tls: None, blocked: false }
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.register(registry, self.token)?;
        self.socket.ask_writable(registry, self.token, false)
    }

    pub(super) fn begin_tls(&mut self, config: Arc<rustls::ServerConfig>) -> io::Result<()> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        tls.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    pub(super) fn handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// What was agreed on, once the handshake is done.
    pub(super) fn tls_info(&self) -> Option<TlsInfo> {
        tls::info(self.tls.as_ref()?)
    }

    /// The handshake went on with an earlier session.
    pub(super) fn tls_resumed(&self) -> bool {
        self.tls.as_ref().and_then(|tls| tls.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    pub(super) fn read(&mut self, buffer: &mut ReadBuffer) -> io::Result<Got> {
        let Some(tls) = &mut self.tls else {
            let space = buffer.space();
            let room = space.len();
            return match retry(|| self.socket.read(space)) {
                Ok(0) => Ok(Got::End),
                Ok(len) => Ok(Got::Bytes(buffer.take(len), len == room)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Got::Nothing),
                Err(e) => Err(e),
            };
        };
        loop {
            match tls.reader().read(buffer.space()) {
                Ok(0) => return Ok(Got::End),
                Ok(len) => return Ok(Got::Bytes(buffer.take(len), true)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            match retry(|| tls.read_tls(&mut self.socket)) {
                Ok(0) => return Ok(Got::End),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Got::Nothing),
                Err(e) => return Err(e),
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert that says why; the connection ends either way.
                let _ = tls.write_tls(&mut self.socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Writes as much as there is room for, taking it off the front of `out`.
    pub(super) fn write(&mut self, out: &mut BytesMut, registry: &Registry) -> io::Result<()> {
        let done = match &mut self.tls {
            None => write_plain(&mut self.socket, out)?,
            Some(tls) => {
                if !out.is_empty() && !tls.is_handshaking() {
                    tls.writer().write_all(out)?;
                    out.clear();
                }
                write_tls(&mut self.socket, tls)?
            }
        };
        if done == self.blocked {
            self.blocked = !done;
            self.socket.ask_writable(registry, self.token, self.blocked)?;
        }
        Ok(())
    }

    /// Everything that was written has left.
    pub(super) fn flushed(&self) -> bool {
        !self.blocked
    }

    /// Says good-bye in TLS and sends FIN.
    pub(super) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // If there is no room for it, the FIN has to do.
            let _ = write_tls(&mut self.socket, tls);
        }
        self.socket.shutdown_write();
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }
}

/// True when all of it went.
fn write_plain(socket: &mut Socket, out: &mut BytesMut) -> io::Result<bool> {
    while !out.is_empty() {
        match retry(|| socket.write(out)) {
            Ok(len) => out.advance(len),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn write_tls(socket: &mut Socket, tls: &mut ServerConnection) -> io::Result<bool> {
    while tls.wants_write() {
        match retry(|| tls.write_tls(socket)) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Again, when a signal came between.
fn retry(mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match operation() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
