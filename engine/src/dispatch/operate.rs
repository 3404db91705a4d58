//! What operators do to entries. Recipients in a transaction are left alone: their outcome is being spoken of.

use super::domain::DomainId;
use super::message::{Held, HeldId};
use super::outcome::Trace;
use super::{Dispatch, Kind, Operation};
use queue::{Entry, EntryKey, Envelope, RecipientSet, Retry};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;

/// Whether its sender does not want it delivered yet (FUTURERELEASE, RFC 4865): then it counts as accepted when it is released.
/// What was tried is past that, whatever a clock says that was set back.
pub fn is_held_by_sender(entry: &Entry, now_ms: u64) -> bool {
    entry.attempts == 0 && entry.accepted_ms > now_ms
}

/// What was let go of lately, while somebody outside reads entries to operate on. A key that is in memory is acted on as
/// it is there; one that never was, as it was read. In between stand those that were let go of since they were read: what
/// was read of them may be out of date.
#[derive(Default)]
pub(super) struct Looks {
    open: u32,
    serial: u64,
    let_go: HashMap<EntryKey, u64>,
    /// The due times to which parts of entries moved.
    moved: HashMap<EntryKey, SmallVec<[u64; 1]>>,
}

impl Dispatch {
    /// From now on it is noted what is let go of. Returns the serial for [`Dispatch::was_let_go`].
    pub fn begin_look(&mut self) -> u64 {
        self.looks.open += 1;
        self.looks.serial
    }

    /// The end of [`Dispatch::begin_look`]. Looks may overlap.
    pub fn end_look(&mut self) {
        self.looks.open = self.looks.open.saturating_sub(1);
        if self.looks.open == 0 {
            self.looks.let_go = HashMap::new();
            self.looks.moved = HashMap::new();
        }
    }

    /// For what is read from now on.
    pub fn look_serial(&self) -> u64 {
        self.looks.serial
    }

    /// Whether an entry that was read after `since` has to be read again.
    pub fn was_let_go(&self, key: &EntryKey, since: u64) -> bool {
        self.looks.let_go.get(key).is_some_and(|serial| *serial > since) && !self.is_in_memory(key)
    }

    /// Where parts of an entry are that were deferred, or moved by operators, since some look began.
    pub fn moved_to(&self, key: &EntryKey) -> Vec<EntryKey> {
        let due_times = self.looks.moved.get(key).into_iter().flatten();
        due_times.map(|due_ms| EntryKey { due_ms: *due_ms, ..key.clone() }).collect()
    }

    /// Whether something of it was decided, and that is not known to be durable.
    pub fn is_settling(&self, key: &EntryKey) -> bool {
        self.held_at(key).is_some_and(|held| self.messages.held[held as usize].settling > 0)
    }

    pub(super) fn note_moved(&mut self, held: HeldId, due_ms: u64) {
        if self.looks.open > 0 {
            let key = self.key_of(held);
            self.looks.moved.entry(key).or_default().push(due_ms);
        }
    }

    pub(super) fn note_let_go(&mut self, held: HeldId) {
        if self.looks.open > 0 {
            let key = self.key_of(held);
            self.looks.serial += 1;
            self.looks.let_go.insert(key, self.looks.serial);
        }
    }

    /// The last settle that was decided, durable or not.
    pub fn last_settle(&self) -> u64 {
        self.settles.last()
    }

    /// Whether this settle and all before it are durable.
    pub fn is_settle_durable(&self, settle: u64) -> bool {
        self.settles.are_durable_to(settle)
    }

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
                        // An operator's hold ends, not that of the sender.
                        let due_ms = if is_held_by_sender(&entry, now_ms) { entry.accepted_ms } else { now_ms };
                        self.move_to(key, entry, due_ms);
                    }
                }
            }
            Operation::Expire(entries) => self.expire(entries),
            Operation::Remove(entries, envelopes) => {
                for (key, entry) in entries {
                    let envelope = envelopes.get(&key.id).cloned();
                    self.remove(key, entry, envelope);
                }
            }
        }
    }

    /// Due now, and no host is left alone any longer. What is just being deferred is due when that is on disk.
    pub(super) fn hurry(&mut self, entries: Vec<(EntryKey, Entry)>) {
        let now_ms = self.now.wall_ms();
        for (key, entry) in entries {
            if let Some(held) = self.held_at(&key) {
                let state = &mut self.messages.held[held as usize];
                state.hurried |= state.settling > 0;
            }
            let domain = self.domains.find(key.domain.as_str(), key.flow);
            if let Some(site) = domain.and_then(|domain| self.domains[domain].site()) {
                let state = &mut self.sites[site as usize];
                state.backoff = None;
                state.capacity.lift();
                for host in &mut state.hosts {
                    host.lift();
                    host.ask_for_promise();
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

    fn remove(&mut self, key: EntryKey, entry: Entry, envelope: Option<Arc<Envelope>>) {
        let Some((held, recipients)) = self.take_hold(&key, &entry) else { return };
        let mut trace = Trace::of_site(key.domain.0);
        trace.envelope = envelope;
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
    pub(super) fn hold_aside(&mut self, domain: DomainId, key: &EntryKey, entry: &Entry) -> Option<HeldId> {
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
