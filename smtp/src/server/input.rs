//! What has arrived and was not parsed yet.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Octets of a command line with its CRLF: 512 (RFC 5321 §4.5.3.1.4) and ample room for what extensions add.
pub(super) const MAX_LINE_BYTES: usize = 2048;

/// Buffers in order of arrival, and the front of a command line whose end is not there yet.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Invariant: none is empty.
    buffers: VecDeque<Bytes>,
    partial: BytesMut,
    /// The line is past its limit: the rest of it is thrown away as it comes.
    overlong: bool,
}

/// One command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// With the LF at its end.
    Whole(Bytes),
    /// It had more octets than it may have.
    TooLong,
}

impl Input {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.buffers.push_back(bytes);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Input::default();
    }

    /// Lets `consume` take from the front of the first buffer. `None`: there is no buffer.
    pub(super) fn with_front<T>(&mut self, consume: impl FnOnce(&mut Bytes) -> T) -> Option<T> {
        let front = self.buffers.front_mut()?;
        let result = consume(front);
        if front.is_empty() {
            self.buffers.pop_front();
        }
        Some(result)
    }

    /// The next line of at most so many octets, shared with the buffer it came in when it lies in one.
    pub(super) fn next_line(&mut self, most: usize) -> Option<Line> {
        while let Some(front) = self.buffers.front_mut() {
            let end = memchr::memchr(b'\n', front).map(|lf| lf + 1);
            let piece = front.split_to(end.unwrap_or(front.len()));
            if front.is_empty() {
                self.buffers.pop_front();
            }
            if self.partial.len() + piece.len() > most {
                self.overlong = true;
            }
            match (end.is_some(), self.overlong) {
                (true, true) => {
                    self.overlong = false;
                    self.partial.clear();
                    return Some(Line::TooLong);
                }
                (true, false) if self.partial.is_empty() => return Some(Line::Whole(piece)),
                (true, false) => {
                    self.partial.extend_from_slice(&piece);
                    return Some(Line::Whole(self.partial.split().freeze()));
                }
                (false, true) => self.partial.clear(),
                (false, false) => self.partial.extend_from_slice(&piece),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_depend_on_the_cuts() {
        let long = "x".repeat(MAX_LINE_BYTES) + "\r\n";
        let limit = "y".repeat(MAX_LINE_BYTES - 2) + "\r\n";
        let text = format!("NOOP\r\n\n{long}QUIT\n{limit}rest");
        for every in [1, 2, 3, 1000, 1 << 20] {
            let mut input = Input::default();
            text.as_bytes().chunks(every).for_each(|piece| input.push(Bytes::copy_from_slice(piece)));
            let lines: Vec<Line> = std::iter::from_fn(|| input.next_line(MAX_LINE_BYTES)).collect();
            let whole = |line: &str| Line::Whole(Bytes::copy_from_slice(line.as_bytes()));
            assert_eq!(
                lines,
                [whole("NOOP\r\n"), whole("\n"), Line::TooLong, whole("QUIT\n"), whole(&limit)],
                "{every}"
            );
        }
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut input = Input::default();
        for _ in 0..1000 {
            input.push(Bytes::from_static(&[b'x'; 1000]));
            assert_eq!(input.next_line(MAX_LINE_BYTES), None);
            assert!(input.partial.len() <= MAX_LINE_BYTES && input.buffers.is_empty());
        }
        input.push(Bytes::from_static(b"\r\nNOOP\r\n"));
        assert_eq!(input.next_line(MAX_LINE_BYTES), Some(Line::TooLong));
        assert_eq!(input.next_line(MAX_LINE_BYTES), Some(Line::Whole(Bytes::from_static(b"NOOP\r\n"))));
    }
}
