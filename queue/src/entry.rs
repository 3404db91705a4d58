//! What is stored once per message × domain × due time: the unit of the index.

use crate::codec::{Malformed, Reader, flag, put_text, put_varint};
use crate::{Domain, Envelope, Flow, MessageId};
use smtp::parameters::ByMode;
use std::sync::Arc;

/// Where an entry stands in the order of the index: all of a domain together, in it all of a flow, by due time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    /// The recipients' domain.
    pub domain: Domain,
    /// Whose mail it is: the same for all entries of a message.
    pub flow: Flow,
    /// Unix milliseconds from which it may be tried; [`EntryKey::HELD`] for held ones.
    pub due_ms: u64,
    /// The message.
    pub id: MessageId,
}

impl EntryKey {
    /// The due time of what an operator holds: never.
    pub const HELD: u64 = u64::MAX;

    /// Held by an operator.
    pub fn is_held(&self) -> bool {
        self.due_ms == EntryKey::HELD
    }

    /// Before every other entry of the domain.
    pub(crate) fn first_of_domain(domain: Domain) -> EntryKey {
        EntryKey::first_of(domain, Flow::FIRST)
    }

    /// Not before any other entry of the domain.
    pub(crate) fn last_of_domain(domain: Domain) -> EntryKey {
        EntryKey::last_of(domain, Flow::LAST)
    }

    /// Before every other entry of the flow.
    pub(crate) fn first_of(domain: Domain, flow: Flow) -> EntryKey {
        EntryKey { domain, flow, due_ms: 0, id: MessageId(0) }
    }

    /// Not before any other entry of the flow.
    pub(crate) fn last_of(domain: Domain, flow: Flow) -> EntryKey {
        EntryKey { domain, flow, due_ms: u64::MAX, id: MessageId(u64::MAX) }
    }
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
    /// Keeps only what is also in `other`.
    pub fn intersect(&mut self, other: &RecipientSet) {
        self.0.retain(|p| other.contains(*p));
    }

