//! A TLS session above a stream, as either side.

use crate::shell::stream::Stream;
use rustls::Connection;
use rustls::pki_types::CertificateDer;
use smtp::server::TlsInfo;
use std::io::{self, IoSlice, Read, Write};

/// Clear text that a session may hold before the socket takes it.
const BUFFER: usize = 64 * 1024;

/// Clear text on the one side, records on a stream on the other. Non-blocking: `WouldBlock` comes as an error.
#[derive(Debug)]
pub(crate) struct Session {
    tls: Connection,
    /// The handshake is not finished: no clear text moves.
    shaking_hands: bool,
}

impl Session {
    pub(crate) fn new(tls: impl Into<Connection>) -> Box<Session> {
        let mut tls = tls.into();
        tls.set_buffer_limit(Some(BUFFER));
        Box::new(Session { tls, shaking_hands: true })
    }

    pub(crate) fn is_shaking_hands(&self) -> bool {
        self.shaking_hands
    }

    /// One read off the stream. `true`, once: the handshake has ended. The end of the stream is `UnexpectedEof`.
    pub(crate) fn receive(&mut self, stream: &mut Stream) -> io::Result<bool> {
        loop {
            match self.tls.read_tls(stream) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if let Err(error) = self.tls.process_new_packets() {
            // The alert that says why; the peer may not care to hear it.
            let _ = self.tls.write_tls(stream);
            return Err(io::Error::other(error));
        }
        let ended = self.shaking_hands && !self.tls.is_handshaking();
        self.shaking_hands &= !ended;
        Ok(ended)
    }

    /// Clear text out of what was received. 0: the peer has said that nothing more comes.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tls.reader().read(buffer)
    }

    /// Takes clear text, as much as there is room for.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.tls.writer().write_vectored(slices)
    }

    /// Writes the records that are ready.
    pub(crate) fn send(&mut self, stream: &mut Stream) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(stream) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => result.map(drop)?,
            }
        }
        Ok(())
    }

    /// Says that nothing more comes, if the socket takes it.
    pub(crate) fn end(&mut self, stream: &mut Stream) {
        self.tls.send_close_notify();
        let _ = self.send(stream);
    }

    /// It began with an earlier connection.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// What the peer has shown, its own first; also where the session is resumed.
    pub(crate) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.peer_certificates().unwrap_or_default()
    }

    /// What was agreed on.
    pub(crate) fn info(&self) -> TlsInfo {
        let version = match self.tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let cipher = self.tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        // rustls sets its names for TLS 1.3 apart from the registry's.
        TlsInfo { version, cipher: cipher.replace("TLS13_", "TLS_") }
    }
}
