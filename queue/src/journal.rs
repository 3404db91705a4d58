//! The journal's writing end: one group after the other, rolling from segment to segment.
//!
//! A failure to make room leaves everything as it was and may pass. So does a write for which there is none after all, as
//! where a file system copies on write: what it left of a group is no group, and the next one is written over it. Any
//! other failed write or sync is final: what the disk then holds is unknown, and a page cache that once failed to write
//! forgets that it did.

use crate::counters::Counters;
use crate::disk::{Disk, File};
use crate::error::{QueueError, is_full};
use crate::group::{GroupWriter, PAGE, Place};
use crate::scan::io_error;
use crate::segment::{self, Header, JOURNAL};
use crate::spare::{self, Spares};
use std::io::{self, IoSlice};
use std::sync::Arc;

/// What a group is for, when room gets short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Mail, new or copied forward: leaves a spare for the other.
    Mail,
    /// Outcomes and checkpoints: what empties the queue.
    Outcomes,
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
    pub spares: Spares,
    buffer: Vec<u8>,
    broken: Option<String>,
}

/// Where the journal goes on.
pub(crate) struct Start {
    pub active: Active,
    /// Of the last group.
    pub sequence: u64,
    pub spares: Spares,
    pub random: u64,
}

impl Journal {
    pub(crate) fn new(start: Start, disk: Arc<dyn Disk>, counters: Arc<Counters>, segment_bytes: u64) -> Journal {
        let Start { active, sequence, spares, random } = start;
        let buffer = Vec::new();
        Journal { disk, counters, segment_bytes, random, active, sequence, spares, buffer, broken: None }
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
    pub(crate) fn reserve(&mut self, bytes: u64, purpose: Purpose) -> Result<(), QueueError> {
        self.working()?;
        if purpose == Purpose::Mail && self.spares.len() == 0 {
            self.allocate_spare()?;
        }
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
        let better = !self.active.written && self.spares.len() > 1 && self.spares.has_written(PAGE + bytes);
        if fits && !better { Ok(()) } else { self.roll(bytes, purpose) }
    }

    /// Another spare, of which nothing is written yet.
    pub(crate) fn allocate_spare(&mut self) -> Result<(), QueueError> {
        let allocated = self.spares.allocate(&*self.disk, self.segment_bytes);
        allocated.map_err(|e| io_error("making room in", JOURNAL, e))
    }

    fn roll(&mut self, bytes: u64, purpose: Purpose) -> Result<(), QueueError> {
        let number = self.active.number + 1;
        let path = segment::path(number);
        let (file, size, written) = self.next_file(&path, PAGE + bytes, purpose)?;
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

    /// A file under its name as a segment, its size, and whether all of it was written before.
    fn next_file(
        &mut self,
        path: &str,
        needed: u64,
        purpose: Purpose,
    ) -> Result<(Arc<dyn File>, u64, bool), QueueError> {
        let beyond_reserve = if self.spares.len() > 1 { self.spares.take(needed) } else { None };
        let spare = match beyond_reserve {
            Some(spare) => spare,
            None => match spare::allocate(&*self.disk, path, needed, self.segment_bytes) {
                Ok((file, size)) => return Ok((file, size, false)),
                Err(error) => {
                    let reserve = if purpose == Purpose::Outcomes { self.spares.take(needed) } else { None };
                    reserve.ok_or_else(|| io_error("making room for", path, error))?
                }
            },
        };
        let renamed = self.disk.rename(&spare.path, path);
        self.fatal("renaming to", renamed)?;
        Ok((spare.file.clone(), spare.size, spare.is_written()))
    }

    /// A writer for the next group. Give it back with [`Journal::commit`].
    pub(crate) fn begin<'a>(&mut self) -> GroupWriter<'a> {
        GroupWriter::new(self.place(), std::mem::take(&mut self.buffer))
    }

    fn place(&self) -> Place {
        let Active { number, generation, position, .. } = self.active;
        Place { segment: number, generation, offset: position }
    }

    /// Writes and syncs a group: one `pwritev`, one `fdatasync`. Returns its sequence. When it fails with anything but
    /// [`QueueError::Failed`], nothing has changed.
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
        if let Err(error) = written {
            if is_full(&error) {
                return Err(io_error("writing", &segment::path(self.active.number), error));
            }
            return self.fatal("writing", Err(error));
        }
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
        spare::allocate(disk, &path, 2 * PAGE, segment_bytes).map_err(|e| io_error("making room for", &path, e))?;
    disk.sync_dir(JOURNAL).map_err(|e| io_error("syncing", JOURNAL, e))?;
    Ok(Active { number: 1, generation, file, size, position: PAGE, written: false, header_pending: Some(0) })
}

/// One step of splitmix64: the next generation from the last.
pub(crate) fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
