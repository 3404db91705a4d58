//! Entries come in: committed, or known to be on disk. Routed ones join the ready list of their site.

use super::Dispatch;
use super::bounds;
use super::domain::{DomainId, Route};
use super::message::{Delivery, DeliveryId, Held, HeldId, MessageIndex, Place};
use super::site::SiteId;
use super::strict;
use crate::verdict::Fate;
use queue::{Committed, Content, Domain, Entry, EntryKey, Flow};
use smallvec::smallvec;
use std::sync::Arc;

impl Dispatch {
    pub(super) fn handle_committed(&mut self, list: Vec<Committed>) {
        if self.draining {
            return;
        }
        for committed in list {
            for (key, entry) in committed.entries {
                let domain = self.domains.get_or_insert(&key.domain, key.flow);
                if key.due_ms > self.now.wall_ms() || !self.has_room(domain) {
                    self.note_due(domain, key.due_ms);
                    continue;
                }
                let message = self.messages.message(key.id, entry.location, entry.body_bytes);
                if self.messages.slab[message as usize].content.is_none()
                    && self.messages.body_bytes + committed.content.body.len() <= self.config.queue.body_cache_bytes
                {
                    let content = self.without_its_buffer(&committed.content);
                    self.messages.set_content(message, content);
                }
                self.hold(domain, message, &key, entry);
            }
        }
    }

    /// Where many wait, the content in a buffer of its own.
    fn without_its_buffer(&self, content: &Arc<Content>) -> Arc<Content> {
        if self.messages.contents < bounds::UNCOPIED || content.body.len() >= bounds::COPIED_OCTETS {
            return content.clone();
        }
        Arc::new(Content { body: content.body.detached(), ..(**content).clone() })
    }

    pub(super) fn handle_backlog(&mut self, flows: Vec<(Domain, Flow, u64)>) {
        for (name, flow, due_ms) in flows {
            let domain = self.domains.get_or_insert(&name, flow);
            self.note_due(domain, due_ms);
            self.review_vacancy(domain);
        }
    }

    /// Whether another entry of the domain's flow may be kept in memory. Not while some are left on disk: they go first.
    fn has_room(&self, domain: DomainId) -> bool {
        let state = &self.domains[domain];
        if state.is_spilled(self.now.wall_ms()) {
            return false;
        }
        match state.route {
            Route::To { site, until } if until > self.now.mono => {
                let site = &self.sites[site as usize];
                site.room(self.kept) > 0 || site.room_beside_others(state.flow) > 0
            }
            _ => state.waiting.len() < bounds::share(self.kept),
        }
    }

    /// Takes an entry into memory, unless it is there.
    pub(super) fn hold(&mut self, domain: DomainId, message: MessageIndex, key: &EntryKey, entry: Entry) {
        let recipients = entry.open.len();
        let held = Held::new(message, domain, key.due_ms, &entry);
        match self.messages.hold(Held { waiting: entry.open, ..held }) {
            Some(held) => {
                self.domains[domain].held += 1;
                self.counts.ready += recipients as u64;
                self.place(held, false);
            }
            None => self.messages.release_message(message),
        }
    }

    /// Puts an entry with waiting recipients where they wait: ready at the site, or with the domain for its route.
    pub(super) fn place(&mut self, held: HeldId, first: bool) {
        let domain = self.messages.held[held as usize].domain;
        if self.domains[domain].route_until().is_none_or(|until| until <= self.now.mono) {
            self.ask(domain);
        }
        match &self.domains[domain].route {
            Route::To { site, .. } => {
                let site = *site;
                match self.must_wait(site, domain) {
                    Some(reply) => {
                        let name = self.sites[site as usize].name.clone();
                        self.fail_waiting(held, Fate::Retry, &reply, Some(&name));
                    }
                    None => self.enqueue(held, site, first),
                }
            }
            Route::Failed(failure) => {
                let (fate, reply) = (failure.fate, failure.reply.clone());
                self.fail_waiting(held, fate, &reply, None);
            }
            Route::Unknown | Route::Asking => {
                self.domains[domain].waiting.push(held);
                self.messages.held[held as usize].place = Place::Domain;
                self.kept += 1;
            }
        }
    }

    /// Joins the message's ready delivery at the site, or becomes one.
    fn enqueue(&mut self, held: HeldId, site_id: SiteId, first: bool) {
        let state = &self.messages.held[held as usize];
        let (message, flow) = (state.message, self.domains[state.domain].flow);
        let delivery = match self.messages.delivery_at(message, site_id) {
            Some(delivery) => {
                self.messages.deliveries[delivery as usize].entries.push(held);
                delivery
            }
            None => {
                let delivery = Delivery { message, site: site_id, flow, entries: smallvec![held], loading: false };
                let delivery = self.messages.deliveries.insert(delivery) as u32;
                self.messages.slab[message as usize].deliveries.push(delivery);
                self.line_up(delivery, first);
                self.kept += 1;
                delivery
            }
        };
        self.messages.held[held as usize].place = Place::Ready(delivery);
        self.wake(site_id);
    }

