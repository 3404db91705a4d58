//! What the checkpointer does to a store: writes the index, frees segments, keeps spares.

use crate::checkpoint::Checkpoint;
use crate::group::GROUP_HEADER;
use crate::index::IndexError;
use crate::journal::{Journal, Purpose};
use crate::pace::{Occasion, Pace};
use crate::scan::io_error;
use crate::segment::{self, JOURNAL, Segment};
use crate::spare::{AHEAD, Spare};
use crate::state::{Frozen, State};
use crate::store::{Store, lock};
use crate::{MessageId, QueueError};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

impl Store {
    /// Writes what changed since the last checkpoint to the index, then frees segments. False when nothing changed.
    /// When it fails, the queue goes on; the next call tries again.
    pub fn checkpoint(&self) -> Result<bool, QueueError> {
        self.mend_index()?;
        let Some(frozen) = self.freeze() else { return Ok(false) };
        self.write_index(&frozen).map_err(|error| self.index_error(&error))?;
        self.count_mended(frozen.checkpoint.totals.entries)?;
        let mut journal = lock(&self.journal);
        let bytes = 256 + 32 * frozen.checkpoint.live.len() as u64;
        journal.reserve(GROUP_HEADER as u64 + bytes, Purpose::Outcomes)?;
        let mut writer = journal.begin();
        writer.checkpoint(&frozen.checkpoint);
        let sequence = journal.commit(writer)?;
        let mut state = lock(&self.state);
        self.note_segment(&mut state, &journal);
        state.frozen = None;
        state.checkpoint = frozen.checkpoint.number;
        // Groups may have come in while the index was written: then the next checkpoint has something to do.
        let covered = frozen.checkpoint.sequence;
        state.checkpoint_sequence = if sequence == covered + 1 { sequence } else { covered };
        self.counters.checkpoint();
        let (freeable, room) = (freeable(&state, &frozen.checkpoint), self.room_for_spares(&state));
        drop(state);
        self.free_segments(&mut journal, freeable, room);
        Ok(true)
    }

    /// Opens an index again that broke. What it did not sync the memtables still hold.
    fn mend_index(&self) -> Result<(), QueueError> {
        if !self.index.is_broken() {
            return Ok(());
        }
        let has_room = {
            let mut journal = lock(&self.journal);
            let has_room = journal.spares.leave_room(&*self.disk, self.limits.segment_bytes);
            self.note_journal_bytes(&lock(&self.state), &journal);
            has_room
        };
        let has_room = has_room.map_err(|e| io_error("making room in", JOURNAL, e))?;
        if !has_room && self.is_starting.load(Relaxed) {
            return Err(io_error("making room for", "index", std::io::ErrorKind::StorageFull.into()));
        }
        if !has_room {
            return Err(QueueError::Stalled("the index is opened again when the disk has room".into()));
        }
        let opened = self.index.reopen().and_then(|()| self.index.checkpoint());
        let found = opened.map_err(|error| self.index_error(&error))?.unwrap_or_default().number;
        let (known, frozen) = {
            let state = lock(&self.state);
            (state.checkpoint, state.frozen.as_ref().map(|frozen| frozen.checkpoint.number))
        };
        if found != known && Some(found) != frozen {
            return Err(self.shut_index(format!("opened again, it is at checkpoint {found} instead of {known}")));
        }
        tracing::info!("the index is open again");
        self.is_mended.store(true, Relaxed);
        Ok(())
    }

    /// As after a crash, what was opened again may have lost more than it admits.
    fn count_mended(&self, expected: u64) -> Result<(), QueueError> {
        if !self.is_mended.load(Relaxed) {
            return Ok(());
        }
        let counted = self.index.count().map_err(|error| self.index_error(&error))?;
        if counted != expected {
            return Err(self.shut_index(format!("opened again, it holds {counted} entries instead of {expected}")));
        }
        self.is_mended.store(false, Relaxed);
        Ok(())
    }

    fn shut_index(&self, why: String) -> QueueError {
        let why = IndexError(why);
        self.index.shut(&why);
        self.index_error(&why)
    }

