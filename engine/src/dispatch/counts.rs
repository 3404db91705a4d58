//! What gauges show.

use super::connection::{Connection, Phase};
use super::{ConnectionId, Dispatch};
use std::sync::Arc;

/// Counts for gauges, kept as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Recipients waiting for their turn in memory. More may be due on disk.
    pub ready: u64,
    /// Recipients in transactions.
    pub active: u64,
    /// Of all sites.
    pub connections: OpenConnections,
}

/// Open connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenConnections {
    /// Being set up.
    pub connecting: u64,
    /// Without a transaction.
    pub idle: u64,
    /// With one.
    pub busy: u64,
}

impl OpenConnections {
    /// In whatever state.
    pub fn total(self) -> u64 {
        self.connecting + self.idle + self.busy
    }

    /// Where this one counts.
    pub(super) fn gauge(&mut self, connection: &Connection) -> &mut u64 {
        match connection.phase {
            Phase::Connecting | Phase::Abandoned => &mut self.connecting,
            Phase::Ready | Phase::Closing if connection.transactions.is_empty() => &mut self.idle,
            Phase::Ready | Phase::Closing => &mut self.busy,
        }
    }
}

impl Dispatch {
    /// For gauges.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Open connections of every site that has any.
    pub fn open_by_site(&self) -> impl Iterator<Item = (&str, OpenConnections)> {
        let sites = self.sites.iter().filter(|(_, site)| !site.connections.is_empty());
        sites.map(|(_, site)| (&*site.name, self.open_of(&site.connections)))
    }

    /// Of these slots.
    pub(super) fn open_of(&self, slots: &[u32]) -> OpenConnections {
        let mut open = OpenConnections::default();
        slots.iter().for_each(|slot| *open.gauge(&self.connections[*slot as usize]) += 1);
        open
    }

    /// The site of an open connection.
    pub fn site_of(&self, connection: ConnectionId) -> Option<&Arc<str>> {
        self.slot(connection).map(|slot| &self.sites[self.connections[slot].site as usize].name)
    }

    /// Domains and sites that are known, for tests of memory.
    pub fn known(&self) -> (usize, usize) {
        (self.domains.len(), self.sites.len())
    }
}
