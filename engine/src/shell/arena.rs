//! Where bytes from ingest sockets land: one buffer a loop, from which each read splits off what it got.
//!
//! The bodies of messages are such pieces, so content is never copied between the socket and the socket. A piece keeps
//! its whole chunk in memory; chunks are small so that a message which waits does not hold much of its neighbours.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{self, Read};

/// Octets of a chunk.
const CHUNK: usize = 64 * 1024;
/// A read with less room than this begins a new chunk: it would cut a usual message in two.
const LEAST_ROOM: usize = 12 * 1024;
/// Full chunks that are remembered, to be filled again once none of their pieces is left. Mail that leaves as fast as it
/// comes needs a handful, which stay warm in the cache; the allocator would give them back to the kernel and fault them in
/// again. Mail that stays longer needs more, and for that the allocator is as good.
const REMEMBERED: usize = 32;

#[derive(Default)]
pub(crate) struct Arena {
    /// Initialised octets that no piece has taken yet.
    free: BytesMut,
    /// Handles without octets on full chunks, oldest first.
    full: VecDeque<BytesMut>,
}

/// What one read brought.
pub(crate) struct Piece {
    pub bytes: Bytes,
    /// The read filled all the room there was: the socket may hold more.
    pub full: bool,
}

impl Arena {
    /// One read. An empty piece means that the peer closed its side.
    pub(crate) fn read(&mut self, from: &mut impl Read) -> io::Result<Piece> {
        if self.free.len() < LEAST_ROOM {
            self.begin_chunk();
        }
        let room = self.free.len();
        let n = from.read(&mut self.free)?;
        Ok(Piece { bytes: self.free.split_to(n).freeze(), full: n == room })
    }

    fn begin_chunk(&mut self) {
        self.free.clear();
        self.full.push_back(std::mem::take(&mut self.free));
        let emptied = self.full.iter_mut().position(|chunk| chunk.try_reclaim(CHUNK));
        self.free = match emptied.and_then(|at| self.full.remove(at)) {
            Some(chunk) => chunk,
            None => BytesMut::with_capacity(CHUNK),
        };
        self.free.resize(CHUNK, 0);
        if self.full.len() > REMEMBERED {
            self.full.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_share_a_chunk_and_say_when_it_was_filled() {
        let mut arena = Arena::default();
        let small = arena.read(&mut &b"HELO a\r\n"[..]).unwrap();
        assert_eq!((&small.bytes[..], small.full), (&b"HELO a\r\n"[..], false));
        let big = vec![7; 2 * CHUNK];
        let piece = arena.read(&mut &big[..]).unwrap();
        assert!(piece.full && piece.bytes.len() == CHUNK - 8);
        assert!(arena.read(&mut &b""[..]).unwrap().bytes.is_empty());
    }

    #[test]
    fn a_chunk_is_filled_again_once_no_piece_of_it_is_left() {
        let mut arena = Arena::default();
        let mut read = |octet| arena.read(&mut &vec![octet; CHUNK][..]).unwrap().bytes;
        let (first, second) = (read(1), read(2));
        let place = first.as_ptr();
        assert_ne!(second.as_ptr(), place);
        drop(first);
        let third = read(3);
        assert_eq!((third.as_ptr(), &third[..]), (place, &[3; CHUNK][..]));
        assert_eq!(second, vec![2; CHUNK], "a piece that is held stays as it is");
    }

    #[test]
    fn few_full_chunks_are_remembered() {
        let mut arena = Arena::default();
        let held: Vec<Piece> = (0..3 * REMEMBERED).map(|_| arena.read(&mut &[0; CHUNK][..]).unwrap()).collect();
        assert_eq!(arena.full.len(), REMEMBERED);
        drop(held);
    }
}
