//! The beginning of a message, where its header section is, in one piece.

use smtp::Body;
use std::borrow::Cow;

/// At most so many octets of the message; copied only when a buffer ends in its header section.
pub(super) fn beginning(body: &Body, most: usize) -> Cow<'_, [u8]> {
    let first = body.segments().first().map_or(&[][..], |segment| segment);
    if body.segments().len() <= 1 || first.starts_with(b"\r\n") || memchr::memmem::find(first, b"\r\n\r\n").is_some() {
        return Cow::Borrowed(&first[..first.len().min(most)]);
    }
    let mut copy = Vec::new();
    for segment in body.segments() {
        let room = most - copy.len();
        copy.extend_from_slice(&segment[..segment.len().min(room)]);
        if room <= segment.len() {
            break;
        }
    }
    Cow::Owned(copy)
}
