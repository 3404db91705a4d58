//! What there is of each connection: both ends, and what is on its way between them.

use crate::clock::Micros;
use crate::exchanger::ServerEnd;
use engine::dispatch::{ConnectionId, Open};
use smtp::client::Client;
use std::collections::HashMap;

pub type LinkId = u32;

/// One direction.
#[derive(Default)]
pub struct Pipe {
    /// Octets that were written and have not arrived.
    pub in_flight: usize,
    /// When the last of them arrives.
    pub last: Micros,
}

pub enum ClientEnd {
    Connecting,
    Up(Box<Client>),
    Gone,
}

pub struct Link {
    pub id: LinkId,
    /// Of the engine that opened it.
    pub life: u32,
    pub connection: ConnectionId,
    pub host: usize,
    pub open: Box<Open>,
    pub client: ClientEnd,
    pub client_armed: Option<Micros>,
    pub server: Option<Box<ServerEnd>>,
    pub up: Pipe,
    pub down: Pipe,
    pub latency: Micros,
    /// Octets per piece, and in flight, at most.
    pub piece: usize,
    pub window: usize,
    /// Nothing arrives any more, and nobody is told.
    pub black_hole: bool,
    pub orders_until: Micros,
    pub reports_until: Micros,
}

/// All connections, by a number that is never used twice.
#[derive(Default)]
pub struct Links {
    pub list: Vec<Option<Box<Link>>>,
    pub by_connection: HashMap<(u32, ConnectionId), LinkId>,
    pub open: usize,
}

impl Links {
    pub fn open(&self) -> usize {
        self.open
    }
    pub fn add(&mut self, link: impl FnOnce(LinkId) -> Link) -> LinkId {
        let id = self.list.len() as LinkId;
        let link = link(id);
        self.by_connection.insert((link.life, link.connection), id);
        self.list.push(Some(Box::new(link)));
        self.open += 1;
        id
    }
}
