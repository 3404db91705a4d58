//! The queue without threads: groups in, durable state out.
//!
//! Every method may be called from any thread; [`Store::commit`] and [`Store::checkpoint`] exclude each other only where they
//! write the journal. Lock order: journal, then state. No lock is held while the index is read or written, and that of the
//! state, which all readers take, not while the disk is asked for anything.

use crate::counters::{Counters, Stats};
use crate::disk::{Disk, File, write_small};
use crate::entry::Terms;
use crate::group::{GROUP_HEADER, GroupWriter, expiry_begins};
use crate::index::{Index, IndexError};
use crate::journal::{Journal, Purpose};
use crate::recovery::DISTRUST;
use crate::relocate::Unmovable;
use crate::segment::Segment;
use crate::settle::{Outcome, Touched};
use crate::stall::Stall;
use crate::state::State;
use crate::{
    Committed, Entry, EntryKey, Flow, Group, Location, MessageId, NewMessage, Options, QueueError, RecipientSet,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// Limits of a store.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Octets of a journal segment; 64 MiB. Whole pages of 4 KiB, at least 16.
    pub segment_bytes: u64,
    /// Entries newer than the last checkpoint: 50,000.
    pub memtable_entries: usize,
    /// Their octets: 32 MiB.
    pub memtable_bytes: usize,
    /// The journal may always grow to this before survivors are copied forward: 1 GiB.
    pub journal_floor_bytes: u64,
    /// So much of that is written with zeros when there is nothing else to do.
    pub prepare_bytes: u64,
    /// From this come the generations of segments; must not be known outside.
    pub seed: u64,
}

impl Limits {
    pub(crate) fn of(options: &Options, seed: u64) -> Limits {
        Limits {
            segment_bytes: options.segment_bytes,
            memtable_entries: options.memtable_entries,
            memtable_bytes: options.memtable_bytes,
            journal_floor_bytes: options.journal_floor_bytes,
            prepare_bytes: options.prepare_bytes,
            seed,
        }
    }
}

/// The queue's state on one disk.
pub struct Store {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) limits: Limits,
    pub(crate) counters: Arc<Counters>,
    pub(crate) journal: Mutex<Journal>,
    pub(crate) state: Mutex<State>,
    /// The greatest id given out or found.
    pub(crate) last_id: AtomicU64,
    /// Being opened: nobody else uses it, and what breaks is not opened again by and by.
    pub(crate) is_starting: AtomicBool,
    /// The next start knows that the index is not to be trusted.
    pub(crate) is_distrusted: AtomicBool,
    /// How many entries the index must hold, until that was counted.
    pub(crate) unverified: Mutex<Option<u64>>,
    /// The index was opened again, and not yet counted.
    pub(crate) is_mended: AtomicBool,
    pub(crate) stall: Stall,
    pub(crate) unmovable: Mutex<Unmovable>,
    /// Segments open for reading.
    pub(crate) files: Mutex<HashMap<u64, Arc<dyn File>>>,
}

