//! Copying survivors of the oldest segments forward, so that one old message does not keep a whole journal.

use crate::group::{GROUP_HEADER, GroupWriter};
use crate::journal::Purpose;
use crate::read::{damaged_at, holds_another};
use crate::record::{self, Before, Message, RECORD_HEADER};
use crate::scan::damaged;
use crate::store::{Store, lock};
use crate::{Entry, EntryKey, Location, MessageId, QueueError};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Survivors gathered in one pass over the index, at most.
const SURVIVORS: u64 = 100_000;
/// Octets of messages moved in one group.
const GROUP_BYTES: u64 = 4 << 20;

/// A message to be moved, and the keys of its entries when it was found.
struct Survivor {
    id: MessageId,
    location: Location,
    keys: Vec<EntryKey>,
    /// Where it lies, a repair could prove nothing.
    is_suspect: bool,
}

/// Messages in their order on disk, each with the keys of its entries.
type Survivors = BTreeMap<(Location, MessageId), Vec<EntryKey>>;

/// Told of what cannot be read.
type Left<'l> = dyn FnMut(&Survivor, &QueueError) + 'l;

impl Survivor {
    fn decode<'r>(&self, record: &'r Bytes) -> Result<(Message<'r>, Bytes), QueueError> {
        if self.is_suspect && record::has_check(record) {
            return Err(damaged(self.location.segment, self.location.offset.into(), "the head's checksum differs"));
        }
        let (message, body) = record::decode_message(record).map_err(|error| damaged_at(self.location, error))?;
        if message.id == self.id { Ok((message, body)) } else { Err(holds_another(self.location, message.id)) }
    }
}

/// What a pass could not move.
#[derive(Default)]
pub(crate) struct Unmovable {
    ids: BTreeSet<MessageId>,
    /// Up to this segment there is nothing but such: no reason for another pass.
    through: u64,
}

impl Store {
    /// When the journal has outgrown what it holds, copies survivors of its oldest segments to its end; the next
    /// checkpoint frees those segments. One pass over the index, and no more than half of the memtable holds: mail and
    /// outcomes need the other half. Says how many were moved.
    /// What cannot be read stays where it is, and with it all that lies behind.
    pub fn relocate(&self) -> Result<u64, QueueError> {
        let room = self.room_for_moves();
        let Some(through) = self.crowded(room).filter(|_| room > 0) else { return Ok(0) };
        let mut survivors = Survivors::new();
        let mut found = 0;
        self.walk(Bound::Unbounded, Bound::Unbounded, 512, |key, entry| {
            if entry.location.segment <= through {
                survivors.entry((entry.location, key.id)).or_default().push(key);
                found += 1;
            }
            found < room
        })?;
        let is_whole = found < room;
        let moved = self.move_all(survivors, false, &mut |survivor, error| self.leave(survivor.id, error))?;
        if is_whole && moved == 0 {
            lock(&self.unmovable).through = through;
        }
        self.counters.moved(moved);
        Ok(moved)
    }

    /// Copies what can be read of these, which lie in ranges of which a repair could keep nothing, to the journal's end: what was
    /// written before heads had checksums of their own. Says how many messages
    /// those are, and gives back the entries of the rest.
    pub(crate) fn rescue(&self, suspects: Vec<(EntryKey, Entry)>) -> Result<(u64, Vec<(EntryKey, Entry)>), QueueError> {
        let mut survivors = Survivors::new();
        for (key, entry) in &suspects {
            survivors.entry((entry.location, key.id)).or_default().push(key.clone());
        }
        let rescued = self.move_all(survivors, true, &mut |_, _| {})?;
        let mut lost = Vec::new();
        for (key, entry) in suspects {
            let now = self.get(&key).map_err(|error| self.index_error(&error))?;
            if now.is_some_and(|now| now.location == entry.location) {
                lost.push((key, entry));
            }
        }
        Ok((rescued, lost))
    }

    fn move_all(&self, survivors: Survivors, is_suspect: bool, left: &mut Left<'_>) -> Result<u64, QueueError> {
        let mut moved = 0;
        let mut batch = Vec::new();
        let mut bytes = 0;
        for ((location, id), keys) in survivors {
            bytes += u64::from(location.len);
            batch.push(Survivor { id, location, keys, is_suspect });
            if bytes >= GROUP_BYTES {
                moved += self.relocate_batch(&std::mem::take(&mut batch), left)?;
                bytes = 0;
            }
        }
        Ok(moved + self.relocate_batch(&batch, left)?)
    }

    /// Entries that may be moved until the memtable is half full.
    fn room_for_moves(&self) -> u64 {
        let known = lock(&self.state).memtable_len();
        SURVIVORS.min((self.limits.memtable_entries / 2).saturating_sub(known) as u64)
    }

    /// The newest of the oldest segments that are worth emptying now, where so many entries may be moved.
    fn crowded(&self, room: u64) -> Option<u64> {
        let state = lock(&self.state);
        let used: u64 = state.segments.values().map(|segment| segment.end).sum();
        if used <= self.limits.journal_floor_bytes.max(2 * state.live_bytes) {
            return None;
        }
        let newest = *state.segments.last_key_value()?.0;
        let mut through = None;
        let mut entries = 0;
        for (number, segment) in state.segments.range(..newest) {
            entries += segment.live.entries;
            // Full segments gain nothing by a move.
            if (through.is_some() && entries > room) || segment.live_bytes() > segment.end / 2 {
                break;
            }
            through = Some(*number);
        }
        // When the very oldest is well filled it still has to go: it holds up all those behind it.
        let first = || state.segments.first_key_value().map(|(number, _)| *number).filter(|first| *first < newest);
        through.or_else(first).filter(|through| *through > lock(&self.unmovable).through)
    }

