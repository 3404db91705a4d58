//! The mind: decides what is tried when, where and over which connection. A pure state machine.
//!
//! ```text
//! handle(now, input) / handle_timeout(now), then loop { poll_action } until None, then arm poll_timeout.
//! ```
//!
//! **The way of an entry.** It comes in committed or fetched and is *held* (`message`). Its domain has a route (`domain`,
//! `route`) to a *site* (`site`), where it joins or becomes a ready *delivery*. When the site has its turn (`turn`),
//! deliveries are handed to connections with credit, connections are opened (`open`), contents read ahead and further
//! entries fetched (`fetch`). Reports are judged (`outcome`, [`crate::verdict`]) and settled (`settle`).
//!
//! **Nothing is forgotten.** What has no room in memory stays in the queue; its domain then has `next_due_ms` in the past
//! (it is *spilled*) and stands in the list of a site, in the list of questions, or has a fetch under way; or has it in
//! the future, with a timer. Due times that become known while a fetch is under way are noted apart, since the fetch may
//! not have seen them.
//!
//! **Nothing is tried twice.** A key is held until its settle is durable, and beyond that while a fetch of its domain is
//! under way.
//!
//! **Nobody waits behind another's mail.** All that is kept of a domain is kept once for each flow in it (tenant, campaign,
//! priority): it is read from disk by itself (`spilled`), may always have a little in memory, and takes turns (`ready`).
//!
//! **Work is bounded.** Each input touches what it names; a site is looked at when something happened to it; there is no
//! walk over all sites or domains but at a reload.
//!
//! Not here: sockets, clocks, threads, disks; the words of notices ([`crate::notice`]).

pub mod action;
mod bounds;
mod capacity;
mod connection;
mod counts;
mod discard;
mod domain;
mod end;
mod entries;
mod expiry;
pub mod explain;
mod fetch;
mod host;
pub mod input;
mod manner;
mod message;
mod on_demand;
mod open;
mod operate;
mod outcome;
mod own_fault;
mod ready;
mod refusals;
mod reload;
mod route;
mod settle;
mod site;
mod spilled;
mod strict;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test starts at some instant")]
mod tests;
mod tidings;
mod timer;
mod turn;

#[cfg(test)]
pub(crate) use tests::test_config;

pub use action::{Action, Deliver, Happened, Kind, Open, Peer};
pub use counts::{Counts, OpenConnections};
pub use expiry::is_time_over;
pub use explain::SiteView;
pub use input::{Input, Offer, Operation, TlsState};
pub use manner::Manner;
pub use operate::is_held_by_sender;
pub use own_fault::OwnFault;

use crate::config::Config;
use crate::now::Now;
use crate::retry;
use connection::{Connection, Transaction};
use domain::{DomainId, Domains};
use message::Messages;
use operate::Looks;
use own_fault::OwnFaults;
use queue::MessageId;
use settle::Settles;
use site::{Site, SiteId, SiteKey};
use slab::Slab;
use smallvec::SmallVec;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use timer::{Timer, Timers};

/// Names an outbound connection, from `Action::Open` to `Input::Closed`. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// The mind.
pub struct Dispatch {
    config: Arc<Config>,
    ids: Box<dyn FnMut() -> MessageId + Send>,
    rng: fastrand::Rng,
    now: Now,
    draining: bool,
    domains: Domains,
    messages: Messages,
    sites: Slab<Site>,
    site_by_key: HashMap<SiteKey, SiteId>,
    connections: Slab<Connection>,
    transactions: Slab<Transaction>,
    /// Names connections and transactions.
    serial: u64,
    timers: Timers,
    /// Sites to which something happened.
    wake: VecDeque<SiteId>,
    /// Domains whose MX question waits, and how many are under way.
    questions: VecDeque<DomainId>,
    asked: usize,
    /// Which sites wait for a host's addresses.
    addresses: HashMap<Arc<str>, SmallVec<[SiteId; 2]>>,
    /// Sites and unroutable domains that wait for a fetch, and how many are under way.
    fetch_sites: VecDeque<SiteId>,
    fetch_domains: VecDeque<DomainId>,
    fetching: usize,
    /// Ready deliveries of all sites, and entries that wait for a route.
    kept: usize,
    settles: Settles,
    looks: Looks,
    own_faults: OwnFaults,
    /// Sites whose customer has all that waited for it, once these settles are durable.
    collected: Vec<SiteId>,
    actions: VecDeque<Action>,
    counts: Counts,
}

