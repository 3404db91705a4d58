//! Where the mind's orders for connections go: the delivery room of its own loop, or another loop's, by letter.

use super::event_loop::delivery_token;
use super::inbox::Address;
use super::letter::Letter;
use super::turned::Turned;
use crate::delivery::Delivery;
use crate::dispatch::{ConnectionId, Deliver, Open};
use crate::now::Now;
use mio::Registry;

/// All rooms, as the mind's loop reaches them.
pub(crate) struct Hands<'a> {
    pub index: usize,
    pub delivery: &'a mut Delivery,
    pub registry: &'a Registry,
    pub loops: &'a [Address<Letter>],
}

impl Hands<'_> {
    /// Connections are spread over the loops by their number.
    fn home(&self, connection: ConnectionId) -> usize {
        (connection.0 % self.loops.len() as u64) as usize
    }

    /// `turned`: the connection is there.
    pub(crate) fn open(&mut self, open: Box<Open>, turned: Option<Box<Turned>>, now: Now) {
        match self.home(open.connection) {
            home if home == self.index => self.delivery.open(open, turned, now, self.registry, delivery_token),
            home => self.loops[home].send(Letter::Open(open, turned)),
        }
    }

    pub(crate) fn deliver(&mut self, deliver: Deliver, now: Now) {
        match self.home(deliver.connection) {
            home if home == self.index => self.delivery.deliver(&deliver, now),
            home => self.loops[home].send(Letter::Deliver(deliver)),
        }
    }

    pub(crate) fn close(&mut self, connection: ConnectionId, now: Now) {
        match self.home(connection) {
            home if home == self.index => self.delivery.close(connection, now),
            home => self.loops[home].send(Letter::Close(connection)),
        }
    }
}
