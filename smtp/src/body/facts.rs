//! One pass over a content for what senders need to know about it.
//!
//! The pass goes from CR to CR, and looks there at what stands around it: that is where lines end, begin with a dot, or are
//! broken. Whether an octet has its eighth bit set is asked of each block first, while it is on its way into the
//! first-level cache anyway. Together they take less than twice the time of a bare `memchr` for line ends
//! (`bench/benches/smtp/scan.rs`).

use memchr::memchr2;

/// Fits the first-level cache with room to spare.
const BLOCK_BYTES: usize = 16 << 10;

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

/// Finds [`Facts`] of a content that arrives in pieces; how it is cut makes no difference.
#[derive(Clone, Debug, Default)]
pub struct FactScan {
    eight_bit: bool,
    dot_lines: bool,
    bare_newline: bool,
    ends_with_crlf: bool,
    /// The last octet was a CR.
    after_cr: bool,
    /// Octets of the longest finished line, without its CRLF.
    longest_line: usize,
    /// Octets of the line that is not finished, a CR at its end included.
    line: usize,
}

impl FactScan {
    /// The next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        for block in piece.chunks(BLOCK_BYTES) {
            self.eight_bit = self.eight_bit || !block.is_ascii();
            self.feed_block(block);
        }
    }

    /// What was found so far, as if the content ended here.
    pub fn facts(&self) -> Facts {
        Facts {
            eight_bit: self.eight_bit,
            dot_lines: self.dot_lines,
            binary: self.has_bare_newline(),
            ends_with_crlf: self.ends_with_crlf,
            longest_line: u32::try_from(self.longest_line.max(self.line)).unwrap_or(u32::MAX),
        }
    }

    /// Whether a CR or LF occurred outside CRLF, as if the content ended here.
    pub fn has_bare_newline(&self) -> bool {
        self.bare_newline || self.after_cr
    }

    fn feed_block(&mut self, block: &[u8]) {
        // Where the line begins, if that is in this block, and from where to look on.
        let (mut start, mut from) = (0, 0);
        self.dot_lines |= self.line == 0 && block.first() == Some(&b'.');
        if std::mem::take(&mut self.after_cr) {
            if block.first() == Some(&b'\n') {
                self.longest_line = self.longest_line.max(self.line - 1);
                self.line = 0;
                (start, from) = (1, 1);
                self.dot_lines |= block.get(1) == Some(&b'.');
            } else {
                self.bare_newline = true;
            }
        }
        while let Some(found) = memchr2(b'\r', b'\n', &block[from..]) {
            let at = from + found;
            from = at + 1;
            match (block[at], block.get(at + 1)) {
                (b'\r', Some(b'\n')) => {
                    self.longest_line = self.longest_line.max(self.line + at - start);
                    self.line = 0;
                    (start, from) = (at + 2, at + 2);
                    self.dot_lines |= block.get(start) == Some(&b'.');
                }
                (b'\r', None) => self.after_cr = true,
                _ => self.bare_newline = true,
            }
        }
        self.line += block.len() - start;
        self.ends_with_crlf = self.line == 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the words of [`Facts`] say, read off directly.
    fn model(content: &[u8]) -> Facts {
        let text = String::from_utf8_lossy(content).replace("\u{fffd}", "?");
        let lines: Vec<&str> = text.split("\r\n").collect();
        Facts {
            eight_bit: content.iter().any(|&byte| byte > 127),
            dot_lines: lines.iter().any(|line| line.starts_with('.')),
            binary: lines.iter().any(|line| line.contains(['\r', '\n'])),
            ends_with_crlf: text.ends_with("\r\n"),
            longest_line: lines.iter().map(|line| line.len()).max().unwrap_or(0) as u32,
        }
    }

    fn check(content: &[u8], cuts: &[usize]) {
        let expected = model(content);
        assert_eq!(Facts::of(content), expected, "{:?}", content.escape_ascii().to_string());
        let mut scan = FactScan::default();
        let mut rest = content;
        for &cut in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            scan.feed(piece);
            rest = behind;
        }
        scan.feed(rest);
        assert_eq!(scan.facts(), expected, "{:?} cut at {cuts:?}", content.escape_ascii().to_string());
    }

    #[test]
    fn facts_of_small_contents() {
        for content in [
            "",
            "a",
            "\r\n",
            ".",
            "a\r\n.",
            "\r",
            "\n",
            "\r\r\n",
            "\n\r\n",
            "a\0b",
            "\0",
            "\r\n\r\n.",
            "\u{7f}",
            "\r\n\r",
            ".\r\n.\n",
        ] {
            check(content.as_bytes(), &[1; 8]);
            check(content.as_bytes(), &[2; 8]);
        }
        check(b"\xe9", &[]);
        check(b"ab\xff", &[2]);
    }

    #[test]
    fn facts_across_blocks() {
        for shift in 0..4 {
            let mut content = vec![b'x'; BLOCK_BYTES - 2 + shift];
            content.extend_from_slice(b"\r\n.yy\r\n");
            content.extend(std::iter::repeat_n(&b"0123456789\r\n"[..], 2000).flatten());
            check(&content, &[5, BLOCK_BYTES, 1, 700]);
        }
    }

    proptest! {
        #[test]
        fn facts_do_not_depend_on_the_cuts(lines in prop::collection::vec("[ab.]{0,5}(\r\n|\r\n|\r\n|\r|\n|\0)?", 0..12), cuts in prop::collection::vec(0..9usize, 0..12)) {
            check(lines.concat().as_bytes(), &cuts);
        }

        #[test]
        fn facts_of_well_formed_lines(lengths in prop::collection::vec(0..120usize, 0..60), cuts in prop::collection::vec(0..300usize, 0..6)) {
            let content: String = lengths.iter().map(|&length| "x".repeat(length) + "\r\n").collect();
            check(content.as_bytes(), &cuts);
        }
    }
}