    /// Where there are many entries, counts what the index really holds; [`Store::open`] did not wait for that. To be
    /// called before the first checkpoint. What is missing comes back with the next start, which rebuilds the index.
    pub fn verify_index(&self) -> Result<(), QueueError> {
        let Some(expected) = lock(&self.unverified).take() else { return Ok(()) };
        let counted = match self.index.count() {
            Ok(counted) if counted == expected => return Ok(()),
            Ok(counted) => IndexError(format!("it holds {counted} entries instead of {expected}")),
            Err(error) => error,
        };
        Err(self.index_error(&counted))
    }

    fn freeze(&self) -> Option<Frozen> {
        let journal = lock(&self.journal);
        let mut state = lock(&self.state);
        if state.frozen.is_none() {
            if journal.sequence() <= state.checkpoint_sequence {
                return None;
            }
            let checkpoint = Checkpoint {
                number: state.checkpoint + 1,
                sequence: journal.sequence(),
                segment: journal.active().number,
                offset: journal.active().position,
                last_id: MessageId(self.last_id.load(Relaxed)),
                totals: state.totals,
                live: state.live(),
            };
            let table = Arc::new(std::mem::take(&mut state.active));
            state.frozen = Some(Frozen { table, checkpoint });
        }
        state.frozen.clone()
    }

    fn write_index(&self, frozen: &Frozen) -> Result<(), IndexError> {
        if !frozen.table.is_empty() {
            self.index.apply(&mut frozen.table.changes())?;
            self.index.sync()?;
            self.counters.sync();
        }
        self.index.set_checkpoint(&frozen.checkpoint)?;
        self.index.sync()?;
        self.counters.sync();
        Ok(())
    }

    /// Meanwhile readers go on: the journal's lock alone keeps the segments as they are.
    fn free_segments(&self, journal: &mut Journal, segments: Vec<(u64, Segment)>, mut room: u64) {
        let mut freed = false;
        for (number, segment) in segments {
            room += segment.size;
            if let Err(error) = self.free_segment(journal, number, &segment, room) {
                tracing::warn!("freeing {}: {error}", segment::file_name(number));
                break;
            }
            // Before the journal's lock is let go, as only then the file can be used again: see `Store::read_start`.
            lock(&self.state).segments.remove(&number);
            lock(&self.files).remove(&number);
            freed = true;
        }
        if freed {
            self.note_journal_bytes(&lock(&self.state), journal);
        }
    }

    /// Octets of spares that fit what the journal may always take.
    pub(crate) fn room_for_spares(&self, state: &State) -> u64 {
        let segments: u64 = state.segments.values().map(|segment| segment.size).sum();
        self.limits.journal_floor_bytes.saturating_sub(segments)
    }

    fn free_segment(&self, journal: &mut Journal, number: u64, segment: &Segment, room: u64) -> std::io::Result<()> {
        let path = segment::path(number);
        let spares = journal.spares.len();
        let fits = segment.size == journal.segment_bytes() || (spares == 0 && segment.size < journal.segment_bytes());
        if !fits || !journal.spares.has_room(segment.size, room) {
            return self.disk.remove(&path);
        }
        let written = if segment.written { segment.size } else { segment.end };
        let new = journal.spares.next_path(written == segment.size);
        let file = self.disk.open(&path)?;
        self.disk.rename(&path, &new)?;
        journal.spares.push(Spare { path: new, file, size: segment.size, written });
        Ok(())
    }

