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
    /// It was said that nothing more comes: whatever the peer says from then on is not listened to, as it may want an
    /// answer (an alert, in the midst of a handshake) and there can be none.
    ended: bool,
}

impl Session {
    pub(crate) fn new(tls: impl Into<Connection>) -> Box<Session> {
        let mut tls = tls.into();
        tls.set_buffer_limit(Some(BUFFER));
        Box::new(Session { tls, shaking_hands: true, ended: false })
    }

    pub(crate) fn is_shaking_hands(&self) -> bool {
        self.shaking_hands
    }

    /// One read off the stream. `true`, once: the handshake has ended. The end of the stream is `UnexpectedEof`.
    pub(crate) fn receive(&mut self, stream: &mut Stream) -> io::Result<bool> {
        if self.ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
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
        self.ended = true;
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

#[cfg(test)]
mod tests {
    use super::*;
    use mio::net::UnixStream;
    use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
    use std::sync::Arc;

    fn made() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(["mx.test".to_owned()]).unwrap()
    }

    #[test]
    fn a_certificate_that_comes_when_the_end_was_said_is_not_looked_at() {
        let (theirs, other) = (made(), made());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(other.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("mx.test").unwrap();
        let mut client = Session::new(ClientConnection::new(Arc::new(client), name).unwrap());
        let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivatePkcs8KeyDer::from(theirs.signing_key.serialize_der());
        let server =
            server.unwrap().with_no_client_auth().with_single_cert(vec![theirs.cert.der().clone()], key.into());
        let mut server = Session::new(ServerConnection::new(Arc::new(server.unwrap())).unwrap());

        let (here, there) = UnixStream::pair().unwrap();
        let (mut here, mut there) = (Stream::Unix(here), Stream::Unix(there));
        client.send(&mut here).unwrap();
        server.receive(&mut there).unwrap();
        server.send(&mut there).unwrap();
        client.end(&mut here);
        assert_eq!(client.receive(&mut here).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
