//! Reading segments from their beginning: for recovery and repair.

use crate::QueueError;
use crate::disk::{self, Disk, File};
use crate::group::{self, GROUP_HEADER, Header, PAGE, Place};
use crate::segment;
use std::sync::Arc;

/// Octets read at a time.
const WINDOW: usize = 1 << 20;

pub(crate) fn damaged(number: u64, offset: u64, what: impl Into<String>) -> QueueError {
    QueueError::Damaged { segment: segment::file_name(number), offset, what: what.into() }
}

pub(crate) fn io_error(action: &'static str, path: &str, source: std::io::Error) -> QueueError {
    QueueError::Io { action, path: path.into(), source }
}

/// Somewhere after `offset`.
fn unreadable(number: u64, offset: u64, error: std::io::Error) -> QueueError {
    if disk::is_unreadable(&error) {
        damaged(number, offset, error.to_string())
    } else {
        io_error("reading", &segment::path(number), error)
    }
}

/// A segment as its file and header page say.
#[derive(Clone)]
pub(crate) struct Found {
    pub number: u64,
    pub file: Arc<dyn File>,
    pub size: u64,
    /// `None`: the header page is no header of this segment.
    pub header: Option<segment::Header>,
}

impl Found {
    pub(crate) fn open(disk: &dyn Disk, number: u64) -> Result<Found, QueueError> {
        let path = segment::path(number);
        let read = || {
            let file = disk.open(&path)?;
            let mut page = [0; PAGE as usize];
            file.read_at(0, &mut page)?;
            let size = file.len()?;
            Ok(Found { number, header: segment::Header::decode(&page, number), file, size })
        };
        read().map_err(|error| unreadable(number, 0, error))
    }
}

/// What stands at a place.
pub(crate) enum Here<'a> {
    /// An intact group and its records.
    Group(Header, &'a [u8]),
    /// A group's header is intact, something after it is not.
    Broken(Header, String),
    /// No group begins here.
    Nothing,
}

/// Reads one segment through a window.
pub(crate) struct Scanner {
    found: Found,
    buffer: Vec<u8>,
    start: u64,
}

impl Scanner {
    pub(crate) fn new(found: Found) -> Scanner {
        Scanner { found, buffer: Vec::new(), start: 0 }
    }

    /// What there is of so many octets at `offset`.
    pub(crate) fn bytes(&mut self, offset: u64, len: usize) -> Result<&[u8], QueueError> {
        let have = offset >= self.start && offset + len as u64 <= self.start + self.buffer.len() as u64;
        if !have {
            let wanted = (len.max(WINDOW) as u64).min(self.found.size.saturating_sub(offset)) as usize;
            self.buffer.resize(wanted, 0);
            let read = self.found.file.read_at(offset, &mut self.buffer);
            let read = read.map_err(|error| unreadable(self.found.number, offset, error))?;
            self.buffer.truncate(read);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer[from..self.buffer.len().min(from + len)])
    }

    pub(crate) fn header_at(&mut self, offset: u64) -> Result<Option<Header>, QueueError> {
        let number = self.found.number;
        Ok(group::read_header(number, offset, self.bytes(offset, GROUP_HEADER)?))
    }

    /// The header that was written at `offset` and of which one octet has changed since.
    pub(crate) fn header_put_right(&mut self, offset: u64, generation: u64) -> Result<Option<Header>, QueueError> {
        let number = self.found.number;
        let mut bytes = self.bytes(offset, GROUP_HEADER)?.to_vec();
        if !group::is_almost_of(&bytes, generation) {
            return Ok(None);
        }
        for at in 0..bytes.len() {
            for change in 1..=u8::MAX {
                bytes[at] ^= change;
                // That this one fits by chance is as good as impossible: the generation is a random number of 64 bits.
                let header = group::read_header(number, offset, &bytes).filter(|h| h.generation == generation);
                if header.is_some() {
                    return Ok(header);
                }
                bytes[at] ^= change;
            }
        }
        Ok(None)
    }

    /// What stands at `offset`, of a segment of this generation.
    pub(crate) fn at(&mut self, offset: u64, generation: u64) -> Result<Here<'_>, QueueError> {
        let Some(header) = self.header_at(offset)?.filter(|header| header.generation == generation) else {
            return Ok(Here::Nothing);
        };
        let len = GROUP_HEADER + header.len as usize;
        let bytes = self.bytes(offset, len)?;
        if bytes.len() < len {
            return Ok(Here::Broken(header, "the file ends within a group".into()));
        }
        let payload = &bytes[GROUP_HEADER..];
        match group::verify(&header, payload) {
            Ok(()) => Ok(Here::Group(header, payload)),
            Err(error) => Ok(Here::Broken(header, error.to_string())),
        }
    }

    /// The first page from `offset` on at which a group of this segment begins (of this generation, where it is known).
    pub(crate) fn next_header(&mut self, offset: u64, generation: Option<u64>) -> Result<Option<u64>, QueueError> {
        let mut at = offset;
        while at + GROUP_HEADER as u64 <= self.found.size {
            if self.header_at(at)?.is_some_and(|h| generation.is_none_or(|generation| generation == h.generation)) {
                return Ok(Some(at));
            }
            at += PAGE;
        }
        Ok(None)
    }
}

/// Where a segment's groups end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub position: u64,
    /// Octets after it that belong to a group that was not written whole.
    pub torn: u64,
    /// Where the last group begins.
    pub last_group: Option<u64>,
}

/// What is done with a group and its records.
pub(crate) type Each<'e> = dyn FnMut(&Header, Place, &[u8]) -> Result<(), QueueError> + 'e;

/// Calls `each` with every group of a segment. `end`: where it must end, unless it is the last one.
pub(crate) fn scan(found: &Found, end: Option<u64>, each: &mut Each<'_>) -> Result<End, QueueError> {
    let number = found.number;
    let Some(head) = found.header else { return Err(damaged(number, 0, "no segment header")) };
    let scanner = &mut Scanner::new(found.clone());
    let mut result = End { position: PAGE, torn: 0, last_group: None };
    while end != Some(result.position) {
        let position = result.position;
        match scanner.at(position, head.generation)? {
            Here::Group(header, payload) => {
                let place = Place { segment: number, generation: head.generation, offset: position };
                each(&header, place, payload)?;
                result.last_group = Some(position);
                result.position += header.bytes_on_disk();
                if end.is_some_and(|end| end < result.position) {
                    return Err(damaged(number, position, "a group beyond the segment's end"));
                }
            }
            Here::Broken(_, what) if end.is_some() => return Err(damaged(number, position, what)),
            Here::Nothing if end.is_some() => return Err(damaged(number, position, "a group is missing")),
            Here::Broken(header, what) => {
                if scanner.next_header(position + PAGE, Some(head.generation))?.is_some() {
                    return Err(damaged(number, position, what));
                }
                result.torn = header.bytes_on_disk();
                return Ok(result);
            }
            Here::Nothing => {
                if scanner.next_header(position + PAGE, Some(head.generation))?.is_some() {
                    return Err(damaged(number, position, "a group is missing"));
                }
                return Ok(result);
            }
        }
    }
    Ok(result)
}
