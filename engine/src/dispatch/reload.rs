//! SIGHUP: new limits, routes and retry policy.

use super::connection::Phase;
use super::domain::{DomainId, Route};
use super::site::{SiteId, Target};
use super::{Dispatch, route};
use crate::config::Config;
use std::sync::Arc;

impl Dispatch {
    /// Everything that is ready goes back to disk and comes again by the new routes. This is the one walk over all
    /// sites and domains.
    pub(super) fn handle_reload(&mut self, config: Arc<Config>) {
        self.config = config;
        let sites: Vec<SiteId> = self.sites.iter().map(|(id, _)| id as SiteId).collect();
        for id in &sites {
            self.put_site_back(*id);
            self.reload_site(*id);
        }
        if self.draining {
            return;
        }
        let domains: Vec<DomainId> = self.domains.slab.iter().map(|(id, _)| id as DomainId).collect();
        for id in domains {
            // An answer under way is taken by the new rules when it comes.
            if !matches!(self.domains[id].route, Route::Asking) {
                self.leave_route(id);
            }
            self.make_due(id);
            self.review_vacancy(id);
        }
        for id in sites {
            self.wake(id);
        }
    }

    /// Gives a site its new limits; connections that no longer suit them end after what they have.
    fn reload_site(&mut self, id: SiteId) {
        let site = &mut self.sites[id as usize];
        let rule = site.key.rule(&self.config, &site.hosts);
        let limits = rule.map_or_else(|| route::default_limits(&self.config), |r| r.limits.clone());
        let other_lane = limits.tls != site.limits.tls || limits.pipelining != site.limits.pipelining;
        site.take_limits(limits);
        site.recipients_cap = None;
        let most = site.limits.connections as usize;
        let is_called = matches!(site.key.target, Target::OnDemand(_));
        let config = self.config.clone();
        let sources = &config.delivery.source_addresses;
        for (i, slot) in site.connections.clone().into_iter().enumerate() {
            let connection = &mut self.connections[slot as usize];
            connection.limit_mails(self.sites[id as usize].messages_per_connection());
            let source_gone = match (connection.source, connection.address) {
                (Some(source), _) => !sources.contains(&source),
                // It left from an address of the system's choice, and has one of ours to leave from now. Customers come.
                (None, Some(ip)) => !is_called && sources.iter().any(|source| source.is_ipv4() == ip.is_ipv4()),
                (None, None) => false,
            };
            let exhausted = connection.handed >= connection.most;
            let over = i >= most && connection.phase == Phase::Ready;
            if other_lane || source_gone || exhausted || over {
                self.close(slot as usize);
            }
        }
    }
}
