//! Connections: opened when there is more to deliver than they can take, closed when there is nothing.

use super::bounds::{CONNECTING_UNPROVEN, FULL_PAUSE, HOST_PAUSE, LOADING_LOOK, MAX_CONNECTIONS, MAX_IDLE};
use super::connection::{self, Connection, Phase};
use super::host::{self, Host, Pick};
use super::site::SiteId;
use super::timer::Timer;
use super::{Action, ConnectionId, Dispatch, Open, Peer, TlsState};
use crate::config::{SocketName, TlsPolicy};
use crate::limit::{Admit, Limit};
use smallvec::SmallVec;
use smtp::client::Features;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// The two ends of a new connection, and how they are to talk.
pub(super) struct Endpoints {
    /// Its place in the site's hosts.
    pub(super) host: usize,
    pub(super) peer: Peer,
    pub(super) by_mx: bool,
    pub(super) address: Option<IpAddr>,
    pub(super) source: Option<IpAddr>,
    pub(super) tls: TlsPolicy,
    /// See [`Connection::strict`].
    pub(super) strict: bool,
}

impl Dispatch {
    /// Opens as many connections as the ready deliveries need and the limits admit. Returns the limit that binds.
    pub(super) fn open_connections(&mut self, id: SiteId, rate_binds: bool) -> Option<Limit> {
        let need = self.sites[id as usize].ready_for_any();
        if need == 0 || (rate_binds && !self.sites[id as usize].connections.is_empty()) {
            return None;
        }
        let each = self.credit_of_new(id);
        let mut credit = self.credit(id, each);
        let mut lifted = false;
        while need > credit {
            match self.admit_open(id) {
                Admit::Now => {}
                Admit::At(at, binding) => {
                    self.timers.arm(&mut self.sites[id as usize].armed, at, Timer::Site(id));
                    return binding.iter().next();
                }
                Admit::Wait(binding) => return binding.iter().next(),
            }
            if self.sites[id as usize].has_failed_for_long(self.now.mono) {
                self.sites[id as usize].failing = None;
                return Some(self.all_paused(id, self.now.mono + HOST_PAUSE.0));
            }
            match self.pick(id) {
                Pick::Address(host, ip) => self.open(id, host, Some(ip), false),
                Pick::Unix(host) => self.open(id, host, None, false),
                Pick::Ask(host) => {
                    self.ask_addresses(id, host);
                    return None;
                }
                Pick::Asking => return None,
                Pick::Paused(until) if self.waits_out_own_fault(id, until) => return Some(Limit::Backoff),
                Pick::Paused(until) => {
                    let site = &mut self.sites[id as usize];
                    if site.capacity.may_replace() && !std::mem::replace(&mut lifted, true) {
                        site.hosts.iter_mut().for_each(Host::lift);
                        continue;
                    }
                    return Some(self.all_paused(id, until));
                }
            }
            credit += each;
        }
        None
    }

    /// All hosts fail new connections. Those that work go on.
    fn all_paused(&mut self, id: SiteId, until: Instant) -> Limit {
        let (working, now) = (self.connections_at_work(id), self.now.mono);
        let site = &mut self.sites[id as usize];
        if working == 0 {
            if site.capacity.try_again(now) {
                (site.proven, site.failed) = (false, true);
                self.wake(id);
            } else {
                self.fail_site(id, until);
            }
            return Limit::Backoff;
        }
        site.capacity.limit(working, now);
        self.timers.arm(&mut site.armed, until, Timer::Site(id));
        Limit::Connections
    }

    /// Transactions that a new connection of the site takes at once.
    fn credit_of_new(&self, id: SiteId) -> usize {
        let limits = &self.sites[id as usize].limits;
        connection::window(limits.pipelining).min(limits.messages_per_connection.max(1) as usize)
    }

