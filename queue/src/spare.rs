//! Spares: files that wait to become segments.
//!
//! Overwriting blocks that were written before halves the cost of a sync, but writing zeros ahead of a queue that grows
//! doubles what goes to the disk. So a new spare is only allocated. Its blocks get written by its first use as a
//! segment, or, when nothing else is to be done, with zeros: before the first mail of a new queue, and in quiet moments.
//! Segments that are freed become spares, as many as fit what the journal may always take: the next rush writes over
//! what the last one wrote.
//!
//! The last spare is a reserve: mail is accepted only while there is one, so that on a full disk outcomes, which empty
//! the queue, still have a segment to go to.

use crate::counters::Counters;
use crate::disk::{Disk, File};
use crate::error::is_full;
use crate::group::PAGE;
use crate::segment::JOURNAL;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

/// So many are kept however large the journal is.
const KEEP: usize = 4;
/// So many are allocated before they are needed: the reserve, and one to go on with.
pub(crate) const AHEAD: usize = 2;
/// When a whole segment does not fit the disk any more, a small one may. Outcomes that are more than it takes are written in parts.
const SMALL_SEGMENT: u64 = 8 << 20;
/// Spares that nothing needed yet take at most this part of what is free on the disk.
const FREE_SHARE: u64 = 8;
/// What the index takes to be opened and to be written once.
const INDEX_BYTES: u64 = 8 << 20;
/// Zeros written between two looks at whether the disk is wanted for mail again.
const FILL_CHUNK: u64 = 2 << 20;
const WRITTEN: &str = "spare-";
const BLANK: &str = "blank-";

/// A file with all its blocks allocated.
#[derive(Clone)]
pub(crate) struct Spare {
    pub path: String,
    pub file: Arc<dyn File>,
    pub size: u64,
    /// All that lies before was written once; `size`: the whole file.
    pub written: u64,
}

impl Spare {
    pub(crate) fn is_written(&self) -> bool {
        self.written == self.size
    }

    /// Writing the rest takes next to no time.
    pub(crate) fn is_nearly_written(&self) -> bool {
        !self.is_written() && self.size - self.written <= self.size / 8
    }

    /// Writes zeros over what was never written, as long as `go_on` says so. When all is written the file has its new
    /// name; a crash before that only forgets what was done.
    pub(crate) fn fill(
        &mut self,
        disk: &dyn Disk,
        path: String,
        counters: &Counters,
        go_on: &mut dyn FnMut() -> bool,
    ) -> io::Result<()> {
        if self.written == 0 {
            // Its old name may have been a segment's, and may come back with a power cut: not without its content.
            disk.sync_dir(JOURNAL)?;
            counters.sync();
        }
        let zeros = vec![0; FILL_CHUNK.min(self.size - self.written) as usize];
        while !self.is_written() {
            if !go_on() {
                return Ok(());
            }
            let len = (self.size - self.written).min(zeros.len() as u64);
            self.file.write_at(self.written, &mut [IoSlice::new(&zeros[..len as usize])])?;
            self.file.sync()?;
            counters.sync();
            self.written += len;
        }
        disk.rename(&self.path, &path)?;
        self.path = path;
        Ok(())
    }
}

/// The spares that there are.
#[derive(Clone, Default)]
pub(crate) struct Spares {
    list: VecDeque<Spare>,
    /// The greatest number of one so far.
    last: u64,
}

