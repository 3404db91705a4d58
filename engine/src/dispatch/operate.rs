//! What operators do to entries. Recipients in a transaction are left alone: their outcome is being spoken of.

use super::domain::DomainId;
use super::message::{Held, HeldId};
use super::outcome::Trace;
use super::{Dispatch, Kind, Operation};
use queue::store::Retry;
use queue::{Entry, EntryKey, RecipientSet};

impl Dispatch {
    pub(super) fn handle_operation(&mut self, operation: Operation) {
        match operation {
            Operation::Retry(entries) => self.hurry(entries),
            Operation::Hold(entries) => {
                for (key, entry) in entries {
                    self.move_to(key, entry, EntryKey::HELD);
                }
            }
            Operation::Release(entries) => {
                let now_ms = self.now.wall_ms();
                for (key, entry) in entries {
                    if key.due_ms == EntryKey::HELD {
                        self.move_to(key, entry, now_ms);
                    }
                }
            }
            Operation::Remove(entries) => {
                for (key, entry) in entries {
                    self.remove(key, entry);
                }
            }
        }
    }

    /// Due now, and no host is left alone any longer. What is just being deferred is due when that is on disk.
    pub(super) fn hurry(&mut self, entries: Vec<(EntryKey, Entry)>) {
        let now_ms = self.now.wall_ms();
        for (key, entry) in entries {
            let domain = self.domains.find(key.domain.as_str(), key.flow);
            if let Some(held) = domain.and_then(|domain| self.messages.find_held(domain, key.due_ms, key.id)) {
                let state = &mut self.messages.held[held as usize];
                state.hurried |= state.settling > 0;
            }
            if let Some(site) = domain.and_then(|domain| self.domains[domain].site()) {
                let state = &mut self.sites[site as usize];
                state.backoff = None;
                for host in &mut state.hosts {
                    host.pause.lift();
                    host.ask_for_promise();
                    host.addresses.iter_mut().for_each(|a| a.pause.lift());
                }
                self.wake(site);
            }
            if key.due_ms > now_ms && key.due_ms != EntryKey::HELD {
                self.move_to(key, entry, now_ms);
            }
        }
    }

    /// Moves an entry's recipients that are in no transaction to another due time.
    fn move_to(&mut self, key: EntryKey, entry: Entry, due_ms: u64) {
        // Nothing to change; once held in memory, it would stay there and be deaf to all that comes later.
        if key.due_ms == due_ms {
            return;
        }
        let Some((held, recipients)) = self.take_hold(&key, &entry) else { return };
        let attempts = self.messages.held[held as usize].attempts;
        self.settle(
            held,
            RecipientSet::new(),
            Some(Retry { recipients, due_ms, attempts, last_error: entry.last_error, delay_told: entry.delay_told }),
        );
    }

    fn remove(&mut self, key: EntryKey, entry: Entry) {
        let Some((held, recipients)) = self.take_hold(&key, &entry) else { return };
        let trace = Trace::of_site(key.domain.0);
        for position in recipients.iter() {
            self.tell(held, position, Kind::Removed, None, &trace);
        }
        self.settle(held, recipients, None);
    }

    /// The entry, held, with those of its recipients that are in no transaction; `None` if there are none.
    fn take_hold(&mut self, key: &EntryKey, entry: &Entry) -> Option<(HeldId, RecipientSet)> {
        let domain = self.domains.get_or_insert(&key.domain, key.flow);
        if let Some(held) = self.messages.find_held(domain, key.due_ms, key.id) {
            let recipients = self.withdraw(held);
            return (!recipients.is_empty()).then_some((held, recipients));
        }
        let held = self.hold_aside(domain, key, entry);
        held.map(|held| (held, entry.open.clone()))
    }

    /// Holds an entry without putting it anywhere.
    fn hold_aside(&mut self, domain: DomainId, key: &EntryKey, entry: &Entry) -> Option<HeldId> {
        if entry.open.is_empty() {
            self.review_vacancy(domain);
            return None;
        }
        let message = self.messages.message(key.id, entry.location, entry.body_bytes);
        let held = self.messages.hold(Held::new(message, domain, key.due_ms, entry))?;
        self.domains[domain].held += 1;
        Some(held)
    }
}
