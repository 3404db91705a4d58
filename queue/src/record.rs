//! The records of the journal: what a group is made of. `docs/queue.md` draws their bytes.
//!
//! Settles are logged as results (`Put`, `Gone`), so that replaying them over an older or half-newer index gives the
//! same state; `before` says what a key held until then, so that replay keeps the counters without reading the index.
//!
//! A record's head has a checksum of its own beside its group's: `repair` believes what it fits when the group is damaged elsewhere.

use crate::checkpoint::Checkpoint;
use crate::codec::{Malformed, Reader, flag, put_text, put_varint};
use crate::entry::Terms;
use crate::{Content, Domain, Entry, EntryKey, Envelope, Flow, MessageId, RecipientSet};
use bytes::Bytes;
use smallvec::SmallVec;
use smtp::Body;
use smtp::body::Facts;

/// Kind and parts, check, head length.
pub(crate) const RECORD_HEADER: usize = 8;

pub(crate) const ACCEPT: u8 = 1;
pub(crate) const PUT: u8 = 2;
pub(crate) const GONE: u8 = 3;
pub(crate) const MOVED: u8 = 4;
pub(crate) const CHECKPOINT: u8 = 5;
/// What a repair puts over records that were damaged.
pub(crate) const VOID: u8 = 6;

/// Above the kind.
const PARTS_SHIFT: u8 = 4;
/// So many or more.
pub(crate) const MANY_PARTS: u8 = 15;

/// The first octet of a record. `parts`: how many keys, this one among them, its group changes together, since recipients went
/// from one to the other; 0 where the record says all by itself.
pub(crate) fn kind_and_parts(kind: u8, parts: u8) -> u8 {
    kind | parts << PARTS_SHIFT
}

/// What proves a record's head by itself: the lower octets of a CRC32, seeded with what nobody outside knows, so that no
/// body imitates a record, and with the place, so that none is believed elsewhere. Zeros in what format 3 wrote.
pub(crate) fn check_of(generation: u64, offset: u64, first: u8, head: &[u8]) -> [u8; 3] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&generation.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(&[first]);
    hasher.update(&(head.len() as u32).to_le_bytes());
    hasher.update(head);
    let [a, b, c, _] = hasher.finalize().to_le_bytes();
    [a, b, c]
}

/// Whether a record's head has a checksum of its own.
pub(crate) fn has_check(record: &[u8]) -> bool {
    record.get(1..4).is_some_and(|check| check != [0; 3])
}

/// The first octets of a record that says nothing, `head` being what lies there. `parts` is for whoever wrote it.
pub(crate) fn void(generation: u64, offset: u64, parts: u8, head: &[u8]) -> [u8; RECORD_HEADER] {
    let first = kind_and_parts(VOID, parts);
    let [a, b, c] = check_of(generation, offset, first, head);
    let [d, e, f, g] = (head.len() as u32).to_le_bytes();
    [first, a, b, c, d, e, f, g]
}

/// What a key held before a record changed it, as far as counters need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    pub recipients: u32,
    pub segment: u64,
    pub len: u32,
}

impl Before {
    pub(crate) fn of(entry: &Entry) -> Before {
        Before { recipients: entry.open.len() as u32, segment: entry.location.segment, len: entry.location.len }
    }
}

/// Recipients by domain.
pub(crate) type Domains = SmallVec<[(Domain, RecipientSet); 1]>;

/// The head of an Accept or Moved record, and the body after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub id: MessageId,
    pub body_crc: u32,
    pub facts: Facts,
    pub due_ms: u64,
    pub accepted_ms: u64,
    pub flow: Flow,
    pub terms: Terms,
    pub domains: Domains,
    pub envelope: &'a [u8],
    pub body: &'a [u8],
}

/// One record, as read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Accept(Message<'a>),
    Put {
        key: EntryKey,
        entry: Entry,
        before: Option<Before>,
        parts: u8,
    },
    Gone {
        key: EntryKey,
        before: Before,
        parts: u8,
    },
    Moved(Message<'a>),
    Checkpoint(Checkpoint),
    /// Nothing.
    Void,
}

/// Where a record's head and the record end, as its lengths say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub kind: u8,
    pub parts: u8,
    pub check: [u8; 3],
    /// Octets from the record's beginning to the end of its head.
    pub head_end: usize,
    /// And of its body.
    pub end: usize,
}

