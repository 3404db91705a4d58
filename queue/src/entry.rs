//! What is stored once per message × domain × due time: the unit of the index.

use crate::{Domain, MessageId};

/// Where an entry stands in the order of the index: all of a domain together, by due time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    /// The recipients' domain.
    pub domain: Domain,
    /// Unix milliseconds from which it may be tried; [`EntryKey::HELD`] for held ones.
    pub due_ms: u64,
    /// The message.
    pub id: MessageId,
}

impl EntryKey {
    /// The due time of what an operator holds: never.
    pub const HELD: u64 = u64::MAX;
}

/// Where the Accept record of a message lies in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// Segment number.
    pub segment: u64,
    /// Byte offset of the record within it.
    pub offset: u32,
    /// Length of the record.
    pub len: u32,
}

/// Some recipients of one message, by position. Small sets do not allocate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct RecipientSet(smallvec::SmallVec<[u32; 4]>);

impl RecipientSet {
    /// The empty set.
    pub fn new() -> RecipientSet {
        RecipientSet::default()
    }
    /// Adds a position; keeps ascending order.
    pub fn insert(&mut self, position: u32) {
        if let Err(at) = self.0.binary_search(&position) {
            self.0.insert(at, position);
        }
    }
    /// Ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.0.iter().copied()
    }
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// None.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Whether it holds this position.
    pub fn contains(&self, position: u32) -> bool {
        self.0.binary_search(&position).is_ok()
    }
    /// Takes out what is in `other`.
    pub fn subtract(&mut self, other: &RecipientSet) {
        self.0.retain(|p| !other.contains(*p));
    }
    /// Adds what is in `other`.
    pub fn union(&mut self, other: &RecipientSet) {
        for p in other.iter() {
            self.insert(p);
        }
    }
}

impl FromIterator<u32> for RecipientSet {
    fn from_iter<I: IntoIterator<Item = u32>>(positions: I) -> RecipientSet {
        let mut list: smallvec::SmallVec<[u32; 4]> = positions.into_iter().collect();
        list.sort_unstable();
        list.dedup();
        RecipientSet(list)
    }
}

/// The value under an [`EntryKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The message's Accept record.
    pub location: Location,
    /// Recipients of this domain still open under this key.
    pub open: RecipientSet,
    /// Attempts so far.
    pub attempts: u16,
    /// Unix milliseconds of acceptance (for expiry, without reading the journal).
    pub accepted_ms: u64,
    /// Octets of the body (for memory budgets, without reading the journal).
    pub body_bytes: u32,
    /// Why it is still here: the last reply or error, at most 200 bytes; empty before the first attempt.
    pub last_error: Box<str>,
}
