//! A site's turn: hand over what connections have credit for, open more, read ahead, fetch; and name what binds.

use super::bounds::{LOAD_AHEAD, LOADED_ENOUGH, THROTTLED};
use super::connection::{self, Phase, Transaction};
use super::message::{DeliveryId, HeldId, Place};
use super::site::{SiteId, Target};
use super::timer::Timer;
use super::{Action, Deliver, Dispatch};
use crate::limit::{Binding, Limit};
use queue::RecipientSet;
use smallvec::SmallVec;
use std::time::Duration;

/// A look for the connection with the most credit goes through so many at most.
const LOOK: usize = 64;

impl Dispatch {
    pub(super) fn turn(&mut self, id: SiteId) {
        let site = &mut self.sites[id as usize];
        site.in_wake = false;
        let mut binding = Binding::NONE;
        if site.limits.suspend {
            self.put_site_back(id);
            let site = &self.sites[id as usize];
            if site.ready() > 0 || !site.spilled.is_empty() {
                binding = Limit::Suspend.into();
            }
        } else if self.settles.are_too_many() && site.has_more() {
            binding = self.hold_up(id).into();
        } else if site.key.target == Target::Discard {
            self.discard(id);
            self.read_ahead(id);
            self.want_fetch(id);
        } else if matches!(site.key.target, Target::OnDemand(_)) {
            binding = self.serve_caller(id);
        } else {
            if self.hand_over(id) {
                binding = Limit::Rate.into();
            }
            self.read_ahead(id);
            self.serve_strict(id);
            if let Some(limit) = self.open_connections(id, binding.contains(Limit::Rate)) {
                binding = binding.with(limit);
            }
            if let Some(limit) = self.want_fetch(id) {
                binding = binding.with(limit);
            }
        }
        // What was ready may just have been deferred.
        let waits = self.sites[id as usize].has_more();
        self.bind(id, if waits { binding } else { Binding::NONE });
        self.review_site(id);
    }

    /// Hands deliveries to connections while both last. Says whether the site's rate stopped it.
    pub(super) fn hand_over(&mut self, id: SiteId) -> bool {
        while let Some(delivery) = self.first_warm(id) {
            let Some(slot) = self.best_connection(id) else { return false };
            let site = &mut self.sites[id as usize];
            if let Err(at) = site.rate.check(self.now.mono) {
                self.timers.arm(&mut site.armed, at, Timer::Site(id));
                return true;
            }
            self.hand(id, slot, delivery, false);
        }
        false
    }

    /// How many of a delivery's entries, of one domain each, the connection takes beside the domains that it has seen: the
    /// host may limit those (RCPTDOMAINMAX, RFC 9422 §4).
    fn admit_domains(&mut self, slot: usize, delivery: DeliveryId) -> usize {
        let connection = &mut self.connections[slot];
        let Some(most) = connection.limits().recipient_domains else { return usize::MAX };
        let mut entries = 0;
        for held in &self.messages.deliveries[delivery as usize].entries {
            let domain = &self.domains[self.messages.held[*held as usize].domain].name;
            if !connection.domains.contains(domain) {
                if connection.domains.len() >= most as usize {
                    break;
                }
                connection.domains.push(domain.clone());
            }
            entries += 1;
        }
        entries
    }

    /// The next delivery whose content is in memory.
    pub(super) fn first_warm(&mut self, id: SiteId) -> Option<DeliveryId> {
        self.first_of(id, false)
    }

    /// The first delivery of a list. Withdrawn ones are dropped on the way.
    pub(super) fn first_of(&mut self, id: SiteId, strict: bool) -> Option<DeliveryId> {
        loop {
            let delivery = self.sites[id as usize].list(strict).front()?;
            if !self.messages.deliveries[delivery as usize].entries.is_empty() {
                return Some(delivery);
            }
            self.sites[id as usize].list(strict).pop_front();
            self.end_delivery(delivery);
        }
    }

    pub(super) fn end_delivery(&mut self, delivery: DeliveryId) {
        self.messages.end_delivery(delivery);
        self.kept -= 1;
    }

    /// The connection with credit that has the least to do.
    fn best_connection(&self, id: SiteId) -> Option<usize> {
        let slots = &self.sites[id as usize].connections;
        let mut best: Option<(usize, usize)> = None;
        for slot in slots.iter().take(LOOK) {
            let connection = &self.connections[*slot as usize];
            let load = connection.transactions.len();
            if connection.is_for_any() && connection.credit() > 0 && best.is_none_or(|(_, least)| load < least) {
                best = Some((*slot as usize, load));
                if load == 0 {
                    break;
                }
            }
        }
        // Those looked at first are all busy: with very many connections, any other one with credit will do.
        let free = |slot: &&u32| {
            let connection = &self.connections[**slot as usize];
            connection.is_for_any() && connection.credit() > 0
        };
        let more = || slots.iter().skip(LOOK).find(free);
        best.map(|(slot, _)| slot).or_else(|| more().map(|s| *s as usize))
    }

