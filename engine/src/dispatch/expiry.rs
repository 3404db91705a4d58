//! Mail whose time is over at a site that stands still: suspended by an operator, or left alone since all its hosts failed.
//!
//! What is due there stays on disk, and nobody tries it, so nobody would see that it is to be given up (`[retry] expire`, or
//! DELIVERBY's time, RFC 2852). The shell looks through it now and then, and names here what it found: the index is sorted
//! by due time, and what the end of an entry is, only the entry says. Everywhere else the last attempt sees to it.
//!
//! Not here: notices of a delay, which follow an attempt; what operators hold, which does not end.

use super::domain::DomainId;
use super::outcome::Trace;
use super::site::SiteId;
use super::{Dispatch, retry};
use crate::config::RetryPolicy;
use crate::verdict::Fate;
use queue::{Domain, Entry, EntryKey};
use smtp::Reply;
use smtp::reply::EnhancedCode;
use std::borrow::Cow;

/// Whether an entry is due and its time is over.
pub fn is_time_over(policy: &RetryPolicy, key: &EntryKey, entry: &Entry, now_ms: u64) -> bool {
    key.due_ms <= now_ms && retry::end(policy, entry.accepted_ms, entry.terms) <= now_ms
}

impl Dispatch {
    /// Domains with mail on disk that is due at a site which stands still. Goes through all sites.
    pub fn domains_at_a_stand(&self) -> Vec<Domain> {
        let sites = self.sites.iter().map(|(id, site)| (id as SiteId, site)).filter(|(id, _)| self.stands_still(*id));
        let domains = sites.flat_map(|(_, site)| site.spilled.iter());
        domains.filter_map(|id| self.domains.slab.get(id as usize)).map(|domain| domain.name.clone()).collect()
    }

    /// Whether the entry is waiting, being tried or being settled.
    pub fn is_in_memory(&self, key: &EntryKey) -> bool {
        self.held_at(key).is_some()
    }

    fn stands_still(&self, id: SiteId) -> bool {
        let site = &self.sites[id as usize];
        site.limits.suspend || site.backoff.is_some_and(|until| until > self.now.mono)
    }

    /// Gives these entries up, unless they are in memory, their site goes on, or it is not time.
    pub(super) fn expire(&mut self, entries: Vec<(EntryKey, Entry)>) {
        for (key, entry) in entries {
            let domain = self.domains.find(key.domain.as_str(), key.flow);
            if let Some((domain, site)) = domain.and_then(|domain| Some((domain, self.domains[domain].site()?)))
                && !self.draining
                && self.stands_still(site)
                && is_time_over(&self.config.retry, &key, &entry, self.now.wall_ms())
            {
                self.give_up(domain, site, &key, &entry);
            }
        }
    }

    fn give_up(&mut self, domain: DomainId, site: SiteId, key: &EntryKey, entry: &Entry) {
        let Some(held) = self.hold_aside(domain, key, entry) else { return };
        let reply = self.why_it_stands_still(site, entry);
        let mut trace = Trace::of_site(self.sites[site as usize].name.clone());
        trace.untried = true;
        self.fail(held, entry.open.clone(), Fate::Retry, &reply, &trace);
    }

    /// What the sender is told: with what became of the last attempt, if there was one.
    fn why_it_stands_still(&self, site: SiteId, entry: &Entry) -> Reply {
        let site = &self.sites[site as usize];
        let (enhanced, why) = match &site.last_error {
            _ if site.limits.suspend => (EnhancedCode(4, 3, 2), "deliveries to this destination are suspended"),
            Some(reply) => return reply.clone(),
            None => (EnhancedCode(4, 4, 1), "no host answers"),
        };
        let text = match &*entry.last_error {
            "" => Cow::Borrowed(why),
            last => Cow::Owned(format!("{why}; the last attempt: {last}")),
        };
        Reply::new(451, enhanced, text)
    }
}
