//! One pass over a content for what senders need to know about it, and for where lines begin with a dot.
//!
//! 64 octets at a time are compared with CR, LF and the dot, all at once; each answer is a word with a bit for each octet.
//! Where lines end and begin, and what breaks them, is then shifts and masks on three words, however many lines there are.
//! Inside a long line even that is left out, until something like a CR or LF comes. The octets go through the widest vectors
//! that the processor has, which is found out when the program runs.

use super::Facts;
use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

const BLOCK_BYTES: usize = 64;

/// Finds [`Facts`] of a content that arrives in pieces; how it is cut makes no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactScan {
    /// Octets so far.
    len: u64,
    /// Where the line begins that is not finished.
    line_start: u64,
    /// Octets of the longest finished line, without its CRLF.
    longest_line: u64,
    /// The last octet was a CR.
    after_cr: bool,
    bare_newline: bool,
    dot_lines: bool,
    eight_bit: bool,
}

impl FactScan {
    /// The next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        self.feed_at(Level::new(), piece, Stop::AtEnd);
    }

    /// The next piece, up to a line in it that begins with a dot. How many octets were taken: the dot is not among them,
    /// but where it is the first octet of the piece.
    pub fn feed_to_dot(&mut self, piece: &[u8]) -> usize {
        self.feed_at(Level::new(), piece, Stop::AtDot)
    }

    /// What was found so far, as if the content ended here.
    pub fn facts(&self) -> Facts {
        Facts {
            eight_bit: self.eight_bit,
            dot_lines: self.dot_lines,
            binary: self.has_bare_newline(),
            ends_with_crlf: self.len > 0 && self.is_at_line_start(),
            longest_line: u32::try_from(self.longest_line.max(self.line_bytes())).unwrap_or(u32::MAX),
        }
    }

    /// Whether a CR or LF occurred outside CRLF, as if the content ended here.
    pub fn has_bare_newline(&self) -> bool {
        self.bare_newline || self.after_cr
    }

    /// Whether the next octet begins a line: nothing came yet, or CRLF came last.
    pub fn is_at_line_start(&self) -> bool {
        self.line_bytes() == 0
    }

    /// Octets of the line that is not finished, a CR at its end included.
    fn line_bytes(&self) -> u64 {
        self.len - self.line_start
    }

    fn feed_at(&mut self, level: Level, piece: &[u8], stop: Stop) -> usize {
        dispatch!(level, simd => walk(simd, self, piece, stop))
    }
}

/// Where a scan is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    AtEnd,
    /// Before a dot that begins a line and is not the first octet.
    AtDot,
}

/// What stands where in up to 64 octets: a bit for each octet, the first one lowest.
#[derive(Clone, Copy)]
struct Block {
    lf: u64,
    cr: u64,
    dot: u64,
    /// At least one.
    len: u32,
}

impl Block {
    #[inline(always)]
    fn new<S: Simd>(simd: S, octets: u8x64<S>, len: u32) -> Block {
        let all = |octet| octets.simd_eq(u8x64::splat(simd, octet)).to_bitmask();
        Block { lf: all(b'\n'), cr: all(b'\r'), dot: all(b'.'), len }
    }

    /// The first octets of it.
    #[inline(always)]
    fn cut(self, len: u32) -> Block {
        let kept = u64::MAX >> (u64::BITS - len);
        Block { lf: self.lf & kept, cr: self.cr & kept, dot: self.dot & kept, len }
    }

    /// The octets with a CR before them, when before the block one is (1) or none (0).
    #[inline(always)]
    fn behind_cr(&self, after_cr: u64) -> u64 {
        (self.cr << 1 | after_cr) & u64::MAX >> (u64::BITS - self.len)
    }
}

/// Octets of the longest line that begins behind one of these line ends and ends with another.
fn longest_between(line_ends: u64) -> u64 {
    let mut longest = 0;
    let mut start = line_ends.trailing_zeros() + 1;
    let mut rest = line_ends & (line_ends - 1);
    while rest != 0 {
        let end = rest.trailing_zeros();
        longest = longest.max(end - start - 1);
        start = end + 1;
        rest &= rest - 1;
    }
    u64::from(longest)
}

/// How many octets of the piece were taken.
#[inline(always)]
fn walk<S: Simd>(simd: S, scan: &mut FactScan, piece: &[u8], stop: Stop) -> usize {
    let mut walk = Walk::new(simd, scan);
    let taken = walk.piece(piece, stop);
    *scan = walk.finish();
    taken
}

/// A scan under way, with its state where it is changed fastest: what only has to be known at the end is gathered as bits,
/// of which any will do.
struct Walk<S: Simd> {
    simd: S,
    len: u64,
    line_start: u64,
    longest_line: u64,
    /// One or zero.
    after_cr: u64,
    bare_newlines: u64,
    line_dots: u64,
    eight_bits: u64,
    /// All octets of whole blocks, one laid over the other.
    seen: u8x64<S>,
}

