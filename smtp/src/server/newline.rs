//! Content with bare CRs and LFs, made whole for listeners that take it (`BareNewline::Normalize`).
//!
//! Each CR and each LF that is not part of CRLF becomes CRLF (RFC 5321 §2.3.8 knows no other line end). This happens
//! *behind* the scan for the end of DATA: a line end that is made here can neither end a message nor begin a command. Dots
//! behind it stay as they are: a sender that stuffs dots does so where lines begin, and that is behind CRLF.

use bytes::{Buf, Bytes};
use memchr::memchr2;

/// Repairs a content that arrives in pieces; how it is cut makes no difference.
#[derive(Debug, Default)]
pub(super) struct NewlineRepair {
    /// The last octet was a CR, which was passed on. Whether an LF is missing behind it, the next octet tells.
    after_cr: bool,
}

impl NewlineRepair {
    /// Passes on the next piece, in pieces of it and what was missing between them.
    pub(super) fn feed(&mut self, mut piece: Bytes, mut pass_on: impl FnMut(Bytes)) {
        let Some(&first) = piece.first() else { return };
        let mut from = 0;
        if std::mem::take(&mut self.after_cr) {
            match first {
                b'\n' => from = 1,
                _ => pass_on(Bytes::from_static(b"\n")),
            }
        }
        while let Some(found) = memchr2(b'\r', b'\n', &piece[from..]) {
            let at = from + found;
            from = match (piece[at], piece.get(at + 1)) {
                (b'\r', Some(b'\n')) => at + 2,
                (b'\r', None) => {
                    self.after_cr = true;
                    break;
                }
                _ => {
                    pass_on(piece.split_to(at));
                    pass_on(Bytes::from_static(b"\r\n"));
                    piece.advance(1);
                    0
                }
            };
        }
        pass_on(piece);
    }

    /// The content ends here.
    pub(super) fn finish(&mut self, mut pass_on: impl FnMut(Bytes)) {
        if std::mem::take(&mut self.after_cr) {
            pass_on(Bytes::from_static(b"\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn repaired(content: &[u8], cuts: &[usize]) -> Vec<u8> {
        let (mut repair, mut out, mut rest) = (NewlineRepair::default(), Vec::new(), content);
        for &cut in cuts.iter().chain([&usize::MAX]) {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            rest = behind;
            repair.feed(Bytes::copy_from_slice(piece), |piece| out.extend_from_slice(&piece));
        }
        repair.finish(|piece| out.extend_from_slice(&piece));
        out
    }

    #[test]
    fn bare_ones_become_crlf_and_whole_ones_stay() {
        for (content, expected) in [
            ("", ""),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("a\nb\rc", "a\r\nb\r\nc"),
            ("\r", "\r\n"),
            ("\n", "\r\n"),
            ("\r\r\n", "\r\n\r\n"),
            ("\n\r", "\r\n\r\n"),
            ("\n\r\n", "\r\n\r\n"),
            ("a\n\n.\r.\n", "a\r\n\r\n.\r\n.\r\n"),
        ] {
            for every in 1..=content.len().max(1) {
                let got = repaired(content.as_bytes(), &vec![every; content.len()]);
                assert_eq!(got.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string(), "{every}");
            }
        }
    }

    #[test]
    fn whole_lines_are_passed_on_in_one_piece() {
        let piece = Bytes::from_static(b"a\r\nb\r\n");
        let mut got = Vec::new();
        NewlineRepair::default().feed(piece.clone(), |piece| got.push(piece));
        assert_eq!((got.len(), got[0].as_ptr()), (1, piece.as_ptr()));
    }

    proptest! {
        #[test]
        fn as_a_replacement_would(content in "[\r\n.a]{0,20}", cuts in prop::collection::vec(0..5usize, 0..12)) {
            let expected = content.replace("\r\n", "\0").replace(['\r', '\n'], "\0").replace('\0', "\r\n");
            prop_assert_eq!(repaired(content.as_bytes(), &cuts), expected.into_bytes());
        }
    }
}
