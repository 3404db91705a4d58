//! Replies on their way out, and the artificial round trip that they take.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a connection has to write. With a delay, each piece is held for that long without holding up the next: a longer
/// wire, not a slower server.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub ready: BytesMut,
    held: VecDeque<(Instant, Bytes)>,
}

impl Outbox {
    /// What was put into `ready` since the last call leaves after `delay`. Called before `release`.
    pub(super) fn hold(&mut self, fresh: &mut BytesMut, delay: Duration, now: Instant) {
        if fresh.is_empty() {
            return;
        }
        if delay.is_zero() {
            self.ready.extend_from_slice(fresh);
            fresh.clear();
        } else {
            self.held.push_back((now + delay, fresh.split().freeze()));
        }
    }

    /// Moves what has been held long enough to `ready`.
    pub(super) fn release(&mut self, now: Instant) {
        while let Some((_, bytes)) = self.held.pop_front_if(|(at, _)| *at <= now) {
            self.ready.extend_from_slice(&bytes);
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.front().map(|(at, _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_held_side_by_side() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut outbox = Outbox::default();
        outbox.hold(&mut BytesMut::from("a"), Duration::from_millis(50), at(0));
        outbox.hold(&mut BytesMut::from("b"), Duration::from_millis(50), at(10));
        outbox.release(at(49));
        assert!(outbox.ready.is_empty());
        assert_eq!(outbox.deadline(), Some(at(50)));
        outbox.release(at(60));
        assert_eq!(&outbox.ready[..], b"ab");
    }
}
