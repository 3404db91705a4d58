//! Lines that wait to be written: what is left after a write that took only part, and how many a failed one loses.

/// Whole lines, less what was already written of the first.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// The file ends in the middle of a line.
    torn: bool,
}

impl LineBuffer {
    /// For appending whole lines.
    pub(super) fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
    /// What is to be written.
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes
    }
    /// The file took so many bytes of `pending`. The rest stays for the next write.
    pub(super) fn written(&mut self, bytes: usize) {
        if bytes > 0 {
            self.torn = self.bytes[bytes - 1] != b'\n';
        }
        self.bytes.drain(..bytes);
    }
    /// The file takes nothing: all lines are given up, also one that was half written, which a later line must not be
    /// glued to. Returns how many.
    pub(super) fn give_up(&mut self) -> u64 {
        let lines = memchr::memchr_iter(b'\n', &self.bytes).count();
        self.bytes.clear();
        if self.torn {
            self.bytes.push(b'\n');
        }
        lines as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_written_stays() {
        let mut buffer = LineBuffer::default();
        buffer.lines().extend_from_slice(b"one\ntwo\n");
        buffer.written(5);
        assert_eq!(buffer.pending(), b"wo\n");
        buffer.written(3);
        assert_eq!((buffer.pending(), buffer.torn), (&b""[..], false));
    }

    #[test]
    fn a_line_that_was_given_up_half_written_is_ended() {
        let mut buffer = LineBuffer::default();
        buffer.lines().extend_from_slice(b"one\ntwo\nthree\n");
        buffer.written(5);
        assert_eq!(buffer.give_up(), 2);
        buffer.lines().extend_from_slice(b"four\n");
        assert_eq!(buffer.pending(), b"\nfour\n");
        buffer.written(6);
        buffer.lines().extend_from_slice(b"five\n");
        assert_eq!(buffer.give_up(), 1);
        assert_eq!(buffer.pending(), b"");
    }
}
