//! Replay: what the journal says of the queue, group after group, on top of what a checkpoint says.

use crate::checkpoint::{Checkpoint, Live};
use crate::files::end_of;
use crate::group::{self, PAGE};
use crate::index::Index;
use crate::places::Places;
use crate::record::Record;
use crate::scan::{Found, damaged, scan};
use crate::segment::Segment;
use crate::state::State;
use crate::store::{Limits, new_entry};
use crate::{EntryKey, Location, QueueError};

/// What a replay leaves behind.
#[derive(Default)]
pub(crate) struct Replayed {
    pub(crate) state: State,
    pub(crate) sequence: u64,
    pub(crate) last_id: u64,
    /// Groups that changed something, and records in them.
    pub(crate) groups: u64,
    changes: u64,
    pub(crate) torn_bytes: u64,
    pub(crate) last_group: Option<u64>,
    /// Ranges of segments that a repair gave up, whether whole groups or records in them.
    pub(crate) fillers: Places,
    /// The greatest of the journal's Checkpoint records in what was read.
    pub(crate) checkpoint: Option<Checkpoint>,
}

impl Replayed {
    /// Reads the segments from `from` on, and applies groups after `base`. `spill`: where the memtable goes when it grows
    /// past its bound.
    pub(crate) fn read(
        segments: &[Found],
        base: &Checkpoint,
        from: u64,
        spill: Option<(&dyn Index, &Limits)>,
    ) -> Result<Replayed, QueueError> {
        let mut replayed = Replayed { last_id: base.last_id.0, ..Replayed::default() };
        if base.segment == from && base.offset == PAGE {
            // All that the index knows lies in earlier segments, and this one may hold no group yet.
            replayed.sequence = base.sequence;
        }
        for (i, found) in segments.iter().enumerate() {
            let written = found.header.is_some_and(|header| header.written);
            let end = end_of(segments, i).unwrap_or(found.size);
            let segment = Segment { size: found.size, end, written, live: Live::default() };
            replayed.state.segments.insert(found.number, segment);
        }
        replayed.state.restore(base.totals, &base.live);
        replayed.state.checkpoint = base.number;
        let mut previous = None;
        let since = (base.segment, base.offset);
        for (i, found) in segments.iter().enumerate().filter(|(_, found)| found.number >= from) {
            let end = scan(found, end_of(segments, i), &mut |header, place, payload| {
                if header.is_filler {
                    replayed.fillers.add(place.segment, place.offset..place.offset + header.bytes_on_disk());
                } else if !header.is_mended && previous.is_some_and(|previous| header.sequence != previous + 1) {
                    return Err(damaged(place.segment, place.offset, "a group of another sequence"));
                }
                // What a filler covers is unknown, so is how many groups that were; likewise where a header was lost.
                previous = (!header.is_filler && !header.is_mended).then_some(header.sequence);
                replayed.sequence = header.sequence;
                let changes = replayed.changes;
                group::read_records(header, place, payload, |location, record| replayed.note(location, record, since))
                    .map_err(|error| damaged(place.segment, place.offset, error.to_string()))?;
                replayed.groups += u64::from(replayed.changes > changes);
                match spill {
                    Some((index, limits)) => replayed.spill(index, limits),
                    None => Ok(()),
                }
            })?;
            if let Some(segment) = replayed.state.segments.get_mut(&found.number) {
                segment.end = end.position;
            }
            replayed.torn_bytes = end.torn;
            replayed.last_group = end.last_group;
        }
        let totals = (replayed.state.totals, replayed.state.live());
        replayed.state.restore(totals.0, &totals.1);
        Ok(replayed)
    }

    /// What the index holds is all that was written before `since`, as segment and offset.
    fn note(&mut self, location: Location, record: Record<'_>, since: (u64, u64)) {
        let at = u64::from(location.offset);
        if let Record::Checkpoint(checkpoint) = record {
            self.last_id = self.last_id.max(checkpoint.last_id.0);
            if self.checkpoint.as_ref().is_none_or(|known| known.number <= checkpoint.number) {
                self.checkpoint = Some(checkpoint);
            }
            return;
        }
        if let Record::Void = record {
            self.fillers.add(location.segment, at..at + u64::from(location.len));
            return;
        }
        if (location.segment, at) < since {
            return;
        }
        self.changes += 1;
        match record {
            Record::Accept(message) => {
                self.last_id = self.last_id.max(message.id.0);
                let body_bytes = message.body.len() as u32;
                for (domain, open) in message.domains {
                    let key = EntryKey { domain, flow: message.flow, due_ms: message.due_ms, id: message.id };
                    let entry = new_entry(location, open, message.accepted_ms, body_bytes, message.terms);
                    self.state.account(&key, None, Some(&entry));
                    self.state.active.set(key, Some(entry), true);
                }
            }
            Record::Put { key, entry, before, .. } => {
                self.state.account(&key, before.as_ref(), Some(&entry));
                self.state.active.set(key, Some(entry), true);
            }
            Record::Gone { key, before, .. } => {
                self.state.account(&key, Some(&before), None);
                self.state.active.set(key, None, true);
            }
            Record::Moved(_) | Record::Checkpoint(_) | Record::Void => {}
        }
    }

    /// Keeps a rebuild's memory bounded: what it read so far goes to the new index.
    fn spill(&mut self, index: &dyn Index, limits: &Limits) -> Result<(), QueueError> {
        let table = &self.state.active;
        if table.len() < limits.memtable_entries && table.bytes() < limits.memtable_bytes {
            return Ok(());
        }
        index.apply(&mut table.changes()).map_err(QueueError::Index)?;
        self.state.active = Default::default();
        Ok(())
    }
}
