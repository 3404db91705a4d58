//! A message's content: stored once, as received, shared by everyone who sends it.

use bytes::Bytes;
use std::sync::Arc;

/// The content of one message (header and body, CRLF line ends, not dot-stuffed), as the sequence of buffers in which
/// it arrived. Cloning shares it. The final CRLF before the terminating dot is part of it.
///
/// Without a line that begins with a dot (almost all mail) the same buffers serve DATA and BDAT.
#[derive(Clone, Debug, Default)]
pub struct Body(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    segments: smallvec::SmallVec<[Bytes; 4]>,
    len: usize,
    facts: Facts,
}

/// What one scan of a body found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// An octet over 127 occurs: needs 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// A line begins with a dot: needs dot-stuffing under DATA (RFC 5321 §4.5.2).
    pub dot_lines: bool,
    /// A CR or LF that is not part of a CRLF, or a NUL, occurs (possible under BINARYMIME only).
    pub binary: bool,
    /// Ends with CRLF; otherwise one is added under DATA.
    pub ends_with_crlf: bool,
    /// Octets of the longest line, without its CRLF (RFC 5321 §4.5.3.1.6: at most 998).
    pub longest_line: u32,
}

impl Body {
    /// Scans the bytes once for its facts.
    pub fn new(content: impl Into<Bytes>) -> Body {
        let _ = content.into();
        todo!()
    }
    /// From buffers whose facts are already known (the server's scanner and the queue know them).
    pub fn from_parts(segments: impl IntoIterator<Item = Bytes>, facts: Facts) -> Body {
        let segments: smallvec::SmallVec<[Bytes; 4]> = segments.into_iter().collect();
        let len = segments.iter().map(Bytes::len).sum();
        Body(Arc::new(Inner { segments, len, facts }))
    }
    /// The same content with `header` (whole CRLF lines) before it; the rest is shared, not copied.
    pub fn with_prefix(&self, header: Bytes) -> Body {
        let _ = header;
        todo!()
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
        self.0.facts
    }
    /// The buffers, in order.
    pub fn segments(&self) -> &[Bytes] {
        &self.0.segments
    }
    /// One contiguous buffer; copies only when there are several segments.
    pub fn to_bytes(&self) -> Bytes {
        todo!()
    }
    /// The buffers to send under DATA, with dot-stuffing and the terminating `.` CRLF (and a CRLF before it when the
    /// content lacks one). Shares all of the content that needs no change.
    pub fn for_data(&self) -> smallvec::SmallVec<[Bytes; 6]> {
        todo!()
    }
}
