//! The beginning of a message, where its header section is, in one piece.

use smtp::Body;
use std::borrow::Cow;

/// At most so many octets of the message; copied only when a buffer ends in its header section.
pub(crate) fn beginning(body: &Body, most: usize) -> Cow<'_, [u8]> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn no_more_is_copied_than_is_asked_for() {
        let pieces =
            |texts: &[&'static str]| Body::from_segments(texts.iter().map(|text| Bytes::from_static(text.as_bytes())));
        for (body, most, expected, copied) in [
            (pieces(&["Subject: a\r\n", "\r\nbody\r\n", "more\r\n"]), 13, "Subject: a\r\n\r", true),
            (pieces(&["Subject: a\r\n", "\r\nbody\r\n"]), 100, "Subject: a\r\n\r\nbody\r\n", true),
            (pieces(&["Subject: a\r\n\r\n", "body\r\n"]), 100, "Subject: a\r\n\r\n", false),
            (pieces(&["Subject: a\r\n"]), 9, "Subject: ", false),
            (pieces(&["\r\nbody\r\n", "more\r\n"]), 100, "\r\nbody\r\n", false),
            (pieces(&[]), 100, "", false),
        ] {
            let found = beginning(&body, most);
            assert_eq!((&found[..], matches!(found, Cow::Owned(_))), (expected.as_bytes(), copied));
        }
    }
}
