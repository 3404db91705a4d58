//! Connections end; sites fail; the engine drains.

use super::connection::{Connection, Phase};
use super::message::DeliveryId;
use super::outcome::Trace;
use super::site::{SiteId, Target};
use super::timer::Timer;
use super::{ConnectionId, Dispatch, host, manner};
use crate::config::TlsPolicy;
use crate::verdict::{self, End, Fate};
use smtp::Reply;
use smtp::client::{Cause, Outcome, Report, Stage};
use smtp::reply::EnhancedCode;
use std::sync::Arc;
use std::time::Instant;

impl Dispatch {
    pub(super) fn handle_closed(&mut self, id: ConnectionId, stage: Stage, cause: &Cause) {
        let Some(connection) = self.take_connection(id) else { return };
        let learnt = self.learn(&connection, stage, cause);
        if connection.is_alive() {
            self.blame(&connection, stage, cause, learnt);
        }
        if !self.draining {
            self.defer_doomed(connection.site);
        }
        self.wake(connection.site);
    }

    /// The connection is gone: nothing counts it any more.
    pub(super) fn take_connection(&mut self, id: ConnectionId) -> Option<Connection> {
        let slot = self.slot(id)?;
        // Handed over while the connection was ending: never submitted, hence not reported.
        for transaction in self.connections[slot].transactions.clone() {
            let id = self.transactions[transaction as usize].name;
            let report = Report { id, outcome: Outcome::NotSent, exceptions: Vec::new() };
            self.handle_report(self.connections[slot].id, report);
        }
        let connection = self.connections.remove(slot);
        *self.counts.connections.gauge(&connection) -= 1;
        let site = &mut self.sites[connection.site as usize];
        site.connections.retain(|s| *s as usize != slot);
        site.caller.take_if(|caller| caller.connection == id);
        if matches!(connection.phase, Phase::Connecting) {
            site.connecting -= 1;
        }
        if connection.of_use {
            let working = self.connections_at_work(connection.site);
            self.sites[connection.site as usize].capacity.end(working);
        }
        Some(connection)
    }

    /// Learns from its end how the host is to be spoken to; whether that was new, and explains the end.
    fn learn(&mut self, connection: &Connection, stage: Stage, cause: &Cause) -> bool {
        let now = self.now.mono;
        let site = &mut self.sites[connection.site as usize];
        let host = &mut site.hosts[connection.host_index];
        match connection.phase {
            Phase::Ready | Phase::Closing if manner::is_misbehaviour(stage, cause, connection.of_use) => {
                host.learnt.step_down(connection.manner, now)
            }
            Phase::Connecting if verdict::is_closed_at_hello(stage, cause) => {
                let protocol = host.protocol();
                let login = site.key.policy.as_ref().is_some_and(|policy| policy.login.is_some());
                // If HELO fares no better, EHLO was not the reason.
                connection.may_say_helo(protocol, login)
                    && host.learnt.change_hello(connection.manner, now)
                    && connection.manner.extended
            }
            _ => false,
        }
    }

    /// Holds the end of a connection that we did not close against whom it concerns; `learnt`: it is explained.
    fn blame(&mut self, connection: &Connection, stage: Stage, cause: &Cause, learnt: bool) {
        let end = verdict::on_closed(stage, cause, connection.reached(self.now.mono));
        if end == End::Fair {
            return;
        }
        let peer = match connection.address {
            Some(ip) => format!("{}[{ip}]", connection.host),
            None => connection.host.to_string(),
        };
        let now = self.now.mono;
        let others_work = self.others_work(connection);
        let site = &mut self.sites[connection.site as usize];
        site.last_error = Some(verdict::tell_closed(&peer, stage, cause));
        self.note_failure(connection.site);
        let site = &mut self.sites[connection.site as usize];
        if end == End::TlsFailed && connection.tls_policy == TlsPolicy::Opportunistic {
            site.hosts[connection.host_index].avoid_tls(now);
            return;
        }
        if end == End::TlsFailed {
            site.capacity.rule_out();
        }
        // Tried again at once in the plainer manner, unless another host may do better.
        if learnt && (end != End::HostSuspect || site.hosts.len() == 1) {
            return;
        }
        if let Target::OnDemand(_) = site.key.target {
            return;
        }
        let host = &mut site.hosts[connection.host_index];
        let pause = match connection.address {
            Some(ip) => host.address_mut(ip).map(|address| &mut address.pause),
            None => Some(&mut host.pause),
        };
        match (pause, end) {
            (Some(pause), End::HostSuspect) => pause.suspect(now),
            // One of many went wrong: a host that fails now and then is no host that is down.
            (Some(pause), _) if others_work => pause.suspect(now),
            (Some(pause), _) => pause.fail(now),
            // DNS names the address no more.
            (None, _) => {}
        }
    }

