//! Changes newer than the index: the active memtable over the frozen one that a checkpoint is writing.

use crate::index::Change;
use crate::{Entry, EntryKey};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What a key holds since the last checkpoint.
#[derive(Clone, Debug)]
struct Slot {
    /// `None`: gone.
    entry: Option<Entry>,
    /// Something below may hold this key, so that a removal must stay to hide it.
    hides: bool,
}

/// One generation of changes.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    slots: BTreeMap<EntryKey, Slot>,
    bytes: usize,
}

fn cost(key: &EntryKey, slot: &Slot) -> usize {
    64 + key.domain.as_str().len() + slot.entry.as_ref().map_or(size_of::<(EntryKey, Slot)>(), Entry::memory_bytes)
}

impl Memtable {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// About what it takes up.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// `None`: nothing is known here. `Some(None)`: gone.
    pub(crate) fn get(&self, key: &EntryKey) -> Option<Option<&Entry>> {
        self.slots.get(key).map(|slot| slot.entry.as_ref())
    }

    /// `below_has`: whether frozen memtable or index may hold the key. An entry that came and went without them
    /// leaves no trace.
    pub(crate) fn set(&mut self, key: EntryKey, entry: Option<Entry>, below_has: bool) {
        let hides = below_has || self.slots.get(&key).is_some_and(|slot| slot.hides);
        if entry.is_none() && !hides {
            if let Some(slot) = self.slots.remove(&key) {
                self.bytes = self.bytes.saturating_sub(cost(&key, &slot));
            }
            return;
        }
        let slot = Slot { entry, hides };
        self.bytes += cost(&key, &slot);
        if let Some(old) = self.slots.insert(key.clone(), slot) {
            self.bytes = self.bytes.saturating_sub(cost(&key, &old));
        }
    }

    pub(crate) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.slots.iter().map(|(key, slot)| (key, slot.entry.as_ref()))
    }

    pub(crate) fn range(&self, from: Bound<&EntryKey>, to: Bound<&EntryKey>) -> impl Iterator<Item = Change<'_>> {
        self.slots.range::<EntryKey, _>((from, to)).map(|(key, slot)| (key, slot.entry.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Domain, Flow, Location, MessageId};

    #[test]
    fn what_came_and_went_leaves_no_trace_and_a_removal_from_below_stays() {
        let key = EntryKey { domain: Domain::new("a.example"), flow: Flow::default(), due_ms: 1, id: MessageId(1) };
        let entry = Entry {
            location: Location { segment: 1, offset: 4096, len: 9 },
            open: [0].into_iter().collect(),
            attempts: 0,
            accepted_ms: 0,
            body_bytes: 1,
            last_error: "".into(),
            terms: crate::Terms::default(),
            delay_told: false,
        };
        let mut table = Memtable::default();
        table.set(key.clone(), Some(entry.clone()), false);
        assert_eq!(table.get(&key), Some(Some(&entry)));
        table.set(key.clone(), None, false);
        assert_eq!((table.len(), table.bytes(), table.get(&key)), (0, 0, None));
        table.set(key.clone(), None, true);
        table.set(key.clone(), Some(entry), false);
        table.set(key.clone(), None, false);
        assert_eq!((table.len(), table.get(&key)), (1, Some(None)));
    }
}
