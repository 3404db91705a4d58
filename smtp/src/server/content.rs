//! Content while it arrives: the end of DATA, dot-stuffing, facts, limits.
//!
//! Only CRLF.CRLF ends DATA (RFC 5321 §4.1.1.4), whatever else looks like it; this is the one place that decides it.
//! Where lines begin is asked of the scan that finds the facts, so that DATA goes over its content once.
//! The content is not copied: it stays in the buffers it came in, cut where a stuffed dot is left out.

use super::config::{BareNewline, Config};
use super::newline::NewlineRepair;
use crate::Body;
use crate::body::{FactScan, Segments};
use bytes::{Buf, Bytes};

/// What a client may send beyond twice the limit before it is cut off rather than heard to the end.
const MAX_EXCESS_BYTES: u64 = 1 << 20;

/// The content of one message as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Content {
    facts: FactScan,
    header: HeaderScan,
    newlines: NewlineRepair,
    segments: Segments,
    bytes: u64,
    /// BODY=BINARYMIME: a CR or LF is an octet like others (RFC 3030 §3).
    binary: bool,
    /// `facts` saw nothing of it.
    unseen: bool,
}

/// Why a content is refused once its end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TooLarge,
    BareNewline,
}

impl Content {
    pub(super) fn new(binary: bool) -> Content {
        Content { binary, ..Content::default() }
    }
    /// Octets so far, those past the limit included.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
    /// `Received:` fields in the header.
    pub(super) fn received_count(&self) -> u32 {
        self.header.received
    }

    /// The next piece.
    pub(super) fn push(&mut self, piece: Bytes, config: &Config) {
        if self.is_repaired(config) {
            self.repair(config, |newlines, take| newlines.feed(piece, take));
        } else {
            self.take(piece, config);
        }
    }

    /// The next piece, when all of the content so far and this piece were scanned already.
    fn push_scanned(&mut self, piece: Bytes, scan: &FactScan, config: &Config) {
        if self.is_repaired(config) {
            self.push(piece, config);
        } else if self.count(&piece, config) {
            self.facts = *scan;
            self.keep(piece, config);
        }
    }

    fn is_repaired(&self, config: &Config) -> bool {
        config.bare_newline == BareNewline::Normalize && !self.binary
    }

    /// There is no more.
    pub(super) fn finish(&mut self, config: &Config) {
        self.repair(config, |newlines, take| newlines.finish(take));
    }

    /// What is the matter with it, if it ended here.
    pub(super) fn fault(&self, config: &Config) -> Option<Fault> {
        if self.is_too_large(config) {
            Some(Fault::TooLarge)
        } else if !self.binary && config.bare_newline == BareNewline::Reject && self.facts.has_bare_newline() {
            Some(Fault::BareNewline)
        } else {
            None
        }
    }

    /// More than `max_message_bytes` came.
    pub(super) fn is_too_large(&self, config: &Config) -> bool {
        self.bytes > config.max_message_bytes as u64
    }

    pub(super) fn into_body(self) -> Body {
        match self.unseen {
            false => Body::from_parts(self.segments, self.facts.facts()),
            true => Body::from_segments(self.segments),
        }
    }

    fn repair(&mut self, config: &Config, feed: impl FnOnce(&mut NewlineRepair, &mut dyn FnMut(Bytes))) {
        let mut newlines = std::mem::take(&mut self.newlines);
        feed(&mut newlines, &mut |piece| self.take(piece, config));
        self.newlines = newlines;
    }

    fn take(&mut self, piece: Bytes, config: &Config) {
        if self.count(&piece, config) {
            // Where nothing is refused for what it holds, whoever wants to know more looks later: the sink does without.
            if config.bare_newline == BareNewline::Keep {
                self.unseen = true;
            } else {
                self.facts.feed(&piece);
            }
            self.keep(piece, config);
        }
    }

    /// Whether the content is still within its limit; what is beyond is only counted, and what came before is let go.
    fn count(&mut self, piece: &Bytes, config: &Config) -> bool {
        self.bytes += piece.len() as u64;
        if self.is_too_large(config) {
            self.segments = Segments::default();
            return false;
        }
        true
    }

    fn keep(&mut self, piece: Bytes, config: &Config) {
        self.header.feed(&piece);
        if !config.discard_content {
            self.segments.push(piece);
        }
    }
}

/// A content of so many octets is not worth hearing to its end.
pub(super) fn is_far_too_large(bytes: u64, config: &Config) -> bool {
    bytes > (config.max_message_bytes as u64).saturating_mul(2).saturating_add(MAX_EXCESS_BYTES)
}

/// Finds the end of DATA and undoes dot-stuffing (RFC 5321 §4.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct DataScan {
    /// Has seen all content so far, and knows by that where lines begin.
    scan: FactScan,
    at: InData,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum InData {
    /// In content.
    #[default]
    Lines,
    /// Behind a dot that began a line. It is either the end or stuffing: never content.
    Dot,
    /// Behind CR after such a dot. The CR is content unless LF follows.
    DotCr,
}

