//! Segments: the files of the journal, their header page, and what is known of each.

use crate::checkpoint::Live;
use crate::codec::Reader;
use crate::group::PAGE;

/// Directory of the journal under the queue's.
pub(crate) const JOURNAL: &str = "journal";
const MAGIC: &[u8; 8] = b"PHSEG001";
const WRITTEN: u32 = 1;

pub(crate) fn path(number: u64) -> String {
    format!("{JOURNAL}/{}", file_name(number))
}

pub(crate) fn file_name(number: u64) -> String {
    format!("{number:010}.seg")
}

/// The number of a segment's file name.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".seg")?.parse().ok()
}

/// The first page of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub number: u64,
    pub generation: u64,
    /// Where the last group of the segment before ends.
    pub previous_end: u64,
    /// Every block of the file was written before it became a segment: it may become one again.
    pub written: bool,
}

const BYTES: usize = 40;

impl Header {
    pub(crate) fn encode(&self) -> [u8; PAGE as usize] {
        let mut page = [0; PAGE as usize];
        page[..8].copy_from_slice(MAGIC);
        page[8..16].copy_from_slice(&self.number.to_le_bytes());
        page[16..24].copy_from_slice(&self.generation.to_le_bytes());
        page[24..32].copy_from_slice(&self.previous_end.to_le_bytes());
        page[32..36].copy_from_slice(&(if self.written { WRITTEN } else { 0 }).to_le_bytes());
        let crc = crc32fast::hash(&page[..36]);
        page[36..BYTES].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// `None` unless it is this segment's.
    pub(crate) fn decode(page: &[u8], number: u64) -> Option<Header> {
        let (bytes, _) = page.split_first_chunk::<BYTES>()?;
        let reader = &mut Reader::new(&bytes[8..]);
        let header = Header {
            number: reader.u64().ok()?,
            generation: reader.u64().ok()?,
            previous_end: reader.u64().ok()?,
            written: reader.u32().ok()? & WRITTEN != 0,
        };
        let intact = &bytes[..8] == MAGIC && reader.u32().ok()? == crc32fast::hash(&bytes[..36]);
        (intact && header.number == number).then_some(header)
    }
}

/// What is known of a segment while the queue is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// Octets of the file.
    pub size: u64,
    /// Where its last group ends.
    pub end: u64,
    pub written: bool,
    pub live: Live,
}

impl Segment {
    /// Octets still needed, about: a message of several domains counts once for each, so no more than what is there.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live.bytes.min(self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trip() {
        let header = Header { number: 7, generation: u64::MAX - 5, previous_end: 8192, written: true };
        let mut page = header.encode();
        assert_eq!(Header::decode(&page, 7), Some(header));
        assert_eq!(Header::decode(&page, 8), None, "a recycled file's old header");
        for at in 0..BYTES {
            page[at] ^= 1;
            assert_eq!(Header::decode(&page, 7), None, "byte {at}");
            page[at] ^= 1;
        }
        assert_eq!(Header::decode(&page[..39], 7), None);
    }

    #[test]
    fn names() {
        assert_eq!(path(7), "journal/0000000007.seg");
        assert_eq!(number_of("0000000007.seg"), Some(7));
        assert_eq!(number_of("spare-7"), None);
    }
}
