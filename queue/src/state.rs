//! What the queue knows in memory: memtables, segments, totals, recent moves.

use crate::checkpoint::{Checkpoint, Live, Totals};
use crate::memtable::Memtable;
use crate::record::Before;
use crate::segment::Segment;
use crate::{Entry, EntryKey, Location, MessageId};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Moves are remembered for those who still hold the old place; older ones are looked up in the queue instead.
const REMEMBERED_MOVES: usize = 100_000;

/// Changes that a checkpoint is writing to the index.
#[derive(Clone)]
pub(crate) struct Frozen {
    pub table: Arc<Memtable>,
    pub checkpoint: Checkpoint,
}

#[derive(Default)]
pub(crate) struct State {
    pub active: Memtable,
    pub frozen: Option<Frozen>,
    /// Invariant: numbers without a hole.
    pub segments: BTreeMap<u64, Segment>,
    pub totals: Totals,
    /// Σ of [`Segment::live_bytes`].
    pub live_bytes: u64,
    pub moved: Moves,
    /// Number of the last complete checkpoint.
    pub checkpoint: u64,
    /// The last group that it covers, its own record included: nothing to checkpoint while none follows.
    pub checkpoint_sequence: u64,
}

impl State {
    /// `None`: neither memtable knows the key.
    pub(crate) fn get(&self, key: &EntryKey) -> Option<Option<&Entry>> {
        self.active.get(key).or_else(|| self.frozen.as_ref()?.table.get(key))
    }

    /// Keeps totals and live counters through one change of a key.
    pub(crate) fn account(&mut self, key: &EntryKey, before: Option<&Before>, after: Option<&Entry>) {
        let totals = &mut self.totals;
        if let Some(before) = before {
            let recipients = u64::from(before.recipients);
            totals.entries = totals.entries.saturating_sub(1);
            totals.recipients = totals.recipients.saturating_sub(recipients);
            if key.is_held() {
                totals.held = totals.held.saturating_sub(recipients);
            }
            self.change_live(before.segment, |live| {
                live.entries = live.entries.saturating_sub(1);
                live.bytes = live.bytes.saturating_sub(u64::from(before.len));
            });
        }
        if let Some(entry) = after {
            let recipients = entry.open.len() as u64;
            let totals = &mut self.totals;
            totals.entries += 1;
            totals.recipients += recipients;
            if key.is_held() {
                totals.held += recipients;
            }
            self.change_live(entry.location.segment, |live| {
                live.entries += 1;
                live.bytes += u64::from(entry.location.len);
            });
        }
    }

    fn change_live(&mut self, segment: u64, change: impl FnOnce(&mut Live)) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            let before = segment.live_bytes();
            change(&mut segment.live);
            self.live_bytes = self.live_bytes + segment.live_bytes() - before;
        }
    }

    /// Counters as a checkpoint brings them.
    pub(crate) fn restore(&mut self, totals: Totals, live: &BTreeMap<u64, Live>) {
        self.totals = totals;
        for (number, segment) in &mut self.segments {
            segment.live = live.get(number).copied().unwrap_or_default();
        }
        self.live_bytes = self.segments.values().map(Segment::live_bytes).sum();
    }

    /// Segments that are still needed.
    pub(crate) fn live(&self) -> BTreeMap<u64, Live> {
        let needed = self.segments.iter().filter(|(_, segment)| segment.live.entries > 0);
        needed.map(|(number, segment)| (*number, segment.live)).collect()
    }

    /// Entries not yet in the index.
    pub(crate) fn memtable_len(&self) -> usize {
        self.active.len() + self.frozen.as_ref().map_or(0, |frozen| frozen.table.len())
    }

    /// Their octets, about.
    pub(crate) fn memtable_bytes(&self) -> usize {
        self.active.bytes() + self.frozen.as_ref().map_or(0, |frozen| frozen.table.bytes())
    }
}

/// Where messages went lately.
#[derive(Default)]
pub(crate) struct Moves {
    places: HashMap<MessageId, Location>,
    order: VecDeque<MessageId>,
}

impl Moves {
    pub(crate) fn insert(&mut self, id: MessageId, to: Location) {
        if self.places.insert(id, to).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED_MOVES
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, id: MessageId) -> Option<Location> {
        self.places.get(&id).copied()
    }
}
