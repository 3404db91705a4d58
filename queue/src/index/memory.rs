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
        let shared = self.lock();
        match &shared.shut {
            Some(why) => Err(why.clone()),
            None if shared.failing || shared.broken => Err(IndexError("told to fail".into())),
            None => Ok(shared),
        }
    }

    /// Everything fails, until told otherwise.
    pub fn fail(&self, failing: bool) {
        self.lock().failing = failing;
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

fn set(entries: &mut BTreeMap<EntryKey, Entry>, key: &EntryKey, entry: Option<&Entry>) -> Option<Entry> {
    match entry {
        Some(entry) => entries.insert(key.clone(), entry.clone()),
        None => entries.remove(key),
    }
}

impl Index for MemoryIndex {
    fn apply(&self, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<(), IndexError> {
        let mut shared = self.working()?;
        for (key, entry) in changes {
            let before = set(&mut shared.entries, key, entry);
            shared.unsynced.entry(key.clone()).or_insert(before);
        }
        Ok(())
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
        let mut shared = self.working()?;
        let before = shared.checkpoint.replace(checkpoint.clone());
        shared.unsynced_checkpoint.get_or_insert(before);
        Ok(())
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
            return Err(IndexError("told to fail".into()));
        }
        shared.broken = false;
        let Shared { entries, unsynced, .. } = &mut *shared;
        for (key, before) in std::mem::take(unsynced) {
            set(entries, &key, before.as_ref());
        }
        if let Some(before) = shared.unsynced_checkpoint.take() {
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
