//! Saving what can be saved of a damaged journal: what `posthaste queue repair` does.
//!
//! Every intact group stays where it is, so that places within the journal remain true. Of a damaged one, so do the records that
//! can be proven to be as they were written (`salvage.rs`), with voids between them. Where there are none, the range becomes one
//! *filler*: a group without records that recovery steps over. Before a segment is touched, it is copied to `damaged-<time>/`.
//! Then the index, which is kept when it can be, and the groups after its checkpoint are read as at any start; entries whose
//! message is gone are given up and named, as are messages that nothing else knows of. What a damaged range said of messages
//! elsewhere is forgotten, so some of those may be delivered a second time. Run twice, the second finds nothing to do;
//! interrupted, it is to be run again.

mod report;
mod salvage;
mod survey;

pub use salvage::LostMessage;

use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, File, RealDisk, is_unreadable, write_small};
use crate::files::check_format;
use crate::group::{self, PAGE, Place};
use crate::index::{IndexHome, SledIndex};
use crate::lock::Lock;
use crate::places::Places;
use crate::recovery::DISTRUST;
use crate::scan::{Found, io_error};
use crate::segment::{self, Header, JOURNAL};
use crate::service::{secret_seed, within};
use crate::store::{Limits, Store};
use crate::{Domain, Entry, EntryKey, Group, MessageId, Options, QueueError, RecipientSet, Recovery, Settle};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::time::SystemTime;
use survey::{Bounds, Survey, Watch, survey};

/// So many segments may be gone from the journal's end.
const MISSING: u64 = 100;

/// What a repair did.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// Ranges given up: segment file, first octet, octets.
    pub ranges: Vec<(String, u64, u64)>,
    /// Those of them of which nobody can tell what was there: mail, or outcomes.
    pub unknown: Vec<(String, u64, u64)>,
    /// Intact groups.
    pub groups: u64,
    /// Damaged groups of which something was kept.
    pub mended: u64,
    /// Messages lost before the index knew of them.
    pub lost: Vec<LostMessage>,
    /// The queue as it now is, with the entries that were lost. `rescued` counts all messages that lie in damaged groups.
    pub recovery: Recovery,
}

/// Repairs the queue in `options.dir`, which no server has open. `report` gets what was lost, in words; it is also kept
/// as `report.txt` beside the damaged originals.
pub fn repair(options: &Options, report: &mut dyn std::io::Write) -> Result<Repaired, QueueError> {
    let _lock = Lock::take(&options.dir)?;
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let home = SledIndex { path: options.dir.join("index"), cache_bytes: options.index_cache_bytes };
    let limits = Limits::of(options, secret_seed());
    let disk = Arc::new(RealDisk::new(&options.dir));
    repair_disk(disk, &home, limits, time, report).map_err(|error| within(&options.dir, error))
}

/// As [`repair`], of any disk that nobody else uses; `time` names the copies of what is replaced. For tests and simulation.
pub fn repair_disk(
    disk: Arc<dyn Disk>,
    home: &dyn IndexHome,
    limits: Limits,
    time: u64,
    report: &mut dyn std::io::Write,
) -> Result<Repaired, QueueError> {
    check_format(&*disk)?;
    let base = home.open().and_then(|index| index.checkpoint()).unwrap_or_default().unwrap_or_default();
    let mut work = Work {
        disk,
        aside: format!("damaged-{time}"),
        base,
        voids: Places::default(),
        mended: Places::default(),
        watch: Watch::default(),
        repaired: Repaired::default(),
    };
    let first = work.mend()?;
    let (store, mut recovery) = match (Store::open(work.disk.clone(), home, limits.clone()), first) {
        // What came before the first segment is needed and gone.
        (Err(QueueError::Damaged { segment, .. }), Some((first, previous_end)))
            if segment::number_of(&segment).is_some_and(|missing| missing < first) =>
        {
            let mut end = 0;
            for missing in segment::number_of(&segment).unwrap_or(first)..first {
                end = work.stand_in(missing, end, if missing + 1 == first { previous_end } else { 0 }, 0)?;
            }
            Store::open(work.disk.clone(), home, limits)?
        }
        (opened, _) => opened?,
    };
    if !work.voids.is_empty() {
        let (rescued, lost) = store.clear(&work.voids)?;
        recovery.rescued += rescued + work.count_kept(&store)?;
        recovery.lost.extend(lost);
        work.settle_doubles(&store)?;
        recovery.count(&store);
    }
    store.checkpoint()?;
    work.tell_lost(&recovery);
    work.repaired.recovery = recovery;
    let text = report::text(&work.repaired);
    let told = report.write_all(text.as_bytes());
    told.map_err(|e| io_error("writing", "the report", e))?;
    if !work.repaired.ranges.is_empty() {
        let path = format!("{}/report.txt", work.aside);
        write_small(&*work.disk, &path, text.as_bytes()).map_err(|e| io_error("writing", &path, e))?;
    }
    Ok(work.repaired)
}

