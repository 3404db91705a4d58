//! A group: the records that one write and one sync make durable together.
//!
//! Writing: [`GroupWriter`] gathers heads in one buffer and leaves bodies where they are. Reading: [`read_header`] tells
//! a group of ours from anything else, [`verify`] and [`read_records`] walk what is in it.

use crate::checkpoint::Checkpoint;
use crate::codec::{Malformed, Reader, put_text, put_varint};
use crate::entry::Terms;
use crate::record::{self, Before, Domains, Fixed, Message, RECORD_HEADER, Record};
use crate::{Content, Entry, EntryKey, Envelope, Flow, Location, NewMessage};
use bytes::Bytes;
use std::io::IoSlice;

/// Groups begin on a multiple of this, so no torn write touches what an earlier sync covered.
pub(crate) const PAGE: u64 = 4096;
pub(crate) const GROUP_HEADER: usize = 40;
const MAGIC: &[u8; 4] = b"PHGR";
static ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// Where a group stands: what its checksum is seeded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub segment: u64,
    pub generation: u64,
    pub offset: u64,
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub len: u32,
    pub records: u32,
    pub sequence: u64,
    pub generation: u64,
    pub heads_crc: u32,
    /// Covers a damaged range: what is within is nothing, and the sequence may jump to this one.
    pub is_filler: bool,
    /// A repair voided records in it; after it the sequence may jump.
    pub is_mended: bool,
}

const FILLER: u32 = 1;
const MENDED: u32 = 2;