impl Frame {
    /// Of the record that begins `bytes`, the body of which may be longer than they are.
    pub(crate) fn of(bytes: &[u8]) -> Option<Frame> {
        let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER>()?;
        let [first, a, b, c, len @ ..] = *header;
        let head = rest.get(..u32::from_le_bytes(len) as usize)?;
        let kind = first & ((1 << PARTS_SHIFT) - 1);
        let head_end = RECORD_HEADER + head.len();
        let body_bytes = match kind {
            ACCEPT | MOVED => u32::from_le_bytes(*head.first_chunk()?) as usize,
            PUT | GONE | CHECKPOINT | VOID => 0,
            _ => return None,
        };
        Some(Frame { kind, parts: first >> PARTS_SHIFT, check: [a, b, c], head_end, end: head_end + body_bytes })
    }
}

pub(crate) fn put_key(out: &mut Vec<u8>, key: &EntryKey) {
    put_text(out, key.domain.as_str());
    out.extend_from_slice(&key.flow.encode());
    out.extend_from_slice(&key.due_ms.to_le_bytes());
    out.extend_from_slice(&key.id.0.to_le_bytes());
}

fn read_key(reader: &mut Reader<'_>) -> Result<EntryKey, Malformed> {
    let domain = Domain(reader.text()?.into());
    let flow = Flow::read(reader)?;
    Ok(EntryKey { domain, flow, due_ms: reader.u64()?, id: MessageId(reader.u64()?) })
}

pub(crate) fn put_before(out: &mut Vec<u8>, before: Option<&Before>) {
    match before {
        None => put_varint(out, 0),
        Some(before) => {
            put_varint(out, u64::from(before.recipients) + 1);
            put_varint(out, before.segment);
            put_varint(out, u64::from(before.len));
        }
    }
}

fn read_before(reader: &mut Reader<'_>) -> Result<Option<Before>, Malformed> {
    Ok(match reader.narrow::<u32>()?.checked_sub(1) {
        None => None,
        Some(recipients) => Some(Before { recipients, segment: reader.varint()?, len: reader.narrow()? }),
    })
}

const EIGHT_BIT: u8 = 1;
const DOT_LINES: u8 = 2;
const BINARY: u8 = 4;
const ENDS_WITH_CRLF: u8 = 8;

fn facts_bits(facts: Facts) -> u8 {
    flag(facts.eight_bit, EIGHT_BIT)
        | flag(facts.dot_lines, DOT_LINES)
        | flag(facts.binary, BINARY)
        | flag(facts.ends_with_crlf, ENDS_WITH_CRLF)
}

/// The first part of a message's head.
pub(crate) struct Fixed {
    pub body_bytes: u32,
    pub body_crc: u32,
    pub facts: Facts,
    pub id: MessageId,
    pub due_ms: u64,
    pub accepted_ms: u64,
    pub flow: Flow,
    pub terms: Terms,
}

impl Fixed {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.body_bytes.to_le_bytes());
        out.extend_from_slice(&self.body_crc.to_le_bytes());
        out.extend_from_slice(&self.facts.longest_line.to_le_bytes());
        out.push(facts_bits(self.facts));
        out.extend_from_slice(&self.id.0.to_le_bytes());
        out.extend_from_slice(&self.due_ms.to_le_bytes());
        out.extend_from_slice(&self.accepted_ms.to_le_bytes());
        out.extend_from_slice(&self.flow.encode());
        self.terms.encode(0, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Fixed, Malformed> {
        let (body_bytes, body_crc, longest_line) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let bits = reader.u8()?;
        Ok(Fixed {
            body_bytes,
            body_crc,
            facts: Facts {
                eight_bit: bits & EIGHT_BIT != 0,
                dot_lines: bits & DOT_LINES != 0,
                binary: bits & BINARY != 0,
                ends_with_crlf: bits & ENDS_WITH_CRLF != 0,
                longest_line,
            },
            id: MessageId(reader.u64()?),
            due_ms: reader.u64()?,
            accepted_ms: reader.u64()?,
            flow: Flow::read(reader)?,
            terms: Terms::decode(reader)?.0,
        })
    }
}

fn read_domains(reader: &mut Reader<'_>) -> Result<Domains, Malformed> {
    let mut domains = Domains::new();
    for _ in 0..reader.varint()? {
        let domain = Domain(reader.text()?.into());
        domains.push((domain, RecipientSet::decode(reader)?));
    }
    Ok(domains)
}

