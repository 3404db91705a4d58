//! What is on disk comes into memory: entries that are due, contents whose turn is near.

use super::bounds::{self, FETCH_BATCH, MAX_FETCHES, READY_OF_FLOW};
use super::domain::{DomainId, Route};
use super::message::{MessageIndex, Place};
use super::site::SiteId;
use super::timer::Timer;
use super::{Action, Dispatch};
use crate::limit::Limit;
use queue::{Content, Domain, Entry, EntryKey, Flow, MessageId};
use smtp::Reply;
use smtp::reply::EnhancedCode;
use std::sync::Arc;

impl Dispatch {
    /// Something of the domain is due on disk: it is listed where it will be fetched.
    pub(super) fn make_due(&mut self, domain: DomainId) {
        let state = &self.domains[domain];
        if state.is_fetching() || state.listed || self.draining {
            return;
        }
        if !state.is_spilled(self.now.wall_ms()) {
            return self.await_due(domain);
        }
        if state.route_until().is_none_or(|until| until <= self.now.mono) {
            self.ask(domain);
        }
        let state = &mut self.domains[domain];
        match &state.route {
            Route::To { site, .. } => {
                let site = *site;
                state.listed = true;
                self.sites[site as usize].spilled.push(state.flow, domain);
                self.wake(site);
            }
            Route::Failed(_) => {
                state.listed = true;
                self.fetch_domains.push_back(domain);
            }
            // It is listed when the answer is there.
            Route::Unknown | Route::Asking => {}
        }
    }

    /// The domain is looked at again when what it has on disk is due. It may have been due before: clocks are set back.
    pub(super) fn await_due(&mut self, domain: DomainId) {
        let due_ms = self.domains[domain].next_due_ms;
        if due_ms != u64::MAX {
            let look = bounds::DUE_LOOK.mul_f64(1.0 + self.rng.f64());
            let at = self.now.instant_of(due_ms).min(self.now.mono + look);
            self.timers.arm(&mut self.domains[domain].armed, at, Timer::Domain(domain));
        }
    }

    /// The site waits for a fetch if it has room for one worth its while. Returns the limit because of which it does not.
    pub(super) fn want_fetch(&mut self, id: SiteId) -> Option<Limit> {
        let site = &mut self.sites[id as usize];
        if site.spilled.is_empty() || site.wants_fetch {
            return None;
        }
        if let Some(until) = site.backoff.filter(|until| *until > self.now.mono) {
            self.timers.arm(&mut site.armed, until, Timer::Site(id));
            return Some(Limit::Backoff);
        }
        let is_half_empty = site.room(self.kept) * 2 >= bounds::share(self.kept).max(2);
        let is_short = |flow| site.room_beside_others(flow) * 2 >= bounds::READY_OF_FLOW;
        if !is_half_empty && !site.neediest().is_some_and(is_short) {
            return None;
        }
        site.wants_fetch = true;
        self.fetch_sites.push_back(id);
        None
    }

    /// Starts the next fetch, if one waits and there is room.
    pub(super) fn fetch_next(&mut self) -> bool {
        if self.fetching >= MAX_FETCHES || self.settles.are_too_many() {
            return false;
        }
        if let Some(domain) = self.fetch_domains.pop_front() {
            let valid = |d: &super::domain::DomainState| d.listed && matches!(d.route, Route::Failed(_));
            if self.domains.slab.get(domain as usize).is_some_and(valid) {
                self.fetch(domain, None, FETCH_BATCH);
            }
            return true;
        }
        let Some(id) = self.fetch_sites.pop_front() else { return false };
        let site = &mut self.sites[id as usize];
        site.wants_fetch = false;
        if let Some(flow) = site.neediest() {
            // What room there is, is not for one flow alone.
            let room = site.room(self.kept);
            let share = (room / site.spilled.flows()).max(room.min(READY_OF_FLOW));
            let room = share.max(site.room_beside_others(flow)).min(FETCH_BATCH);
            if room > 0
                && let Some(domain) = self.next_spilled(id, flow)
            {
                self.fetch(domain, Some(id), room);
            }
        }
        self.wake(id);
        true
    }

    /// The site's next domain with something of the flow due on disk. The list may name domains that are elsewhere by now.
    fn next_spilled(&mut self, id: SiteId, flow: Flow) -> Option<DomainId> {
        loop {
            let domain = self.sites[id as usize].spilled.pop(flow)?;
            if let Some(state) = self.domains.slab.get_mut(domain as usize)
                && state.site() == Some(id)
                && std::mem::take(&mut state.listed)
                && !state.is_fetching()
            {
                if state.is_spilled(self.now.wall_ms()) {
                    return Some(domain);
                }
                self.await_due(domain);
            }
        }
    }

