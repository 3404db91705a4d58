//! ATRN (RFC 2645): a customer comes for its mail. Whether it may is looked up; then the connection goes over to delivery.

use super::client::Address;
use super::connection::Connection;
use super::{Asker, Room};
use crate::shell::turned::{Call, Turned};
use mio::Registry;
use mio::event::Source as _;

impl Connection {
    pub(super) fn ask_to_turn(&mut self, key: usize, domains: Vec<Box<str>>, room: &mut Room<'_>) {
        self.guest.metrics().atrn();
        let user = self.server.user().unwrap_or_default().into();
        let call = Call { user, domains };
        self.call = Some(call.clone());
        room.outbox.calls.push((Asker { connection: key, generation: self.generation }, call));
    }

    /// Nothing is left to be said as a server.
    pub(super) fn is_turned(&mut self) -> bool {
        self.turned && self.server.poll_transmit().is_empty()
    }

    /// The connection, for delivery. Its place at the listener becomes free.
    pub(super) fn into_turned(mut self, registry: &Registry) -> Option<Turned> {
        let _ = self.transport.stream.deregister(registry);
        let address = match self.client.address {
            Address::Ip(ip) => Some(ip),
            Address::Local | Address::Unknown => None,
        };
        let (stream, tls) = self.transport.into_parts();
        self.call.map(|call| Turned { call, stream, tls, address })
    }
}
