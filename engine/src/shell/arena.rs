//! Where bytes from ingest sockets land: one buffer a loop, from which each read splits off what it got.
//!
//! The bodies of messages are such pieces, so content is never copied between the socket and the socket. A piece keeps
//! its whole chunk in memory; chunks are small so that a message which waits does not hold much of its neighbours.

use bytes::{Bytes, BytesMut};
use std::io::{self, Read};

/// Octets of a chunk.
const CHUNK: usize = 64 * 1024;
/// A read with less room than this begins a new chunk: it would cut a usual message in two.
const LEAST_ROOM: usize = 12 * 1024;

#[derive(Default)]
pub(crate) struct Arena {
    /// Initialised octets that no piece has taken yet.
    free: BytesMut,
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
            self.free = BytesMut::zeroed(CHUNK);
        }
        let room = self.free.len();
        let n = from.read(&mut self.free)?;
        Ok(Piece { bytes: self.free.split_to(n).freeze(), full: n == room })
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
}
