//! Recipient domains: where their mail goes, and when the queue on disk has some.

use queue::{Domain, Flow};
use smallvec::SmallVec;
use smtp::Reply;
use std::collections::HashMap;
use std::time::Instant;

use super::message::HeldId;
use crate::verdict::Fate;

pub(super) type DomainId = u32;

/// One flow of a domain; most have one. Hundreds of thousands may be known at a time: kept small.
pub(super) struct DomainState {
    pub(super) name: Domain,
    pub(super) flow: Flow,
    /// Unix ms of the earliest entry that may be on disk and is not in memory; `u64::MAX`: none.
    pub(super) next_due_ms: u64,
    /// Due times that were noted while a fetch was under way, which may not have seen them.
    pub(super) noted_ms: u64,
    pub(super) route: Route,
    /// Entries that wait for the route.
    pub(super) waiting: Vec<HeldId>,
    /// Entries that became durable, or went back to disk, while a fetch was under way, which may still bring them as they were: held
    /// until it is back.
    pub(super) lingering: Vec<HeldId>,
    /// Entries of this domain in memory.
    pub(super) held: u32,
    /// A fetch is under way, for so many new entries.
    pub(super) fetching: u32,
    /// The site that counts on that fetch.
    pub(super) fetch_for: Option<u32>,
    /// It stands in a list of domains to fetch.
    pub(super) listed: bool,
    pub(super) armed: Option<Instant>,
}

/// Where a domain's mail goes.
pub(super) enum Route {
    Unknown,
    /// The question is queued or under way.
    Asking,
    To {
        site: u32,
        until: Instant,
    },
    Failed(Box<RouteFailure>),
}

/// Why it goes nowhere.
pub(super) struct RouteFailure {
    pub(super) until: Instant,
    pub(super) fate: Fate,
    pub(super) reply: Reply,
}

impl DomainState {
    pub(super) fn new(name: Domain, flow: Flow) -> DomainState {
        DomainState {
            name,
            flow,
            next_due_ms: u64::MAX,
            noted_ms: u64::MAX,
            route: Route::Unknown,
            waiting: Vec::new(),
            lingering: Vec::new(),
            held: 0,
            fetching: 0,
            fetch_for: None,
            listed: false,
            armed: None,
        }
    }
    /// Something is due on disk that is not in memory.
    pub(super) fn is_spilled(&self, now_ms: u64) -> bool {
        self.next_due_ms <= now_ms
    }
    pub(super) fn is_fetching(&self) -> bool {
        self.fetching > 0
    }
    pub(super) fn site(&self) -> Option<u32> {
        match self.route {
            Route::To { site, .. } => Some(site),
            _ => None,
        }
    }
    /// Nothing but the route would be forgotten with it.
    pub(super) fn is_vacant(&self) -> bool {
        self.held == 0 && self.next_due_ms == u64::MAX && !self.is_fetching() && !matches!(self.route, Route::Asking)
    }
    /// Until when the route holds.
    pub(super) fn route_until(&self) -> Option<Instant> {
        match &self.route {
            Route::To { until, .. } => Some(*until),
            Route::Failed(failure) => Some(failure.until),
            Route::Unknown | Route::Asking => None,
        }
    }
}

/// All domains that are known.
#[derive(Default)]
pub(super) struct Domains {
    pub(super) slab: slab::Slab<DomainState>,
    by_name: HashMap<Domain, SmallVec<[(Flow, DomainId); 1]>>,
}

impl Domains {
    pub(super) fn find(&self, name: &str, flow: Flow) -> Option<DomainId> {
        let flows = self.by_name.get(name)?;
        flows.iter().find(|(other, _)| *other == flow).map(|(_, id)| *id)
    }
    /// All flows of a domain.
    pub(super) fn flows(&self, name: &str) -> SmallVec<[DomainId; 1]> {
        self.by_name.get(name).into_iter().flatten().map(|(_, id)| *id).collect()
    }
    pub(super) fn get_or_insert(&mut self, name: &Domain, flow: Flow) -> DomainId {
        if let Some(id) = self.find(name.as_str(), flow) {
            return id;
        }
        let id = self.slab.insert(DomainState::new(name.clone(), flow)) as DomainId;
        self.by_name.entry(name.clone()).or_default().push((flow, id));
        id
    }
    pub(super) fn remove(&mut self, id: DomainId) {
        let state = self.slab.remove(id as usize);
        if let Some(flows) = self.by_name.get_mut(&state.name) {
            flows.retain(|(_, other)| *other != id);
            if flows.is_empty() {
                self.by_name.remove(&state.name);
            }
        }
    }
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }
}

impl std::ops::Index<DomainId> for Domains {
    type Output = DomainState;
    fn index(&self, id: DomainId) -> &DomainState {
        &self.slab[id as usize]
    }
}

impl std::ops::IndexMut<DomainId> for Domains {
    fn index_mut(&mut self, id: DomainId) -> &mut DomainState {
        &mut self.slab[id as usize]
    }
}