    /// Runs, or a bitmap where that is shorter; `docs/queue.md` draws it.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let runs = self.0.chunk_by(|a, b| a + 1 == *b);
        put_varint(out, (runs.count() as u64) << 1);
        let mut next = 0;
        for run in self.0.chunk_by(|a, b| a + 1 == *b) {
            put_varint(out, u64::from(run[0] - next));
            put_varint(out, run.len() as u64 - 1);
            next = run[0] + run.len() as u32;
        }
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return };
        let bitmap_bytes = (last - first) as usize / 8 + 1;
        if bitmap_bytes + 5 < out.len() - start {
            out.truncate(start);
            put_varint(out, (bitmap_bytes as u64) << 1 | 1);
            put_varint(out, u64::from(*first));
            let at = out.len();
            out.resize(at + bitmap_bytes, 0);
            for position in &self.0 {
                let bit = (position - first) as usize;
                out[at + bit / 8] |= 1 << (bit % 8);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<RecipientSet, Malformed> {
        const LIMIT: u32 = Envelope::MAX_RECIPIENTS as u32;
        const BAD: Malformed = Malformed("recipient set");
        let head = reader.varint()?;
        let mut set = smallvec::SmallVec::new();
        if head & 1 == 0 {
            let mut next: u32 = 0;
            for _ in 0..head >> 1 {
                let first = next.checked_add(reader.narrow()?).ok_or(BAD)?;
                next = first.checked_add(reader.narrow()?).and_then(|n| n.checked_add(1)).ok_or(BAD)?;
                if next > LIMIT {
                    return Err(BAD);
                }
                set.extend(first..next);
            }
        } else {
            let len = usize::try_from(head >> 1).map_err(|_| BAD)?;
            let base: u32 = reader.narrow()?;
            let bitmap = reader.bytes(len)?;
            if base > LIMIT || len > Envelope::MAX_RECIPIENTS / 8 {
                return Err(BAD);
            }
            for bit in 0..len * 8 {
                if bitmap[bit / 8] & 1 << (bit % 8) != 0 {
                    set.push(base + bit as u32);
                }
            }
        }
        Ok(RecipientSet(set))
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

/// What the sender asked for that decides when an entry is tried and given up, known without reading the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Terms {
    /// DELIVERBY.
    pub deadline: Option<Deadline>,
    /// MT-PRIORITY.
    pub priority: i8,
}

/// The end of DELIVERBY's time (RFC 2852).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deadline {
    /// Unix milliseconds.
    pub at_ms: u64,
    /// The message is returned then; else its sender is told of the delay.
    pub returns: bool,
}

const DEADLINE: u8 = 1;
const RETURNS: u8 = 2;
const PRIORITY: u8 = 4;
/// Beside the terms, in an entry only.
const DELAY_TOLD: u8 = 8;

impl Terms {
    /// Of a message.
    pub fn of(envelope: &Envelope) -> Terms {
        let deadline = envelope.parameters.deliver_by.map(|by| Deadline {
            at_ms: (envelope.accepted_us / 1000).saturating_add_signed(i64::from(by.seconds) * 1000),
            returns: by.mode == ByMode::Return,
        });
        Terms { deadline, priority: envelope.parameters.priority }
    }

    /// A byte of flags, `more` among them, then what they say is there.
    pub(crate) fn encode(self, more: u8, out: &mut Vec<u8>) {
        let returns = self.deadline.is_some_and(|deadline| deadline.returns);
        let deadline = flag(self.deadline.is_some(), DEADLINE) | flag(returns, RETURNS);
        out.push(deadline | flag(self.priority != 0, PRIORITY) | more);
        if let Some(deadline) = self.deadline {
            put_varint(out, deadline.at_ms);
        }
        if self.priority != 0 {
            out.push(self.priority.cast_unsigned());
        }
    }

    /// The terms and the flags.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<(Terms, u8), Malformed> {
        let flags = reader.u8()?;
        let deadline = match flags & DEADLINE {
            0 => None,
            _ => Some(Deadline { at_ms: reader.varint()?, returns: flags & RETURNS != 0 }),
        };
        let priority = if flags & PRIORITY != 0 { reader.u8()?.cast_signed() } else { 0 };
        Ok((Terms { deadline, priority }, flags))
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
    /// Unix milliseconds of acceptance, or of the time until which the sender had it held (RFC 4865): from when expiry
    /// counts, without reading the journal.
    pub accepted_ms: u64,
    /// Octets of the body (for memory budgets, without reading the journal).
    pub body_bytes: u32,
    /// Why it is still here: the last reply or error, at most 200 bytes; empty before the first attempt.
    pub last_error: Arc<str>,
    /// What the sender asked for.
    pub terms: Terms,
    /// The sender was told of the delay.
    pub delay_told: bool,
}

impl Entry {
    /// Longer errors are cut, so that an index value stays under 1 KiB.
    pub const MAX_ERROR_BYTES: usize = 200;

    /// `text`, cut to what an entry keeps.
    pub(crate) fn clip(text: &str) -> &str {
        &text[..text.floor_char_boundary(Entry::MAX_ERROR_BYTES)]
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.location.segment);
        put_varint(out, u64::from(self.location.offset));
        put_varint(out, u64::from(self.location.len));
        put_varint(out, u64::from(self.attempts));
        put_varint(out, self.accepted_ms);
        put_varint(out, u64::from(self.body_bytes));
        put_text(out, Entry::clip(&self.last_error));
        self.terms.encode(flag(self.delay_told, DELAY_TOLD), out);
        self.open.encode(out);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Entry, Malformed> {
        let location = Location { segment: reader.varint()?, offset: reader.narrow()?, len: reader.narrow()? };
        let (attempts, accepted_ms, body_bytes) = (reader.narrow()?, reader.varint()?, reader.narrow()?);
        let last_error = reader.text()?.into();
        let (terms, flags) = Terms::decode(reader)?;
        let open = RecipientSet::decode(reader)?;
        let delay_told = flags & DELAY_TOLD != 0;
        Ok(Entry { location, open, attempts, accepted_ms, body_bytes, last_error, terms, delay_told })
    }

    /// What it costs the memtable, about.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<(EntryKey, Entry)>() + self.last_error.len() + self.open.len().saturating_sub(4) * 4
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn entry(open: RecipientSet) -> Entry {
        Entry {
            location: Location { segment: u64::MAX, offset: u32::MAX, len: u32::MAX },
            open,
            attempts: u16::MAX,
            accepted_ms: u64::MAX,
            body_bytes: u32::MAX,
            last_error: "é".repeat(300).into(),
            terms: Terms { deadline: Some(Deadline { at_ms: u64::MAX, returns: true }), priority: -9 },
            delay_told: true,
        }
    }

    proptest! {
        #[test]
        fn sets_round_trip(positions in proptest::collection::btree_set(0u32..6000, 0..3000), dense in 0u32..6000) {
            let set: RecipientSet = positions.into_iter().chain(0..dense).collect();
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            prop_assert!(bytes.len() <= 760, "{} bytes", bytes.len());
            let reader = &mut Reader::new(&bytes);
            prop_assert_eq!(RecipientSet::decode(reader), Ok(set));
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = Entry::decode(&mut Reader::new(&bytes));
        }
    }

    #[test]
    fn a_value_stays_under_one_kibibyte() {
        for step in 1..5 {
            let mut bytes = Vec::new();
            let full = entry((0..6000).step_by(step).collect());
            full.encode(&mut bytes);
            assert!(bytes.len() < 1024, "{} bytes", bytes.len());
            let back = Entry::decode(&mut Reader::new(&bytes)).expect("as written");
            assert_eq!((&back.open, back.terms, back.delay_told), (&full.open, full.terms, true));
            assert_eq!(&*back.last_error, "é".repeat(100));
        }
    }

    #[test]
    fn set_arithmetic() {
        let set = |list: &[u32]| list.iter().copied().collect::<RecipientSet>();
        let mut a = set(&[5, 1, 3, 3]);
        a.union(&set(&[2, 5]));
        assert_eq!(a, set(&[1, 2, 3, 5]));
        a.subtract(&set(&[1, 9]));
        assert_eq!(a, set(&[2, 3, 5]));
        a.intersect(&set(&[3, 4, 5]));
        assert_eq!(a, set(&[3, 5]));
    }
}