    fn fetch(&mut self, domain: DomainId, site: Option<SiteId>, room: usize) {
        let state = &mut self.domains[domain];
        state.listed = false;
        state.fetching = room as u32;
        state.fetch_for = site;
        state.noted_ms = u64::MAX;
        if let Some(site) = site {
            self.sites[site as usize].fetching += room;
        }
        self.fetching += 1;
        self.actions.push_back(Action::Fetch {
            domain: state.name.clone(),
            flow: state.flow,
            until_ms: self.now.wall_ms(),
            limit: room + state.held as usize,
        });
    }

    pub(super) fn handle_fetched(
        &mut self,
        name: &Domain,
        flow: Flow,
        entries: Vec<(EntryKey, Entry)>,
        more: bool,
        next_due_ms: Option<u64>,
    ) {
        let found = self.domains.find(name.as_str(), flow);
        let Some(domain) = found.filter(|d| self.domains[*d].is_fetching()) else { return };
        self.fetching -= 1;
        let state = &mut self.domains[domain];
        let room = std::mem::take(&mut state.fetching) as usize;
        let rest = if more { self.now.wall_ms() } else { next_due_ms.unwrap_or(u64::MAX) };
        // Until the entries are taken, it counts as spilled no more: they are placed like new ones.
        state.next_due_ms = u64::MAX;
        let due_ms = rest.min(std::mem::replace(&mut state.noted_ms, u64::MAX));
        if let Some(site) = state.fetch_for.take() {
            self.sites[site as usize].fetching -= room;
            self.wake(site);
        }
        if !self.draining {
            for (key, entry) in entries {
                if self.messages.find_held(domain, key.due_ms, key.id).is_none() {
                    let message = self.messages.message(key.id, entry.location, entry.body_bytes);
                    self.hold(domain, message, &key, entry);
                }
            }
        }
        self.note_due(domain, due_ms);
        self.end_lingering(domain);
        self.review_vacancy(domain);
    }

    /// Has a message's content read back. The message is kept until the answer.
    pub(super) fn load(&mut self, message: MessageIndex) {
        let state = &mut self.messages.slab[message as usize];
        if state.loading || state.content.is_some() {
            return;
        }
        state.loading = true;
        state.held += 1;
        self.messages.loading_bytes += state.body_bytes as usize;
        self.actions.push_back(Action::Load(state.id, state.location));
    }

    pub(super) fn handle_loaded(&mut self, id: MessageId, result: Result<Arc<Content>, Arc<str>>) {
        let Some(message) = self.messages.find(id).filter(|m| self.messages.slab[*m as usize].loading) else { return };
        let readable = match result {
            Ok(content) => {
                self.messages.set_content(message, content);
                None
            }
            Err(why) => {
                Some(Reply::new(451, EnhancedCode(4, 3, 0), format!("the queue cannot read the message: {why}")))
            }
        };
        let state = &mut self.messages.slab[message as usize];
        state.loading = false;
        self.messages.loading_bytes -= state.body_bytes as usize;
        let failing = std::mem::take(&mut state.failing);
        for delivery in state.deliveries.clone() {
            if !std::mem::take(&mut self.messages.deliveries[delivery as usize].loading) {
                continue;
            }
            let site = self.messages.deliveries[delivery as usize].site;
            self.sites[site as usize].loading -= 1;
            match &readable {
                None => {
                    self.line_up(delivery, false);
                    // Its site failed while it was being read: it shares that fate, rather than wait out the pause.
                    self.sites[site as usize].doomed |= self.sites[site as usize].failed;
                    self.defer_doomed(site);
                }
                Some(reply) => self.fail_delivery(delivery, crate::verdict::Fate::Retry, reply, site),
            }
            self.wake(site);
        }
        for failing in failing {
            self.fail_late(failing);
        }
        self.messages.slab[message as usize].held -= 1;
        self.messages.release_message(message);
    }

    /// Takes everything of the site that is not in flight back to disk.
    pub(super) fn put_site_back(&mut self, id: SiteId) {
        for delivery in self.sites[id as usize].take_ready() {
            for held in self.messages.deliveries[delivery as usize].entries.clone() {
                debug_assert!(self.messages.held[held as usize].place == Place::Ready(delivery));
                self.put_back(held);
            }
            if self.messages.deliveries[delivery as usize].entries.is_empty() {
                self.end_delivery(delivery);
            } else {
                self.line_up(delivery, false);
            }
        }
    }
}
