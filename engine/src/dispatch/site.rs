//! Sites: the mail system behind domains, with everything that is kept for one.

use super::bounds;
use super::capacity::Capacity;
use super::host::Host;
use super::message::DeliveryId;
use super::on_demand::Caller;
use super::own_fault::Standstill;
use super::ready::ReadyList;
use super::spilled::Spilled;
use crate::config::{Config, Limits, MatchedBy, NextHop, RoutePolicy, SiteRule, TlsPolicy};
use crate::limit::{Binding, Limit, Meter};
use dns::Exchanger;
use queue::Flow;
use smtp::Reply;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) type SiteId = u32;

/// What makes a site one.
///
/// The first `[[site]]` rule that matches decides its limits. When it matched by the recipient domain rather than by an
/// MX host, the rule's domains form a site of their own, so that its limits do not leak to the provider's other domains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SiteKey {
    /// The MX set or the route.
    pub(super) target: Target,
    /// What the route says of how to speak there: other policies are other sites, so that no connection serves two.
    pub(super) policy: Option<Arc<RoutePolicy>>,
    /// First pattern of the rule that set these domains apart.
    pub(super) apart: Option<Box<str>>,
}

impl SiteKey {
    /// For metrics, events and people.
    pub(super) fn name(&self) -> Arc<str> {
        match &self.apart {
            Some(pattern) => Arc::from(&**pattern),
            None => self.target.name(),
        }
    }

    /// The rule that holds for the site by another configuration. Domains that a rule now sets apart have left it, and take
    /// that rule with them.
    pub(super) fn rule<'a>(&self, config: &'a Config, hosts: &[Host]) -> Option<&'a SiteRule> {
        let is_ours = |rule: &&SiteRule| match (&self.apart, &self.target) {
            (_, Target::OnDemand(_)) => false,
            (Some(pattern), _) => rule.domains.first().is_some_and(|first| first.0 == *pattern),
            (None, _) => hosts.iter().any(|host| rule.mx.iter().any(|pattern| pattern.matches(&host.name))),
        };
        config.sites.iter().find(is_ours)
    }
}

/// Where a site is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// The hosts of this MX set.
    Exchangers(Arc<str>),
    /// Hosts that a route names.
    Hops(Arc<[NextHop]>),
    /// Nowhere.
    Discard,
    /// Over the connection with which this user comes for it (ATRN).
    OnDemand(Arc<str>),
}

impl Target {
    /// For metrics, events and people.
    fn name(&self) -> Arc<str> {
        match self {
            Target::Exchangers(site) => site.clone(),
            Target::Hops(hops) => hops.iter().map(hop_name).collect::<Vec<_>>().join(",").into(),
            Target::Discard => "discard".into(),
            Target::OnDemand(user) => format!("odmr:{user}").into(),
        }
    }
    /// The hosts to connect to. A Unix socket counts as a host without addresses.
    pub(super) fn hosts(&self, exchangers: &[Exchanger]) -> Vec<Host> {
        match self {
            Target::Exchangers(_) => exchangers.iter().map(|e| Host::new(e.host.clone(), e.preference)).collect(),
            Target::Hops(hops) => (0..).zip(&**hops).map(|(n, hop)| Host::of_route(hop.clone(), n)).collect(),
            Target::Discard => Vec::new(),
            // Nobody connects to it; what is learnt of how to speak to it is kept.
            Target::OnDemand(user) => vec![Host::new(user.clone(), 0)],
        }
    }
}

fn hop_name(hop: &NextHop) -> String {
    match hop {
        NextHop::Tcp { host, port, .. } => format!("{host}:{port}"),
        NextHop::Unix(path) => path.to_string_lossy().into(),
    }
}

/// The first rule for a domain at these hosts, and the mark that sets the domain apart if it matched by domain. What a user
/// comes for is one site, whatever its domains: one connection takes it all.
pub(super) fn rule<'a>(
    config: &'a Config,
    target: &Target,
    domain: &str,
    hosts: &[Host],
) -> (Option<&'a SiteRule>, Option<Box<str>>) {
    if matches!(target, Target::OnDemand(_)) {
        return (None, None);
    }
    match config.site_rule(domain, hosts.iter().map(|host| &*host.name)) {
        None => (None, None),
        Some((rule, MatchedBy::Exchanger)) => (Some(rule), None),
        Some((rule, MatchedBy::Domain)) => (Some(rule), rule.domains.first().map(|p| p.0.clone())),
    }
}

