//! What lies in the directory: its version, the journal's segments, the spares.

use crate::QueueError;
use crate::disk::{self, Disk};
use crate::group::PAGE;
use crate::scan::{Found, Here, Scanner, damaged, io_error, scan};
use crate::segment::{self, Header, JOURNAL};
use crate::spare::Spares;
use crate::store::Limits;
use std::io::IoSlice;

/// Version of everything in the directory.
pub const FORMAT: u32 = 4;
/// Read as well: its records have no checksum of their own. What is added then has one, which version 3 would call damage.
const BEFORE: u32 = 3;
pub(crate) const FORMAT_FILE: &str = "format";

/// The segments of a journal, without a hole, and its spares.
pub(crate) struct Files {
    pub(crate) segments: Vec<Found>,
    pub(crate) spares: Spares,
}

pub(crate) fn check_format(disk: &dyn Disk) -> Result<(), QueueError> {
    let write = || {
        let text = format!("posthaste queue {FORMAT}\n");
        disk::write_small(disk, FORMAT_FILE, text.as_bytes()).map_err(|e| io_error("writing", FORMAT_FILE, e))
    };
    let found = match disk::read_small(disk, FORMAT_FILE).map_err(|e| io_error("reading", FORMAT_FILE, e))? {
        Some(text) => {
            let text = String::from_utf8_lossy(&text).into_owned();
            text.trim_end().strip_prefix("posthaste queue ").and_then(|n| n.parse().ok())
        }
        None => {
            let names = disk.list(JOURNAL).map_err(|e| io_error("reading", JOURNAL, e))?;
            if names.iter().any(|name| segment::number_of(name).is_some()) {
                None
            } else {
                write()?;
                Some(FORMAT)
            }
        }
    };
    match found {
        Some(FORMAT) => Ok(()),
        Some(BEFORE) => write(),
        Some(found) => Err(QueueError::Version { dir: "".into(), found, expected: FORMAT }),
        None => Err(QueueError::Unversioned { path: FORMAT_FILE.into(), expected: FORMAT }),
    }
}

/// Where a segment must end, as the next one says.
pub(crate) fn end_of(segments: &[Found], i: usize) -> Option<u64> {
    segments.get(i + 1)?.header.map(|header| header.previous_end)
}

pub(crate) fn find_files(disk: &dyn Disk, limits: &Limits) -> Result<Files, QueueError> {
    let names = disk.list(JOURNAL).map_err(|e| io_error("reading", JOURNAL, e))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number_of(name)).collect();
    numbers.sort_unstable();
    // What was freed may come back after a power cut, with a hole behind it; whether it is needed is seen later.
    let start = numbers.windows(2).rposition(|pair| pair[0] + 1 != pair[1]).map_or(0, |i| i + 1);
    let mut segments = Vec::with_capacity(numbers.len());
    for number in &numbers[start..] {
        segments.push(Found::open(disk, *number)?);
    }
    drop_unborn(disk, &mut segments)?;
    if let Some(headless) = segments.iter().find(|found| found.header.is_none()) {
        return Err(damaged(headless.number, 0, "no segment header"));
    }
    let room = limits.journal_floor_bytes.saturating_sub(segments.iter().map(|found| found.size).sum());
    let spares = Spares::find(disk, &names, limits.segment_bytes, room);
    let spares = spares.map_err(|(path, e)| io_error("looking at", &path, e))?;
    Ok(Files { segments, spares })
}

/// A last segment whose first write never happened, or not all of it.
fn drop_unborn(disk: &dyn Disk, segments: &mut Vec<Found>) -> Result<(), QueueError> {
    let Some(last) = segments.last().filter(|last| last.header.is_none()).cloned() else { return Ok(()) };
    if Scanner::new(last.clone()).next_header(PAGE, None)?.is_some() {
        // Its first group and its header were written together: groups may be there before the header, but only the first.
        let second = Scanner::new(last.clone()).next_header(2 * PAGE, None)?;
        if second.is_some() {
            return Err(damaged(last.number, 0, "no segment header"));
        }
        if adopt(disk, segments)? {
            return Ok(());
        }
    }
    let path = segment::path(last.number);
    disk.remove(&path).map_err(|e| io_error("removing", &path, e))?;
    disk.sync_dir(JOURNAL).map_err(|e| io_error("syncing", JOURNAL, e))?;
    segments.pop();
    Ok(())
}

/// Where the first group is all there, its header did not land, or was lost since: then somebody may have been told of it.
/// It gets one. False: there is no such group.
fn adopt(disk: &dyn Disk, segments: &mut [Found]) -> Result<bool, QueueError> {
    let [before @ .., last] = segments else { return Ok(false) };
    let scanner = &mut Scanner::new(last.clone());
    let Some(group) = scanner.header_at(PAGE)? else { return Ok(false) };
    if !matches!(scanner.at(PAGE, group.generation)?, Here::Group(..)) {
        return Ok(false);
    }
    let previous_end = match before.last() {
        Some(before) => scan(before, None, &mut |_, _, _| Ok(()))?.position,
        None if last.number == 1 => 0,
        None => return Err(damaged(last.number, 0, "no segment header")),
    };
    let header = Header { number: last.number, generation: group.generation, previous_end, written: false };
    let write = || -> std::io::Result<()> {
        last.file.write_at(0, &mut [IoSlice::new(&header.encode())])?;
        last.file.sync()
    };
    write().map_err(|e| io_error("writing", &segment::path(last.number), e))?;
    *last = Found::open(disk, last.number)?;
    Ok(true)
}
