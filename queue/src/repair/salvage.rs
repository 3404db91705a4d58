//! What of a damaged group is as it was written, and how the group becomes whole again without the rest.
//!
//! A record is believed when its head is proven, by the group's checksum over all heads or by the head's own, and its body by
//! the one in its head. It stays where it is. What lies between such records becomes a *void*: a record that says nothing. Where
//! no head is proven, the next one is looked for octet by octet; bodies of proven heads are never searched, and nothing that
//! somebody put into another one passes for a record, since checksums begin with the segment's generation.
//!
//! Outcomes are believed one by one, but for those that belong together: a retry takes recipients from one key and puts them
//! under another. If what is lost may be a part of such, the other parts are given up too: so it is tried again, and not forgotten.

use crate::codec::Reader;
use crate::envelope::Envelope;
use crate::group::{self, GROUP_HEADER, Header, PAGE, Place};
use crate::record::{self, Frame, MANY_PARTS, RECORD_HEADER, Record};
use crate::{Domain, EntryKey, Flow, MessageId};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// A message that was accepted and cannot be read any more, as far as its head still says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostMessage {
    /// File of the segment in which its record begins.
    pub segment: String,
    /// First octet of the record in it.
    pub offset: u64,
    /// The id.
    pub id: MessageId,
    /// MAIL FROM; empty for a notice.
    pub sender: String,
    /// Recipients of which nothing later is known.
    pub recipients: Vec<(Domain, String)>,
    /// The head is the one that was written; else it looks like one.
    pub is_certain: bool,
}

/// A group that is damaged, or a range in which there are groups the headers of which are lost.
pub(crate) struct Piece<'a> {
    pub place: Place,
    /// From its header on, whole pages unless the file ends before.
    pub bytes: &'a [u8],
    /// What the group's header says, where that is known.
    pub header: Option<Header>,
    /// The header in `bytes` is not that one.
    pub is_header_damaged: bool,
    /// For the group that is made of it where no header says one.
    pub sequence: u64,
}

/// What a piece becomes.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    /// Offsets in the segment, and what is to be written there.
    pub writes: Vec<(u64, Vec<u8>)>,
    /// What is given up, as ranges of the segment.
    pub voids: Vec<Range<u64>>,
    /// Those in which there may have been outcomes as well.
    pub unknown: Vec<Range<u64>>,
    pub lost: Vec<LostMessage>,
    /// Keys of outcomes that stay, and whether something is under them.
    pub outcomes: Vec<(EntryKey, bool)>,
    /// Records that stay.
    pub saved: u64,
    pub sequence: u64,
}

enum What<'a> {
    Whole(Frame, Record<'a>),
    /// A message whose head is proven and whose body is damaged; or an entry's place where such a one lies.
    Message(Frame),
    /// Voided before; whether that was a message.
    Void(Frame),
    Unknown,
}

struct Stretch<'a> {
    range: Range<usize>,
    what: What<'a>,
}

impl Stretch<'_> {
    /// Of a void: a message, and nothing else, was there.
    const MESSAGE: u8 = 1;

    fn is_whole(&self) -> bool {
        matches!(self.what, What::Whole(..))
    }

    /// Outcomes may have been there.
    fn is_unknown(&self) -> bool {
        match self.what {
            What::Whole(..) | What::Message(_) => false,
            What::Void(frame) => frame.parts != Self::MESSAGE,
            What::Unknown => true,
        }
    }

    fn outcome(&self) -> Option<(EntryKey, bool)> {
        match &self.what {
            What::Whole(_, Record::Put { key, .. }) => Some((key.clone(), true)),
            What::Whole(_, Record::Gone { key, .. }) => Some((key.clone(), false)),
            _ => None,
        }
    }

    fn is_accept(&self) -> bool {
        match self.what {
            What::Whole(frame, _) | What::Message(frame) => frame.kind == record::ACCEPT,
            What::Void(_) | What::Unknown => false,
        }
    }
}

