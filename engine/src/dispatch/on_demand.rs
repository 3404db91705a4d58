//! Mail that its recipients' own server comes for (ODMR, RFC 2645): there is no way to it but the connection that the
//! customer opened, proved itself on, and turned round.
//!
//! While the customer is away its mail is as that of a host which does not answer: deferred by the schedule of `[retry]`,
//! so that nothing of it stays in memory, and delays and expiry are told as ever. When it comes, what waits for the domains
//! that it names is made due (as by an operator), and goes over its connection; whatever else of the user's is due is
//! deferred all the same. QUIT is said when all that waited has been made due and nothing is left of it.

use super::connection::Phase;
use super::domain::DomainId;
use super::open::Endpoints;
use super::site::{SiteId, SiteKey, Target};
use super::{ConnectionId, Dispatch, Offer, Peer, route};
use crate::config::TlsPolicy;
use crate::limit::{Binding, Limit};
use crate::verdict::Fate;
use queue::Domain;
use smtp::Reply;
use smtp::reply::EnhancedCode;
use std::sync::Arc;

/// A customer that has come.
pub(super) struct Caller {
    pub(super) connection: ConnectionId,
    /// [`Offer::id`].
    offer: u64,
    /// All that waited has been made due, once the groups up to this one are durable.
    collected: Option<u64>,
    /// Whose mail it takes; `None`: all of the site's.
    domains: Option<Box<[Domain]>>,
}

impl Caller {
    /// It is the same customer again, whose former connection may be dead without our having noticed.
    fn is_succeeded_by(&self, domains: Option<&[Domain]>) -> bool {
        match (&self.domains, domains) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(former), Some(domains)) => former.iter().all(|domain| domains.contains(domain)),
        }
    }
}

impl Dispatch {
    /// Whether the user is being served over a connection that one for these domains would not take the place of. There is
    /// one at a time, and what is ready is for the domains of that.
    pub fn is_served(&self, user: &Arc<str>, domains: Option<&[Domain]>) -> bool {
        let caller = self.site_by_key.get(&key(user)).and_then(|id| self.sites[*id as usize].caller.as_ref());
        caller.is_some_and(|caller| !caller.is_succeeded_by(domains))
    }

    /// Takes the connection, unless nobody needs it: then nothing follows, and whoever has it hangs up.
    pub(super) fn handle_offered(&mut self, offer: Offer) {
        if self.draining || self.is_served(&offer.user, offer.domains.as_deref()) {
            return;
        }
        let key = key(&offer.user);
        let id = match self.site_by_key.get(&key) {
            Some(id) => *id,
            None => {
                let (limits, hosts) = (route::default_limits(&self.config), key.target.hosts(&[]));
                self.insert_site(key, limits, hosts)
            }
        };
        let former = self.sites[id as usize].caller.take();
        if let Some(slot) = former.and_then(|former| self.slot(former.connection)) {
            self.close(slot);
        }
        let ends = Endpoints {
            host: 0,
            peer: Peer::Caller(offer.id),
            by_mx: false,
            address: offer.address,
            source: None,
            // As it came, it stays: it was for the customer to begin TLS before it logged in.
            tls: TlsPolicy::Off,
            strict: false,
        };
        let connection = self.begin(id, ends);
        self.sites[id as usize].caller =
            Some(Caller { connection, offer: offer.id, collected: None, domains: offer.domains });
    }

    /// The walk through the queue is over.
    pub(super) fn handle_collected(&mut self, user: &Arc<str>, offer: u64) {
        let Some(id) = self.site_by_key.get(&key(user)).copied() else { return };
        if let Some(caller) = self.sites[id as usize].caller.as_mut().filter(|caller| caller.offer == offer) {
            caller.collected = Some(self.settles.last());
            self.collected.push(id);
            self.wake_collected();
        }
    }

    /// What is gathered now has to be durable, too, before those who still wait have everything.
    pub(super) fn await_collected(&mut self) {
        let last = self.settles.last();
        for id in &self.collected {
            let caller = self.sites.get_mut(*id as usize).and_then(|site| site.caller.as_mut());
            if let Some(caller) = caller.filter(|caller| caller.collected.is_some()) {
                caller.collected = Some(last);
            }
        }
    }

    /// Looks at the customers who may have everything now.
    pub(super) fn wake_collected(&mut self) {
        for id in std::mem::take(&mut self.collected) {
            let caller = self.sites.get(id as usize).and_then(|site| site.caller.as_ref());
            match caller.and_then(|caller| caller.collected) {
                Some(last) if self.settles.are_durable_to(last) => self.wake(id),
                Some(_) => self.collected.push(id),
                None => {}
            }
        }
    }

    /// The caller's connection, if it waits for nothing: what was made due is in the index, and all of it was handed over
    /// and reported.
    fn caller_with_everything(&self, id: SiteId) -> Option<usize> {
        let site = &self.sites[id as usize];
        let caller = site.caller.as_ref()?;
        let slot = self.slot(caller.connection)?;
        let connection = &self.connections[slot];
        let is_collected = caller.collected.is_some_and(|last| self.settles.are_durable_to(last));
        let is_idle = connection.phase == Phase::Ready && connection.transactions.is_empty();
        (is_collected && is_idle && !site.has_more()).then_some(slot)
    }

    /// Why mail for the domain cannot go now: it is for a customer to come for it.
    pub(super) fn must_wait(&self, id: SiteId, domain: DomainId) -> Option<Reply> {
        let site = &self.sites[id as usize];
        let Target::OnDemand(user) = &site.key.target else { return None };
        let takes = |caller: &Caller| {
            let name = &self.domains[domain].name;
            caller.domains.as_ref().is_none_or(|domains| domains.contains(name))
        };
        let goes = self.is_caller_there(id) && site.caller.as_ref().is_some_and(takes);
        (!goes).then(|| waits(user))
    }

    /// The caller's connection takes transactions, or will.
    fn is_caller_there(&self, id: SiteId) -> bool {
        let caller = self.sites[id as usize].caller.as_ref().and_then(|caller| self.slot(caller.connection));
        caller.is_some_and(|slot| self.connections[slot].is_alive())
    }

    /// The turn of a site that a customer comes for. Returns the limit that binds.
    pub(super) fn serve_caller(&mut self, id: SiteId) -> Binding {
        let mut binding = Binding::NONE;
        if self.is_caller_there(id) {
            if self.hand_over(id) {
                binding = Limit::Rate.into();
            }
            self.read_ahead(id);
        } else {
            self.defer_ready(id);
        }
        self.want_fetch(id);
        if let Some(slot) = self.caller_with_everything(id) {
            self.close(slot);
        }
        binding
    }

    /// The customer has gone: what it did not take waits for the next time.
    fn defer_ready(&mut self, id: SiteId) {
        let site = &mut self.sites[id as usize];
        let Target::OnDemand(user) = &site.key.target else { return };
        let reply = waits(user);
        for delivery in site.take_ready() {
            self.fail_delivery(delivery, Fate::Retry, &reply, id);
        }
    }
}

/// One site for each user.
fn key(user: &Arc<str>) -> SiteKey {
    SiteKey { target: Target::OnDemand(user.clone()), policy: None, apart: None }
}

fn waits(user: &str) -> Reply {
    Reply::new(450, EnhancedCode(4, 4, 1), format!("waits for ATRN of user {user}"))
}
