//! The queue without threads: groups in, durable state out.

use crate::{Content, Domain, Entry, EntryKey, RecipientSet};
use std::sync::Arc;

/// One durable step, atomic: all of it survives a power cut or none.
#[derive(Debug, Default)]
pub struct Group {
    /// New messages.
    pub accepts: Vec<NewMessage>,
    /// Outcomes of attempts and operators' changes.
    pub settles: Vec<Settle>,
}

/// A message to be made durable.
#[derive(Debug)]
pub struct NewMessage {
    /// What to store.
    pub content: Arc<Content>,
    /// Recipients by domain, each becoming an entry. See [`NewMessage::new`].
    pub domains: smallvec::SmallVec<[(Domain, RecipientSet); 1]>,
    /// When they become due (unix ms); the same for all.
    pub due_ms: u64,
}

impl NewMessage {
    /// Groups the envelope's recipients by domain.
    pub fn new(content: Arc<Content>, due_ms: u64) -> NewMessage {
        let _ = &content;
        let _ = due_ms;
        todo!()
    }
}

/// A change to one entry: the recipients in `done` leave the queue, those in `retry` move to another due time.
/// Recipients in neither stay as they are. Applying it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// The entry, as it was fetched or committed.
    pub key: EntryKey,
    /// Delivered, bounced, expired or removed.
    pub done: RecipientSet,
    /// To be tried again.
    pub retry: Option<Retry>,
}

/// The part of an entry that moves to another due time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Who.
    pub recipients: RecipientSet,
    /// When (unix ms), or [`EntryKey::HELD`].
    pub due_ms: u64,
    /// Attempts made, this one included.
    pub attempts: u16,
    /// Why.
    pub last_error: Box<str>,
}

/// A committed message: what dispatch goes on with, its content still in memory.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Envelope and body.
    pub content: Arc<Content>,
    /// Its entries, as they now stand in the queue.
    pub entries: smallvec::SmallVec<[(EntryKey, Entry); 1]>,
}

/// The queue's state on one disk. (Its constructor, disk and index seams are this crate's to define.)
pub struct Store {}