impl Spares {
    /// Those among the names of the journal's directory; what cannot be used is removed, and what is more than `room`.
    pub(crate) fn find(
        disk: &dyn Disk,
        names: &[String],
        segment_bytes: u64,
        room: u64,
    ) -> Result<Spares, (String, io::Error)> {
        let mut found = Spares::default();
        for name in names {
            let (is_written, number) = match (name.strip_prefix(WRITTEN), name.strip_prefix(BLANK)) {
                (Some(number), _) => (true, number),
                (_, Some(number)) => (false, number),
                _ => continue,
            };
            let number: Option<u64> = number.parse().ok();
            found.last = found.last.max(number.unwrap_or(0));
            let path = format!("{JOURNAL}/{name}");
            let mut keep_or_remove = || {
                let file = disk.open(&path)?;
                let size = file.len()?;
                let is_usable = (smallest(segment_bytes)..=segment_bytes).contains(&size) && size.is_multiple_of(PAGE);
                if number.is_none() || !is_usable || !found.has_room(size, room) {
                    return disk.remove(&path);
                }
                let written = if is_written { size } else { 0 };
                found.list.push_back(Spare { path: path.clone(), file, size, written });
                Ok(())
            };
            keep_or_remove().map_err(|error| (path.clone(), error))?;
        }
        Ok(found)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Their octets.
    pub(crate) fn bytes(&self) -> u64 {
        self.list.iter().map(|spare| spare.size).sum()
    }

    /// Whether one more of so many octets is worth keeping, where all together may take `room`.
    pub(crate) fn has_room(&self, size: u64, room: u64) -> bool {
        self.list.len() < KEEP || self.bytes() + size <= room
    }

    /// Whether a written one is of at least so many octets.
    pub(crate) fn has_written(&self, needed: u64) -> bool {
        self.list.iter().any(|spare| spare.is_written() && spare.size >= needed)
    }

    fn written_bytes(&self) -> u64 {
        self.list.iter().map(|spare| spare.written).sum()
    }

    /// Whether another is worth allocating only to be written ahead of need, until so many octets are: where it leaves
    /// others most of what is free.
    pub(crate) fn has_use_for(&self, size: u64, prepare: u64, free: u64) -> bool {
        let all = self.bytes().saturating_add(size);
        all <= prepare && all <= free / FREE_SHARE
    }

    pub(crate) fn next_path(&mut self, is_written: bool) -> String {
        self.last += 1;
        format!("{JOURNAL}/{}{}", if is_written { WRITTEN } else { BLANK }, self.last)
    }

    pub(crate) fn push(&mut self, spare: Spare) {
        self.list.push_back(spare);
    }

    /// Allocates another.
    pub(crate) fn allocate(&mut self, disk: &dyn Disk, segment_bytes: u64) -> io::Result<()> {
        let path = self.next_path(false);
        let (file, size) = allocate(disk, &path, smallest(segment_bytes), segment_bytes)?;
        self.list.push_back(Spare { path, file, size, written: 0 });
        Ok(())
    }

    /// One of at least so many octets; a written one where there is one.
    pub(crate) fn take(&mut self, needed: u64) -> Option<Spare> {
        let fits = |spare: &Spare| spare.size >= needed;
        let written = self.list.iter().position(|spare| fits(spare) && spare.is_written());
        let at = written.or_else(|| self.list.iter().position(fits))?;
        self.list.remove(at)
    }

    /// Removes one, for others who need room on the disk; not the reserve, nor what would be allocated again. False: there
    /// are no more.
    pub(crate) fn give_up(&mut self, disk: &dyn Disk) -> io::Result<bool> {
        if self.list.len() <= AHEAD {
            return Ok(false);
        }
        let least = (0..self.list.len()).min_by_key(|at| self.list[*at].written);
        least.map_or(Ok(false), |at| self.remove(disk, at).map(|()| true))
    }

    fn remove(&mut self, disk: &dyn Disk, at: usize) -> io::Result<()> {
        disk.remove(&self.list[at].path)?;
        self.list.remove(at);
        Ok(())
    }

    /// Whether the disk has room for the index to be opened, if need be what spares take. Where it has not, that would fail,
    /// and in the middle.
    pub(crate) fn leave_room(&mut self, disk: &dyn Disk, segment_bytes: u64) -> io::Result<bool> {
        while disk.free_bytes()? < INDEX_BYTES {
            if !self.make_room(disk, segment_bytes)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes room on a full disk for what the journal cannot do without: removes one, or of the last, which is the reserve,
    /// leaves a small one. False: there is nothing to be had.
    fn make_room(&mut self, disk: &dyn Disk, segment_bytes: u64) -> io::Result<bool> {
        let small = smallest(segment_bytes);
        let is_reserve = self.list.len() == 1;
        let largest = (0..self.list.len()).max_by_key(|at| self.list[*at].size);
        let Some(at) = largest.filter(|at| !is_reserve || self.list[*at].size > small) else { return Ok(false) };
        self.remove(disk, at)?;
        if is_reserve {
            self.allocate(disk, small)?;
        }
        Ok(true)
    }

    /// One that should be filled: any, until so many octets are written ahead. Never the only one.
    pub(crate) fn take_unwritten(&mut self, prepare: u64) -> Option<Spare> {
        if self.list.len() < 2 {
            return None;
        }
        let any = self.written_bytes() < prepare;
        let at = self.list.iter().position(|spare| spare.is_nearly_written() || any && !spare.is_written())?;
        self.list.remove(at)
    }
}

fn smallest(segment_bytes: u64) -> u64 {
    SMALL_SEGMENT.min(segment_bytes)
}

/// A new file of the standard size; a small one when there is no room for that.
pub(crate) fn allocate(
    disk: &dyn Disk,
    path: &str,
    needed: u64,
    segment_bytes: u64,
) -> io::Result<(Arc<dyn File>, u64)> {
    let file = disk.create(path)?;
    let standard = needed.max(segment_bytes);
    let small = needed.max(smallest(segment_bytes));
    let allocated = match file.allocate(standard) {
        Err(error) if is_full(&error) && small < standard => file.allocate(small).map(|()| small),
        other => other.map(|()| standard),
    };
    match allocated {
        Ok(size) => Ok((file, size)),
        Err(error) => {
            drop(file);
            // Best effort: recovery removes a segment without a header, and what is too short for a spare.
            let _ = disk.remove(path);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    const SIZE: u64 = 3 * FILL_CHUNK + PAGE;

    fn names(disk: &MemoryDisk) -> Vec<String> {
        disk.list(JOURNAL).expect("listed")
    }

    fn find(disk: &MemoryDisk, segment_bytes: u64, room: u64) -> Spares {
        Spares::find(disk, &names(disk), segment_bytes, room).map_err(|(_, error)| error).expect("read")
    }

    #[test]
    fn filling_stops_when_told_to_and_goes_on_where_it_was() {
        let (disk, counters) = (MemoryDisk::new(), Counters::default());
        let mut spares = Spares::default();
        spares.allocate(&disk, SIZE).expect("room");
        spares.allocate(&disk, SIZE).expect("room");
        assert!(spares.take_unwritten(0).is_none(), "it would take a while");
        let mut spare = spares.take_unwritten(SIZE).expect("one of two");
        assert!(spares.take_unwritten(SIZE).is_none(), "never the only one");
        let path = spares.next_path(true);
        let mut chunks = 0;
        let mut two = || {
            chunks += 1;
            chunks <= 2
        };
        spare.fill(&disk, path.clone(), &counters, &mut two).expect("written");
        assert_eq!((spare.written, spare.is_written()), (2 * FILL_CHUNK, false));
        assert_eq!(names(&disk), ["blank-1", "blank-2"]);
        spare.fill(&disk, path, &counters, &mut || true).expect("written");
        assert!(spare.is_written());
        assert_eq!(names(&disk), ["blank-2", "spare-3"]);
        spares.push(spare);
        assert!(spares.take_unwritten(SIZE).is_none(), "one is written");
        let another = spares.take_unwritten(SIZE + 1).expect("more than one is wanted");
        spares.push(another);
        assert_eq!(spares.take(PAGE).expect("two").path, "journal/spare-3", "and is used first");
    }

    #[test]
    fn only_a_name_says_that_blocks_are_written_and_only_a_size_that_they_are_there() {
        let disk = MemoryDisk::new();
        for (name, size) in [("blank-3", SIZE), ("spare-9", SIZE), ("blank-4", SIZE - PAGE), ("spare-x", SIZE)] {
            disk.create(&format!("{JOURNAL}/{name}")).and_then(|file| file.allocate(size)).expect("room");
        }
        let mut found = find(&disk, SIZE, 0);
        assert_eq!(names(&disk), ["blank-3", "spare-9"]);
        assert_eq!((found.len(), found.bytes(), found.has_written(SIZE)), (2, 2 * SIZE, true));
        assert!(!found.has_written(SIZE + 1), "too small for that");
        assert_eq!(found.next_path(false), "journal/blank-10");
        found.take(PAGE).expect("the written one");
        assert!(!found.has_written(SIZE));
    }

    #[test]
    fn a_disk_without_room_for_a_segment_still_has_some_for_a_small_one() {
        let disk = MemoryDisk::new();
        disk.set_capacity(Some(SMALL_SEGMENT + PAGE));
        let mut spares = Spares::default();
        spares.allocate(&disk, 4 * SMALL_SEGMENT).expect("small");
        assert_eq!(spares.bytes(), SMALL_SEGMENT);
        spares.allocate(&disk, 4 * SMALL_SEGMENT).expect_err("no room at all");
        assert_eq!(names(&disk), ["blank-1"]);
        assert_eq!(find(&disk, 4 * SMALL_SEGMENT, 0).len(), 1);
    }

    #[test]
    fn some_are_kept_in_any_case_and_more_where_there_is_room() {
        let disk = MemoryDisk::new();
        let mut spares = Spares::default();
        (0..9).for_each(|_| spares.allocate(&disk, SIZE).expect("room"));
        assert!(spares.has_room(SIZE, 10 * SIZE) && !spares.has_room(SIZE, 10 * SIZE - 1));
        assert_eq!(find(&disk, SIZE, 7 * SIZE).len(), 7);
        assert_eq!((find(&disk, SIZE, 0).len(), names(&disk).len()), (KEEP, KEEP));
    }

    #[test]
    fn the_last_one_leaves_a_small_one_behind() {
        let (disk, size) = (MemoryDisk::new(), 4 * SMALL_SEGMENT);
        let mut spares = Spares::default();
        (0..2).for_each(|_| spares.allocate(&disk, size).expect("room"));
        disk.set_capacity(Some(2 * size));
        for left in [size, SMALL_SEGMENT] {
            assert!(spares.make_room(&disk, size).expect("removed"));
            assert_eq!((spares.len(), spares.bytes()), (1, left));
        }
        assert!(!spares.make_room(&disk, size).expect("nothing to do"));
        assert_eq!((spares.len(), names(&disk).len()), (1, 1));
    }

    #[test]
    fn others_keep_most_of_the_disk() {
        let disk = MemoryDisk::new();
        let mut spares = Spares::default();
        spares.allocate(&disk, SIZE).expect("room");
        assert!(spares.has_use_for(SIZE, 2 * SIZE, 16 * SIZE));
        assert!(!spares.has_use_for(SIZE, 2 * SIZE - 1, 16 * SIZE), "it is enough");
        assert!(!spares.has_use_for(SIZE, 2 * SIZE, 16 * SIZE - 8), "the disk is small");
    }

    #[test]
    fn those_with_the_least_written_are_given_up_first_and_some_never() {
        let disk = MemoryDisk::new();
        let mut spares = Spares::default();
        (0..AHEAD + 2).for_each(|_| spares.allocate(&disk, SIZE).expect("room"));
        for (spare, written) in spares.list.iter_mut().zip([SIZE, PAGE, 0, SIZE]) {
            spare.written = written;
        }
        for left in [vec!["blank-1", "blank-2", "blank-4"], vec!["blank-1", "blank-4"]] {
            assert!(spares.give_up(&disk).expect("removed"));
            assert_eq!(names(&disk), left);
        }
        assert!(!spares.give_up(&disk).expect("nothing to do"));
        assert_eq!(spares.len(), AHEAD);
    }
}
