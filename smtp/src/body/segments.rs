//! The buffers of a content while it grows.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// Up to this many segments are kept even when they are small.
const FEW_SEGMENTS: usize = 16;
/// A shorter piece is never worth a segment of its own.
const SMALL_PIECE_BYTES: usize = 512;
/// A longer piece is always worth one: it outweighs the 32 octets that it costs.
const LARGE_PIECE_BYTES: usize = 8 << 10;
/// Sizes of the buffers that small pieces are copied into.
const MIN_TAIL_BYTES: usize = 1 << 10;
const MAX_TAIL_BYTES: usize = 256 << 10;

/// A growing sequence of buffers. Large pieces are shared, small ones are copied together, so that neither the number
/// of segments nor what they cost beyond their octets depends on how a peer cuts its bytes.
#[derive(Debug, Default)]
pub struct Segments {
    list: SmallVec<[Bytes; 4]>,
    /// Follows the list.
    tail: BytesMut,
    len: usize,
}

impl Segments {
    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        let keep_from = if self.list.len() < FEW_SEGMENTS { SMALL_PIECE_BYTES } else { LARGE_PIECE_BYTES };
        if piece.len() >= keep_from {
            self.seal_tail();
            self.list.push(piece);
        } else if !piece.is_empty() {
            self.copy(&piece);
        }
    }
    /// Octets.
    pub fn len(&self) -> usize {
        self.len
    }
    /// No octets at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A full tail becomes a segment and a larger one follows: nothing is copied twice.
    fn copy(&mut self, piece: &[u8]) {
        if self.tail.capacity() - self.tail.len() < piece.len() {
            self.seal_tail();
            self.tail = BytesMut::with_capacity(self.len.clamp(MIN_TAIL_BYTES, MAX_TAIL_BYTES).max(piece.len()));
        }
        self.tail.extend_from_slice(piece);
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.list.push(self.tail.split().freeze());
        }
    }
}

impl IntoIterator for Segments {
    type Item = Bytes;
    type IntoIter = smallvec::IntoIter<[Bytes; 4]>;
    fn into_iter(mut self) -> Self::IntoIter {
        self.seal_tail();
        self.list.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments_of(total: usize, piece: usize) -> usize {
        let content = Bytes::from(vec![b'x'; total]);
        let mut segments = Segments::default();
        for start in (0..total).step_by(piece) {
            segments.push(content.slice(start..total.min(start + piece)));
        }
        assert_eq!(segments.len(), total);
        let list: Vec<Bytes> = segments.into_iter().collect();
        assert_eq!(list.concat(), content);
        list.len()
    }

    #[test]
    fn the_number_of_segments_does_not_follow_the_number_of_pieces() {
        for (total, piece, most) in [(10_000, 1, 8), (1 << 20, 1, 16), (1 << 20, 600, 32), (1 << 20, 1448, 32)] {
            let segments = segments_of(total, piece);
            assert!(segments <= most, "{total} in pieces of {piece} became {segments} segments");
        }
        assert_eq!(segments_of(10_000, 5000), 2);
        assert_eq!(segments_of(1 << 20, 16 << 10), 64);
    }

    #[test]
    fn large_pieces_are_not_copied() {
        let piece = Bytes::from(vec![b'x'; 600]);
        let mut segments = Segments::default();
        segments.push(Bytes::from_static(b"small"));
        segments.push(piece.clone());
        let list: Vec<Bytes> = segments.into_iter().collect();
        assert_eq!((list[0].len(), list[1].as_ptr()), (5, piece.as_ptr()));
    }
}