impl DataScan {
    /// Moves content from the front of `input`. True: the end of data was found, and what remains are commands.
    pub(super) fn take(&mut self, input: &mut Bytes, content: &mut Content, config: &Config) -> bool {
        while let Some(&octet) = input.first() {
            match (self.at, octet) {
                (InData::Lines, b'.') if self.scan.is_at_line_start() => self.skip(input, InData::Dot),
                (InData::Dot, b'\r') => self.skip(input, InData::DotCr),
                (InData::DotCr, b'\n') => {
                    self.skip(input, InData::Lines);
                    return true;
                }
                (InData::DotCr, _) => self.take_lines(&mut Bytes::from_static(b"\r"), content, config),
                (InData::Lines | InData::Dot, _) => self.take_lines(input, content, config),
            }
        }
        false
    }

    fn skip(&mut self, input: &mut Bytes, next: InData) {
        input.advance(1);
        self.at = next;
    }

    /// Takes everything up to the next line that begins with a dot.
    fn take_lines(&mut self, input: &mut Bytes, content: &mut Content, config: &Config) {
        let octets = self.scan.feed_to_dot(input);
        content.push_scanned(input.split_to(octets), &self.scan, config);
        self.at = InData::Lines;
    }
}

/// Counts `Received:` fields up to the empty line that ends the header.
#[derive(Clone, Copy, Debug, Default)]
struct HeaderScan {
    received: u32,
    at: InHeader,
}

#[derive(Clone, Copy, Debug)]
enum InHeader {
    /// So many octets of a line came, and are the beginning of [`RECEIVED`].
    Name(usize),
    /// Behind a CR that began a line.
    EmptyLine,
    /// In a line of no interest.
    Rest,
    /// Behind the header.
    Behind,
}

const RECEIVED: &[u8] = b"received:";

impl Default for InHeader {
    fn default() -> InHeader {
        InHeader::Name(0)
    }
}

impl HeaderScan {
    fn feed(&mut self, mut piece: &[u8]) {
        while let Some(&byte) = piece.first() {
            let (next, consumed) = match self.at {
                InHeader::Behind => return,
                InHeader::Rest => match memchr::memchr(b'\n', piece) {
                    Some(lf) => (InHeader::Name(0), lf + 1),
                    None => return,
                },
                InHeader::EmptyLine if byte == b'\n' => (InHeader::Behind, 1),
                InHeader::Name(0) if byte == b'\r' => (InHeader::EmptyLine, 1),
                InHeader::Name(0) if byte == b'\n' => (InHeader::Behind, 1),
                InHeader::Name(matched) if byte.to_ascii_lowercase() == RECEIVED[matched] => {
                    (self.matched(matched + 1), 1)
                }
                InHeader::EmptyLine | InHeader::Name(_) => (InHeader::Rest, 0),
            };
            self.at = next;
            piece = &piece[consumed..];
        }
    }