impl Header {
    /// With padding.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        (GROUP_HEADER as u64 + u64::from(self.len)).next_multiple_of(PAGE)
    }

    pub(crate) fn encode(&self, segment: u64, offset: u64, out: &mut [u8]) {
        out[..4].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&self.len.to_le_bytes());
        out[12..16].copy_from_slice(&self.records.to_le_bytes());
        out[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        out[24..32].copy_from_slice(&self.generation.to_le_bytes());
        out[32..36].copy_from_slice(&self.heads_crc.to_le_bytes());
        let flags = if self.is_filler { FILLER } else { 0 } | if self.is_mended { MENDED } else { 0 };
        out[36..40].copy_from_slice(&flags.to_le_bytes());
        let crc = seeded_crc(segment, offset, &out[8..GROUP_HEADER]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

fn seeded_crc(segment: u64, offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The header of a group that was written at this offset of this segment number; its generation is for the caller to
/// compare.
pub(crate) fn read_header(segment: u64, offset: u64, bytes: &[u8]) -> Option<Header> {
    let (header, _) = bytes.split_first_chunk::<GROUP_HEADER>()?;
    if &header[..4] != MAGIC {
        return None;
    }
    let reader = &mut Reader::new(&header[4..]);
    if reader.u32().ok()? != seeded_crc(segment, offset, &header[8..]) {
        return None;
    }
    let (len, records, sequence) = (reader.u32().ok()?, reader.u32().ok()?, reader.u64().ok()?);
    let (generation, heads_crc, flags) = (reader.u64().ok()?, reader.u32().ok()?, reader.u32().ok()?);
    let (is_filler, is_mended) = (flags & FILLER != 0, flags & MENDED != 0);
    Some(Header { len, records, sequence, generation, heads_crc, is_filler, is_mended })
}

/// Whether a header may be of this generation, but for one octet.
pub(crate) fn is_almost_of(bytes: &[u8], generation: u64) -> bool {
    let found = bytes.get(24..32).unwrap_or_default().iter();
    found.zip(generation.to_le_bytes()).filter(|(found, expected)| **found == *expected).count() >= 7
}

/// Calls `each` with every record of a verified group, and its place.
pub(crate) fn read_records<'a>(
    header: &Header,
    place: Place,
    payload: &'a [u8],
    mut each: impl FnMut(Location, Record<'a>),
) -> Result<(), Malformed> {
    let reader = &mut Reader::new(payload);
    for _ in 0..header.records {
        let start = payload.len() - reader.rest().len();
        let (_, record) = Record::decode(reader)?;
        let end = payload.len() - reader.rest().len();
        let offset = place.offset as u32 + (GROUP_HEADER + start) as u32;
        each(Location { segment: place.segment, offset, len: (end - start) as u32 }, record);
    }
    Ok(())
}

/// Every byte of the records is as it was written.
pub(crate) fn verify(header: &Header, payload: &[u8]) -> Result<(), Malformed> {
    if header.is_filler {
        return Ok(());
    }
    let reader = &mut Reader::new(payload);
    let mut hasher = crc32fast::Hasher::new();
    for _ in 0..header.records {
        let (head, record) = Record::decode(reader)?;
        hasher.update(head);
        if let Record::Accept(message) | Record::Moved(message) = &record
            && !message.is_intact()
        {
            return Err(Malformed("body: its checksum differs"));
        }
    }
    reader.end()?;
    if hasher.finalize() != header.heads_crc {
        return Err(Malformed("group: its checksum differs"));
    }
    Ok(())
}

/// The header that makes a range of whole pages at this place one group without records.
pub(crate) fn filler(place: Place, bytes: u64, sequence: u64) -> [u8; GROUP_HEADER] {
    let header = Header {
        len: (bytes - GROUP_HEADER as u64) as u32,
        records: 0,
        sequence,
        generation: place.generation,
        heads_crc: 0,
        is_filler: true,
        is_mended: false,
    };
    let mut out = [0; GROUP_HEADER];
    header.encode(place.segment, place.offset, &mut out);
    out
}

/// What a message that is first due then has as `accepted_ms`.
pub(crate) fn expiry_begins(content: &Content, due_ms: u64) -> u64 {
    let accepted_ms = content.envelope.accepted_us / 1000;
    if due_ms == EntryKey::HELD { accepted_ms } else { accepted_ms.max(due_ms) }
}

/// Builds a group for one place of the journal.
pub(crate) struct GroupWriter<'a> {
    place: Place,
    /// Group header and all record heads; between them, at `cuts`, stand bodies that are not copied.
    heads: Vec<u8>,
    cuts: Vec<(usize, &'a [Bytes])>,
    body_bytes: u64,
    records: u32,
}

impl<'a> GroupWriter<'a> {
    /// `buffer` is reused.
    pub(crate) fn new(place: Place, mut buffer: Vec<u8>) -> GroupWriter<'a> {
        buffer.clear();
        buffer.resize(GROUP_HEADER, 0);
        GroupWriter { place, heads: buffer, cuts: Vec::new(), body_bytes: 0, records: 0 }
    }

    /// At least what a message will take up, without knowing where.
    pub(crate) fn bound(content: &Content, domains: &Domains) -> u64 {
        let envelope = &content.envelope;
        let recipients: usize = envelope.recipients.iter().map(Envelope::recipient_bound).sum();
        let domains: usize = domains.iter().map(|(domain, set)| domain.as_str().len() + 16 + set.len() * 4).sum();
        let labels = |label: &Option<Box<str>>| label.as_ref().map_or(0, |text| text.len() + 10);
        let text = [&envelope.tenant, &envelope.campaign, &envelope.parameters.envid].map(labels).iter().sum::<usize>()
            + envelope.reverse_path.as_str().len();
        (RECORD_HEADER + 128 + recipients + domains + text + content.body.len()) as u64
    }

    /// At least what a Put or Gone takes up.
    pub(crate) fn bound_of_change(key: &EntryKey) -> u64 {
        (RECORD_HEADER + 1100 + key.domain.as_str().len()) as u64
    }

    fn offset(&self) -> u64 {
        self.place.offset + self.heads.len() as u64 + self.body_bytes
    }

    fn begin(&mut self, kind: u8, parts: u8) -> usize {
        let start = self.heads.len();
        self.heads.extend_from_slice(&[record::kind_and_parts(kind, parts), 0, 0, 0, 0, 0, 0, 0]);
        self.records += 1;
        start
    }

    /// The head that began there ends here, before its body.
    fn end(&mut self, start: usize) {
        let offset = self.place.offset + start as u64 + self.body_bytes;
        let (header, head) = self.heads[start..].split_at_mut(RECORD_HEADER);
        let check = record::check_of(self.place.generation, offset, header[0], head);
        header[1..4].copy_from_slice(&check);
        header[4..].copy_from_slice(&(head.len() as u32).to_le_bytes());
    }

    fn message(&mut self, kind: u8, body: &'a [Bytes], body_bytes: usize, head: impl FnOnce(&mut Vec<u8>)) -> Location {
        let offset = self.offset();
        let start = self.begin(kind, 0);
        head(&mut self.heads);
        self.end(start);
        let len = self.heads.len() - start + body_bytes;
        self.cuts.push((self.heads.len(), body));
        self.body_bytes += body_bytes as u64;
        Location { segment: self.place.segment, offset: offset as u32, len: len as u32 }
    }

    /// A new message, with the entries that come into being with it.
    pub(crate) fn accept(&mut self, message: &'a NewMessage) -> Location {
        let NewMessage { content, domains, due_ms, body_crc } = message;
        let fixed = Fixed {
            body_bytes: content.body.len() as u32,
            body_crc: *body_crc,
            facts: content.body.facts(),
            id: content.id,
            due_ms: *due_ms,
            accepted_ms: expiry_begins(content, *due_ms),
            flow: Flow::of(&content.envelope),
            terms: Terms::of(&content.envelope),
        };
        self.message(record::ACCEPT, content.body.segments(), content.body.len(), |head| {
            fixed.encode(head);
            put_varint(head, domains.len() as u64);
            for (domain, set) in domains {
                put_text(head, domain.as_str());
                set.encode(head);
            }
            content.envelope.encode(head);
        })
    }

    /// A survivor of an old segment, as it was read; its entries follow as Puts.
    pub(crate) fn moved(&mut self, message: &Message<'_>, body: &'a [Bytes]) -> Location {
        let fixed = Fixed {
            body_bytes: message.body.len() as u32,
            body_crc: message.body_crc,
            facts: message.facts,
            id: message.id,
            due_ms: message.due_ms,
            accepted_ms: message.accepted_ms,
            flow: message.flow,
            terms: message.terms,
        };
        self.message(record::MOVED, body, message.body.len(), |head| {
            fixed.encode(head);
            put_varint(head, 0);
            head.extend_from_slice(message.envelope);
        })
    }

    /// What a key holds from now on. `parts`: [`record::kind_and_parts`].
    pub(crate) fn put(&mut self, key: &EntryKey, entry: &Entry, before: Option<&Before>, parts: u8) {
        let start = self.begin(record::PUT, parts);
        record::put_key(&mut self.heads, key);
        entry.encode(&mut self.heads);
        record::put_before(&mut self.heads, before);
        self.end(start);
    }

    /// A key that is no more.
    pub(crate) fn gone(&mut self, key: &EntryKey, before: &Before, parts: u8) {
        let start = self.begin(record::GONE, parts);
        record::put_key(&mut self.heads, key);
        record::put_before(&mut self.heads, Some(before));
        self.end(start);
    }

    /// What the index holds.
    pub(crate) fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let start = self.begin(record::CHECKPOINT, 0);
        checkpoint.encode(&mut self.heads);
        self.end(start);
    }

    /// Nothing was written into it.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Header and checksum. The group then takes up so many bytes of its segment, padding included.
    pub(crate) fn seal(&mut self, sequence: u64) -> u64 {
        let header = Header {
            len: (self.heads.len() as u64 - GROUP_HEADER as u64 + self.body_bytes) as u32,
            records: self.records,
            sequence,
            generation: self.place.generation,
            heads_crc: crc32fast::hash(&self.heads[GROUP_HEADER..]),
            is_filler: false,
            is_mended: false,
        };
        header.encode(self.place.segment, self.place.offset, &mut self.heads[..GROUP_HEADER]);
        header.bytes_on_disk()
    }

    /// What to write, in order, bodies in place.
    pub(crate) fn slices<'b>(&'b self, out: &mut Vec<IoSlice<'b>>) {
        let mut from = 0;
        for (at, body) in &self.cuts {
            out.push(IoSlice::new(&self.heads[from..*at]));
            out.extend(body.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)));
            from = *at;
        }
        if from < self.heads.len() {
            out.push(IoSlice::new(&self.heads[from..]));
        }
        let bytes = self.heads.len() as u64 + self.body_bytes;
        let padding = (bytes.next_multiple_of(PAGE) - bytes) as usize;
        if padding > 0 {
            out.push(IoSlice::new(&ZEROS[..padding]));
        }
    }

    /// The buffer, for the next group.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.heads
    }
}
