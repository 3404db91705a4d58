//! Messages, entries and deliveries in memory.
//!
//! An entry is *held* from the moment it is committed or fetched until its outcome is durable; while it is, a fetch that
//! brings it again is ignored. Its recipients wait (for a route, or in a ready delivery), are in a transaction, or are
//! being settled.

use super::domain::DomainId;
use crate::verdict::Fate;
use queue::{Content, Entry, Flow, Location, MessageId, RecipientSet, Terms};
use smallvec::SmallVec;
use smtp::Reply;
use std::collections::HashMap;
use std::sync::Arc;

pub(super) type HeldId = u32;
pub(super) type MessageIndex = u32;
pub(super) type DeliveryId = u32;

/// An entry of the queue in memory.
pub(super) struct Held {
    pub(super) message: MessageIndex,
    pub(super) domain: DomainId,
    pub(super) due_ms: u64,
    pub(super) accepted_ms: u64,
    /// Recipients that are in no transaction and not decided.
    pub(super) waiting: RecipientSet,
    /// Recipients that are not decided. Invariant: `waiting.len() <= open`.
    pub(super) open: u32,
    /// Settles of this key that are not yet durable.
    pub(super) settling: u16,
    /// It is let go of when the fetch under way is back.
    pub(super) lingers: bool,
    /// What is being moved to a later time is to be due at once instead.
    pub(super) hurried: bool,
    pub(super) attempts: u16,
    pub(super) terms: Terms,
    /// The sender was told of the delay.
    pub(super) delay_told: bool,
    /// Connections lost under it since the last attempt that counted.
    pub(super) losses: u8,
    pub(super) place: Place,
}

impl Held {
    /// An entry as it was committed or read, of which no recipient waits yet.
    pub(super) fn new(message: MessageIndex, domain: DomainId, due_ms: u64, entry: &Entry) -> Held {
        Held {
            message,
            domain,
            due_ms,
            accepted_ms: entry.accepted_ms,
            waiting: RecipientSet::new(),
            open: entry.open.len() as u32,
            settling: 0,
            lingers: false,
            hurried: false,
            attempts: entry.attempts,
            terms: entry.terms,
            delay_told: entry.delay_told,
            losses: 0,
            place: Place::Nowhere,
        }
    }
}

/// Where an entry's waiting recipients wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// No recipient waits.
    Nowhere,
    /// For the domain's route.
    Domain,
    /// In a ready delivery.
    Ready(DeliveryId),
}

/// A message of which something is held.
pub(super) struct Message {
    pub(super) id: MessageId,
    pub(super) location: Location,
    pub(super) body_bytes: u32,
    pub(super) content: Option<Arc<Content>>,
    /// Entries held.
    pub(super) held: u32,
    /// Ready deliveries of it, at most one a site.
    pub(super) deliveries: SmallVec<[DeliveryId; 2]>,
    pub(super) loading: bool,
    /// Failures whose notice waits for the content.
    pub(super) failing: Vec<Failing>,
}

/// Recipients that failed outside of a transaction, for good or for now.
pub(super) struct Failing {
    pub(super) held: HeldId,
    pub(super) recipients: RecipientSet,
    pub(super) fate: Fate,
    pub(super) reply: Reply,
    pub(super) site: Arc<str>,
    /// No attempt led to this.
    pub(super) untried: bool,
}

/// A message with those of its recipients that go to one site, waiting for its turn.
pub(super) struct Delivery {
    pub(super) message: MessageIndex,
    pub(super) site: u32,
    /// The message's.
    pub(super) flow: Flow,
    /// Entries with waiting recipients. Empty: withdrawn, dropped when its turn comes.
    pub(super) entries: SmallVec<[HeldId; 2]>,
    /// It waits for `Input::Loaded`.
    pub(super) loading: bool,
}

/// Everything held.
#[derive(Default)]
pub(super) struct Messages {
    pub(super) held: slab::Slab<Held>,
    keys: HashMap<(DomainId, u64, MessageId), HeldId>,
    pub(super) slab: slab::Slab<Message>,
    by_id: HashMap<MessageId, MessageIndex>,
    pub(super) deliveries: slab::Slab<Delivery>,
    /// Octets of the contents in memory.
    pub(super) body_bytes: usize,
    /// Those contents.
    pub(super) contents: usize,
    /// Octets of the contents that are being read.
    pub(super) loading_bytes: usize,
}

impl Messages {
    pub(super) fn find(&self, id: MessageId) -> Option<MessageIndex> {
        self.by_id.get(&id).copied()
    }
    pub(super) fn find_held(&self, domain: DomainId, due_ms: u64, id: MessageId) -> Option<HeldId> {
        self.keys.get(&(domain, due_ms, id)).copied()
    }
    /// The message, known from now on. The caller holds an entry of it next, or calls `release_message`.
    pub(super) fn message(&mut self, id: MessageId, location: Location, body_bytes: u32) -> MessageIndex {
        *self.by_id.entry(id).or_insert_with(|| {
            self.slab.insert(Message {
                id,
                location,
                body_bytes,
                content: None,
                held: 0,
                deliveries: SmallVec::new(),
                loading: false,
                failing: Vec::new(),
            }) as MessageIndex
        })
    }
    /// Keeps the content in memory.
    pub(super) fn set_content(&mut self, message: MessageIndex, content: Arc<Content>) {
        let slot = &mut self.slab[message as usize].content;
        if slot.is_none() {
            self.body_bytes += content.body.len();
            self.contents += 1;
            *slot = Some(content);
        }
    }
    /// Holds an entry; `None` if it is held already.
    pub(super) fn hold(&mut self, held: Held) -> Option<HeldId> {
        let message = &mut self.slab[held.message as usize];
        let key = (held.domain, held.due_ms, message.id);
        let std::collections::hash_map::Entry::Vacant(slot) = self.keys.entry(key) else { return None };
        message.held += 1;
        let id = self.held.insert(held) as HeldId;
        slot.insert(id);
        Some(id)
    }
    /// Lets go of an entry, and of its message with the last one. Returns its domain.
    pub(super) fn release(&mut self, id: HeldId) -> DomainId {
        let held = self.held.remove(id as usize);
        let message = &mut self.slab[held.message as usize];
        self.keys.remove(&(held.domain, held.due_ms, message.id));
        message.held -= 1;
        self.release_message(held.message);
        held.domain
    }
    /// Lets go of a message of which nothing is held.
    pub(super) fn release_message(&mut self, index: MessageIndex) {
        if self.slab[index as usize].held == 0 {
            let message = self.slab.remove(index as usize);
            self.by_id.remove(&message.id);
            if let Some(content) = message.content {
                self.body_bytes -= content.body.len();
                self.contents -= 1;
            }
        }
    }
    /// The message's ready delivery at a site.
    pub(super) fn delivery_at(&self, message: MessageIndex, site: u32) -> Option<DeliveryId> {
        let list = &self.slab[message as usize].deliveries;
        list.iter().copied().find(|d| self.deliveries[*d as usize].site == site)
    }
    /// Takes a delivery out of its message's list and frees it.
    pub(super) fn end_delivery(&mut self, id: DeliveryId) {
        let delivery = self.deliveries.remove(id as usize);
        debug_assert!(delivery.entries.is_empty());
        if let Some(message) = self.slab.get_mut(delivery.message as usize) {
            message.deliveries.retain(|d| *d != id);
        }
    }
}
