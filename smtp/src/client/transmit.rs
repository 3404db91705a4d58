//! What is to be written: shared buffers in order, never copied together. Octets are counted over the whole life of the
//! connection, so "was this written?" is one comparison.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::IoSlice;

#[derive(Debug, Default)]
pub(super) struct Transmit {
    /// Invariant: no buffer is empty.
    queue: VecDeque<Bytes>,
    queued: u64,
    written: u64,
}

impl Transmit {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len() as u64;
            self.queue.push_back(bytes);
        }
    }
    /// The position behind all that was ever pushed.
    pub(super) fn end(&self) -> u64 {
        self.queued
    }
    /// The position up to which everything was written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
    /// Gives up what was not written.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
    pub(super) fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        count
    }
    /// # Panics
    /// If that many octets are not there.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        self.written += bytes as u64;
        while bytes > 0 {
            let front = self.queue.front_mut().expect("advance goes no further than what transmit showed");
            if bytes < front.len() {
                front.advance(bytes);
                return;
            }
            bytes -= front.len();
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_across_buffers() {
        let mut transmit = Transmit::default();
        for part in ["ab", "", "cde", "f"] {
            transmit.push(Bytes::from_static(part.as_bytes()));
        }
        let mut shown = Vec::new();
        for step in [1, 3, 1, 1] {
            let mut slices = [IoSlice::new(b""); 8];
            let count = transmit.fill(&mut slices);
            shown
                .push(slices[..count].iter().map(|slice| String::from_utf8_lossy(slice)).collect::<Vec<_>>().join("|"));
            transmit.advance(step);
        }
        assert_eq!(shown, ["ab|cde|f", "b|cde|f", "e|f", "f"]);
        assert_eq!((transmit.end(), transmit.written(), transmit.is_empty()), (6, 6, true));
    }
}
