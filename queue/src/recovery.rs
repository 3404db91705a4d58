//! Opening: what the disk holds, and whether to believe it. `docs/queue.md` has the rules.

use crate::checkpoint::{Checkpoint, Live};
use crate::counters::Counters;
use crate::disk::{self, Disk};
use crate::files::{Files, check_format, find_files};
use crate::group::PAGE;
use crate::index::{Index, IndexHome};
use crate::journal::{self, Active, Journal, Purpose};
use crate::replay::Replayed;
use crate::scan::{Found, damaged, io_error};
use crate::segment::{self, JOURNAL, Segment};
use crate::store::{Limits, Store};
use crate::{EntryKey, QueueError};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Present: the index failed while the queue was running.
pub(crate) const DISTRUST: &str = "distrust";

/// An index of more entries than this is counted while the queue already works.
const COUNT_AT_ONCE: u64 = 50_000;

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// There was no queue; it was made.
    pub created: bool,
    /// Entries in the queue.
    pub entries: u64,
    /// Recipients in the queue.
    pub recipients: u64,
    /// Octets cut from the torn tail.
    pub torn_bytes: u64,
    /// The index had to be rebuilt from the journal, and why.
    pub index_rebuilt: Option<String>,
    /// Groups replayed.
    pub replayed_groups: u64,
    /// After a repair: messages in damaged ranges that could be read all the same, and were copied out of them.
    pub rescued: u64,
    /// Likewise: entries whose message could not.
    pub lost: Vec<EntryKey>,
    /// What the journal says before this segment and offset, the index knew.
    pub index_reached: (u64, u64),
}

impl Recovery {
    pub(crate) fn count(&mut self, store: &Store) {
        let stats = store.stats();
        (self.entries, self.recipients) = (stats.entries, stats.recipients);
    }
}

impl Store {
    /// Opens or creates a queue: recovers what the disk holds.
    pub fn open(disk: Arc<dyn Disk>, home: &dyn IndexHome, limits: Limits) -> Result<(Store, Recovery), QueueError> {
        let limits = Limits { segment_bytes: limits.segment_bytes.next_multiple_of(PAGE).max(16 * PAGE), ..limits };
        disk.create_dir(JOURNAL).map_err(|e| io_error("creating", JOURNAL, e))?;
        check_format(&*disk)?;
        let mut files = find_files(&*disk, &limits)?;
        if let Err(error) = files.spares.leave_room(&*disk, limits.segment_bytes) {
            tracing::warn!("making room in {JOURNAL}: {error}");
        }
        let distrust = disk::read_small(&*disk, DISTRUST).map_err(|e| io_error("reading", DISTRUST, e))?;
        let distrust = distrust.map(|why| String::from_utf8_lossy(&why).into_owned());

        let opening = Opening { disk, home, limits, files };
        let mut why = distrust;
        if why.is_none() {
            match opening.with_index()? {
                Ok(opened) => return Ok(started(opened)),
                Err(reason) => why = Some(reason),
            }
        }
        opening.rebuilt(why).map(started)
    }
}

fn started((store, recovery): (Store, Recovery)) -> (Store, Recovery) {
    store.is_starting.store(false, Relaxed);
    (store, recovery)
}

struct Opening<'h> {
    disk: Arc<dyn Disk>,
    home: &'h dyn IndexHome,
    limits: Limits,
    files: Files,
}

