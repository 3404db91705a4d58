//! What the index holds, and from where replay goes on: written into the index and into the journal.

use crate::MessageId;
use crate::codec::{Malformed, Reader, put_varint};
use crate::group::PAGE;
use std::collections::BTreeMap;

/// What of a segment is still needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Entries whose message lies there.
    pub entries: u64,
    /// Octets of their records, counted once per entry.
    pub bytes: u64,
}

/// Totals of the whole queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries.
    pub entries: u64,
    /// Open recipients.
    pub recipients: u64,
    /// Open recipients that are held.
    pub held: u64,
}

/// One checkpoint. `docs/queue.md` draws its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// +1 with each.
    pub number: u64,
    /// The last group that the index holds.
    pub sequence: u64,
    /// Segment in which the group after it begins, or would.
    pub segment: u64,
    /// And where.
    pub offset: u64,
    /// The greatest id accepted so far.
    pub last_id: MessageId,
    /// Counters at that group.
    pub totals: Totals,
    /// Segments with live entries.
    pub live: BTreeMap<u64, Live>,
}

impl Checkpoint {
    /// A segment after `last` in which something was written.
    pub(crate) fn reached(&self, last: u64) -> Option<u64> {
        let live = self.live.last_key_value().map_or(0, |(number, _)| *number);
        // A segment that was only begun may be gone after a power cut.
        let written = if self.offset > PAGE { self.segment } else { 0 };
        Some(live.max(written)).filter(|number| *number > last)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let totals = &self.totals;
        let fields = [self.number, self.sequence, self.segment, self.offset, self.last_id.0];
        for field in fields.into_iter().chain([totals.entries, totals.recipients, totals.held]) {
            put_varint(out, field);
        }
        put_varint(out, self.live.len() as u64);
        let mut previous = 0;
        for (segment, live) in &self.live {
            put_varint(out, segment - previous);
            put_varint(out, live.entries);
            put_varint(out, live.bytes);
            previous = *segment;
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Checkpoint, Malformed> {
        let mut checkpoint = Checkpoint {
            number: reader.varint()?,
            sequence: reader.varint()?,
            segment: reader.varint()?,
            offset: reader.varint()?,
            last_id: MessageId(reader.varint()?),
            totals: Totals { entries: reader.varint()?, recipients: reader.varint()?, held: reader.varint()? },
            live: BTreeMap::new(),
        };
        let mut segment: u64 = 0;
        for _ in 0..reader.varint()? {
            segment = segment.checked_add(reader.varint()?).ok_or(Malformed("segment number"))?;
            checkpoint.live.insert(segment, Live { entries: reader.varint()?, bytes: reader.varint()? });
        }
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(fields: [u64; 8], live in proptest::collection::btree_map(any::<u64>(), any::<(u64, u64)>(), 0..20)) {
            let [number, sequence, segment, offset, id, entries, recipients, held] = fields;
            let live = live.into_iter().map(|(segment, (entries, bytes))| (segment, Live { entries, bytes })).collect();
            let totals = Totals { entries, recipients, held };
            let checkpoint = Checkpoint { number, sequence, segment, offset, last_id: MessageId(id), totals, live };
            let mut bytes = Vec::new();
            checkpoint.encode(&mut bytes);
            prop_assert_eq!(Checkpoint::decode(&mut Reader::new(&bytes)), Ok(checkpoint));
            prop_assert!(Checkpoint::decode(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err());
        }
    }
}
