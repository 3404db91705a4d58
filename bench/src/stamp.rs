//! The header field by which a generated message can be checked where it arrives:
//!
//! ```text
//! X-Posthaste-Load: <number, 12 digits> <submitted, Unix µs, 16 digits> <CRC-32 of all after this line, 8 hex digits>
//! ```
//! It stands last in what the generator puts before the shared content, so that fields which a relay adds on top
//! (`Received`) do not disturb it, and so that one checksum per content, not per message, is enough.

use bytes::Bytes;
use memchr::memmem::Finder;
use std::sync::LazyLock;

const NAME: &[u8] = b"X-Posthaste-Load: ";
const VALUE_LEN: usize = 12 + 1 + 16 + 1 + 8;
/// Octets of the whole line.
pub const LINE_LEN: usize = NAME.len() + VALUE_LEN + 2;
/// Building a searcher costs more than finding the line, which mostly stands near the top.
static LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));
/// How far from the start of a message the line is looked for.
const SEARCH: usize = 16 << 10;

/// What the line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The message's number.
    pub number: u64,
    /// When it was submitted, Unix microseconds.
    pub submitted_us: u64,
    /// CRC-32 (IEEE) of every octet after the line.
    pub crc: u32,
}

/// What a received message shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The line is there and the content is what was sent.
    Intact(Stamp),
    /// The line is there, the content differs.
    Corrupted(Stamp),
    /// There is no such line.
    Unstamped,
}

impl Stamp {
    /// The line, CRLF included.
    pub fn line(&self) -> [u8; LINE_LEN] {
        let mut line = [b' '; LINE_LEN];
        line[..NAME.len()].copy_from_slice(NAME);
        let value = &mut line[NAME.len()..];
        decimal(self.number, &mut value[..12]);
        decimal(self.submitted_us, &mut value[13..29]);
        for (i, digit) in value[30..38].iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(self.crc >> (4 * i) & 15) as usize];
        }
        value[38..].copy_from_slice(b"\r\n");
        line
    }

    /// Looks for the line in the first 16 KiB of `head`, at the start of a line; says also where it ends.
    fn find(head: &[u8]) -> Option<(Stamp, usize)> {
        let head = &head[..head.len().min(SEARCH)];
        let at = LINE.find_iter(head).find(|&at| at == 0 || head[at - 1] == b'\n')?;
        let line = head.get(at..at + LINE_LEN)?;
        let value = std::str::from_utf8(&line[NAME.len()..LINE_LEN - 2]).ok()?;
        let mut words = value.split(' ');
        let stamp = Stamp {
            number: words.next()?.parse().ok()?,
            submitted_us: words.next()?.parse().ok()?,
            crc: u32::from_str_radix(words.next()?, 16).ok()?,
        };
        Some((stamp, at + LINE_LEN))
    }

    /// Checks a received content, given as its buffers.
    pub fn check(segments: &[Bytes]) -> Checked {
        let mut found = segments.first().and_then(|first| Stamp::find(first));
        let mut joined = Vec::new();
        if found.is_none() && segments.len() > 1 {
            // The line may lie across buffers: rare enough to copy for.
            for segment in segments {
                joined.extend_from_slice(&segment[..segment.len().min(SEARCH - joined.len())]);
            }
            found = Stamp::find(&joined);
        }
        let Some((stamp, mut skip)) = found else { return Checked::Unstamped };
        let mut crc = crc32fast::Hasher::new();
        for segment in segments {
            let skipped = skip.min(segment.len());
            skip -= skipped;
            crc.update(&segment[skipped..]);
        }
        if crc.finalize() == stamp.crc { Checked::Intact(stamp) } else { Checked::Corrupted(stamp) }
    }
}

/// Fills `digits` with the last decimal digits of `number`, leading zeros included.
pub(crate) fn decimal(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(before: &str, content: &str) -> Vec<u8> {
        let stamp = Stamp { number: 42, submitted_us: 1_763_841_234_567_890, crc: crc32fast::hash(content.as_bytes()) };
        let mut message = before.as_bytes().to_vec();
        message.extend_from_slice(&stamp.line());
        message.extend_from_slice(content.as_bytes());
        message
    }

    #[test]
    fn the_line_has_a_fixed_form() {
        let message = stamped("", "a");
        assert_eq!(message.len(), LINE_LEN + 1);
        assert!(message.starts_with(b"X-Posthaste-Load: 000000000042 1763841234567890 e8b7be43\r\na"));
    }

    #[test]
    fn content_is_checked_however_it_is_split_and_whatever_was_put_on_top() {
        let message = stamped("Received: from x\r\n by y\r\n", "Subject: s\r\n\r\nbody\r\n");
        for split in 0..message.len() {
            let whole = Bytes::from(message.clone());
            let segments = [whole.slice(..split), whole.slice(split..)];
            assert!(matches!(Stamp::check(&segments), Checked::Intact(s) if s.number == 42), "{split}");
        }
    }

    #[test]
    fn a_changed_octet_and_a_missing_line_are_seen() {
        let mut message = stamped("", "Subject: s\r\n\r\nbody\r\n");
        let last = message.len() - 3;
        message[last] ^= 1;
        assert!(matches!(Stamp::check(&[Bytes::from(message)]), Checked::Corrupted(_)));
        for none in ["", "Subject: X-Posthaste-Load: 1 2 3\r\n\r\n", "X-Posthaste-Load: 1\r\n"] {
            assert_eq!(Stamp::check(&[Bytes::from(none)]), Checked::Unstamped, "{none}");
        }
    }
}