    /// Transactions that the site's connections can take, those being set up included.
    fn credit(&self, id: SiteId, each: usize) -> usize {
        let connections = self.sites[id as usize].connections.iter().map(|s| &self.connections[*s as usize]);
        connections
            .filter(|c| c.is_for_any())
            .map(|c| if c.phase == Phase::Connecting { each } else { c.credit() })
            .sum()
    }

    /// Whether another connection may be opened now.
    pub(super) fn admit_open(&self, id: SiteId) -> Admit {
        let site = &self.sites[id as usize];
        if let Some(until) = site.backoff.filter(|until| *until > self.now.mono) {
            return Admit::At(until, Limit::Backoff.into());
        }
        if site.connections.len() >= site.limits.connections as usize {
            return Admit::Wait(Limit::Connections.into());
        }
        match site.capacity.admit(site.connections.len(), self.now.mono) {
            Admit::Now => {}
            later => return later,
        }
        if self.connections.len() >= MAX_CONNECTIONS {
            // What makes room is no event of this site.
            return Admit::At(self.now.mono + FULL_PAUSE, Limit::Connections.into());
        }
        let unproven = if site.failed { 1 } else { CONNECTING_UNPROVEN };
        if !site.proven && site.connecting >= unproven {
            return Admit::Wait(crate::limit::Binding::NONE);
        }
        match site.connection_rate.check(self.now.mono) {
            Ok(()) => Admit::Now,
            Err(at) => Admit::At(at, Limit::ConnectionRate.into()),
        }
    }

    fn pick(&mut self, id: SiteId) -> Pick {
        let site = &self.sites[id as usize];
        host::pick(&site.hosts, self.now.mono, &self.config.delivery.source_addresses, &mut self.rng)
    }

    pub(super) fn open(&mut self, id: SiteId, host: usize, address: Option<IpAddr>, strict: bool) {
        let now = self.now.mono;
        let source = address.and_then(|ip| self.next_source(id, ip));
        let site = &mut self.sites[id as usize];
        site.connection_rate.take(now);
        let host_index = host;
        let host = &site.hosts[host_index];
        let tls = host.tls(site.tls(), now);
        let peer = match (address, host.unix_path()) {
            (Some(ip), _) => SocketName::Tcp(SocketAddr::new(ip, host.port(self.config.delivery.port))),
            (None, Some(path)) => SocketName::Unix(path.clone()),
            (None, None) => unreachable!("only Unix sockets are opened without an address"),
        };
        let by_mx = host.hop.is_none();
        self.begin(id, Endpoints { host: host_index, peer: Peer::At(peer), by_mx, address, source, tls, strict });
    }

    /// A connection of the site begins.
    pub(super) fn begin(&mut self, id: SiteId, ends: Endpoints) -> ConnectionId {
        let now = self.now.mono;
        let serial = self.next_serial();
        let site = &mut self.sites[id as usize];
        site.connecting += 1;
        site.capacity.open();
        let host = &site.hosts[ends.host];
        let manner = host.learnt.manner(site.limits.pipelining, now);
        let window = connection::window(manner.pipelining);
        let entry = self.connections.vacant_entry();
        let name = ConnectionId(connection::name(serial, entry.key()));
        site.connections.push(entry.key() as u32);
        let open = Open {
            connection: name,
            site: site.name.clone(),
            host: host.name.clone(),
            by_mx: ends.by_mx,
            peer: ends.peer,
            source: ends.source,
            protocol: host.protocol(),
            tls: ends.tls,
            implicit_tls: host.is_implicit_tls(),
            policy: site.key.policy.clone(),
            manner,
            careful: host.refusals.are_frequent(),
            window,
        };
        entry.insert(Connection {
            id: name,
            site: id,
            host: host.name.clone(),
            host_index: ends.host,
            address: ends.address,
            address_text: ends.address.map(|ip| ip.to_string().into()),
            source: ends.source,
            tls_policy: ends.tls,
            tls: None,
            features: None,
            manner,
            phase: Phase::Connecting,
            ready_since: None,
            window,
            strict: ends.strict,
            domains: Vec::new(),
            transactions: SmallVec::new(),
            bytes_ahead: 0,
            handed: 0,
            most: site.messages_per_connection(),
            of_use: false,
            idle_since: now,
            idle_armed: false,
        });
        self.counts.connections.connecting += 1;
        self.actions.push_back(Action::Open(Box::new(open)));
        name
    }