    /// Allocates a segment ahead, beside the reserve, and fills one with zeros where that is quick. `is_idle`: where it
    /// takes a while too, until the next group comes, and more than one ([`Limits::prepare_bytes`]). When the disk gets
    /// full, gives up a spare instead. Says whether there may be more to do.
    ///
    /// [`Limits::prepare_bytes`]: crate::Limits::prepare_bytes
    pub fn prepare_spare(&self, is_idle: bool) -> Result<bool, QueueError> {
        let (unwritten, path) = {
            let mut journal = lock(&self.journal);
            let room = self.room_for_spares(&lock(&self.state));
            let prepare = if is_idle { self.limits.prepare_bytes.min(room) } else { 0 };
            // Not the last of the disk: others need room too.
            let size = journal.segment_bytes();
            let enough = size.saturating_mul(4);
            let free = self.disk.free_bytes().map_err(|e| io_error("asking for room in", JOURNAL, e))?;
            if free < enough {
                let given = journal.spares.give_up(&*self.disk).map_err(|e| io_error("freeing room in", JOURNAL, e))?;
                self.note_journal_bytes(&lock(&self.state), &journal);
                return Ok(given);
            }
            if journal.spares.len() < AHEAD || journal.spares.has_use_for(size, prepare, free) {
                journal.allocate_spare()?;
                self.note_journal_bytes(&lock(&self.state), &journal);
            }
            (journal.spares.take_unwritten(prepare), journal.spares.next_path(true))
        };
        let Some(mut spare) = unwritten else { return Ok(false) };
        let (groups, is_quick) = (self.counters.commits(), spare.is_nearly_written());
        let filled =
            spare.fill(&*self.disk, path, &self.counters, &mut || is_quick || self.counters.commits() == groups);
        let is_written = spare.is_written();
        lock(&self.journal).spares.push(spare);
        filled.map_err(|e| io_error("filling a segment of", JOURNAL, e))?;
        Ok(is_written)
    }
}

/// Segments from the oldest on, while nothing in them is needed: not by the index, not for replay.
fn freeable(state: &State, checkpoint: &Checkpoint) -> Vec<(u64, Segment)> {
    let is_needed = |(number, segment): &(u64, Segment)| {
        *number >= checkpoint.segment || checkpoint.live.contains_key(number) || segment.live.entries > 0
    };
    let segments = state.segments.iter().map(|(number, segment)| (*number, *segment));
    segments.take_while(|segment| !is_needed(segment)).collect()
}

/// The checkpointer's thread.
pub(crate) fn run(store: &Store, pace: &Pace, interval: Duration) {
    if let Err(error) = store.verify_index() {
        tracing::error!("{error}");
    }
    let (mut groups, mut is_failing) = (0, false);
    while let Some(occasion) = pace.next(interval) {
        if occasion == Occasion::Wanted || store.is_checkpoint_useful() {
            let failure = round(store, &mut is_failing);
            let failed = failure.is_some();
            pace.finished(failure);
            if failed {
                pace.pause(interval);
            } else if store.is_checkpoint_due() {
                // What came in while a slow one was written has waited long enough.
                pace.want();
            }
        }
        // Idle: nothing was written since the last time, which a checkpoint does too.
        let before = std::mem::replace(&mut groups, store.stats().commits);
        prepare_spares(store, before == groups, &|| !store.is_checkpoint_due() && !pace.is_stopped());
    }
}

/// Before the first mail of a new queue, which may be a rush. At most about `patience`.
pub(crate) fn prepare_new(store: &Store, patience: Duration) {
    let started = Instant::now();
    prepare_spares(store, true, &|| started.elapsed() < patience);
}

fn prepare_spares(store: &Store, is_idle: bool, go_on: &dyn Fn() -> bool) {
    while go_on() {
        match store.prepare_spare(is_idle) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::debug!("preparing a segment: {error}"),
        }
    }
}

/// One checkpoint and what follows from it; why it failed, of which the log only hears the first time.
fn round(store: &Store, is_failing: &mut bool) -> Option<Arc<str>> {
    let written = store.checkpoint();
    let was_failing = std::mem::replace(is_failing, written.is_err());
    match written {
        Ok(written) => {
            if was_failing {
                tracing::info!("checkpoints are written again");
            }
            if !store.is_memtable_full() {
                store.stall.end();
            }
            match if written { store.relocate() } else { Ok(0) } {
                Ok(0) => {}
                Ok(moved) => tracing::debug!("copied {moved} messages forward"),
                Err(error) => tracing::warn!("copying messages forward: {error}"),
            }
            None
        }
        Err(error) => {
            if !was_failing {
                tracing::error!("checkpoint: {error}; it is tried again and again");
            }
            Some(format!("no checkpoint can be written ({error})").into())
        }
    }
}