/// A panic elsewhere is no reason to give up durable mail: state changes only after all that can fail.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Store {
    /// One message's body is at most this long: 1 GiB, and what was put before it when it came in.
    pub const MAX_BODY_BYTES: u64 = (1 << 30) + (1 << 20);
    /// All bodies of a group, so that its length and the places in it fit 32 bits.
    pub const MAX_GROUP_BODY_BYTES: u64 = 3 << 30;

    /// The next id at this wall-clock time.
    pub fn next_id(&self, now_ms: u64) -> MessageId {
        let next = |last: u64| (now_ms << 20).max(last + 1);
        let last = self.last_id.fetch_update(Relaxed, Relaxed, |last| Some(next(last)));
        MessageId(last.map_or_else(next, next))
    }

    /// Now.
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    /// Whether mail should wait for a checkpoint.
    pub fn is_memtable_full(&self) -> bool {
        self.is_memtable_beyond(1)
    }

    /// Whether outcomes should, too. They are what empties the queue, so they may take up as much again.
    pub fn is_memtable_overfull(&self) -> bool {
        self.is_memtable_beyond(2)
    }

    fn is_memtable_beyond(&self, times: usize) -> bool {
        let state = lock(&self.state);
        let Limits { memtable_entries, memtable_bytes, .. } = self.limits;
        state.memtable_len() >= memtable_entries * times || state.memtable_bytes() >= memtable_bytes * times
    }

    /// Whether a checkpoint would write something to the index or free a segment. Where all that came has gone again
    /// and the journal is in its first segment, it would only cost syncs, for which a message might have to wait.
    pub fn is_checkpoint_useful(&self) -> bool {
        let state = lock(&self.state);
        self.index.is_broken() || state.frozen.is_some() || state.memtable_len() > 0 || state.segments.len() > 1
    }

    /// Whether a checkpoint is worth its while before its time.
    pub fn is_checkpoint_due(&self) -> bool {
        let state = lock(&self.state);
        state.memtable_len() >= self.limits.memtable_entries / 2
            || state.memtable_bytes() >= self.limits.memtable_bytes / 2
    }

    /// What a key holds now.
    pub(crate) fn get(&self, key: &EntryKey) -> Result<Option<Entry>, IndexError> {
        if let Some(known) = lock(&self.state).get(key) {
            return Ok(known.cloned());
        }
        self.index.get(key)
    }

    /// Makes groups durable together, with one write and one sync; returns each one's accepted messages, in order.
    ///
    /// [`QueueError::Failed`] is final. After any other error nothing has changed, on disk or in memory.
    pub fn commit<'g>(
        &self,
        groups: impl Iterator<Item = &'g Group> + Clone,
    ) -> Result<Vec<Vec<Committed>>, QueueError> {
        for group in groups.clone() {
            group.check()?;
        }
        let mut journal = lock(&self.journal);
        let mut outcome = Outcome::default();
        for settle in groups.clone().flat_map(|group| &group.settles) {
            outcome.settle(settle, &|key| self.get(key)).map_err(|error| self.index_error(&error))?;
        }
        outcome.finish();

        let accepts = groups.clone().flat_map(|group| &group.accepts);
        let bound: u64 = accepts.map(|message| GroupWriter::bound(&message.content, &message.domains)).sum::<u64>()
            + outcome.touched.keys().map(GroupWriter::bound_of_change).sum::<u64>();
        // What brings an outcome may bring a notice with it; that belongs together.
        let is_mail = |group: &Group| group.settles.is_empty() && !group.accepts.is_empty();
        let purpose = if groups.clone().any(is_mail) { Purpose::Mail } else { Purpose::Outcomes };
        journal.reserve(GROUP_HEADER as u64 + bound, purpose)?;

        let mut writer = journal.begin();
        let committed: Vec<Vec<Committed>> =
            groups.map(|group| group.accepts.iter().map(|message| accept(&mut writer, message)).collect()).collect();
        for (key, touched) in &outcome.touched {
            write_change(&mut writer, key, touched);
        }
        if !writer.is_empty() {
            journal.commit(writer)?;
            self.apply(&journal, &committed, outcome);
        }
        Ok(committed)
    }

    fn apply(&self, journal: &Journal, committed: &[Vec<Committed>], outcome: Outcome) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        self.note_segment(state, journal);
        let mut messages = 0;
        for message in committed.iter().flatten() {
            messages += 1;
            self.last_id.fetch_max(message.content.id.0, Relaxed);
            for (key, entry) in &message.entries {
                state.account(key, None, Some(entry));
                state.active.set(key.clone(), Some(entry.clone()), false);
            }
        }
        for (key, touched) in outcome.touched {
            state.account(&key, touched.counted_before().as_ref(), touched.now.as_ref());
            // What the active memtable itself holds is known there: below it there may be nothing to hide.
            let below_has = touched.before.is_some() && state.active.get(&key).is_none();
            state.active.set(key, touched.now, below_has);
        }
        self.counters.accepted(messages);
        self.counters.set_totals(&state.totals, state.live_bytes);
    }

    /// After a group: the segment it went to, as it now is.
    pub(crate) fn note_segment(&self, state: &mut State, journal: &Journal) {
        let active = journal.active();
        let known = state.segments.len();
        let segment = state.segments.entry(active.number).or_insert(Segment {
            size: active.size,
            end: active.position,
            written: active.written,
            live: Default::default(),
        });
        let before = segment.live_bytes();
        segment.end = active.position;
        let grown = segment.size != active.size;
        segment.size = active.size;
        let after = segment.live_bytes();
        state.live_bytes = state.live_bytes + after - before;
        if grown || state.segments.len() != known {
            self.note_journal_bytes(state, journal);
        }
    }

    pub(crate) fn note_journal_bytes(&self, state: &State, journal: &Journal) {
        let segments = state.segments.values().map(|s| s.size).sum();
        self.counters.set_journal_bytes(segments, journal.spares.bytes());
    }

    /// Whether the next checkpoints try to open the index again.
    fn is_index_away(&self) -> bool {
        self.index.is_broken() && !self.is_starting.load(Relaxed)
    }

    /// What the index could not do cannot be done: now, or until a restart, which is then told not to trust it.
    pub(crate) fn index_error(&self, error: &IndexError) -> QueueError {
        if self.is_index_away() {
            return QueueError::Stalled(format!("{error}; it is opened again").into());
        }
        if !self.is_starting.load(Relaxed) && !self.is_distrusted.swap(true, Relaxed) {
            tracing::error!("{error}; the next start rebuilds it from the journal");
            if let Err(error) = write_small(&*self.disk, DISTRUST, error.0.as_bytes()) {
                tracing::error!("and that could not be noted: {error}");
                self.is_distrusted.store(false, Relaxed);
            }
        }
        QueueError::Index(error.clone())
    }
}

fn accept<'g>(writer: &mut GroupWriter<'g>, message: &'g NewMessage) -> Committed {
    let content = &message.content;
    let location = writer.accept(message);
    let flow = Flow::of(&content.envelope);
    let (accepted_ms, terms) = (expiry_begins(content, message.due_ms), Terms::of(&content.envelope));
    let body_bytes = content.body.len() as u32;
    let entries = message.domains.iter().map(|(domain, open)| {
        let key = EntryKey { domain: domain.clone(), flow, due_ms: message.due_ms, id: content.id };
        (key, new_entry(location, open.clone(), accepted_ms, body_bytes, terms))
    });
    Committed { content: content.clone(), entries: entries.collect() }
}

/// An entry as acceptance makes it.
pub(crate) fn new_entry(
    location: Location,
    open: RecipientSet,
    accepted_ms: u64,
    body_bytes: u32,
    terms: Terms,
) -> Entry {
    Entry { location, open, attempts: 0, accepted_ms, body_bytes, last_error: Arc::default(), terms, delay_told: false }
}

fn write_change(writer: &mut GroupWriter<'_>, key: &EntryKey, touched: &Touched) {
    let parts = touched.parts;
    match (&touched.now, touched.counted_before()) {
        (Some(entry), before) => writer.put(key, entry, before.as_ref(), parts),
        (None, Some(before)) => writer.gone(key, &before, parts),
        (None, None) => {}
    }
}