impl<S: Simd> Walk<S> {
    #[inline(always)]
    fn new(simd: S, scan: &FactScan) -> Walk<S> {
        Walk {
            simd,
            len: scan.len,
            line_start: scan.line_start,
            longest_line: scan.longest_line,
            after_cr: scan.after_cr.into(),
            bare_newlines: scan.bare_newline.into(),
            line_dots: scan.dot_lines.into(),
            eight_bits: scan.eight_bit.into(),
            seen: u8x64::splat(simd, 0),
        }
    }

    #[inline(always)]
    fn finish(self) -> FactScan {
        FactScan {
            len: self.len,
            line_start: self.line_start,
            longest_line: self.longest_line,
            after_cr: self.after_cr != 0,
            bare_newline: self.bare_newlines != 0,
            dot_lines: self.line_dots != 0,
            eight_bit: self.eight_bits != 0 || self.seen.simd_ge(u8x64::splat(self.simd, 0x80)).any_true(),
        }
    }

    #[inline(always)]
    fn piece(&mut self, piece: &[u8], stop: Stop) -> usize {
        // The dots that stop the scan where they begin a line: all, but for the first octet.
        let all = if stop == Stop::AtDot { u64::MAX } else { 0 };
        let mut stops = all << 1;
        let (mut blocks, rest) = piece.as_chunks::<BLOCK_BYTES>();
        loop {
            if self.is_in_long_line() {
                blocks = self.skip_in_line(blocks);
            }
            let Some((octets, behind)) = blocks.split_first() else { break };
            let taken = self.block(octets, BLOCK_BYTES, stops);
            if taken < BLOCK_BYTES {
                return piece.len() - rest.len() - blocks.len() * BLOCK_BYTES + taken;
            }
            (blocks, stops) = (behind, all);
        }
        if rest.is_empty() {
            return piece.len();
        }
        let mut octets = [0; BLOCK_BYTES];
        octets[..rest.len()].copy_from_slice(rest);
        piece.len() - rest.len() + self.block(&octets, rest.len(), stops)
    }

    #[inline(always)]
    fn is_in_long_line(&self) -> bool {
        self.len - self.line_start >= BLOCK_BYTES as u64 && self.after_cr == 0
    }

    /// Takes the blocks in which the line goes on without a CR or LF. It stops at VT and FF, too.
    #[inline(always)]
    fn skip_in_line<'a>(&mut self, blocks: &'a [[u8; BLOCK_BYTES]]) -> &'a [[u8; BLOCK_BYTES]] {
        let splat = |octet| u8x64::splat(self.simd, octet);
        let mut rest = blocks;
        while let Some((octets, behind)) = rest.split_first() {
            let octets = u8x64::from_slice(self.simd, octets);
            if (octets - splat(b'\n')).simd_le(splat(b'\r' - b'\n')).any_true() {
                break;
            }
            self.seen |= octets;
            rest = behind;
        }
        self.len += ((blocks.len() - rest.len()) * BLOCK_BYTES) as u64;
        rest
    }

    /// Takes up to `len` octets, behind which are zeros: all of them, or those before one of the `stops`.
    #[inline(always)]
    fn block(&mut self, octets: &[u8; BLOCK_BYTES], len: usize, stops: u64) -> usize {
        let octets = u8x64::from_slice(self.simd, octets);
        let block = Block::new(self.simd, octets, len as u32);
        let dots = self.line_dots(&block) & stops;
        if dots == 0 {
            self.seen |= octets;
            self.add(&block);
            return len;
        }
        let len = dots.trailing_zeros();
        if len > 0 {
            self.eight_bits |= octets.simd_ge(u8x64::splat(self.simd, 0x80)).to_bitmask() << (u64::BITS - len);
            self.add(&block.cut(len));
        }
        len as usize
    }

    /// The LFs that end a line.
    #[inline(always)]
    fn line_ends(&self, block: &Block) -> u64 {
        block.lf & block.behind_cr(self.after_cr)
    }

    /// The dots that begin a line.
    #[inline(always)]
    fn line_dots(&self, block: &Block) -> u64 {
        block.dot & (self.line_ends(block) << 1 | u64::from(self.len == self.line_start))
    }

    #[inline(always)]
    fn add(&mut self, block: &Block) {
        let line_ends = self.line_ends(block);
        // Each LF has its CR, and each CR its LF, where the LFs are just where the octets behind CRs are.
        self.bare_newlines |= block.lf ^ block.behind_cr(self.after_cr);
        self.line_dots |= self.line_dots(block);
        self.after_cr = block.cr >> (block.len - 1);
        if line_ends != 0 {
            let first = self.len + u64::from(line_ends.trailing_zeros());
            self.longest_line = self.longest_line.max(first - self.line_start - 1);
            // Lines that lie in the block as a whole are short ones: mostly a longer one has been.
            if self.longest_line < BLOCK_BYTES as u64 {
                self.longest_line = self.longest_line.max(longest_between(line_ends));
            }
            self.line_start = self.len + u64::from(u64::BITS - line_ends.leading_zeros());
        }
        self.len += u64::from(block.len);
    }
}

#[cfg(test)]
mod tests;