impl Dispatch {
    /// Nothing queued, nothing open. `ids` names the notices it writes.
    pub fn new(config: Arc<Config>, ids: Box<dyn FnMut() -> MessageId + Send>, seed: u64, now: Now) -> Dispatch {
        Dispatch {
            config,
            ids,
            rng: fastrand::Rng::with_seed(seed),
            now,
            draining: false,
            domains: Domains::default(),
            messages: Messages::default(),
            sites: Slab::new(),
            site_by_key: HashMap::new(),
            connections: Slab::new(),
            transactions: Slab::new(),
            serial: 0,
            timers: Timers::default(),
            wake: VecDeque::new(),
            questions: VecDeque::new(),
            asked: 0,
            addresses: HashMap::new(),
            fetch_sites: VecDeque::new(),
            fetch_domains: VecDeque::new(),
            fetching: 0,
            kept: 0,
            settles: Settles::default(),
            looks: Looks::default(),
            own_faults: OwnFaults::default(),
            collected: Vec::new(),
            actions: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Committed(list) => self.handle_committed(list),
            Input::Backlog(flows) => self.handle_backlog(flows),
            Input::Mx(domain, result) => self.handle_mx(&domain, result),
            Input::Addresses(host, result) => self.handle_addresses(&host, &result),
            Input::Fetched { domain, flow, entries, more, next_due_ms } => {
                self.handle_fetched(&domain, flow, entries, more, next_due_ms);
            }
            Input::Loaded(id, result) => self.handle_loaded(id, result),
            Input::Settled(token) => self.handle_settled(token),
            Input::Ourselves(connection) => self.handle_ourselves(connection),
            Input::Ready(connection, tls, features) => self.handle_ready(connection, tls, features),
            Input::Report(connection, report) => self.handle_report(connection, report),
            Input::Closed(connection, stage, cause) => self.handle_closed(connection, stage, &cause),
            Input::NotOpened(connection, fault) => self.handle_not_opened(connection, &fault),
            Input::Offered(offer) => self.handle_offered(offer),
            Input::Collected { user, offer } => self.handle_collected(&user, offer),
            Input::Operate(operation) => self.handle_operation(operation),
            Input::Reload(config) => self.handle_reload(config),
            Input::Drain => self.handle_drain(),
        }
    }

    /// The time that `poll_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        while let Some((at, timer)) = self.timers.pop(now.mono) {
            match timer {
                Timer::Domain(id) => self.review_domain(id, at),
                Timer::Site(id) => {
                    if let Some(site) = self.sites.get_mut(id as usize).filter(|s| s.armed == Some(at)) {
                        site.armed = None;
                        self.wake(id);
                    }
                }
                Timer::Idle(id) => self.review_idle(id),
            }
        }
    }

    /// The next thing to do. Settles are gathered: they come last, as one group per drain.
    pub fn poll_action(&mut self) -> Option<Action> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if !self.draining {
                if let Some(site) = self.wake.pop_front() {
                    self.turn(site);
                    continue;
                }
                if self.ask_next() || self.fetch_next() {
                    continue;
                }
            }
            return self.poll_settle();
        }
    }

    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Drained: no transaction in flight, no connection open, no settle outstanding.
    pub fn is_quiet(&self) -> bool {
        self.is_hung_up() && self.settles.is_empty()
    }

    /// As [`Dispatch::is_quiet`], where the settles that are outstanding will never become durable.
    pub fn is_hung_up(&self) -> bool {
        self.connections.is_empty() && self.transactions.is_empty() && self.actions.is_empty()
    }

    /// The site gets a turn before the next `poll_action` ends.
    fn wake(&mut self, id: SiteId) {
        let site = &mut self.sites[id as usize];
        if !site.in_wake {
            site.in_wake = true;
            self.wake.push_back(id);
        }
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}