impl<'a> Piece<'a> {
    pub(crate) fn salvage(&self) -> Salvaged {
        let mut stretches = self.stretches();
        self.give_up_moves(&mut stretches);
        give_up_parts(&mut stretches, self.header.is_some());
        let saved = stretches.iter().filter(|stretch| stretch.is_whole()).count() as u64;
        let sequence = self.header.map_or(self.sequence, |header| header.sequence);
        let mut salvaged = Salvaged { saved, sequence, ..Salvaged::default() };
        salvaged.outcomes = stretches.iter().filter_map(Stretch::outcome).collect();
        salvaged.lost = stretches.iter().filter_map(|stretch| self.lost_message(stretch)).collect();
        self.mend(&stretches, &mut salvaged);
        if salvaged.saved == 0 {
            self.fill(&mut salvaged);
        }
        salvaged
    }

    /// Where the records end, as far as that is known.
    fn end(&self) -> usize {
        let len = self.header.map(|header| GROUP_HEADER + header.len as usize);
        len.unwrap_or(usize::MAX).min(self.bytes.len())
    }

    fn stretches(&self) -> Vec<Stretch<'a>> {
        let all_heads = self.header.is_some_and(|header| self.are_all_heads_proven(&header));
        let bytes: &'a [u8] = &self.bytes[..self.end()];
        let proven = |at: usize| {
            let frame = Frame::of(&bytes[at..])?;
            let head = &bytes[at + RECORD_HEADER..at + frame.head_end];
            let offset = self.place.offset + at as u64;
            let fits = || frame.check == record::check_of(self.place.generation, offset, bytes[at], head);
            (all_heads || fits()).then_some(frame)
        };
        let mut stretches = Vec::new();
        let mut at = GROUP_HEADER;
        while at + RECORD_HEADER <= bytes.len() && !self.is_padding(at) {
            let (end, what) = match proven(at) {
                Some(frame) => (bytes.len().min(at + frame.end), judge(frame, &bytes[at..])),
                None => {
                    let next = (at + RECORD_HEADER..bytes.len()).find(|next| proven(*next).is_some());
                    (next.unwrap_or(bytes.len()), What::Unknown)
                }
            };
            stretches.push(Stretch { range: at..end, what });
            at = end;
        }
        stretches
    }

    /// Without a header, zeros to the end of a page say that nothing more was there.
    fn is_padding(&self, at: usize) -> bool {
        let last_page = at.next_multiple_of(PAGE as usize) >= self.bytes.len();
        self.header.is_none() && last_page && self.bytes[at..].iter().all(|octet| *octet == 0)
    }

    fn are_all_heads_proven(&self, header: &Header) -> bool {
        let mut hasher = crc32fast::Hasher::new();
        let mut at = GROUP_HEADER;
        for _ in 0..header.records {
            let Some(rest) = self.bytes.get(at..) else { return false };
            let Some(frame) = Frame::of(rest) else { return false };
            hasher.update(&rest[..frame.head_end]);
            at += frame.end;
        }
        at == GROUP_HEADER + header.len as usize && hasher.finalize() == header.heads_crc
    }

    /// Entries stay where they were if what was copied for them is lost.
    fn give_up_moves(&self, stretches: &mut [Stretch<'_>]) {
        let offset_of = |stretch: &Stretch<'_>| self.place.offset + stretch.range.start as u64;
        let whole: HashSet<u64> = stretches.iter().filter(|stretch| stretch.is_whole()).map(offset_of).collect();
        let here = self.place.offset..self.place.offset + self.bytes.len() as u64;
        for stretch in stretches {
            if let What::Whole(frame, Record::Put { entry, .. }) = &stretch.what {
                let at = u64::from(entry.location.offset);
                if entry.location.segment == self.place.segment && here.contains(&at) && !whole.contains(&at) {
                    stretch.what = What::Message(*frame);
                }
            }
        }
    }

    /// Voids over what is lost, and a header for what that leaves. Nothing is saved where no group comes of it.
    fn mend(&self, stretches: &[Stretch<'_>], salvaged: &mut Salvaged) {
        let Place { segment, generation, offset } = self.place;
        let in_segment = |range: &Range<usize>| offset + range.start as u64..offset + range.end as u64;
        let mut hasher = crc32fast::Hasher::new();
        for stretch in stretches {
            let bytes = &self.bytes[stretch.range.clone()];
            match &stretch.what {
                What::Whole(frame, _) => hasher.update(&bytes[..frame.head_end]),
                _ => {
                    let (header, head) = bytes.split_at(RECORD_HEADER);
                    let parts = if stretch.is_unknown() { 0 } else { Stretch::MESSAGE };
                    let at = in_segment(&stretch.range);
                    let void = record::void(generation, at.start, parts, head);
                    hasher.update(&void);
                    hasher.update(head);
                    if header != void {
                        salvaged.writes.push((at.start, void.to_vec()));
                    }
                    if stretch.is_unknown() {
                        salvaged.unknown.push(at.clone());
                    }
                    salvaged.voids.push(at);
                }
            }
        }
        let end = stretches.last().map_or(GROUP_HEADER, |last| last.range.end);
        let header = Header {
            len: (end - GROUP_HEADER) as u32,
            records: stretches.len() as u32,
            sequence: salvaged.sequence,
            generation,
            heads_crc: hasher.finalize(),
            is_filler: false,
            is_mended: !salvaged.voids.is_empty() || self.header.is_none_or(|header| header.is_mended),
        };
        if header.bytes_on_disk() != (self.bytes.len() as u64).next_multiple_of(PAGE) {
            salvaged.saved = 0;
        }
        let mut out = vec![0; GROUP_HEADER];
        header.encode(segment, offset, &mut out);
        if out != self.bytes[..GROUP_HEADER] {
            salvaged.writes.push((offset, out));
        }
        if self.is_header_damaged {
            // With what follows it, where that is lost too.
            let header_end = offset + GROUP_HEADER as u64;
            match salvaged.voids.first_mut().filter(|first| first.start == header_end) {
                Some(first) => first.start = offset,
                None => salvaged.voids.insert(0, offset..header_end),
            }
        }
    }

    /// One void, without any record.
    fn fill(&self, salvaged: &mut Salvaged) {
        let from = self.place.offset;
        let bytes = (self.bytes.len() as u64).next_multiple_of(PAGE);
        let filler = group::filler(self.place, bytes, salvaged.sequence);
        let is_known = self.header.is_some() && !salvaged.voids.is_empty() && salvaged.unknown.is_empty();
        salvaged.outcomes.clear();
        salvaged.writes = vec![(from, filler.to_vec())];
        salvaged.voids = std::iter::once(from..from + bytes).collect();
        salvaged.unknown = if is_known { Vec::new() } else { salvaged.voids.clone() };
    }

    /// What the head says, also where it is not proven but its recipients and their domains fit each other.
    fn lost_message(&self, stretch: &Stretch<'_>) -> Option<LostMessage> {
        let is_certain = match stretch.what {
            What::Whole(..) => return None,
            What::Message(_) => true,
            What::Void(_) | What::Unknown => false,
        };
        let offset = self.place.offset + stretch.range.start as u64;
        let bytes = &self.bytes[stretch.range.clone()];
        let reader = &mut Reader::new(bytes.get(RECORD_HEADER..)?);
        let (id, domains) = record::read_heading(reader).ok()?;
        let envelope = Envelope::read(reader).ok()?;
        let mut recipients = Vec::new();
        for (domain, set) in domains {
            for position in set.iter() {
                let mailbox = &envelope.recipients.get(position as usize)?.mailbox;
                if mailbox.domain_key() != domain.as_str() {
                    return None;
                }
                recipients.push((domain.clone(), mailbox.as_str().to_owned()));
            }
        }
        let sender = envelope.reverse_path.as_str().to_owned();
        let segment = crate::segment::file_name(self.place.segment);
        // A survivor that was copied forward has no domains: its entries say more.
        let is_named = !recipients.is_empty();
        is_named.then_some(LostMessage { segment, offset, id, sender, recipients, is_certain })
    }
}

/// What is to be said of a record with a proven head.
fn judge<'a>(frame: Frame, bytes: &'a [u8]) -> What<'a> {
    if frame.kind == record::VOID {
        return What::Void(frame);
    }
    match Record::decode(&mut Reader::new(bytes)) {
        Ok((_, Record::Accept(message) | Record::Moved(message))) if !message.is_intact() => What::Message(frame),
        Ok((_, record)) => What::Whole(frame, record),
        Err(_) if matches!(frame.kind, record::ACCEPT | record::MOVED) => What::Message(frame),
        Err(_) => What::Unknown,
    }
}