    /// A host of the site failed.
    pub(super) fn note_failure(&mut self, id: SiteId) {
        if self.connections_at_work(id) == 0 {
            self.sites[id as usize].fail_host(self.now.mono);
        }
    }

    /// Whether other connections to the same address are of use.
    fn others_work(&self, connection: &Connection) -> bool {
        let mut others =
            self.sites[connection.site as usize].connections.iter().map(|s| &self.connections[*s as usize]);
        others.any(|other| {
            other.is_at_work() && (other.host_index, other.address) == (connection.host_index, connection.address)
        })
    }

    /// A connection led back to this server: that host is no way, and none that is not preferred to it.
    pub(super) fn handle_ourselves(&mut self, id: ConnectionId) {
        let Some(slot) = self.slot(id) else { return };
        let connection = &self.connections[slot];
        let (site, host) = (connection.site, connection.host_index);
        self.sites[site as usize].hosts[host].is_ours(self.now.mono);
        self.close(slot);
        self.wake(site);
    }

    /// A connection was of use: its address is sound.
    pub(super) fn absolve(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        if std::mem::replace(&mut connection.of_use, true) {
            return;
        }
        let id = connection.site;
        let working = self.connections_at_work(id);
        let connection = &self.connections[slot];
        let site = &mut self.sites[id as usize];
        site.capacity.succeed(working, self.now.mono);
        if site.backoff.take_if(|until| *until > self.now.mono).is_some() {
            // All others failed, but this one was on its way.
            (site.proven, site.failed, site.doomed) = (true, false, false);
            site.capacity.limit(working, self.now.mono);
        }
        (site.last_error, site.failing) = (None, None);
        let host = &mut site.hosts[connection.host_index];
        host.pause.clear();
        if let Some(address) = connection.address.and_then(|ip| host.address_mut(ip)) {
            address.pause.clear();
        }
    }

    /// Connections of the site that are of use.
    pub(super) fn connections_at_work(&self, id: SiteId) -> usize {
        let slots = self.sites[id as usize].connections.iter();
        slots.filter(|slot| self.connections[**slot as usize].is_at_work()).count()
    }

    /// All hosts of the site failed: no connection before `until`, and unless one is left that works, what is ready is
    /// deferred as a whole.
    pub(super) fn fail_site(&mut self, id: SiteId, until: Instant) {
        let site = &mut self.sites[id as usize];
        (site.proven, site.failed, site.failing) = (false, true, None);
        site.backoff = Some(until);
        self.timers.arm(&mut site.armed, until, Timer::Site(id));
        site.doomed = true;
        self.defer_doomed(id);
    }

    /// Defers what is ready at a site whose hosts all failed, once no connection is left.
    pub(super) fn defer_doomed(&mut self, id: SiteId) {
        let site = &mut self.sites[id as usize];
        let alive = |slot: &u32| self.connections[*slot as usize].is_alive();
        let pausing = site.backoff.is_some_and(|until| until > self.now.mono);
        if !site.doomed || !pausing || site.connections.iter().any(alive) {
            return;
        }
        site.doomed = false;
        let reply = site.last_error.clone().unwrap_or(Reply::fixed(451, EnhancedCode(4, 4, 1), "no host answers"));
        let nonexistent = site.hosts.iter().all(|h| h.nonexistent);
        let (fate, reply) = match host::all_lead_back(&site.hosts, self.now.mono) {
            true => verdict::on_route(&dns::MxFailure::Loop),
            false if nonexistent => (Fate::Bounce, reply),
            false => (Fate::Retry, reply),
        };
        for delivery in site.take_ready() {
            self.fail_delivery(delivery, fate, &reply, id);
        }
    }

    /// A ready delivery ends without having been tried.
    pub(super) fn fail_delivery(&mut self, delivery: DeliveryId, fate: Fate, reply: &Reply, site: SiteId) {
        let name: Arc<str> = self.sites[site as usize].name.clone();
        for held in std::mem::take(&mut self.messages.deliveries[delivery as usize].entries) {
            self.fail_waiting(held, fate, reply, Some(&name));
        }
        self.end_delivery(delivery);
    }

    /// The waiting recipients of an entry fail without having been tried, at their site or for want of one.
    pub(super) fn fail_waiting(&mut self, held: u32, fate: Fate, reply: &Reply, site: Option<&Arc<str>>) {
        let recipients = self.withdraw(held);
        let domain = self.messages.held[held as usize].domain;
        let site = site.unwrap_or(&self.domains[domain].name.0).clone();
        let trace = Trace::of_site(site);
        self.fail(held, recipients, fate, reply, &trace);
    }

    pub(super) fn handle_drain(&mut self) {
        self.draining = true;
        let slots: Vec<usize> = self.connections.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.close(slot);
        }
    }
}