    /// Hands as many of the delivery's recipients to the connection as go into one transaction. If it takes none of their
    /// domains any more, it ends, and another one will.
    pub(super) fn hand(&mut self, id: SiteId, slot: usize, delivery: DeliveryId, strict: bool) {
        let entries = self.admit_domains(slot, delivery);
        if entries == 0 {
            return self.close(slot);
        }
        self.sites[id as usize].rate.take(self.now.mono);
        let limits = self.connections[slot].limits();
        let most = self.sites[id as usize].recipients_per_transaction(self.now.mono);
        let most = most.min(limits.recipients.map_or(usize::MAX, |most| most as usize));
        let parts = self.take_parts(delivery, most, entries);
        let state = &self.messages.deliveries[delivery as usize];
        let (message, is_last) = (state.message, state.entries.is_empty());
        let Some(content) = self.messages.slab[message as usize].content.clone() else {
            unreachable!("a warm delivery's content is in memory for as long as its message is")
        };
        self.sites[id as usize].list(strict).serve(content.body.len(), is_last);
        if is_last {
            self.end_delivery(delivery);
        }
        let recipients = match &parts[..] {
            [(_, only)] => only.clone(),
            several => several.iter().flat_map(|(_, part)| part.iter()).collect(),
        };
        self.counts.ready -= recipients.len() as u64;
        self.counts.active += recipients.len() as u64;
        let serial = self.next_serial();
        let entry = self.transactions.vacant_entry();
        let name = connection::name(serial, entry.key());
        let transaction_slot = entry.key() as u32;
        let body_bytes = content.body.len();
        entry.insert(Transaction { name, content: content.clone(), parts, handed: self.now });
        self.sites[id as usize].active += 1;
        let connection = self.connections[slot].id;
        self.change_connection(slot, |c| {
            c.transactions.push(transaction_slot);
            c.bytes_ahead += body_bytes;
            c.handed += 1;
        });
        self.actions.push_back(Action::Deliver(Deliver { connection, transaction: name, content, recipients }));
        if self.connections[slot].handed >= self.connections[slot].most {
            self.close(slot);
        }
    }

    /// Takes up to `most` waiting recipients of so many entries out of a delivery; entries with none left leave it.
    fn take_parts(
        &mut self,
        delivery: DeliveryId,
        most: usize,
        most_entries: usize,
    ) -> SmallVec<[(HeldId, RecipientSet); 1]> {
        let mut parts = SmallVec::new();
        let mut room = most;
        let entries = &mut self.messages.deliveries[delivery as usize].entries;
        while let (Some(held), true) = (entries.first().copied(), room > 0 && parts.len() < most_entries) {
            let state = &mut self.messages.held[held as usize];
            let part = if state.waiting.len() <= room {
                state.place = Place::Nowhere;
                entries.remove(0);
                std::mem::take(&mut state.waiting)
            } else {
                let part: RecipientSet = state.waiting.iter().take(room).collect();
                state.waiting.subtract(&part);
                part
            };
            room -= part.len();
            parts.push((held, part));
        }
        parts
    }

    /// Has contents read back for the next cold deliveries, a few ahead of their turn.
    pub(super) fn read_ahead(&mut self, id: SiteId) {
        loop {
            let site = &mut self.sites[id as usize];
            if site.loading >= if site.warm.len() < LOADED_ENOUGH { LOAD_AHEAD } else { 1 } {
                return;
            }
            let over = self.messages.body_bytes + self.messages.loading_bytes >= self.config.queue.body_cache_bytes;
            if over && (site.loading > 0 || !site.warm.is_empty()) {
                return;
            }
            let Some(delivery) = site.cold.front() else { return };
            let state = &mut self.messages.deliveries[delivery as usize];
            let is_withdrawn = state.entries.is_empty();
            let octets = if is_withdrawn { 0 } else { self.messages.slab[state.message as usize].body_bytes };
            site.cold.serve(octets as usize, true);
            if is_withdrawn {
                self.end_delivery(delivery);
            } else if self.messages.slab[state.message as usize].content.is_some() {
                self.line_up(delivery, false);
                self.wake(id);
            } else {
                state.loading = true;
                site.loading += 1;
                let message = state.message;
                self.load(message);
            }
        }
    }

    /// Notes which limits keep the site waiting from now on.
    pub(super) fn bind(&mut self, id: SiteId, binding: Binding) {
        let now = self.now.mono;
        let site = &mut self.sites[id as usize];
        let since = *site.bound_since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        if site.binding == binding && (binding.is_empty() || waited < THROTTLED.1) {
            if binding.is_empty() {
                site.bound_since = None;
            }
            return;
        }
        for limit in site.binding.iter() {
            site.throttled[limit as usize] += waited;
        }
        site.binding = binding;
        site.bound_since = (!binding.is_empty()).then_some(now);
        self.report_throttled(id, false);
    }

    /// Reports throttled time that has added up to enough, or all of it.
    pub(super) fn report_throttled(&mut self, id: SiteId, all: bool) {
        let site = &mut self.sites[id as usize];
        for limit in Limit::ALL {
            let waited = &mut site.throttled[limit as usize];
            if *waited >= THROTTLED.0 || (all && !waited.is_zero()) {
                let (site, waited) = (site.name.clone(), std::mem::replace(waited, Duration::ZERO));
                self.actions.push_back(Action::Throttled { site, limit: limit.name(), waited });
            }
        }
    }

    /// No more transactions on this connection: it ends after those it has.
    pub(super) fn close(&mut self, slot: usize) {
        let id = self.connections[slot].id;
        let next = match self.connections[slot].phase {
            Phase::Connecting => {
                self.sites[self.connections[slot].site as usize].connecting -= 1;
                Phase::Abandoned
            }
            Phase::Ready => Phase::Closing,
            Phase::Closing | Phase::Abandoned => return,
        };
        self.change_connection(slot, |c| c.phase = next);
        self.actions.push_back(Action::Close(id));
    }
}
