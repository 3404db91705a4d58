//! The journal's writing end: one group after the other, rolling from segment to segment.
//!
//! A failure to make room leaves everything as it was and may pass. A failed write or sync is final: what the disk then
//! holds is unknown, and a page cache that once failed to write forgets that it did.

use crate::QueueError;
use crate::counters::Counters;
use crate::disk::{Disk, File};
use crate::group::{GroupWriter, PAGE, Place};
use crate::scan::io_error;
use crate::segment::{self, Header, JOURNAL};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// Spares that are kept; more are deleted.
pub(crate) const KEEP_SPARES: usize = 4;
/// When a whole segment does not fit the disk any more, a small one may.
const SMALL_SEGMENT: u64 = 4 << 20;
const ZERO_CHUNK: usize = 1 << 20;

/// A file whose blocks are all written, waiting to become a segment.
pub(crate) struct Spare {
    pub path: String,
    pub file: Arc<dyn File>,
}

/// The segment that is written to.
pub(crate) struct Active {
    pub number: u64,
    pub generation: u64,
    pub file: Arc<dyn File>,
    pub size: u64,
    /// Where the next group goes.
    pub position: u64,
    pub written: bool,
    /// Where the one before ends, while the header is still to be written (with the first group).
    pub header_pending: Option<u64>,
}

pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    counters: Arc<Counters>,
    segment_bytes: u64,
    random: u64,
    active: Active,
    /// Of the last group.
    sequence: u64,
    pub spares: VecDeque<Spare>,
    next_spare: u64,
    buffer: Vec<u8>,
    broken: Option<String>,
}

/// Where the journal goes on.
pub(crate) struct Start {
    pub active: Active,
    /// Of the last group.
    pub sequence: u64,
    pub spares: VecDeque<Spare>,
    /// The greatest number of a spare so far.
    pub next_spare: u64,
    pub random: u64,
}

impl Journal {
    pub(crate) fn new(start: Start, disk: Arc<dyn Disk>, counters: Arc<Counters>, segment_bytes: u64) -> Journal {
        let Start { active, sequence, spares, next_spare, random } = start;
        let buffer = Vec::new();
        Journal { disk, counters, segment_bytes, random, active, sequence, spares, next_spare, buffer, broken: None }
    }

    pub(crate) fn active(&self) -> &Active {
        &self.active
    }

