//! How a connection learns who its client is, where a proxy says so: the PROXY header before everything else, and XCLIENT.

use super::client::Address;
use super::connection::Connection;
use super::door::Trust;
use super::proxy::{self, Header, NoHeader};
use crate::now::Now;
use crate::shell::stream::Stream;
use smtp::server::Introduction;
use smtp::{EnhancedCode, Reply, Server};
use std::io::{self, Read};

const NO_HEADER: Reply = Reply::fixed(
    421,
    EnhancedCode(4, 3, 5),
    "A PROXY header must come first from your address; see `proxy_protocol` of this listener",
);
/// The machine says its greeting in its place.
const INTRODUCED: Reply = Reply::fixed(250, EnhancedCode(2, 0, 0), "Ok");

impl Connection {
    /// Nothing is said before a PROXY header has come.
    pub(super) fn expect_header(&mut self, now: Now) {
        self.header_until = Some(now.mono + proxy::TIMEOUT);
    }

    /// Whether the header is there, and what follows it can be read.
    pub(super) fn read_header(&mut self, now: Now) -> bool {
        match take_header(&mut self.transport.stream) {
            Ok(Ok(header)) => {
                self.begin(header.client.map_or(self.client.address, Address::Ip), now);
                return true;
            }
            Ok(Err(NoHeader)) => self.miss_header(now),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && self.ended => self.miss_header(now),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return self.read_header(now),
            Err(_) => self.abandon(),
        }
        false
    }

    /// It did not come in time, or something else came. Where TLS is what comes next, there is nothing to be said.
    pub(super) fn miss_header(&mut self, now: Now) {
        self.header_until = None;
        self.guest.metrics().rejected("proxy_header");
        tracing::warn!(proxy = %self.client, "no PROXY header came");
        if self.transport.is_shaking_hands() {
            self.abandon();
        } else {
            self.server = Server::refuse(self.guest.server_config(self.client.address), NO_HEADER, now.mono);
        }
    }

    /// The conversation begins, with this client.
    fn begin(&mut self, address: Address, now: Now) {
        self.header_until = None;
        self.expect_handshake(now);
        self.client.address = address;
        self.trust = self.guest.trust(address);
        self.server = match self.guest.take_place(address) {
            Ok(()) => self.guest.receive(address, now),
            Err((reason, reply)) => {
                self.guest.metrics().rejected(reason);
                Server::refuse(self.guest.server_config(address), reply, now.mono)
            }
        };
    }

    pub(super) fn handle_xclient(&mut self, said: &Introduction) {
        self.client.take(said);
        self.extended = said.extended.unwrap_or(false);
        let address = self.client.address;
        let reply = match self.guest.take_place(address) {
            Ok(()) => {
                self.trust = self.guest.trust(address);
                self.server.require_auth(self.trust == Trust::AfterAuth);
                INTRODUCED
            }
            Err((reason, reply)) => {
                self.guest.metrics().rejected(reason);
                reply
            }
        };
        self.server.answer(reply);
    }
}

/// Looks at what has arrived, and takes the header off it once it is whole. What is behind it stays in the socket, for
/// TLS or for the machine. `WouldBlock`: it is not whole yet.
fn take_header(stream: &mut Stream) -> io::Result<Result<Header, NoHeader>> {
    let mut arrived = [0; proxy::MAX_BYTES];
    let seen = stream.peek(&mut arrived)?;
    if seen == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let parsed = Header::parse(&arrived[..seen]);
    let octets = match parsed {
        Ok(None) => return Err(io::ErrorKind::WouldBlock.into()),
        Ok(Some(header)) => header.octets,
        // Unread, it would make the close a reset, which can overtake the reply.
        Err(NoHeader) => seen,
    };
    stream.read_exact(&mut arrived[..octets])?;
    Ok(parsed.and_then(|header| header.ok_or(NoHeader)))
}
