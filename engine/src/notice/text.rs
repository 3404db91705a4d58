//! Lines, headers and dates as a notice needs them.

use super::RETURN_HEADER_BYTES;
use crate::beginning::beginning;
use jiff::Timestamp;
use smtp::Body;

/// Writes a line of words, folded to 78 columns, and broken where a word is longer than a line may be.
pub(super) fn fold(out: &mut String, first: &str, next: &str, words: &str) {
    let mut column = first.len();
    out.push_str(first);
    let mut fresh = true;
    for word in words.split(' ').filter(|w| !w.is_empty()) {
        for piece in pieces(word, 900) {
            if !fresh && column + 1 + piece.len() > 78 {
                out.push_str("\r\n");
                out.push_str(next);
                (column, fresh) = (next.len(), true);
            }
            if !fresh {
                out.push(' ');
                column += 1;
            }
            out.push_str(piece);
            column += piece.len();
            fresh = false;
        }
    }
    out.push_str("\r\n");
}

/// A word in pieces of at most `most` octets.
fn pieces(word: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(most));
        rest = after;
        Some(piece)
    })
}

/// The header section of a message, as much of it as goes back, in whole lines. The rest of the message is not touched.
pub(super) fn header_of(body: &Body) -> Vec<u8> {
    let bytes = beginning(body, RETURN_HEADER_BYTES);
    let header = match memchr::memmem::find(&bytes, b"\r\n\r\n") {
        Some(end) => &bytes[..end],
        // Cut off within a line that may go on.
        None if bytes.len() == RETURN_HEADER_BYTES => &bytes[..memchr::memrchr(b'\n', &bytes).unwrap_or(0)],
        None => &bytes,
    };
    clean_header(header)
}

/// Whole lines of a header, bounded, without octets that a line cannot carry.
fn clean_header(header: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len());
    for line in header.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || out.len() + line.len() > RETURN_HEADER_BYTES {
            break;
        }
        out.extend(line.iter().take(998).map(|b| if matches!(b, 0 | b'\r') { b' ' } else { *b }));
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// RFC 5322 §3.3, in UTC.
pub(super) fn date(unix_us: u64) -> String {
    let time = Timestamp::from_microsecond(unix_us as i64).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}
