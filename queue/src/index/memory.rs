//! An index in memory, for simulation and tests: loses what was not synced, like the real one.

use super::{Change, Index, IndexError, IndexHome};
use crate::checkpoint::Checkpoint;
use crate::{Entry, EntryKey};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

/// Home and index in one; clones share it.
#[derive(Clone, Default)]
pub struct MemoryIndex {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    entries: BTreeMap<EntryKey, Entry>,
    checkpoint: Option<Checkpoint>,
    /// What keys that changed since the last sync held before.
    unsynced: BTreeMap<EntryKey, Option<Entry>>,
    unsynced_checkpoint: Option<Option<Checkpoint>>,
    failing: bool,
    broken: bool,
    /// It breaks with so many more operations.
    fuse: Option<u64>,
    /// Which unsynced changes are there when it is opened again: one bit after the other; 0: none.
    survivors: u64,
    shut: Option<IndexError>,
}

impl MemoryIndex {
    /// Empty.
    pub fn new() -> MemoryIndex {
        MemoryIndex::default()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn working(&self) -> Result<MutexGuard<'_, Shared>, IndexError> {
        let (shared, breaks) = self.begin()?;
        if breaks { Err(told_to_fail()) } else { Ok(shared) }
    }

    /// Also says whether it breaks in this operation.
    fn begin(&self) -> Result<(MutexGuard<'_, Shared>, bool), IndexError> {
        let mut shared = self.lock();
        if let Some(why) = &shared.shut {
            return Err(why.clone());
        }
        if shared.failing || shared.broken {
            return Err(told_to_fail());
        }
        shared.fuse = shared.fuse.map(|left| left.saturating_sub(1));
        let breaks = shared.fuse == Some(0);
        if breaks {
            (shared.broken, shared.failing, shared.fuse) = (true, true, None);
        }
        Ok((shared, breaks))
    }

    /// Everything fails, until told otherwise. Ends what [`MemoryIndex::break_after`] began, or would have.
    pub fn fail(&self, failing: bool) {
        let mut shared = self.lock();
        (shared.failing, shared.fuse) = (failing, None);
    }

    /// Breaks down in the `operations`-th operation from now, and fails to be opened again until told otherwise. A change may
    /// be made then, a sync is not; of what is not synced, the bits of `survivors` say what is there afterwards.
    pub fn break_after(&self, operations: u64, survivors: u64) {
        let mut shared = self.lock();
        (shared.fuse, shared.survivors) = (Some(operations), survivors);
    }

    /// Everything fails until it is opened again, which fails while it is told to fail.
    pub fn break_down(&self) {
        self.lock().broken = true;
    }

    /// The index as it may be found if the power goes now: each unsynced change made or not. `random` gives uniform numbers.
    pub fn crash(&self, random: &mut dyn FnMut() -> u64) -> MemoryIndex {
        let shared = self.lock();
        let mut image =
            Shared { entries: shared.entries.clone(), checkpoint: shared.checkpoint.clone(), ..Shared::default() };
        for (key, before) in &shared.unsynced {
            if random().is_multiple_of(2) {
                set(&mut image.entries, key, before.as_ref());
            }
        }
        // A checkpoint is only set after the sync of what it speaks of, so it may survive by itself.
        if let Some(before) = &shared.unsynced_checkpoint
            && random().is_multiple_of(2)
        {
            image.checkpoint.clone_from(before);
        }
        MemoryIndex { shared: Arc::new(Mutex::new(image)) }
    }
}

fn told_to_fail() -> IndexError {
    IndexError("told to fail".into())
}

fn set(entries: &mut BTreeMap<EntryKey, Entry>, key: &EntryKey, entry: Option<&Entry>) -> Option<Entry> {
    match entry {
        Some(entry) => entries.insert(key.clone(), entry.clone()),
        None => entries.remove(key),
    }
}

impl Index for MemoryIndex {
    fn apply(&self, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<(), IndexError> {
        let (mut shared, breaks) = self.begin()?;
        for (key, entry) in changes {
            let before = set(&mut shared.entries, key, entry);
            shared.unsynced.entry(key.clone()).or_insert(before);
        }
        if breaks { Err(told_to_fail()) } else { Ok(()) }
    }

    fn range(
        &self,
        from: Bound<&EntryKey>,
        to: Bound<&EntryKey>,
        limit: usize,
    ) -> Result<Vec<(EntryKey, Entry)>, IndexError> {
        let shared = self.working()?;
        let range = shared.entries.range::<EntryKey, _>((from, to));
        Ok(range.take(limit).map(|(key, entry)| (key.clone(), entry.clone())).collect())
    }

    fn get(&self, key: &EntryKey) -> Result<Option<Entry>, IndexError> {
        Ok(self.working()?.entries.get(key).cloned())
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, IndexError> {
        Ok(self.working()?.checkpoint.clone())
    }

    fn set_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), IndexError> {
        let (mut shared, breaks) = self.begin()?;
        let before = shared.checkpoint.replace(checkpoint.clone());
        shared.unsynced_checkpoint.get_or_insert(before);
        if breaks { Err(told_to_fail()) } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), IndexError> {
        let mut shared = self.working()?;
        shared.unsynced.clear();
        shared.unsynced_checkpoint = None;
        Ok(())
    }

    fn count(&self) -> Result<u64, IndexError> {
        Ok(self.working()?.entries.len() as u64)
    }

    fn is_broken(&self) -> bool {
        self.lock().broken
    }

    fn reopen(&self) -> Result<(), IndexError> {
        let mut shared = self.lock();
        if shared.failing {
            return Err(told_to_fail());
        }
        shared.broken = false;
        let Shared { entries, unsynced, survivors, .. } = &mut *shared;
        let mut survives = || {
            let bit = *survivors & 1 == 1;
            *survivors = survivors.rotate_right(1);
            bit
        };
        for (key, before) in std::mem::take(unsynced) {
            if !survives() {
                set(entries, &key, before.as_ref());
            }
        }
        let checkpoint_survives = survives();
        if let Some(before) = shared.unsynced_checkpoint.take().filter(|_| !checkpoint_survives) {
            shared.checkpoint = before;
        }
        Ok(())
    }

    fn shut(&self, why: &IndexError) {
        self.lock().shut = Some(why.clone());
    }
}

impl IndexHome for MemoryIndex {
    fn open(&self) -> Result<Arc<dyn Index>, IndexError> {
        drop(self.working()?);
        Ok(Arc::new(self.clone()))
    }

    fn set_aside(&self) -> std::io::Result<()> {
        *self.lock() = Shared::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_breaks_at_the_chosen_operation_and_what_was_not_synced_is_there_afterwards_or_not() {
        for (operations, survivors, kept) in
            [(1, 0, None), (1, 1, Some(7)), (2, 0, None), (2, 1, Some(7)), (3, 0, Some(7))]
        {
            let index = MemoryIndex::new();
            index.break_after(operations, survivors);
            let checkpoint = Checkpoint { number: 7, ..Checkpoint::default() };
            let steps = [index.set_checkpoint(&checkpoint).is_ok(), index.sync().is_ok(), index.count().is_ok()];
            assert_eq!(steps, [operations > 1, operations > 2, false]);
            assert!(index.is_broken() && index.reopen().is_err());
            index.fail(false);
            index.reopen().expect("told to work");
            let found = Index::checkpoint(&index).expect("read").map(|checkpoint| checkpoint.number);
            assert_eq!(found, kept, "{operations} {survivors}");
        }
    }
}