    /// Of the last group.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Octets of a standard segment, in whole pages.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(crate) fn next_spare_path(&mut self) -> String {
        self.next_spare += 1;
        format!("{JOURNAL}/spare-{}", self.next_spare)
    }

    fn working(&self) -> Result<(), QueueError> {
        match &self.broken {
            Some(why) => Err(QueueError::Failed(why.clone())),
            None => Ok(()),
        }
    }

    fn fatal<T>(&mut self, what: &str, result: io::Result<T>) -> Result<T, QueueError> {
        result.map_err(|error| {
            let why = format!("{what} {}: {error}", segment::file_name(self.active.number));
            tracing::error!("the journal is closed for good: {why}");
            self.broken = Some(why.clone());
            QueueError::Failed(why)
        })
    }

    /// Makes sure that a group of at most so many octets, header included, fits at the current place. When it fails with anything
    /// but [`QueueError::Failed`], nothing has changed.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<(), QueueError> {
        self.working()?;
        let bytes = bytes.next_multiple_of(PAGE);
        let fits = self.active.position + bytes <= self.active.size;
        if self.active.header_pending.is_some() {
            if !fits {
                let size = self.active.position + bytes;
                let path = segment::path(self.active.number);
                self.active.file.allocate(size).map_err(|e| io_error("making room in", &path, e))?;
                self.active.size = size;
            }
            return Ok(());
        }
        // Overwriting written blocks halves the cost of a sync, so do not wait for the end of one that has none.
        let better = !self.active.written && !self.spares.is_empty();
        if fits && !better { Ok(()) } else { self.roll(bytes) }
    }

    fn roll(&mut self, bytes: u64) -> Result<(), QueueError> {
        let number = self.active.number + 1;
        let path = segment::path(number);
        let needed = PAGE + bytes;
        let spare = if needed <= self.segment_bytes { self.spares.pop_front() } else { None };
        let written = spare.is_some();
        let (file, size) = match spare {
            Some(spare) => {
                let renamed = self.disk.rename(&spare.path, &path);
                self.fatal("renaming to", renamed)?;
                (spare.file, self.segment_bytes)
            }
            None => allocate_segment(&*self.disk, &path, needed, self.segment_bytes)
                .map_err(|e| io_error("making room for", &path, e))?,
        };
        let synced = self.disk.sync_dir(JOURNAL);
        self.counters.sync();
        self.fatal("syncing the directory of", synced)?;
        self.random = splitmix(self.random);
        self.active = Active {
            number,
            generation: self.random,
            file,
            size,
            position: PAGE,
            written,
            header_pending: Some(self.active.position),
        };
        Ok(())
    }

    /// A writer for the next group. Give it back with [`Journal::commit`].
    pub(crate) fn begin<'a>(&mut self) -> GroupWriter<'a> {
        GroupWriter::new(self.place(), std::mem::take(&mut self.buffer))
    }

    fn place(&self) -> Place {
        let Active { number, generation, position, .. } = self.active;
        Place { segment: number, generation, offset: position }
    }

    /// Writes and syncs a group: one `pwritev`, one `fdatasync`. Returns its sequence.
    pub(crate) fn commit(&mut self, mut group: GroupWriter<'_>) -> Result<u64, QueueError> {
        self.working()?;
        let sequence = self.sequence + 1;
        let bytes = group.seal(sequence);
        debug_assert!(
            self.active.position + bytes <= self.active.size,
            "reserve() was asked for less than was written"
        );
        let header = self.active.header_pending.map(|previous_end| {
            let Active { number, generation, written, .. } = self.active;
            Header { number, generation, previous_end, written }.encode()
        });
        let mut slices = Vec::with_capacity(256);
        if let Some(page) = &header {
            slices.push(IoSlice::new(page));
        }
        group.slices(&mut slices);
        let offset = if header.is_some() { 0 } else { self.active.position };
        let written = self.active.file.write_at(offset, &mut slices);
        drop(slices);
        self.fatal("writing", written)?;
        let synced = self.active.file.sync();
        self.counters.sync();
        self.fatal("syncing", synced)?;
        self.counters.commit();
        self.active.header_pending = None;
        self.active.position += bytes;
        self.sequence = sequence;
        self.buffer = group.into_buffer();
        if self.buffer.capacity() > 4 << 20 {
            self.buffer = Vec::new();
        }
        Ok(sequence)
    }
}

/// The first segment of a new journal.
pub(crate) fn first_segment(disk: &dyn Disk, segment_bytes: u64, generation: u64) -> Result<Active, QueueError> {
    let path = segment::path(1);
    let (file, size) =
        allocate_segment(disk, &path, 2 * PAGE, segment_bytes).map_err(|e| io_error("making room for", &path, e))?;
    disk.sync_dir(JOURNAL).map_err(|e| io_error("syncing", JOURNAL, e))?;
    Ok(Active { number: 1, generation, file, size, position: PAGE, written: false, header_pending: Some(0) })
}

/// A standard segment; a small one when there is no room for that.
fn allocate_segment(disk: &dyn Disk, path: &str, needed: u64, segment_bytes: u64) -> io::Result<(Arc<dyn File>, u64)> {
    let file = disk.create(path)?;
    let standard = needed.max(segment_bytes);
    let small = needed.max(SMALL_SEGMENT.min(segment_bytes));
    let allocated = match file.allocate(standard) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull && small < standard => {
            file.allocate(small).map(|()| small)
        }
        other => other.map(|()| standard),
    };
    match allocated {
        Ok(size) => Ok((file, size)),
        Err(error) => {
            drop(file);
            // Best effort: recovery removes a segment without a header as well.
            let _ = disk.remove(path);
            Err(error)
        }
    }
}

/// Writes every block of a new spare. Interrupted, it leaves a `.new` file that the next start removes.
pub(crate) fn prepare_spare(disk: &dyn Disk, path: String, bytes: u64) -> io::Result<Spare> {
    let temporary = format!("{path}.new");
    let file = disk.create(&temporary)?;
    let filled = fill(&*file, bytes).and_then(|()| disk.rename(&temporary, &path));
    match filled {
        Ok(()) => Ok(Spare { path, file }),
        Err(error) => {
            let _ = disk.remove(&temporary);
            Err(error)
        }
    }
}

fn fill(file: &dyn File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_CHUNK.min(bytes as usize)];
    let mut at = 0;
    while at < bytes {
        let len = (bytes - at).min(zeros.len() as u64);
        file.write_at(at, &mut [IoSlice::new(&zeros[..len as usize])])?;
        at += len;
    }
    file.sync()
}

/// One step of splitmix64: the next generation from the last.
pub(crate) fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
