//! Mail that not every host of a site will do for: its sender requires TLS all the way (REQUIRETLS, RFC 8689), and it goes
//! only to a host that promises that too and proves who it is.
//!
//! Such a delivery is first offered to whatever host the site's other mail goes to. One that turns out not to promise it is
//! passed over for a while, and the delivery waits in a list of its own for a connection to another host of the site, by
//! preference as ever (RFC 8689 §4.2.1). Those connections take nothing else, since other mail prefers other hosts. When no
//! host is left, it bounces; while hosts are left that cannot be reached, it is deferred.

use super::Dispatch;
use super::connection::Phase;
use super::host::{self, Host, Pick};
use super::site::SiteId;
use super::timer::Timer;
use crate::limit::Admit;
use crate::verdict::{self, Fate};
use queue::Content;
use smtp::Reply;
use smtp::client::{Outcome, Unsupported};
use smtp::reply::EnhancedCode;
use std::time::Instant;

const NO_PROMISE: Outcome = Outcome::Unsupported(Unsupported::RequireTls);

/// The host, or the connection to it, does not promise what the message requires.
pub(super) fn is_no_promise(outcome: &Outcome) -> bool {
    *outcome == NO_PROMISE
}

/// Whether a message has to look for its host among these. Notices go to any (RFC 8689 §5).
pub(super) fn is_strict(content: &Content, hosts: &[Host], now: Instant) -> bool {
    let envelope = &content.envelope;
    envelope.parameters.require_tls
        && !envelope.reverse_path.is_null()
        && hosts.len() > 1
        && hosts.iter().any(|host| !host.may_promise_tls(now))
}

/// The best connection that there is for a strict delivery.
enum Candidate {
    /// With credit.
    Free(usize),
    /// Being set up, or busy.
    Awaited,
    Missing,
}

impl Dispatch {
    /// The connection's host does not promise TLS. Whether another one of the site may.
    pub(super) fn may_go_elsewhere(&mut self, slot: usize) -> bool {
        let now = self.now.mono;
        let connection = &self.connections[slot];
        let site = &mut self.sites[connection.site as usize];
        site.hosts[connection.host_index].promises_no_tls(now);
        site.hosts.iter().any(|host| host.may_promise_tls(now))
    }

    /// Hands strict deliveries over, or opens a connection for them.
    pub(super) fn serve_strict(&mut self, id: SiteId) {
        while let Some(delivery) = self.first_of(id, true) {
            match self.candidate(id) {
                Candidate::Free(slot) => {
                    let site = &mut self.sites[id as usize];
                    if let Err(at) = site.rate.check(self.now.mono) {
                        return self.timers.arm(&mut site.armed, at, Timer::Site(id));
                    }
                    self.hand(id, slot, delivery, true);
                }
                Candidate::Awaited => return,
                Candidate::Missing => return self.open_strict(id),
            }
        }
    }

    fn candidate(&self, id: SiteId) -> Candidate {
        let site = &self.sites[id as usize];
        let mut best = Candidate::Missing;
        for slot in &site.connections {
            let connection = &self.connections[*slot as usize];
            if !site.hosts[connection.host_index].may_promise_tls(self.now.mono) {
                continue;
            }
            match connection.phase {
                Phase::Ready if connection.credit() > 0 => return Candidate::Free(*slot as usize),
                Phase::Ready | Phase::Connecting => best = Candidate::Awaited,
                Phase::Closing | Phase::Abandoned => {}
            }
        }
        best
    }

    /// Opens a connection to the next host that may promise TLS, if there is one and the limits admit it.
    fn open_strict(&mut self, id: SiteId) {
        let now = self.now.mono;
        if self.sites[id as usize].hosts.iter().all(|host| !host.may_promise_tls(now)) {
            let reply = verdict::tell(&NO_PROMISE).into_owned();
            return self.fail_strict(id, Fate::Bounce, &reply);
        }
        match self.admit_open(id) {
            Admit::Now => {}
            Admit::At(at, _) => return self.timers.arm(&mut self.sites[id as usize].armed, at, Timer::Site(id)),
            // What ends it is a connection that becomes ready or ends, and that wakes the site.
            Admit::Wait(_) => return,
        }
        let site = &self.sites[id as usize];
        let sources = &self.config.delivery.source_addresses;
        match host::pick_among(&site.hosts, now, sources, &mut self.rng, |host| host.may_promise_tls(now)) {
            Pick::Address(host, ip) => self.open(id, host, Some(ip), true),
            Pick::Unix(host) => self.open(id, host, None, true),
            Pick::Ask(host) => self.ask_addresses(id, host),
            Pick::Asking => {}
            Pick::Paused(until) if self.waits_out_own_fault(id, until) => {}
            Pick::Paused(_) => {
                let unreachable = Reply::fixed(451, EnhancedCode(4, 4, 1), "no host answers that may promise TLS");
                let reply = self.sites[id as usize].last_error.clone().unwrap_or(unreachable);
                self.fail_strict(id, Fate::Retry, &reply);
            }
        }
    }

    fn fail_strict(&mut self, id: SiteId, fate: Fate, reply: &Reply) {
        for delivery in self.sites[id as usize].strict.drain() {
            self.fail_delivery(delivery, fate, reply, id);
        }
    }
}