struct Work {
    disk: Arc<dyn Disk>,
    aside: String,
    /// What the index holds.
    base: Checkpoint,
    /// Where nothing is any more, whole groups and records.
    voids: Places,
    /// Damaged groups of which something was kept.
    mended: Places,
    watch: Watch,
    repaired: Repaired,
}

impl Work {
    /// Returns the first segment's number, and where the one before it ended.
    fn mend(&mut self) -> Result<Option<(u64, u64)>, QueueError> {
        let names = self.disk.list(JOURNAL).map_err(|e| io_error("reading", JOURNAL, e))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number_of(name)).collect();
        numbers.sort_unstable();
        let mut found: BTreeMap<u64, Found> = BTreeMap::new();
        for number in &numbers {
            found.insert(*number, self.open(*number)?);
        }
        let (mut sequence, mut end) = (0, 0);
        let mut expected = numbers.first().copied();
        for number in numbers {
            while let Some(missing) = expected.filter(|expected| *expected < number) {
                let next = if missing + 1 == number { found[&number].header } else { None };
                end = self.stand_in(missing, end, next.map_or(2 * PAGE, |next| next.previous_end), sequence)?;
                expected = Some(missing + 1);
            }
            expected = Some(number + 1);
            let known_end = found.get(&(number + 1)).and_then(|next| next.header).map(|header| header.previous_end);
            let is_last = found.keys().next_back() == Some(&number);
            let bounds = match is_last {
                true => Bounds::of_last(&found[&number], &self.base, sequence),
                false => Bounds { end: known_end, at_least: 0, sequence, last_sequence: 0 },
            };
            let survey = self.survey(&found[&number], bounds)?;
            let is_bare = survey.groups == 0 && survey.damaged.iter().all(|(_, salvaged)| salvaged.saved == 0);
            let is_unborn = found[&number].header.is_none() && self.base.reached(number.saturating_sub(1)).is_none();
            if is_last && is_bare && is_unborn {
                // Never written; recovery drops it.
                break;
            }
            let previous_end = end;
            (sequence, end) = (survey.sequence, survey.end);
            self.patch(&found[&number], survey, previous_end)?;
        }
        // Without any, what the index knows begins with its oldest mail.
        let oldest = self.base.live.keys().next().map_or(self.base.segment, |oldest| self.base.segment.min(*oldest));
        let next = expected.unwrap_or(oldest.max(1));
        self.go_on(next, end)?;
        let first = found.first_key_value();
        Ok(first.map(|(number, found)| (*number, found.header.map_or(2 * PAGE, |header| header.previous_end))))
    }

    fn open(&self, number: u64) -> Result<Found, QueueError> {
        match Found::open(&*self.disk, number) {
            Err(QueueError::Damaged { .. }) => {
                self.blank(number)?;
                Found::open(&*self.disk, number)
            }
            opened => opened,
        }
    }

    fn survey(&mut self, found: &Found, bounds: Bounds) -> Result<Survey, QueueError> {
        let mut watch = self.watch.clone();
        let mut surveyed = survey(found, bounds, &mut watch);
        if let Err(QueueError::Damaged { .. }) = surveyed {
            self.blank(found.number)?;
            watch.clone_from(&self.watch);
            surveyed = survey(found, bounds, &mut watch);
        }
        self.watch = watch;
        surveyed
    }

    /// Writes zeros over the pages that cannot be read: the disk puts them elsewhere, and they are damaged like others.
    fn blank(&self, number: u64) -> Result<(), QueueError> {
        let path = segment::path(number);
        let blank = || -> std::io::Result<()> {
            let file = self.disk.open(&path)?;
            for page in self.copy_aside(&*file, number)? {
                file.write_at(page, &mut [IoSlice::new(&[0; PAGE as usize])])?;
            }
            file.sync()
        };
        blank().map_err(|e| io_error("repairing", &path, e))
    }

    /// Segments that the index knows at the journal's end and that are gone. If it knows too many, it is not this journal's.
    fn go_on(&mut self, next: u64, mut end: u64) -> Result<(), QueueError> {
        let Some(reached) = self.base.reached(next - 1) else { return Ok(()) };
        if reached >= next + MISSING {
            let why = b"it knows of segments that are not there";
            return write_small(&*self.disk, DISTRUST, why).map_err(|e| io_error("writing", DISTRUST, e));
        }
        for missing in next..=reached {
            let to = if missing == self.base.segment { self.base.offset } else { 0 };
            end = self.stand_in(missing, end, to, self.base.sequence)?;
        }
        Ok(())
    }

    /// A copy of a segment before it is changed.
    fn keep(&self, found: &Found) -> Result<(), QueueError> {
        let kept = self.copy_aside(&*found.file, found.number);
        kept.map(|_| ()).map_err(|e| io_error("copying to", &self.path_aside(found.number), e))
    }

    fn path_aside(&self, number: u64) -> String {
        format!("{}/{}", self.aside, segment::file_name(number))
    }

    /// Says which pages cannot be read; there are zeros in the copy.
    fn copy_aside(&self, file: &dyn File, number: u64) -> std::io::Result<Vec<u64>> {
        self.disk.create_dir(&self.aside)?;
        let copy = self.disk.create(&self.path_aside(number))?;
        let mut buffer = vec![0; 1 << 20];
        let (mut unreadable, mut at) = (Vec::new(), 0);
        loop {
            let read = read_around(file, at, &mut buffer, &mut unreadable)?;
            if read == 0 {
                break;
            }
            copy.write_at(at, &mut [IoSlice::new(&buffer[..read])])?;
            at += read as u64;
        }
        copy.sync()?;
        self.disk.sync_dir(&self.aside)?;
        Ok(unreadable)
    }

    /// What is damaged mended or filled, and a header where that is lost or no longer true.
    fn patch(&mut self, found: &Found, survey: Survey, previous_end: u64) -> Result<(), QueueError> {
        let first = previous_end == 0;
        let header = found.header.unwrap_or(Header {
            number: found.number,
            generation: survey.generation,
            previous_end,
            written: false,
        });
        let previous_end = if first { header.previous_end } else { previous_end };
        let header = Header { previous_end, ..header };
        self.repaired.groups += survey.groups;
        survey.voids.into_iter().for_each(|range| self.voids.add(found.number, range));
        if survey.damaged.is_empty() && found.header == Some(header) {
            return Ok(());
        }
        self.keep(found)?;
        let path = segment::path(found.number);
        let failed = |e| io_error("repairing", &path, e);
        let file_name = segment::file_name(found.number);
        let named = |range: &Range<u64>| (file_name.clone(), range.start, range.end - range.start);
        if found.header != Some(header) {
            self.repaired.ranges.push(named(&(0..PAGE)));
            found.file.write_at(0, &mut [IoSlice::new(&header.encode())]).map_err(failed)?;
        }
        if survey.end > found.size {
            found.file.allocate(survey.end).map_err(failed)?;
        }
        for (range, salvaged) in survey.damaged {
            for (offset, octets) in &salvaged.writes {
                found.file.write_at(*offset, &mut [IoSlice::new(octets)]).map_err(failed)?;
            }
            if salvaged.saved > 0 {
                self.repaired.mended += 1;
                self.mended.add(found.number, range);
            }
            self.repaired.ranges.extend(salvaged.voids.iter().map(named));
            self.repaired.unknown.extend(salvaged.unknown.iter().map(named));
            salvaged.voids.into_iter().for_each(|range| self.voids.add(found.number, range));
        }
        found.file.sync().map_err(failed)
    }

    /// A segment of one filler in place of one that is missing. Returns its end.
    fn stand_in(&mut self, number: u64, previous_end: u64, end: u64, sequence: u64) -> Result<u64, QueueError> {
        let path = segment::path(number);
        let generation = secret_seed();
        let end = end.max(2 * PAGE);
        let header = Header { number, generation, previous_end, written: false };
        let filler = group::filler(Place { segment: number, generation, offset: PAGE }, end - PAGE, sequence);
        let make = || -> std::io::Result<()> {
            self.disk.create_dir(&self.aside)?;
            let file = self.disk.create(&path)?;
            file.allocate(end)?;
            file.write_at(0, &mut [IoSlice::new(&header.encode()), IoSlice::new(&filler)])?;
            file.sync()?;
            self.disk.sync_dir(JOURNAL)
        };
        make().map_err(|e| io_error("making", &path, e))?;
        self.repaired.ranges.push((segment::file_name(number), 0, 0));
        self.repaired.unknown.push((segment::file_name(number), PAGE, end - PAGE));
        // How long the lost one was, is not always known: all of it is.
        self.voids.add(number, PAGE..u64::MAX);
        Ok(end)
    }

    /// Recipients that are under two keys, since one of two outcomes in a row was lost, stay under the one with more attempts.
    fn settle_doubles(&self, store: &Store) -> Result<(), QueueError> {
        let mut entries: BTreeMap<(MessageId, Domain), Vec<(EntryKey, Entry)>> = BTreeMap::new();
        if !self.watch.moved.is_empty() {
            store.walk(Bound::Unbounded, Bound::Unbounded, 512, |key, entry| {
                if self.watch.moved.contains(&key.id) {
                    entries.entry((key.id, key.domain.clone())).or_default().push((key, entry));
                }
                true
            })?;
        }
        let mut settles = Vec::new();
        for entries in entries.values_mut() {
            entries.sort_by_key(|(key, entry)| Reverse((entry.attempts, key.due_ms)));
            let mut seen = RecipientSet::new();
            for (key, entry) in entries {
                let mut done = entry.open.clone();
                done.intersect(&seen);
                seen.union(&entry.open);
                if !done.is_empty() {
                    settles.push(Settle { key: key.clone(), done, retry: None });
                }
            }
        }
        settles.chunks(1000).try_for_each(|settles| {
            let group = Group { accepts: Vec::new(), settles: settles.to_vec() };
            store.commit(std::iter::once(&group)).map(|_| ())
        })
    }

    /// Messages in the queue that lie in mended groups.
    fn count_kept(&self, store: &Store) -> Result<u64, QueueError> {
        let mut kept = BTreeSet::new();
        if !self.mended.is_empty() {
            store.walk(Bound::Unbounded, Bound::Unbounded, 512, |key, entry| {
                if self.mended.hold(&entry.location) {
                    kept.insert(key.id);
                }
                true
            })?;
        }
        Ok(kept.len() as u64)
    }

    /// What was lost before the index's checkpoint costs nothing but what the index misses.
    fn tell_lost(&mut self, recovery: &Recovery) {
        let is_newer =
            |file: &str, offset: u64| (segment::number_of(file).unwrap_or(0), offset) >= recovery.index_reached;
        let lost = std::mem::take(&mut self.watch).never_mentioned();
        self.repaired.lost = lost.filter(|message| is_newer(&message.segment, message.offset)).collect();
        self.repaired.unknown.retain(|(file, from, bytes)| is_newer(file, from + bytes - 1));
    }
}

/// Reads what can be read, whole pages; the others are zeros, and noted.
fn read_around(file: &dyn File, at: u64, buffer: &mut [u8], unreadable: &mut Vec<u64>) -> std::io::Result<usize> {
    match file.read_at(at, buffer) {
        Err(error) if is_unreadable(&error) => {}
        read => return read,
    }
    let mut filled = 0;
    for page in buffer.chunks_mut(PAGE as usize) {
        let offset = at + filled as u64;
        filled += match file.read_at(offset, page) {
            Err(error) if is_unreadable(&error) => {
                page.fill(0);
                unreadable.push(offset);
                file.len()?.saturating_sub(offset).min(PAGE) as usize
            }
            read => read?,
        };
    }
    Ok(filled)
}
