//! What damage took: entries without a message, and counters that are no longer true.

use crate::checkpoint::{Live, Totals};
use crate::places::Places;
use crate::scan::damaged;
use crate::store::{Store, lock};
use crate::{Entry, EntryKey, Group, Location, QueueError, Settle};
use std::collections::BTreeMap;
use std::ops::Bound;

impl Store {
    /// After damage: counters from what is really there, and nothing in the ranges over which fillers lie: what can be read
    /// is copied out of them, the rest given up. Says how many messages and which entries those were.
    pub(crate) fn clear(&self, fillers: &Places) -> Result<(u64, Vec<EntryKey>), QueueError> {
        let suspects = self.recount(fillers)?;
        let (rescued, lost) = self.rescue(suspects)?;
        let keys = lost.iter().map(|(key, _)| key.clone()).collect();
        self.give_up(lost)?;
        Ok((rescued, keys))
    }

    /// Returns entries whose message lies in such a range, or in a segment that is gone.
    fn recount(&self, fillers: &Places) -> Result<Vec<(EntryKey, Entry)>, QueueError> {
        let mut lost = Vec::new();
        let segments: Vec<u64> = lock(&self.state).segments.keys().copied().collect();
        let is_lost = |location: &Location| {
            !fillers.is_empty() && (segments.binary_search(&location.segment).is_err() || fillers.hold(location))
        };
        let mut totals = Totals::default();
        let mut live: BTreeMap<u64, Live> = BTreeMap::new();
        self.walk(Bound::Unbounded, Bound::Unbounded, 512, |key, entry| {
            let recipients = entry.open.len() as u64;
            totals.entries += 1;
            totals.recipients += recipients;
            totals.held += if key.is_held() { recipients } else { 0 };
            let segment = live.entry(entry.location.segment).or_default();
            segment.entries += 1;
            segment.bytes += u64::from(entry.location.len);
            if is_lost(&entry.location) {
                lost.push((key, entry));
            }
            true
        })?;
        {
            let mut state = lock(&self.state);
            let missing = live.keys().find(|number| !state.segments.contains_key(number));
            if let (Some(missing), true) = (missing, fillers.is_empty()) {
                return Err(damaged(*missing, 0, "the segment is missing"));
            }
            state.restore(totals, &live);
        }
        self.publish();
        Ok(lost)
    }

    /// Takes entries without a message off the queue, in the journal too, so that no later rebuild misses them.
    fn give_up(&self, lost: Vec<(EntryKey, Entry)>) -> Result<(), QueueError> {
        for some in lost.chunks(1000) {
            let settle =
                |(key, entry): &(EntryKey, Entry)| Settle { key: key.clone(), done: entry.open.clone(), retry: None };
            let group = Group { accepts: Vec::new(), settles: some.iter().map(settle).collect() };
            self.commit(std::iter::once(&group))?;
        }
        Ok(())
    }
}
