//! What senders need to know about a content.

use super::FactScan;

/// What one scan of a body found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// An octet over 127 occurs: needs 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// A line begins with a dot: needs dot-stuffing under DATA (RFC 5321 §4.5.2).
    pub dot_lines: bool,
    /// A CR or LF that is not part of a CRLF occurs (possible under BINARYMIME only). A NUL does not make a content
    /// binary: RFC 5322 §4.1 calls it obsolete, real mail has it, and servers pass it on.
    pub binary: bool,
    /// Ends with CRLF; otherwise one is added under DATA.
    pub ends_with_crlf: bool,
    /// Octets of the longest line, without its CRLF (RFC 5321 §4.5.3.1.6: at most 998).
    pub longest_line: u32,
}

impl Facts {
    /// Of a content that is at hand in one piece.
    pub fn of(content: &[u8]) -> Facts {
        let mut scan = FactScan::default();
        scan.feed(content);
        scan.facts()
    }

    /// Of these whole lines with a content of `len` octets, which has the facts `then`, behind them.
    pub(super) fn followed_by(self, then: Facts, len: usize) -> Facts {
        Facts {
            eight_bit: self.eight_bit || then.eight_bit,
            dot_lines: self.dot_lines || then.dot_lines,
            binary: self.binary || then.binary,
            ends_with_crlf: if len == 0 { self.ends_with_crlf } else { then.ends_with_crlf },
            longest_line: self.longest_line.max(then.longest_line),
        }
    }
}