    fn relocate_batch(&self, batch: &[Survivor], left: &mut Left<'_>) -> Result<u64, QueueError> {
        let mut records = Vec::with_capacity(batch.len());
        for survivor in batch {
            match self.read_record(survivor.location) {
                Ok(record) => records.extend(record.map(|record| (survivor, record))),
                Err(error @ QueueError::Damaged { .. }) => left(survivor, &error),
                Err(error) => return Err(error),
            }
        }
        let mut messages = Vec::with_capacity(records.len());
        for (survivor, record) in &records {
            match survivor.decode(record) {
                Ok((message, body)) => messages.push((*survivor, message, [body])),
                Err(error) => left(survivor, &error),
            }
        }
        self.write_moved(&messages)
    }

    /// It cannot be read. It may be tried until it expires; the log hears of it once.
    fn leave(&self, id: MessageId, error: &QueueError) {
        if lock(&self.unmovable).ids.insert(id) {
            tracing::error!(
                "message {id} cannot be read ({error}); the journal is kept from there on until it has left the queue, \
                 by its expiry or `posthaste queue remove {id}`"
            );
        }
    }

    fn write_moved(&self, messages: &[(&Survivor, Message<'_>, [Bytes; 1])]) -> Result<u64, QueueError> {
        let mut journal = lock(&self.journal);
        let mut moves = Vec::new();
        let mut bound = GROUP_HEADER as u64;
        for (survivor, message, body) in messages {
            let mut entries: Vec<(EntryKey, Entry)> = Vec::new();
            for key in &survivor.keys {
                let entry = self.get(key).map_err(|error| self.index_error(&error))?;
                // Settled or moved since the pass: nothing to do, or another pass finds its new key.
                entries.extend(entry.filter(|e| e.location == survivor.location).map(|e| (key.clone(), e)));
            }
            if !entries.is_empty() {
                bound += RECORD_HEADER as u64 + u64::from(survivor.location.len);
                bound += entries.iter().map(|(key, _)| GroupWriter::bound_of_change(key)).sum::<u64>();
                moves.push((message, body, entries));
            }
        }
        if moves.is_empty() {
            return Ok(0);
        }
        journal.reserve(bound, Purpose::Mail)?;
        let mut writer = journal.begin();
        let mut changes: Vec<(EntryKey, Entry, Before)> = Vec::new();
        let mut places = Vec::new();
        for (message, body, entries) in moves {
            let location = writer.moved(message, body);
            places.push((message.id, location));
            for (key, mut entry) in entries {
                let before = Before::of(&entry);
                entry.location = location;
                writer.put(&key, &entry, Some(&before), 0);
                changes.push((key, entry, before));
            }
        }
        journal.commit(writer)?;
        let mut state = lock(&self.state);
        self.note_segment(&mut state, &journal);
        for (key, entry, before) in changes {
            state.account(&key, Some(&before), Some(&entry));
            state.active.set(key, Some(entry), true);
        }
        places.iter().for_each(|(id, location)| state.moved.insert(*id, *location));
        self.counters.set_totals(&state.totals, state.live_bytes);
        Ok(places.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::index::MemoryIndex;
    use crate::step::tests::message;
    use crate::{Group, Limits, Settle};
    use std::sync::Arc;

    #[test]
    fn however_many_are_to_be_moved_mail_and_outcomes_find_room_beside_them() {
        let limits = Limits {
            segment_bytes: 64 << 10,
            memtable_entries: 40,
            memtable_bytes: 1 << 20,
            journal_floor_bytes: 64 << 10,
            prepare_bytes: 0,
            seed: 1,
        };
        let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
        let (store, _) = Store::open(Arc::new(disk.clone()), &index, limits.clone()).expect("opens");
        let commit = |group: Group| store.commit(std::iter::once(&group)).expect("a working disk");
        // One in three stays of what fills twenty segments.
        for round in 0..300 {
            let committed = commit(Group { accepts: vec![message(store.next_id(0), 1)], settles: vec![] });
            let (key, entry) = committed[0][0].entries[0].clone();
            if round % 3 > 0 {
                let settle = Settle { key, done: entry.open, retry: None };
                commit(Group { accepts: vec![], settles: vec![settle] });
            }
            if store.is_checkpoint_due() {
                store.checkpoint().expect("written");
            }
        }
        let (mut moved, mut rounds) = (0, 0);
        loop {
            store.checkpoint().expect("written");
            let more = store.relocate().expect("moved");
            assert!(more <= 20 && !store.is_memtable_full(), "{more} moved at once");
            if more == 0 {
                break;
            }
            (moved, rounds) = (moved + more, rounds + 1);
        }
        assert!(moved >= 80 && rounds > 3, "{moved} in {rounds} rounds");
        assert_eq!(store.stats().entries, 100);
        drop(store);
        let (again, _) = Store::open(Arc::new(disk.crash(&mut || 1)), &MemoryIndex::new(), limits).expect("opens");
        assert_eq!(again.stats().entries, 100);
    }
}