/// What belongs together and is not all there, if outcomes may be lost. New mail stands before all outcomes of its group.
fn give_up_parts(stretches: &mut [Stretch<'_>], is_one_group: bool) {
    let last_accept = stretches.iter().rposition(Stretch::is_accept).filter(|_| is_one_group);
    let suspects = &stretches[last_accept.map_or(0, |last| last + 1)..];
    if !suspects.iter().any(Stretch::is_unknown) {
        return;
    }
    let mut found: HashMap<(Domain, Flow, MessageId), u8> = HashMap::new();
    let mut count = |key: &EntryKey, more: u8| {
        let count = found.entry((key.domain.clone(), key.flow, key.id)).or_default();
        *count = count.saturating_add(more);
        *count
    };
    for stretch in stretches.iter() {
        if let Some((key, _)) = part(stretch) {
            count(key, 1);
        }
    }
    for stretch in stretches {
        if part(stretch).is_some_and(|(key, parts)| parts == MANY_PARTS || count(key, 0) < parts) {
            stretch.what = What::Unknown;
        }
    }
}

/// An outcome that does not stand alone, and how many belong to it.
fn part<'s>(stretch: &'s Stretch<'_>) -> Option<(&'s EntryKey, u8)> {
    match &stretch.what {
        What::Whole(_, Record::Put { key, parts, .. } | Record::Gone { key, parts, .. }) if *parts > 0 => {
            Some((key, *parts))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::entry;
    use crate::group::GroupWriter;
    use crate::record::{Before, decode_message};
    use crate::step::tests::message;
    use crate::{Content, Entry, Location, NewMessage};
    use bytes::Bytes;
    use smtp::Body;
    use std::io::IoSlice;
    use std::sync::Arc;

    const PLACE: Place = Place { segment: 3, generation: 77, offset: 2 * PAGE };

    /// A group's octets, and its header.
    fn group(place: Place, mut writer: GroupWriter<'_>) -> (Vec<u8>, Header) {
        writer.seal(9);
        let mut slices: Vec<IoSlice<'_>> = Vec::new();
        writer.slices(&mut slices);
        let octets = slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>();
        let header = group::read_header(place.segment, place.offset, &octets).expect("as written");
        (octets, header)
    }

    fn salvage(octets: &[u8], header: Option<Header>) -> Salvaged {
        Piece { place: PLACE, bytes: octets, header, is_header_damaged: header.is_none(), sequence: 9 }.salvage()
    }

    /// What was written of it is a whole group, of which nothing is left to be done.
    fn check_mended(octets: &[u8], salvaged: &Salvaged) {
        let mut mended = octets.to_vec();
        for (offset, octets) in &salvaged.writes {
            let at = (offset - PLACE.offset) as usize;
            mended[at..at + octets.len()].copy_from_slice(octets);
        }
        let header = group::read_header(PLACE.segment, PLACE.offset, &mended).expect("a header");
        let payload = &mended[GROUP_HEADER..GROUP_HEADER + header.len as usize];
        assert_eq!(group::verify(&header, payload), Ok(()));
        assert_eq!(header.bytes_on_disk(), octets.len() as u64);
        assert!(salvage(&mended, Some(header)).writes.is_empty());
        assert!(salvage(&mended, None).writes.is_empty(), "the same without its header");
    }

    fn range(location: Location) -> Range<u64> {
        u64::from(location.offset)..u64::from(location.offset) + u64::from(location.len)
    }

    fn key(id: u64, due_ms: u64) -> EntryKey {
        EntryKey { domain: Domain::new("x.example"), flow: Flow::default(), due_ms, id: MessageId(id) }
    }

    /// Three messages, the second with this body.
    fn three(body: &[u8]) -> (Vec<u8>, Header, Vec<Location>) {
        let content = Content { body: Body::new(body.to_vec()), ..Content::clone(&message(MessageId(2), 1).content) };
        let mails = [message(MessageId(1), 1), NewMessage::new(Arc::new(content), 1), message(MessageId(3), 1)];
        let mut writer = GroupWriter::new(PLACE, Vec::new());
        let places = mails.iter().map(|mail| writer.accept(mail)).collect();
        let (octets, header) = group(PLACE, writer);
        (octets, header, places)
    }

    #[test]
    fn what_a_body_imitates_is_no_record() {
        let imitated = message(MessageId(66), 1);
        let mut writer = GroupWriter::new(PLACE, Vec::new());
        let len = writer.accept(&imitated).len as usize;
        let mut body = group(PLACE, writer).0[GROUP_HEADER..GROUP_HEADER + len].to_vec();
        let (_, _, places) = three(&body);
        // Where it will lie can be guessed, the generation cannot: records are to be told by that alone.
        let offset = range(places[1]).end - len as u64;
        let frame = Frame::of(&body).expect("a record");
        for (generation, found) in [(PLACE.generation + 1, 2), (0, 2), (PLACE.generation, 3)] {
            let check = record::check_of(generation, offset, body[0], &body[RECORD_HEADER..frame.head_end]);
            body[1..4].copy_from_slice(&check);
            let (mut octets, header, _) = three(&body);
            // Where the body begins can no longer be told.
            let at = places[1].offset as usize - PLACE.offset as usize;
            octets[at..at + 30].fill(0xff);
            for header in [Some(header), None] {
                assert_eq!(salvage(&octets, header).saved, found, "generation {generation}");
            }
            if found == 2 {
                assert_eq!(salvage(&octets, Some(header)).unknown, [range(places[1])]);
            }
            check_mended(&octets, &salvage(&octets, Some(header)));
        }
    }

    #[test]
    fn an_entry_stays_where_it_was_when_its_copy_is_lost() {
        let mail = message(MessageId(1), 1);
        let mut writer = GroupWriter::new(PLACE, Vec::new());
        writer.accept(&mail);
        let record = Bytes::from(group(PLACE, writer).0).slice(GROUP_HEADER..);
        let (old, body) = decode_message(&record).expect("as written");
        let bodies = [body];
        let mut writer = GroupWriter::new(PLACE, Vec::new());
        let put = |writer: &mut GroupWriter<'_>, id, location| {
            let moved = Entry { location, ..entry([0].into_iter().collect()) };
            writer.put(&key(id, 1), &moved, Some(&Before { recipients: 1, segment: 1, len: 100 }), 0);
        };
        let places = [writer.moved(&old, &bodies), writer.moved(&old, &bodies)];
        put(&mut writer, 1, places[0]);
        put(&mut writer, 2, places[1]);
        let (mut octets, header) = group(PLACE, writer);
        let last = places[1].offset as usize - PLACE.offset as usize + places[1].len as usize - 1;
        octets[last] ^= 1;
        let salvaged = salvage(&octets, Some(header));
        assert_eq!((salvaged.saved, salvaged.voids.len(), salvaged.unknown.len()), (2, 2, 0));
        assert_eq!(salvaged.outcomes, [(key(1, 1), true)]);
        check_mended(&octets, &salvaged);
    }

    #[test]
    fn of_outcomes_that_belong_together_all_are_kept_or_none() {
        let before = Before { recipients: 1, segment: 1, len: 100 };
        let mut writer = GroupWriter::new(PLACE, Vec::new());
        writer.gone(&key(1, 1), &before, 0);
        for id in [2, 3] {
            writer.gone(&key(id, 1), &before, 2);
            writer.put(&key(id, 5), &entry([0].into_iter().collect()), None, 2);
        }
        let (mut octets, header) = group(PLACE, writer);
        assert_eq!(salvage(&octets, Some(header)).saved, 5);
        // The last one, which says where the third message's recipient went.
        let at = GROUP_HEADER + header.len as usize - 20;
        octets[at] ^= 1;
        let salvaged = salvage(&octets, Some(header));
        assert_eq!(salvaged.outcomes, [(key(1, 1), false), (key(2, 1), false), (key(2, 5), true)]);
        assert_eq!((salvaged.saved, salvaged.unknown.len()), (3, 2));
        check_mended(&octets, &salvaged);
    }
}