    /// The next of the source addresses that fit the peer's family, round robin; of those that are not away, if any. None fits:
    /// the system chooses.
    fn next_source(&mut self, id: SiteId, peer: IpAddr) -> Option<IpAddr> {
        let now = self.now.mono;
        let sources = self.config.delivery.source_addresses.iter();
        let fitting: SmallVec<[&IpAddr; 4]> = sources.filter(|s| s.is_ipv4() == peer.is_ipv4()).collect();
        let turn = &mut self.sites[id as usize].next_source;
        *turn = (*turn + 1) % fitting.len().max(1);
        let turns = || fitting[*turn..].iter().chain(&fitting[..*turn]).map(|source| **source);
        turns().find(|source| !self.own_faults.is_away(*source, now)).or_else(|| turns().next())
    }

    /// The connection's slot, if it is (still) known.
    pub(super) fn slot(&self, id: ConnectionId) -> Option<usize> {
        let slot = connection::slot(id.0);
        self.connections.get(slot).filter(|c| c.id == id).map(|_| slot)
    }

    /// Changes a connection and keeps the gauges right.
    pub(super) fn change_connection(&mut self, slot: usize, change: impl FnOnce(&mut Connection)) {
        let connection = &mut self.connections[slot];
        *self.counts.connections.gauge(connection) -= 1;
        change(connection);
        *self.counts.connections.gauge(connection) += 1;
    }

    pub(super) fn handle_ready(&mut self, id: ConnectionId, tls: Option<TlsState>, features: Arc<Features>) {
        let Some(slot) = self.slot(id) else { return };
        let site_id = self.connections[slot].site;
        if self.connections[slot].phase == Phase::Connecting {
            self.change_connection(slot, |c| c.phase = Phase::Ready);
            let site = &mut self.sites[site_id as usize];
            site.connecting -= 1;
            site.proven = true;
            site.failed = false;
            site.doomed = false;
            site.backoff = None;
            site.standstill = None;
        }
        let connection = &mut self.connections[slot];
        connection.ready_since = Some(self.now.mono);
        connection.tls = tls.map(Arc::new);
        connection.features = Some(features);
        connection.limit_mails(connection.most);
        self.mark_idle(slot);
        self.wake(site_id);
    }

    /// The connection has nothing to do from now on, unless the site's turn finds something.
    pub(super) fn mark_idle(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if connection.phase != Phase::Ready {
            return;
        }
        connection.idle_since = self.now.mono;
        if !connection.idle_armed {
            connection.idle_armed = true;
            let timeout = self.sites[connection.site as usize].idle_timeout();
            self.timers.push(self.now.mono + timeout, Timer::Idle(connection.id));
        }
        let site = &self.sites[connection.site as usize];
        if self.counts.connections.idle as usize > MAX_IDLE && site.ready() == 0 {
            self.close(slot);
        }
    }

    /// Closes a connection that was idle for long enough.
    pub(super) fn review_idle(&mut self, id: ConnectionId) {
        let Some(slot) = self.slot(id) else { return };
        let connection = &mut self.connections[slot];
        connection.idle_armed = false;
        if connection.phase != Phase::Ready || !connection.transactions.is_empty() {
            return;
        }
        let site = &self.sites[connection.site as usize];
        let mut end = connection.idle_since + site.idle_timeout();
        if site.loading > 0 && connection.is_for_any() {
            // What it was opened for is still being read: without it, another would be opened at once.
            end = end.max(self.now.mono + LOADING_LOOK);
        }
        if end > self.now.mono {
            connection.idle_armed = true;
            self.timers.push(end, Timer::Idle(id));
        } else {
            self.close(slot);
        }
    }
}
