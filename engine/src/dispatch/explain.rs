//! What dispatch knows of a site, for operators.

use super::domain::Route;
use super::site::{self, Target};
use super::{Dispatch, Manner, OpenConnections};
use crate::config::{Config, Limits, NextHop, Via};
use crate::limit::Binding;
use crate::verdict::Fate;
use dns::MxAnswer;
use queue::{Entry, EntryKey};
use smtp::Reply;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A site as it stands.
#[derive(Clone, Debug)]
pub struct SiteView {
    /// Its name in metrics and events.
    pub site: Arc<str>,
    /// Its limits, with the configuration line they come from.
    pub limits: Arc<Limits>,
    /// Deliveries waiting for their turn in memory.
    pub ready: usize,
    /// Transactions in flight.
    pub active: usize,
    /// More is due on disk.
    pub is_spilled: bool,
    /// Its connections.
    pub connections: OpenConnections,
    /// The limits that keep it waiting.
    pub binding: Binding,
    /// For how long they do.
    pub bound_for: Option<Duration>,
    /// How long until the next connection, when all hosts failed.
    pub backoff: Option<Duration>,
    /// Its hosts.
    pub hosts: Vec<HostView>,
    /// Why the last connection failed, if none has been of use since.
    pub last_error: Option<Reply>,
}

/// A host of a site.
#[derive(Clone, Debug)]
pub struct HostView {
    /// Its name.
    pub host: Arc<str>,
    /// What a route says of it; `None`: an exchanger.
    pub hop: Option<NextHop>,
    /// MX preference.
    pub preference: u16,
    /// Its addresses as far as they are known, and how long each is left alone after a failure.
    pub addresses: Vec<(IpAddr, Option<Duration>)>,
    /// How long the host is left alone.
    pub paused: Option<Duration>,
    /// It is this server itself.
    pub ours: bool,
    /// It is spoken to in clear text, since TLS failed with it.
    pub clear_text: bool,
    /// Content waits for the replies to its recipients, since it often refuses them all.
    pub careful: bool,
    /// How it is spoken to, where it misbehaved in the configured manner.
    pub manner: Option<Manner>,
}

/// The name of the site that mail for a domain (lower case) goes to, and what holds there, by the configuration alone:
/// for domains that dispatch does not know. `answer` is the domain's, where it is routed by MX.
pub fn expected_site(config: &Config, domain: &str, answer: Option<&MxAnswer>) -> (Arc<str>, Arc<Limits>) {
    let route = config.route(domain);
    let target = match (route.map(|rule| &rule.via), answer) {
        (Some(Via::Hops(hops)), _) => Target::Hops(hops.clone()),
        (Some(Via::Discard), _) => Target::Discard,
        (Some(Via::Odmr(user)), _) => Target::OnDemand(user.clone()),
        (None | Some(Via::Mx), Some(answer)) => Target::Exchangers(answer.site.clone()),
        (None | Some(Via::Mx), None) => Target::Exchangers(domain.into()),
    };
    let hosts = target.hosts(answer.map_or(&[], |answer| &answer.exchangers));
    let (rule, apart) = site::rule(config, &target, domain, &hosts);
    let limits = rule.map_or(&config.limits, |rule| &rule.limits).clone();
    let policy = route.and_then(|rule| rule.policy.clone());
    (site::SiteKey { target, policy, apart }.name(), limits)
}

impl Dispatch {
    /// What it goes by: the newest one, after reloads.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The entry's recipients that wait, and those that are in a transaction. What dispatch does not hold waits on disk.
    pub fn entry_state(&self, key: &EntryKey, entry: &Entry) -> (usize, usize) {
        self.held_at(key).map_or((entry.open.len(), 0), |held| {
            let held = &self.messages.held[held as usize];
            (held.waiting.len(), (held.open as usize).saturating_sub(held.waiting.len()))
        })
    }

    /// The limits that keep the site of an entry waiting.
    pub fn entry_waits_for(&self, key: &EntryKey) -> Binding {
        let domain = self.domains.find(key.domain.as_str(), key.flow);
        let site = domain.and_then(|domain| self.domains[domain].site());
        site.map_or(Binding::NONE, |site| self.sites[site as usize].binding)
    }

    /// Why a domain (lower case) goes nowhere, if its last look-up failed: what its recipients are told, and whether for
    /// good.
    pub fn explain_failure(&self, domain: &str) -> Option<(Reply, bool)> {
        self.domains.flows(domain).into_iter().find_map(|id| match &self.domains[id].route {
            Route::Failed(failure) => Some((failure.reply.clone(), failure.fate == Fate::Bounce)),
            _ => None,
        })
    }

    /// The site of a domain (lower case); `None` while the domain has no route.
    pub fn explain_site(&self, domain: &str) -> Option<SiteView> {
        let now = self.now.mono;
        let id = self.domains.flows(domain).into_iter().find_map(|id| self.domains[id].site())?;
        let site = &self.sites[id as usize];
        let hosts = site.hosts.iter().map(|host| HostView {
            host: host.name.clone(),
            hop: host.hop.clone(),
            preference: host.preference,
            addresses: host.addresses.iter().map(|a| (a.ip, a.pause.until(now).map(|u| u - now))).collect(),
            paused: host.paused_until(now).map(|until| until - now),
            ours: host.ours_until(now).is_some(),
            clear_text: host.clear_text_until.is_some_and(|until| until > now),
            careful: host.refusals.are_frequent(),
            manner: Some(host.learnt.manner(site.limits.pipelining, now))
                .filter(|manner| *manner != Manner::full(site.limits.pipelining)),
        });
        Some(SiteView {
            site: site.name.clone(),
            limits: site.limits.clone(),
            ready: site.ready(),
            active: site.active,
            is_spilled: !site.spilled.is_empty(),
            connections: self.open_of(&site.connections),
            binding: site.binding,
            bound_for: site.bound_since.map(|since| now.saturating_duration_since(since)),
            backoff: site.backoff.filter(|until| *until > now).map(|until| until - now),
            hosts: hosts.collect(),
            last_error: site.last_error.clone(),
        })
    }
}