impl<'a> Message<'a> {
    fn decode(head: &'a [u8], tail: &mut Reader<'a>) -> Result<Message<'a>, Malformed> {
        let reader = &mut Reader::new(head);
        let fixed = Fixed::decode(reader)?;
        let domains = read_domains(reader)?;
        let body = tail.bytes(fixed.body_bytes as usize)?;
        let Fixed { body_crc, facts, id, due_ms, accepted_ms, flow, terms, .. } = fixed;
        Ok(Message { id, body_crc, facts, due_ms, accepted_ms, flow, terms, domains, envelope: reader.rest(), body })
    }

    /// Whether the body is the one that was written.
    pub(crate) fn is_intact(&self) -> bool {
        crc32fast::hash(self.body) == self.body_crc
    }
}

/// Kind and parts; leaves the check, which the group's stands for, behind.
fn read_kind(reader: &mut Reader<'_>) -> Result<(u8, u8), Malformed> {
    let first = reader.u8()?;
    reader.bytes(3)?;
    Ok((first & ((1 << PARTS_SHIFT) - 1), first >> PARTS_SHIFT))
}

impl<'a> Record<'a> {
    /// Takes one record off the reader: its head's bytes (header included) and what they mean.
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<(&'a [u8], Record<'a>), Malformed> {
        let all = reader.rest();
        let (kind, parts) = read_kind(reader)?;
        let len = reader.u32()? as usize;
        let head = reader.bytes(len)?;
        let fields = &mut Reader::new(head);
        let record = match kind {
            ACCEPT => Record::Accept(Message::decode(head, reader)?),
            MOVED => Record::Moved(Message::decode(head, reader)?),
            PUT => {
                let (key, entry) = (read_key(fields)?, Entry::decode(fields)?);
                Record::Put { key, entry, before: read_before(fields)?, parts }
            }
            GONE => Record::Gone {
                key: read_key(fields)?,
                before: read_before(fields)?.ok_or(Malformed("removal of nothing"))?,
                parts,
            },
            CHECKPOINT => Record::Checkpoint(Checkpoint::decode(fields)?),
            VOID => Record::Void,
            _ => return Err(Malformed("record kind")),
        };
        Ok((&all[..RECORD_HEADER + len], record))
    }
}

/// From a record's first octets: how many it has before its body.
pub(crate) fn head_bytes(start: &[u8]) -> Result<usize, Malformed> {
    let reader = &mut Reader::new(start);
    reader.u32()?;
    Ok(RECORD_HEADER + reader.u32()? as usize)
}

/// Whose it is and its envelope, from the octets of an Accept or Moved record up to its body.
pub(crate) fn decode_envelope(record: &[u8]) -> Result<(MessageId, Envelope), Malformed> {
    let reader = &mut Reader::new(record);
    if !matches!(read_kind(reader)?.0, ACCEPT | MOVED) {
        return Err(Malformed("record of another kind"));
    }
    let len = reader.u32()? as usize;
    let fields = &mut Reader::new(reader.bytes(len)?);
    let (id, _) = read_heading(fields)?;
    Ok((id, Envelope::decode(fields.rest())?))
}

/// Whose it is and for whom, from the head of such a record; leaves the envelope behind.
pub(crate) fn read_heading(head: &mut Reader<'_>) -> Result<(MessageId, Domains), Malformed> {
    let fixed = Fixed::decode(head)?;
    Ok((fixed.id, read_domains(head)?))
}

/// What the bytes of an Accept or Moved record say, and the body, which shares them.
pub(crate) fn decode_message(record: &Bytes) -> Result<(Message<'_>, Bytes), Malformed> {
    let (head, decoded) = Record::decode(&mut Reader::new(record))?;
    let (Record::Accept(message) | Record::Moved(message)) = decoded else {
        return Err(Malformed("record of another kind"));
    };
    if !message.is_intact() {
        return Err(Malformed("body: its checksum differs"));
    }
    let body = record.slice(head.len()..head.len() + message.body.len());
    Ok((message, body))
}

/// The message of such a record.
pub(crate) fn decode_content(record: &Bytes) -> Result<Content, Malformed> {
    let (message, body) = decode_message(record)?;
    let envelope = Envelope::decode(message.envelope)?;
    Ok(Content { id: message.id, envelope, body: Body::from_parts([body], message.facts) })
}