    fn matched(&mut self, octets: usize) -> InHeader {
        if octets < RECEIVED.len() {
            return InHeader::Name(octets);
        }
        self.received += 1;
        InHeader::Rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Facts;
    use proptest::prelude::*;

    /// Feeds `wire` in pieces; the content, its `Received` count and what is left behind the end, if that came.
    fn scan(wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Facts, u32, Option<Vec<u8>>) {
        let (body, received, behind) = scan_with(&Config::default(), wire, cuts);
        let keep = Config { bare_newline: BareNewline::Keep, ..Config::default() };
        assert_eq!(scan_with(&keep, wire, cuts).0.facts(), body.facts(), "kept as it is");
        (body.to_bytes().to_vec(), body.facts(), received, behind)
    }

    fn scan_with(config: &Config, wire: &[u8], cuts: &[usize]) -> (Body, u32, Option<Vec<u8>>) {
        let (mut scan, mut content) = (DataScan::default(), Content::default());
        let mut rest = wire;
        for &cut in cuts.iter().chain([&usize::MAX]) {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            rest = behind;
            let mut input = Bytes::copy_from_slice(piece);
            if scan.take(&mut input, &mut content, config) {
                content.finish(config);
                let received = content.received_count();
                return (content.into_body(), received, Some([&input[..], rest].concat()));
            }
        }
        let received = content.received_count();
        (content.into_body(), received, None)
    }

    fn check(wire: &str, content: &str, behind: Option<&str>) {
        for every in 1..=wire.len() {
            let (got, facts, _, rest) = scan(wire.as_bytes(), &vec![every; wire.len()]);
            assert_eq!(
                got.escape_ascii().to_string(),
                content.as_bytes().escape_ascii().to_string(),
                "{wire:?} by {every}"
            );
            assert_eq!(rest.as_deref(), behind.map(str::as_bytes), "{wire:?} by {every}");
            assert_eq!(facts, Facts::of(content.as_bytes()), "{wire:?} by {every}");
        }
    }

    #[test]
    fn crlf_dot_crlf_ends_data() {
        check(".\r\n", "", Some(""));
        check(".\r\nQUIT\r\n", "", Some("QUIT\r\n"));
        check("a\r\n.\r\n.\r\n", "a\r\n", Some(".\r\n"));
        check("a: b\r\n\r\nc\r\n.\r\nNOOP", "a: b\r\n\r\nc\r\n", Some("NOOP"));
    }

    #[test]
    fn dots_are_unstuffed() {
        check("..\r\n..a\r\n...b\r\n.c\r\n.\r\n", ".\r\n.a\r\n..b\r\nc\r\n", Some(""));
        check("a.\r\nb..\r\n.\r\n", "a.\r\nb..\r\n", Some(""));
    }

    #[test]
    fn nothing_else_ends_data() {
        for (wire, content) in [
            ("a\n.\n", "a\n.\n"),
            ("a\r.\r", "a\r.\r"),
            ("a\n.\r\n", "a\n.\r\n"),
            ("a\r\n.\n", "a\r\n\n"),
            ("a\r\n.\r", "a\r\n"),
            ("a\r\n.\rb", "a\r\n\rb"),
            ("a\r\n.\r\r\n", "a\r\n\r\r\n"),
            ("a\r.\r\n", "a\r.\r\n"),
            ("a\r\n\0.\r\n", "a\r\n\0.\r\n"),
            ("a\r\n.\0\r\n", "a\r\n\0\r\n"),
            ("a\r\n. \r\n", "a\r\n \r\n"),
            ("a\r\r\n.\n", "a\r\r\n\n"),
            ("a\r\n..\r\n", "a\r\n.\r\n"),
            ("a\n\n.\n\n", "a\n\n.\n\n"),
        ] {
            check(wire, content, None);
        }
    }

    #[test]
    fn received_fields_are_counted_in_the_header_only() {
        for (wire, count) in [
            ("Received: a\r\nrEcEiVeD:\r\n b\r\nX-Received: c\r\nReceive: d\r\n\r\nReceived: e\r\n.\r\n", 2),
            ("\r\nReceived: a\r\n.\r\n", 0),
            (" Received: a\r\n.\r\n", 0),
            (".Received: a\r\n.\r\n", 1),
            ("\rReceived: a\r\nReceived: b", 1),
        ] {
            for every in 1..wire.len() {
                assert_eq!(scan(wire.as_bytes(), &vec![every; wire.len()]).2, count, "{wire:?} by {every}");
            }
        }
    }

    #[test]
    fn content_is_not_copied() {
        let wire = Bytes::from(format!("{}\r\n.\r\n", "x".repeat(4000)));
        let (mut scan, mut content) = (DataScan::default(), Content::default());
        assert!(scan.take(&mut wire.clone(), &mut content, &Config::default()));
        let body = content.into_body();
        assert_eq!((body.segments().len(), body.to_bytes().as_ptr()), (1, wire.as_ptr()));
    }

    #[test]
    fn content_past_its_limit_is_let_go() {
        let config = Config { max_message_bytes: 1000, ..Config::default() };
        let (mut scan, mut content) = (DataScan::default(), Content::default());
        for sent in (600..6000).step_by(600) {
            scan.take(&mut Bytes::from_static(&[b'x'; 600]), &mut content, &config);
            assert_eq!(content.bytes(), sent);
            assert_eq!(content.fault(&config), (sent > 1000).then_some(Fault::TooLarge));
            assert_eq!(content.segments.is_empty(), sent > 1000);
        }
        assert!(!is_far_too_large(2000 + MAX_EXCESS_BYTES, &config));
        assert!(is_far_too_large(2001 + MAX_EXCESS_BYTES, &config));
    }

    proptest! {
        /// What an upstream with bare newlines sends is sent on, and arrives at the next hop, as it was made here.
        #[test]
        fn content_made_whole_passes_the_next_hop_unchanged(lines in prop::collection::vec("[ab.]{0,4}(\r\n|\r|\n)?", 0..16), cuts in prop::collection::vec(0..9usize, 0..16)) {
            let config = Config { bare_newline: BareNewline::Normalize, ..Config::default() };
            let wire = [lines.concat().as_bytes(), b"\r\n.\r\n"].concat();
            let (made, _, behind) = scan_with(&config, &wire, &cuts);
            prop_assert!(behind.is_some());
            prop_assert_eq!(made.facts(), Facts::of(&made.to_bytes()));
            prop_assert!(!made.facts().binary && (made.is_empty() || made.facts().ends_with_crlf));
            let sent_on = made.for_data().concat();
            let (arrived, _, behind) = scan_with(&Config::default(), &sent_on, &cuts);
            prop_assert_eq!(arrived.to_bytes(), made.to_bytes());
            prop_assert_eq!(behind, Some(vec![]));
        }

        #[test]
        fn what_for_data_writes_comes_back(lines in prop::collection::vec("[ab.]{0,4}(\r\n|\r\n|\r|\n|\0|é)?", 0..16), cuts in prop::collection::vec(0..9usize, 0..16)) {
            let content = lines.concat().into_bytes();
            let wire = Body::new(content.clone()).for_data().concat();
            let (got, facts, _, rest) = scan(&wire, &cuts);
            let mut expected = content;
            if !expected.is_empty() && !expected.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(facts, Facts::of(&expected));
            prop_assert_eq!(got, expected);
            prop_assert_eq!(rest, Some(vec![]));
        }
    }
}