    /// Puts a delivery into that list of its site where it belongs, behind all of the same flow, or ahead of them.
    pub(super) fn line_up(&mut self, delivery: DeliveryId, first: bool) {
        let Delivery { message, site, flow, .. } = self.messages.deliveries[delivery as usize];
        let site = &mut self.sites[site as usize];
        let list = match &self.messages.slab[message as usize].content {
            None => &mut site.cold,
            Some(content) => {
                let strict = strict::is_strict(content, &site.hosts, self.now.mono);
                site.list(strict)
            }
        };
        list.push(flow, delivery, first);
    }

    /// Recipients that were in a transaction wait again, ahead of others.
    pub(super) fn restore(&mut self, held: HeldId, recipients: queue::RecipientSet) {
        self.counts.ready += recipients.len() as u64;
        let state = &mut self.messages.held[held as usize];
        if state.waiting.is_empty() {
            state.waiting = recipients;
        } else {
            state.waiting.union(&recipients);
        }
        if state.place == Place::Nowhere && !self.draining {
            self.place(held, true);
        }
    }

    /// Takes an entry out of where it waits, with its waiting recipients.
    pub(super) fn withdraw(&mut self, held: HeldId) -> queue::RecipientSet {
        let state = &mut self.messages.held[held as usize];
        let recipients = std::mem::take(&mut state.waiting);
        self.counts.ready -= recipients.len() as u64;
        self.take_from_place(held);
        recipients
    }

    /// Its recipients wait nowhere from now on.
    fn take_from_place(&mut self, held: HeldId) {
        let state = &mut self.messages.held[held as usize];
        match std::mem::replace(&mut state.place, Place::Nowhere) {
            Place::Nowhere => {}
            Place::Domain => {
                self.domains[state.domain].waiting.retain(|h| *h != held);
                self.kept -= 1;
            }
            Place::Ready(delivery) => {
                if let Some(delivery) = self.messages.deliveries.get_mut(delivery as usize) {
                    delivery.entries.retain(|h| *h != held);
                }
            }
        }
    }

    /// Lets go of an entry that is settled, or that goes back to disk.
    pub(super) fn release(&mut self, held: HeldId) {
        self.note_let_go(held);
        let domain = self.messages.release(held);
        self.domains[domain].held -= 1;
        self.review_vacancy(domain);
    }

    /// An entry back to disk, if nothing of it is in flight. Its domain is then spilled. A fetch under way may have read it before
    /// a part of it was decided: then it is held until that is back.
    pub(super) fn put_back(&mut self, held: HeldId) {
        let state = &self.messages.held[held as usize];
        if state.open as usize != state.waiting.len() || state.settling > 0 {
            return;
        }
        let (domain, due_ms) = (state.domain, state.due_ms);
        self.note_due(domain, due_ms);
        if self.domains[domain].is_fetching() {
            self.take_from_place(held);
            self.linger(held);
        } else {
            self.withdraw(held);
            self.release(held);
        }
    }

    /// Lets go of an entry when the fetch under way is back.
    pub(super) fn linger(&mut self, held: HeldId) {
        let state = &mut self.messages.held[held as usize];
        if !std::mem::replace(&mut state.lingers, true) {
            self.domains[state.domain].lingering.push(held);
        }
    }

    /// The fetch that entries were held for is back. Operators may have taken some meanwhile: those are let go of when that is durable.
    pub(super) fn end_lingering(&mut self, domain: DomainId) {
        for held in std::mem::take(&mut self.domains[domain].lingering) {
            let state = &mut self.messages.held[held as usize];
            state.lingers = false;
            if state.settling == 0 && state.open as usize == state.waiting.len() {
                self.withdraw(held);
                self.note_let_go(held);
                self.messages.release(held);
                self.domains[domain].held -= 1;
            }
        }
    }

    /// Something of the domain is on disk, due at this time.
    pub(super) fn note_due(&mut self, domain: DomainId, due_ms: u64) {
        if due_ms == EntryKey::HELD {
            return;
        }
        let state = &mut self.domains[domain];
        if state.is_fetching() {
            state.noted_ms = state.noted_ms.min(due_ms);
        }
        state.next_due_ms = state.next_due_ms.min(due_ms);
        if due_ms <= self.now.wall_ms() {
            self.make_due(domain);
        } else {
            self.await_due(domain);
        }
    }
}