/// Everything that is kept for a site.
pub(super) struct Site {
    pub(super) key: SiteKey,
    pub(super) name: Arc<str>,
    pub(super) limits: Arc<Limits>,
    pub(super) hosts: Vec<Host>,
    /// Deliveries whose content is in memory, and those whose content has to be read first.
    pub(super) warm: ReadyList,
    pub(super) cold: ReadyList,
    /// Deliveries whose content is in memory and that only some of the hosts will do for.
    pub(super) strict: ReadyList,
    /// Deliveries whose content is being read.
    pub(super) loading: usize,
    /// New entries that fetches under way may bring.
    pub(super) fetching: usize,
    /// Domains with due entries on disk.
    pub(super) spilled: Spilled,
    /// It waits for its turn to fetch.
    pub(super) wants_fetch: bool,
    /// Slots of its connections, in any phase.
    pub(super) connections: Vec<u32>,
    pub(super) connecting: usize,
    pub(super) capacity: Capacity,
    /// Transactions in flight.
    pub(super) active: usize,
    pub(super) connection_rate: Meter,
    pub(super) rate: Meter,
    /// A connection became ready since the last time that all hosts failed.
    pub(super) proven: bool,
    /// All hosts failed, and nothing has succeeded since.
    pub(super) failed: bool,
    /// All hosts failed while connections were left: if those end, too, what is ready is deferred.
    pub(super) doomed: bool,
    /// It could not be connected to for a fault of our own, of late.
    pub(super) standstill: Option<Standstill>,
    /// Its hosts fail, one after the other, and no connection is of use.
    pub(super) failing: Option<Standstill>,
    /// The customer that has come for its mail.
    pub(super) caller: Option<Caller>,
    /// All hosts failed: no connection before this.
    pub(super) backoff: Option<Instant>,
    pub(super) next_source: usize,
    /// Fewer recipients per transaction than configured, since the peer said "too many"; believed until then.
    pub(super) recipients_cap: Option<(u32, Instant)>,
    /// Domains that are routed here.
    pub(super) domains: u32,
    /// Questions for addresses under way.
    pub(super) asking: u32,
    pub(super) in_wake: bool,
    /// It waits until outcomes are durable.
    pub(super) held_up: bool,
    pub(super) armed: Option<Instant>,
    /// Since when nothing refers to it.
    pub(super) vacant_since: Option<Instant>,
    pub(super) binding: Binding,
    pub(super) bound_since: Option<Instant>,
    /// Throttled time not yet reported, by limit.
    pub(super) throttled: [Duration; Limit::ALL.len()],
    pub(super) last_error: Option<Reply>,
}

