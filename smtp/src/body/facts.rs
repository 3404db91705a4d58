//! One pass over a content for what senders need to know about it.
//!
//! The pass works block by block, so that its three looks at the same octets come from the first-level cache: one
//! reduction (eight-bit, bare newlines) in plain code that compilers turn into vector instructions, one search for
//! lines that begin with a dot, and one walk over line ends.

use memchr::{memchr, memmem, memrchr};

/// Fits the first-level cache with room to spare.
const BLOCK_BYTES: usize = 8 << 10;

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
            self.dot_lines |= memmem::find(block, b"\r\n.").is_some();
            self.feed_block(block);
        }
    }

    /// The next piece, in which a line begins with a dot at most at its front: who looks for the end of DATA has cut it so.
    pub(crate) fn feed_cut(&mut self, piece: &[u8]) {
        for block in piece.chunks(BLOCK_BYTES) {
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
        let [first, .., last] = *block else {
            return block.iter().for_each(|&byte| self.feed_byte(byte));
        };
        let seen = Reduction::of(block);
        let bare_newline = seen.bare_newline || self.after_cr != (first == b'\n');
        self.dot_lines |= match self.line {
            0 => first == b'.',
            _ => self.after_cr && block.starts_with(b"\n."),
        };
        let start = if bare_newline { self.walk_odd_lines(block) } else { self.walk_lines(block) };
        match start {
            Some(start) => self.line = block.len() - start,
            None => self.line += block.len(),
        }
        self.eight_bit |= seen.eight_bit;
        self.bare_newline |= bare_newline;
        self.after_cr = last == b'\r';
        self.ends_with_crlf = self.line == 0;
    }

    /// A block of one octet: what the reduction over pairs can't see.
    fn feed_byte(&mut self, byte: u8) {
        let crlf = self.after_cr && byte == b'\n';
        self.dot_lines |= self.line == 0 && byte == b'.';
        self.bare_newline |= self.after_cr != (byte == b'\n');
        self.eight_bit |= !byte.is_ascii();
        self.line += 1;
        if crlf {
            self.longest_line = self.longest_line.max(self.line - 2);
            self.line = 0;
        }
        self.after_cr = byte == b'\r';
        self.ends_with_crlf = crlf;
    }

    /// Measures the lines that end in a block where each LF is known to end a CRLF. Returns where the unfinished line
    /// begins, if that is in this block.
    ///
    /// From the start of a line it looks back from the farthest place where a line no longer than the longest could end:
    /// whatever ends before the LF found there is short enough and needs no look of its own.
    fn walk_lines(&mut self, block: &[u8]) -> Option<usize> {
        let first_lf = memchr(b'\n', block)?;
        self.longest_line = self.longest_line.max(self.line + first_lf - 1);
        let mut start = first_lf + 1;
        loop {
            let rest = &block[start..];
            let window = (self.longest_line + 2).min(rest.len());
            if let Some(lf) = memrchr(b'\n', &rest[..window]) {
                start += lf + 1;
            } else if let Some(lf) = memchr(b'\n', &rest[window..]) {
                self.longest_line = window + lf - 1;
                start += window + lf + 1;
            } else {
                return Some(start);
            }
        }
    }

    /// The same for a block where a CR or LF may stand alone.
    fn walk_odd_lines(&mut self, block: &[u8]) -> Option<usize> {
        let mut start = None;
        for lf in memchr::memchr_iter(b'\n', block) {
            if if lf == 0 { self.after_cr } else { block[lf - 1] == b'\r' } {
                let line = start.map_or(self.line + lf - 1, |start: usize| lf - 1 - start);
                self.longest_line = self.longest_line.max(line);
                start = Some(lf + 1);
            }
        }
        start
    }
}

/// What needs a look at each octet and its neighbour, but not its place.
struct Reduction {
    eight_bit: bool,
    /// Somewhere a CR is not followed by LF or a LF does not follow CR; the edges are not judged.
    bare_newline: bool,
}

impl Reduction {
    fn of(block: &[u8]) -> Reduction {
        let (mut bits, mut bare) = (0u8, false);
        for (&a, &b) in block.iter().zip(&block[1..]) {
            bits |= a;
            bare |= (a == b'\r') != (b == b'\n');
        }
        let last = block.last().copied().unwrap_or(0);
        Reduction { eight_bit: !(bits | last).is_ascii(), bare_newline: bare }
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