impl Opening<'_> {
    /// Index and the journal's tail; or why the index is not to be believed.
    fn with_index(&self) -> Result<Result<(Store, Recovery), String>, QueueError> {
        let opened = self.home.open().and_then(|index| Ok((index.checkpoint()?.unwrap_or_default(), index)));
        let (base, index) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let segments = &self.files.segments;
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            if base.totals.entries > 0 {
                return Err(damaged(base.segment, 0, "the journal is gone"));
            }
            return match base.number {
                0 => self.finish(index, Replayed::default(), None).map(Ok),
                _ => Ok(Err("it is not of this journal".into())),
            };
        };
        // Before the first checkpoint the index says nothing, and replay begins with the first segment ever.
        let from = if base.number == 0 { 1 } else { base.segment.min(last.number) };
        if let Some(why) = self.lacks(&base, from, (first, last))? {
            return Ok(Err(why));
        }
        let mut replayed = Replayed::read(&self.files.segments, &base, from, None)?;
        if let Some(why) = replayed.checkpoint.as_ref().and_then(|newest| disagreement(&base, newest)) {
            return Ok(Err(why));
        }
        let fillers = std::mem::take(&mut replayed.fillers);
        if replayed.sequence < base.sequence {
            return Err(damaged(
                last.number,
                replayed.state.segments[&last.number].end,
                "groups that the index knows are missing",
            ));
        }
        let (store, mut recovery) = self.finish(index, replayed, None)?;
        recovery.index_reached = (base.segment, base.offset);
        if fillers.reach_beyond(recovery.index_reached) {
            // What is left of the journal's tail does not say how many entries the index must hold after it; its checkpoint does.
            match store.index.count() {
                Ok(counted) if counted == base.totals.entries => {}
                Ok(counted) => {
                    return Ok(Err(format!("it holds {counted} entries instead of {}", base.totals.entries)));
                }
                Err(error) => return Ok(Err(error.to_string())),
            }
            (recovery.rescued, recovery.lost) = store.clear(&fillers)?;
            recovery.count(&store);
        }
        let distrust = doubts(&store)?;
        Ok(distrust.map_or(Ok((store, recovery)), Err))
    }

    /// Why the index is not of this journal, if it needs segments that were freed; an error if it knows of mail in some that were not.
    fn lacks(
        &self,
        base: &Checkpoint,
        from: u64,
        (first, last): (&Found, &Found),
    ) -> Result<Option<String>, QueueError> {
        let lost = |number| damaged(number, 0, "the segment is missing, and the index knows of mail in it");
        if let Some(gone) = base.reached(last.number) {
            return Err(lost(gone));
        }
        let mut needed = std::iter::once(from).chain(base.live.keys().copied());
        let Some(missing) = needed.find(|number| !(first.number..=last.number).contains(number)) else {
            return Ok(None);
        };
        // Segments are freed behind a checkpoint: unless the journal knows a newer one, this was not. What the index knows of
        // it a repair will want: it is not set aside.
        if base.number > 0 {
            let newest = Replayed::read(&self.files.segments, base, first.number, None)?.checkpoint;
            if newest.is_none_or(|newest| newest.number <= base.number) {
                return Err(lost(missing));
            }
        }
        Ok(Some(format!("it needs {}, which is not there", segment::file_name(missing))))
    }

    /// The index moved aside and written anew from the whole journal.
    fn rebuilt(&self, why: Option<String>) -> Result<(Store, Recovery), QueueError> {
        if let Some(why) = &why {
            tracing::warn!("the index is rebuilt from the journal: {why}");
        }
        self.home.set_aside().map_err(|e| io_error("moving aside", "index", e))?;
        let index = self.home.open().map_err(QueueError::Index)?;
        // The index attempt may have logged a checkpoint: look again at what there is.
        let files = find_files(&*self.disk, &self.limits)?;
        let opening = Opening { disk: self.disk.clone(), home: self.home, limits: self.limits.clone(), files };
        let mut replayed = match opening.files.segments.first() {
            None => Replayed::default(),
            Some(first) => {
                let first = first.number;
                let mut replayed = Replayed::read(
                    &opening.files.segments,
                    &Checkpoint::default(),
                    first,
                    Some((&*index, &self.limits)),
                )?;
                if replayed.fillers.is_empty() {
                    check_beginning(first, replayed.checkpoint.as_ref())?;
                }
                replayed.state.checkpoint = replayed.checkpoint.as_ref().map_or(0, |c| c.number);
                replayed
            }
        };
        let fillers = std::mem::take(&mut replayed.fillers);
        let (store, mut recovery) = opening.finish(index, replayed, why)?;
        (recovery.rescued, recovery.lost) = store.clear(&fillers)?;
        write_checkpoint(&store)?;
        match store.disk.remove(DISTRUST) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error("removing", DISTRUST, error));
            }
            _ => {}
        }
        recovery.count(&store);
        Ok((store, recovery))
    }

    /// Makes the end of the journal sure, and the store of it.
    fn finish(
        &self,
        index: Arc<dyn Index>,
        mut replayed: Replayed,
        index_rebuilt: Option<String>,
    ) -> Result<(Store, Recovery), QueueError> {
        let Opening { disk, limits, files, .. } = self;
        let counters = Arc::new(Counters::default());
        let random = journal::splitmix(limits.seed ^ replayed.sequence);
        let active = self.end_of_journal(&mut replayed, random)?;
        counters.sync();
        if replayed.groups == 0 {
            replayed.state.checkpoint_sequence = replayed.sequence;
        }
        let totals = replayed.state.totals;
        let recovery = Recovery {
            created: files.segments.is_empty(),
            entries: totals.entries,
            recipients: totals.recipients,
            torn_bytes: replayed.torn_bytes,
            index_rebuilt,
            replayed_groups: replayed.groups,
            rescued: 0,
            lost: Vec::new(),
            index_reached: (0, 0),
        };
        let mut journal = Journal::new(
            journal::Start { active, sequence: replayed.sequence, spares: files.spares.clone(), random },
            disk.clone(),
            counters.clone(),
            limits.segment_bytes,
        );
        // On a full disk there may be no room for a reserve: then no mail is accepted until there is.
        if let Err(error) = journal.reserve(0, Purpose::Mail) {
            tracing::warn!("{error}; mail is refused until there is room");
        }
        let store = Store {
            disk: disk.clone(),
            index,
            limits: limits.clone(),
            counters,
            journal: Mutex::new(journal),
            last_id: AtomicU64::new(replayed.last_id),
            state: Mutex::new(replayed.state),
            is_starting: AtomicBool::new(true),
            is_distrusted: AtomicBool::new(false),
            unverified: Mutex::new(None),
            is_mended: AtomicBool::new(false),
            stall: Default::default(),
            unmovable: Default::default(),
            files: Mutex::new(HashMap::new()),
        };
        store.publish();
        Ok((store, recovery))
    }

    /// Where the journal goes on: behind its last group, once that is sure, or in the first segment of all.
    fn end_of_journal(&self, replayed: &mut Replayed, random: u64) -> Result<Active, QueueError> {
        if let Some(last) = self.files.segments.last() {
            let end = replayed.state.segments[&last.number].end;
            harden(last, replayed, end)?;
            return active_of(last, end);
        }
        let active = journal::first_segment(&*self.disk, self.limits.segment_bytes, random)?;
        let segment = Segment { size: active.size, end: PAGE, written: false, live: Live::default() };
        replayed.state.segments.insert(active.number, segment);
        Ok(active)
    }
}