impl Site {
    pub(super) fn new(key: SiteKey, limits: Arc<Limits>, hosts: Vec<Host>) -> Site {
        Site {
            name: key.name(),
            connection_rate: Meter::new(limits.connection_rate),
            rate: Meter::new(limits.rate),
            recipients_cap: None,
            key,
            limits,
            hosts,
            warm: ReadyList::default(),
            cold: ReadyList::default(),
            strict: ReadyList::default(),
            loading: 0,
            fetching: 0,
            spilled: Spilled::default(),
            wants_fetch: false,
            connections: Vec::new(),
            connecting: 0,
            capacity: Capacity::default(),
            active: 0,
            proven: false,
            failed: false,
            doomed: false,
            standstill: None,
            failing: None,
            caller: None,
            backoff: None,
            next_source: 0,
            domains: 0,
            asking: 0,
            in_wake: false,
            held_up: false,
            armed: None,
            vacant_since: None,
            binding: Binding::NONE,
            bound_since: None,
            throttled: Default::default(),
            last_error: None,
        }
    }
    /// TLS as the route has it, else as the limits have it.
    pub(super) fn tls(&self) -> TlsPolicy {
        self.key.policy.as_ref().and_then(|policy| policy.tls).unwrap_or(self.limits.tls)
    }
    /// Deliveries in memory.
    pub(super) fn ready(&self) -> usize {
        self.ready_for_any() + self.strict.len()
    }
    /// Those that any host will do for, as far as is known.
    pub(super) fn ready_for_any(&self) -> usize {
        self.warm.len() + self.cold.len() + self.loading
    }
    /// Deliveries whose content is in memory, in the order of their turns.
    pub(super) fn list(&mut self, strict: bool) -> &mut ReadyList {
        if strict { &mut self.strict } else { &mut self.warm }
    }
    /// Everything that is ready, taken out.
    pub(super) fn take_ready(&mut self) -> Vec<DeliveryId> {
        [&mut self.warm, &mut self.cold, &mut self.strict].into_iter().flat_map(ReadyList::drain).collect()
    }
    fn ready_of(&self, flow: Flow) -> usize {
        [&self.warm, &self.cold, &self.strict].map(|list| list.len_of(flow)).iter().sum()
    }
    /// The flow with something on disk that has the least in memory, of those whose turn to be read it may be.
    pub(super) fn neediest(&self) -> Option<Flow> {
        self.spilled.neediest(|flow| self.ready_of(flow))
    }
    /// Something is ready, or due on disk.
    pub(super) fn has_more(&self) -> bool {
        self.ready() > 0 || self.fetching > 0 || self.wants_fetch || !self.spilled.is_empty()
    }
    /// How many more it may keep, when `kept` are kept by all.
    pub(super) fn room(&self, kept: usize) -> usize {
        if self.limits.suspend { 0 } else { bounds::share(kept).saturating_sub(self.ready() + self.fetching) }
    }
    /// What a flow may keep although others fill the site's share; nothing where there are no others.
    pub(super) fn room_beside_others(&self, flow: Flow) -> usize {
        let ready = self.ready_of(flow);
        let is_alone = self.ready() == ready;
        if self.limits.suspend || is_alone { 0 } else { bounds::READY_OF_FLOW.saturating_sub(ready) }
    }
    pub(super) fn recipients_per_transaction(&self, now: Instant) -> usize {
        let cap = self.recipients_cap.filter(|(_, until)| *until > now).map_or(u32::MAX, |(cap, _)| cap);
        self.limits.recipients_per_message.min(cap).max(1) as usize
    }
    /// A customer gets all that there is: it cannot be called back.
    pub(super) fn messages_per_connection(&self) -> u32 {
        match self.key.target {
            Target::OnDemand(_) => u32::MAX,
            _ => self.limits.messages_per_connection.max(1),
        }
    }
    /// How long a connection may be without work.
    pub(super) fn idle_timeout(&self) -> Duration {
        match self.key.target {
            Target::OnDemand(_) => bounds::ON_DEMAND_IDLE,
            _ => self.limits.idle_timeout,
        }
    }
    pub(super) fn take_limits(&mut self, limits: Arc<Limits>) {
        self.connection_rate.change(limits.connection_rate);
        self.rate.change(limits.rate);
        self.limits = limits;
    }
    /// A host of it failed.
    pub(super) fn fail_host(&mut self, now: Instant) {
        self.failing = Some(Standstill::go_on(self.failing, now, bounds::ROUND));
    }
    /// Its hosts have failed for so long that it has, although there may be some left to try.
    pub(super) fn has_failed_for_long(&self, now: Instant) -> bool {
        self.failing.is_some_and(|failing| failing.lasts(now) >= bounds::ROUND)
    }
    /// Takes a new answer for the same set of hosts: preferences may differ, what is known of a host is kept.
    pub(super) fn take_exchangers(&mut self, exchangers: &[Exchanger]) {
        for exchanger in exchangers {
            if let Some(host) = self.hosts.iter_mut().find(|h| h.name == exchanger.host) {
                host.preference = exchanger.preference;
            }
        }
    }
    /// Nothing refers to it, and nothing would happen without it.
    pub(super) fn is_vacant(&self) -> bool {
        self.domains == 0
            && self.ready() == 0
            && self.fetching == 0
            && self.asking == 0
            && self.connections.is_empty()
            && !self.wants_fetch
            && !self.in_wake
    }
}
