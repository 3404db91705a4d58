//! A message's content: stored once, as received, shared by everyone who sends it.

mod facts;
mod scan;
mod segments;

pub use facts::Facts;
pub use scan::FactScan;
pub use segments::Segments;

use crate::mime::{self, Refusal};
use bytes::{Bytes, BytesMut};
use memchr::memmem;
use smallvec::SmallVec;
use std::sync::{Arc, OnceLock};

/// The content of one message (header and body, CRLF line ends, not dot-stuffed), as the sequence of buffers in which
/// it arrived. Cloning shares it. The final CRLF before the terminating dot is part of it.
///
/// Without a line that begins with a dot (almost all mail) the same buffers serve DATA and BDAT.
#[derive(Clone, Debug, Default)]
pub struct Body(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    segments: SmallVec<[Bytes; 4]>,
    len: usize,
    /// Found when they are first asked for, where nobody had to look at the content before.
    facts: OnceLock<Facts>,
    /// Made when it is first asked for, once for all who share the body.
    seven_bit: OnceLock<Result<Body, Refusal>>,
}

impl Body {
    /// Scans the bytes once for its facts.
    pub fn new(content: impl Into<Bytes>) -> Body {
        let content = content.into();
        let facts = Facts::of(&content);
        Body::from_parts(Some(content), facts)
    }
    /// From buffers whose facts are already known (the server's scanner and the queue know them).
    pub fn from_parts(segments: impl IntoIterator<Item = Bytes>, facts: Facts) -> Body {
        let body = Body::from_segments(segments);
        // Nobody else has it yet.
        let _ = body.0.facts.set(facts);
        body
    }
    /// From buffers that nobody has looked at yet: they are scanned when a fact is first asked for.
    pub fn from_segments(segments: impl IntoIterator<Item = Bytes>) -> Body {
        let segments: SmallVec<[Bytes; 4]> = segments.into_iter().filter(|segment| !segment.is_empty()).collect();
        let len = segments.iter().map(Bytes::len).sum();
        Body(Arc::new(Inner { segments, len, facts: OnceLock::new(), seven_bit: OnceLock::new() }))
    }
    /// The same content with `header` (whole CRLF lines) before it; the rest is shared, not copied.
    pub fn with_prefix(&self, header: Bytes) -> Body {
        let facts = Facts::of(&header).followed_by(self.facts(), self.len());
        Body::from_parts(std::iter::once(header).chain(self.segments().iter().cloned()), facts)
    }
    /// Octets.
    pub fn len(&self) -> usize {
        self.0.len
    }
    /// No octets at all.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }
    /// What the scan found.
    pub fn facts(&self) -> Facts {
        let scan = || {
            let mut scan = FactScan::default();
            self.segments().iter().for_each(|segment| scan.feed(segment));
            scan.facts()
        };
        *self.0.facts.get_or_init(scan)
    }
    /// The buffers, in order; none is empty.
    pub fn segments(&self) -> &[Bytes] {
        &self.0.segments
    }
    /// One contiguous buffer; copies only when there are several segments.
    pub fn to_bytes(&self) -> Bytes {
        match self.segments() {
            [] => Bytes::new(),
            [only] => only.clone(),
            several => {
                let mut whole = BytesMut::with_capacity(self.len());
                several.iter().for_each(|segment| whole.extend_from_slice(segment));
                whole.freeze()
            }
        }
    }
    /// The same content in a buffer of its own: what it was cut from may be far larger, and is not kept in memory for it.
    pub fn detached(&self) -> Body {
        let mut whole = BytesMut::with_capacity(self.len());
        self.segments().iter().for_each(|segment| whole.extend_from_slice(segment));
        Body::from_parts(Some(whole.freeze()), self.facts())
    }
    /// The content for a peer that takes neither 8-bit nor binary content: itself, if it is neither; else converted, see
    /// [`mime`]. That is done once, in one pass over the content, and kept with the body.
    pub fn seven_bit(&self) -> Result<&Body, Refusal> {
        if !self.facts().eight_bit && !self.facts().binary {
            return Ok(self);
        }
        self.0.seven_bit.get_or_init(|| mime::seven_bit(self)).as_ref().map_err(|refusal| *refusal)
    }
    /// The buffers to send under DATA, with dot-stuffing and the terminating `.` CRLF (and a CRLF before it when the
    /// content lacks one). Shares all of the content that needs no change.
    pub fn for_data(&self) -> SmallVec<[Bytes; 6]> {
        let mut out: SmallVec<[Bytes; 6]> = if self.facts().dot_lines {
            dot_stuffed(self.segments()).into_iter().collect()
        } else {
            self.segments().iter().cloned().collect()
        };
        let whole_lines = self.facts().ends_with_crlf || self.is_empty();
        out.push(Bytes::from_static(if whole_lines { b".\r\n" } else { b"\r\n.\r\n" }));
        out
    }
}

