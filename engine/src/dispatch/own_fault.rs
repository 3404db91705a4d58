//! Connections that could not be opened for a reason of our own: no file descriptor or buffer is left, a source address is away, a
//! rule of this machine forbids it. That is no host's fault, so no host is left alone for longer and longer because of it.
//!
//! A source address that is away is passed over for a moment, where there is another one; else the address that was to be
//! connected to, so that the host's next one has its turn, or the next host. When nothing is left to try, the site waits, and what is
//! ready for it with it. After a minute of that its mail is deferred, as that of a site where no host answers, so that it leaves the
//! memory, its senders hear of the delay, and it expires in the end; but connections are tried again as soon as before.

use super::bounds::{OWN_FAULT, OWN_FAULT_TOLD};
use super::site::SiteId;
use super::timer::Timer;
use super::{Action, ConnectionId, Dispatch};
use crate::verdict;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a connection could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFault {
    /// It is for the source address.
    pub is_source_away: bool,
    /// What the system says of it.
    pub why: Arc<str>,
}

/// What is known of them.
#[derive(Default)]
pub(super) struct OwnFaults {
    /// Source addresses that are passed over until then.
    away: Vec<(IpAddr, Instant)>,
    /// What the operator has been told, and when.
    told: Vec<(Option<IpAddr>, Arc<str>, Instant)>,
}

impl OwnFaults {
    pub(super) fn is_away(&self, source: IpAddr, now: Instant) -> bool {
        self.away.iter().any(|(away, until)| *away == source && *until > now)
    }
    fn pass_over(&mut self, source: IpAddr, now: Instant) {
        self.away.retain(|(away, until)| *until > now && *away != source);
        self.away.push((source, now + OWN_FAULT.0));
    }
    /// Whether the operator has to be told.
    fn is_news(&mut self, source: Option<IpAddr>, why: &Arc<str>, now: Instant) -> bool {
        self.told.retain(|(_, _, at)| *at + OWN_FAULT_TOLD > now);
        let is_news = !self.told.iter().any(|told| (told.0, &told.1) == (source, why));
        if is_news {
            self.told.push((source, why.clone(), now));
        }
        is_news
    }
}

/// Attempts at a site that come to nothing, one after the other.
#[derive(Clone, Copy)]
pub(super) struct Standstill {
    since: Instant,
    /// The last such attempt.
    last: Instant,
}

impl Standstill {
    /// Another one came to nothing. After a while without any, it begins anew.
    pub(super) fn go_on(known: Option<Standstill>, now: Instant, a_while: Duration) -> Standstill {
        let since = known.filter(|known| known.last + a_while >= now).map_or(now, |known| known.since);
        Standstill { since, last: now }
    }
    pub(super) fn lasts(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

impl Dispatch {
    pub(super) fn handle_not_opened(&mut self, id: ConnectionId, fault: &OwnFault) {
        let Some(connection) = self.take_connection(id) else { return };
        let now = self.now.mono;
        let source = connection.source.filter(|_| fault.is_source_away);
        if self.own_faults.is_news(source, &fault.why, now) {
            self.actions.push_back(Action::NotOpened { source, why: fault.why.clone() });
        }
        if connection.is_alive() && !source.is_some_and(|source| self.has_source_but(source)) {
            let site = &mut self.sites[connection.site as usize];
            site.last_error = Some(verdict::tell_not_opened(&fault.why));
            site.standstill = Some(Standstill::go_on(site.standstill, now, OWN_FAULT.0 * 2));
            let host = &mut site.hosts[connection.host_index];
            match connection.address {
                Some(ip) => host.address_mut(ip).into_iter().for_each(|address| address.pause.pass_over(now)),
                None => host.pause.pass_over(now),
            }
        }
        if !self.draining {
            self.defer_doomed(connection.site);
        }
        self.wake(connection.site);
    }

    /// This source address is passed over. Whether another one of its family is left.
    fn has_source_but(&mut self, source: IpAddr) -> bool {
        let now = self.now.mono;
        self.own_faults.pass_over(source, now);
        let mut others = self.config.delivery.source_addresses.iter();
        others.any(|other| other.is_ipv4() == source.is_ipv4() && !self.own_faults.is_away(*other, now))
    }

    /// Nothing is left to try at the site before `until`. Whether it waits, as it does for a fault of our own while something
    /// works, or that is not old.
    pub(super) fn waits_out_own_fault(&mut self, id: SiteId, until: Instant) -> bool {
        let (working, now) = (self.connections_at_work(id), self.now.mono);
        let site = &mut self.sites[id as usize];
        let patient = |still: &Standstill| working > 0 || still.lasts(now) < OWN_FAULT.1;
        let Some(still) = site.standstill.filter(|still| now < still.last + OWN_FAULT.0 && patient(still)) else {
            return false;
        };
        self.timers.arm(&mut site.armed, until.min(still.last + OWN_FAULT.0), Timer::Site(id));
        true
    }
}
