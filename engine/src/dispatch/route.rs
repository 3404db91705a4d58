//! Where domains' mail goes: configured routes, MX questions, addresses of hosts.

use super::bounds::{MAX_LOOKUPS, ROUTE_FAILURE, ROUTE_KEEP, SITE_KEEP};
use super::domain::{DomainId, Route, RouteFailure};
use super::host::Host;
use super::message::Place;
use super::site::{self, Site, SiteId, SiteKey, Target};
use super::timer::Timer;
use super::{Action, Dispatch};
use crate::config::{Config, Limits, Via};
use crate::verdict::{self, Fate};
use dns::{AddressAnswer, Exchanger, MxAnswer, MxFailure};
use queue::Domain;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Dispatch {
    /// Finds a route for the domain: at once where one is configured, else by a question.
    pub(super) fn ask(&mut self, domain: DomainId) {
        if matches!(self.domains[domain].route, Route::Asking) {
            return;
        }
        if !self.take_configured(domain) {
            self.leave_route(domain);
            self.domains[domain].route = Route::Asking;
            self.questions.push_back(domain);
        }
    }

    /// Takes the configured route, if it is not `mx`.
    fn take_configured(&mut self, domain: DomainId) -> bool {
        let target = match self.config.route(self.domains[domain].name.as_str()).map(|rule| &rule.via) {
            None | Some(Via::Mx) => return false,
            Some(Via::Hops(hops)) => Target::Hops(hops.clone()),
            Some(Via::Discard) => Target::Discard,
            Some(Via::Odmr(user)) => Target::OnDemand(user.clone()),
        };
        let until = self.now.mono + ROUTE_KEEP;
        self.set_route(domain, target, &[], until);
        true
    }

    /// Sends the next question, if one waits and there is room.
    pub(super) fn ask_next(&mut self) -> bool {
        if self.asked >= MAX_LOOKUPS {
            return false;
        }
        let Some(domain) = self.questions.pop_front() else { return false };
        // What another flow of the domain asked may have answered it.
        if let Some(state) = self.domains.slab.get(domain as usize).filter(|d| matches!(d.route, Route::Asking)) {
            self.asked += 1;
            self.actions.push_back(Action::ResolveMx(state.name.clone()));
        }
        true
    }

    pub(super) fn handle_mx(&mut self, name: &Domain, result: Result<MxAnswer, MxFailure>) {
        self.asked = self.asked.saturating_sub(1);
        for domain in self.domains.flows(name.as_str()) {
            if matches!(self.domains[domain].route, Route::Asking) {
                self.take_answer(domain, &result);
            }
        }
    }

    fn take_answer(&mut self, domain: DomainId, result: &Result<MxAnswer, MxFailure>) {
        if !self.take_configured(domain) {
            match result {
                Ok(answer) => {
                    let until = answer.expires.max(self.now.mono + Duration::from_secs(1));
                    self.set_route(domain, Target::Exchangers(answer.site.clone()), &answer.exchangers, until);
                }
                Err(failure) => {
                    let (fate, reply) = verdict::on_route(failure);
                    let keep = if fate == Fate::Bounce { ROUTE_FAILURE.0 } else { ROUTE_FAILURE.1 };
                    let until = self.now.mono + keep;
                    self.domains[domain].route = Route::Failed(Box::new(RouteFailure { until, fate, reply }));
                }
            }
        }
        let waiting = std::mem::take(&mut self.domains[domain].waiting);
        self.kept -= waiting.len();
        for held in waiting {
            self.messages.held[held as usize].place = Place::Nowhere;
            self.place(held, false);
        }
        self.make_due(domain);
        self.review_vacancy(domain);
    }

    fn set_route(&mut self, domain: DomainId, target: Target, exchangers: &[Exchanger], until: Instant) {
        self.leave_route(domain);
        let hosts = target.hosts(exchangers);
        let name = self.domains[domain].name.clone();
        let (rule, apart) = site::rule(&self.config, &target, name.as_str(), &hosts);
        let limits = rule.map_or_else(|| default_limits(&self.config), |r| r.limits.clone());
        let policy = self.config.route(name.as_str()).and_then(|rule| rule.policy.clone());
        let key = SiteKey { target, policy, apart };
        let id = match self.site_by_key.get(&key) {
            Some(id) => *id,
            None => self.insert_site(key, limits, hosts),
        };
        let site = &mut self.sites[id as usize];
        site.take_exchangers(exchangers);
        site.domains += 1;
        site.vacant_since = None;
        self.domains[domain].route = Route::To { site: id, until };
    }

    pub(super) fn insert_site(&mut self, key: SiteKey, limits: Arc<Limits>, hosts: Vec<Host>) -> SiteId {
        let id = self.sites.insert(Site::new(key.clone(), limits, hosts)) as SiteId;
        self.site_by_key.insert(key, id);
        id
    }

    /// The domain leaves its site, if it has one.
    pub(super) fn leave_route(&mut self, domain: DomainId) {
        let state = &mut self.domains[domain];
        state.listed = false;
        if let Route::To { site, .. } = std::mem::replace(&mut state.route, Route::Unknown) {
            self.sites[site as usize].domains -= 1;
            self.wake(site);
        }
    }

    /// A timer of the domain has come.
    pub(super) fn review_domain(&mut self, domain: DomainId, at: Instant) {
        let Some(state) = self.domains.slab.get_mut(domain as usize).filter(|d| d.armed == Some(at)) else { return };
        state.armed = None;
        let due_ms = state.next_due_ms;
        if self.draining {
            return;
        }
        if state.is_vacant() {
            self.forget_domain(domain);
        } else if due_ms != u64::MAX {
            self.note_due(domain, due_ms);
        }
    }

    /// Looks whether the domain can be forgotten, now or when its route ends.
    pub(super) fn review_vacancy(&mut self, domain: DomainId) {
        let state = &mut self.domains[domain];
        if !state.is_vacant() || self.draining {
            return;
        }
        match state.route_until() {
            Some(until) if until > self.now.mono => {
                let at = until.min(self.now.mono + ROUTE_KEEP);
                self.timers.arm(&mut state.armed, at, Timer::Domain(domain));
            }
            _ => self.forget_domain(domain),
        }
    }

    fn forget_domain(&mut self, domain: DomainId) {
        self.leave_route(domain);
        self.domains.remove(domain);
    }

    /// Looks whether the site can be forgotten, now or later.
    pub(super) fn review_site(&mut self, id: SiteId) {
        let now = self.now.mono;
        let site = &mut self.sites[id as usize];
        if !site.is_vacant() {
            site.vacant_since = None;
            return;
        }
        // While a host of it is left alone, that is worth remembering.
        let paused = site.hosts.iter().filter_map(|h| h.paused_until(now)).max();
        let end = paused.max(Some(*site.vacant_since.get_or_insert(now) + SITE_KEEP)).unwrap_or(now);
        if end > now {
            self.timers.arm(&mut site.armed, end, Timer::Site(id));
            return;
        }
        self.bind(id, crate::limit::Binding::NONE);
        self.report_throttled(id, true);
        let site = self.sites.remove(id as usize);
        self.site_by_key.remove(&site.key);
    }

    /// Asks for a host's addresses.
    pub(super) fn ask_addresses(&mut self, id: SiteId, host: usize) {
        let site = &mut self.sites[id as usize];
        site.hosts[host].asking = true;
        site.asking += 1;
        let name = site.hosts[host].name.clone();
        let sites = self.addresses.entry(name.clone()).or_default();
        sites.push(id);
        if sites.len() == 1 {
            self.actions.push_back(Action::ResolveAddresses(name));
        }
    }

    pub(super) fn handle_addresses(&mut self, name: &Arc<str>, result: &Result<AddressAnswer, MxFailure>) {
        for id in self.addresses.remove(name).unwrap_or_default() {
            let site = &mut self.sites[id as usize];
            site.asking -= 1;
            // A route may name one host with several ports: each asks for itself.
            if let Some(host) = site.hosts.iter_mut().find(|h| h.asking && h.name == *name) {
                host.handle_addresses(result, self.now.mono);
            }
            if let Err(failure) = result {
                site.last_error = Some(verdict::on_host(name, failure));
                self.note_failure(id);
            }
            self.wake(id);
        }
    }
}

/// The limits of sites without a rule.
pub(super) fn default_limits(config: &Config) -> Arc<Limits> {
    config.limits.clone()
}