/// A dot more at each line that begins with one (RFC 5321 §4.5.2): the buffer is cut behind that dot, and the next piece
/// begins with the same dot again. No octet is copied unless the pieces get small.
fn dot_stuffed(segments: &[Bytes]) -> Segments {
    let mut out = Segments::default();
    let mut before = [b'\r', b'\n'];
    for segment in segments {
        let mut start = 0;
        for dot in line_dots(before, segment) {
            out.push(segment.slice(start..=dot));
            start = dot;
        }
        out.push(segment.slice(start..));
        before = match segment[..] {
            [.., a, b] => [a, b],
            [b] => [before[1], b],
            [] => before,
        };
    }
    out
}

/// Where in `segment` a line begins with a dot, when `before` are the two octets before it.
fn line_dots(before: [u8; 2], segment: &[u8]) -> impl Iterator<Item = usize> {
    let at_the_edge = match (before, segment) {
        ([b'\r', b'\n'], [b'.', ..]) => Some(0),
        ([_, b'\r'], [b'\n', b'.', ..]) => Some(1),
        _ => None,
    };
    at_the_edge.into_iter().chain(memmem::find_iter(segment, b"\r\n.").map(|at| at + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(content: &[u8], every: usize) -> Vec<Bytes> {
        content.chunks(every.max(1)).map(Bytes::copy_from_slice).collect()
    }

    fn check_data(content: &str, wire: &str) {
        for every in 1..=content.len().max(1) {
            let body = Body::from_parts(split(content.as_bytes(), every), Facts::of(content.as_bytes()));
            assert_eq!(String::from_utf8(body.for_data().concat()).unwrap(), wire, "in pieces of {every}");
            assert_eq!(body.to_bytes(), content);
            let unseen = Body::from_segments(split(content.as_bytes(), every));
            assert_eq!(unseen.facts(), body.facts(), "{content:?} in pieces of {every}");
        }
    }

    #[test]
    fn data_is_dot_stuffed_and_terminated() {
        check_data("", ".\r\n");
        check_data("a: b\r\n\r\ntext\r\n", "a: b\r\n\r\ntext\r\n.\r\n");
        check_data("no end", "no end\r\n.\r\n");
        check_data(".", "..\r\n.\r\n");
        check_data(".\r\n", "..\r\n.\r\n");
        check_data(".a\r\n..b\r\n.\r\nc.\r\n", "..a\r\n...b\r\n..\r\nc.\r\n.\r\n");
        check_data("\r\n.\r\n", "\r\n..\r\n.\r\n");
        check_data("a\n.b\r.c\r\n", "a\n.b\r.c\r\n.\r\n");
    }

    #[test]
    fn plain_content_is_shared() {
        let content = Bytes::from(vec![b'x'; 5000]);
        let body = Body::new(content.clone());
        assert_eq!(body.to_bytes().as_ptr(), content.as_ptr());
        assert_eq!(body.for_data()[0].as_ptr(), content.as_ptr());
        let traced = body.with_prefix(Bytes::from_static(b"Received: x\r\n"));
        assert_eq!(traced.segments()[1].as_ptr(), content.as_ptr());
        assert_eq!(traced.len(), 5013);
    }

    #[test]
    fn dotted_content_is_shared_where_pieces_are_long() {
        let content = Bytes::from(format!("{}\r\n.{}\r\n", "x".repeat(4000), "y".repeat(4000)));
        let wire = Body::new(content.clone()).for_data();
        assert_eq!(wire[0].as_ptr(), content.as_ptr());
        assert_eq!(wire[1].as_ptr(), content[4002..].as_ptr());
        assert_eq!(wire.len(), 3);
    }

    #[test]
    fn a_body_of_nothing_but_dots_stays_in_few_buffers() {
        let body = Body::new(".\r\n".repeat(100_000));
        let wire = body.for_data();
        assert!(wire.len() < 64, "{}", wire.len());
        assert_eq!(wire.concat().len(), 400_003);
    }

    proptest! {
        #[test]
        fn a_prefix_changes_the_facts_as_a_scan_would(header in "([.a]{0,5}\r\n){1,3}", content in "[\r\n.aé\0]{0,12}") {
            let body = Body::new(content.clone()).with_prefix(Bytes::from(header.clone()));
            prop_assert_eq!(body.facts(), Facts::of((header + &content).as_bytes()));
        }
    }
}