impl Store {
    pub(crate) fn publish(&self) {
        let journal = crate::store::lock(&self.journal);
        let state = crate::store::lock(&self.state);
        self.counters.set_totals(&state.totals, state.live_bytes);
        self.note_journal_bytes(&state, &journal);
    }
}

/// In what the index is not of this journal, by their newest checkpoints.
fn disagreement(index: &Checkpoint, journal: &Checkpoint) -> Option<String> {
    match journal.number.cmp(&index.number) {
        Ordering::Greater => Some(format!("it is at checkpoint {}, the journal at {}", index.number, journal.number)),
        Ordering::Equal if journal != index => Some("its counters are not those of the journal".into()),
        _ => None,
    }
}

/// After a crash, the index may have lost more than it admits, and a bad disk may take of it what it likes: what it holds must
/// match the counters. Why it does not, if so.
fn doubts(store: &Store) -> Result<Option<String>, QueueError> {
    match write_checkpoint(store) {
        Ok(()) => {}
        Err(QueueError::Index(error)) => return Ok(Some(error.to_string())),
        Err(error) => return Err(error),
    }
    let expected = store.stats().entries;
    if expected > COUNT_AT_ONCE {
        *crate::store::lock(&store.unverified) = Some(expected);
        return Ok(None);
    }
    Ok(match store.index.count() {
        Ok(counted) if counted == expected => None,
        Ok(counted) => Some(format!("it holds {counted} entries instead of {expected}")),
        Err(error) => Some(error.to_string()),
    })
}

/// On a full disk the index is up to date and the journal has no room to say so: that can wait until something is
/// delivered. Mail goes out also then. An index that breaks is opened again once, by the second attempt.
fn write_checkpoint(store: &Store) -> Result<(), QueueError> {
    let mut written = store.checkpoint();
    if store.index.is_broken() {
        written = store.checkpoint();
    }
    match written {
        Err(error @ QueueError::Io { .. }) if !store.index.is_broken() => {
            tracing::warn!("checkpoint: {error}");
            Ok(())
        }
        other => other.map(|_| ()),
    }
}

/// A journal whose first segment is not the first ever must say itself that nothing older is needed.
fn check_beginning(first: u64, checkpoint: Option<&Checkpoint>) -> Result<(), QueueError> {
    let complete = match checkpoint {
        _ if first == 1 => true,
        Some(checkpoint) => checkpoint.segment >= first && checkpoint.live.keys().all(|number| *number >= first),
        None => false,
    };
    if complete { Ok(()) } else { Err(damaged(first - 1, 0, "the segment is missing")) }
}

/// The last group may have come from a cache that never reached the disk: write it again, and nothing after it.
fn harden(last: &Found, replayed: &Replayed, end: u64) -> Result<(), QueueError> {
    let rewrite = || -> std::io::Result<()> {
        if let Some(start) = replayed.last_group {
            // Its padding may lie beyond the end of a file whose allocation was not durable yet.
            let mut group = vec![0; (end - start) as usize];
            last.file.read_at(start, &mut group)?;
            last.file.write_at(start, &mut [IoSlice::new(&group)])?;
        }
        if replayed.torn_bytes > 0 {
            let len = PAGE.min(last.size.saturating_sub(end)) as usize;
            last.file.write_at(end, &mut [IoSlice::new(&vec![0; len])])?;
        }
        last.file.sync()
    };
    rewrite().map_err(|e| io_error("securing the end of", &segment::path(last.number), e))
}

fn active_of(last: &Found, position: u64) -> Result<Active, QueueError> {
    let Some(header) = last.header else { return Err(damaged(last.number, 0, "no segment header")) };
    Ok(Active {
        number: last.number,
        generation: header.generation,
        file: last.file.clone(),
        size: last.size.max(position),
        position,
        written: header.written,
        header_pending: None,
    })
}
