//! What a conversion changes: everything else is shared with the original.

use crate::body::{Body, FactScan, Segments};
use bytes::Bytes;
use std::ops::Range;

/// Octets that are replaced. An empty range: something is inserted before its start.
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) with: Bytes,
}

/// The content with all edits made. They may come in any order, and do not overlap.
pub(super) fn apply(content: &Bytes, mut edits: Vec<Edit>) -> Body {
    edits.sort_by_key(|edit| edit.range.start);
    let (mut segments, mut scan, mut at) = (Segments::default(), FactScan::default(), 0);
    let mut push = |piece: Bytes| {
        scan.feed(&piece);
        segments.push(piece);
    };
    for Edit { range, with } in edits {
        push(content.slice(at..range.start));
        push(with);
        at = range.end;
    }
    push(content.slice(at..));
    Body::from_parts(segments, scan.facts())
}
