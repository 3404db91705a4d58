//! Replies on their way out, in command order (RFC 2920 §3.2).

use super::Ticket;
use crate::Reply;
use bytes::BytesMut;
use std::collections::VecDeque;

/// One place in the order of replies.
#[derive(Debug)]
enum Slot {
    /// Known, and held up by a message before it.
    Ready(Reply),
    /// The final reply of a message: one, or one per recipient.
    Pending { ticket: Ticket, replies: usize },
    /// The final replies of a message that is held up by one before it.
    Each(Vec<Reply>),
}

/// The final replies of one message.
pub(super) enum Final {
    /// The same in each place.
    Same(Reply),
    /// One for each place.
    Each(Vec<Reply>),
}

/// Replies that are ready and have nothing unready before them are encoded at once; the others queue.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Invariant: empty, or its front is `Pending`.
    slots: VecDeque<Slot>,
    pending: usize,
    pub(super) transmit: BytesMut,
    plain: bool,
}

impl Outbox {
    /// Replies carry enhanced status codes only if `enhanced`.
    pub(super) fn new(enhanced: bool) -> Outbox {
        Outbox { plain: !enhanced, ..Outbox::default() }
    }
    /// Messages that await their final reply.
    pub(super) fn pending(&self) -> usize {
        self.pending
    }
    /// Replies that queue behind them, and these.
    pub(super) fn queued(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn push(&mut self, reply: Reply) {
        if self.slots.is_empty() {
            self.encode(reply);
        } else {
            self.slots.push_back(Slot::Ready(reply));
        }
    }

    /// Keeps a place for the final reply of a message, or for as many as it has recipients under LMTP.
    pub(super) fn push_pending(&mut self, ticket: Ticket, replies: usize) {
        self.pending += 1;
        self.slots.push_back(Slot::Pending { ticket, replies });
    }

    /// Fills the place kept for `ticket`.
    ///
    /// # Panics
    /// If there is none, or the number of replies is another.
    pub(super) fn fill(&mut self, ticket: Ticket, given: Final) {
        let is_it = |slot: &&mut Slot| matches!(slot, Slot::Pending { ticket: of, .. } if *of == ticket);
        let slot = self.slots.iter_mut().find(is_it).expect("the ticket is of a message that awaits completion");
        let Slot::Pending { replies, .. } = *slot else { unreachable!("`is_it` finds nothing else") };
        *slot = match given {
            Final::Same(reply) if replies == 1 => Slot::Ready(reply),
            Final::Same(reply) => Slot::Each(vec![reply; replies]),
            Final::Each(list) => {
                assert_eq!(list.len(), replies, "one reply for each recipient");
                Slot::Each(list)
            }
        };
        self.pending -= 1;
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(slot) = self.slots.pop_front() {
            match slot {
                Slot::Ready(reply) => self.encode(reply),
                Slot::Each(list) => list.into_iter().for_each(|reply| self.encode(reply)),
                pending => return self.slots.push_front(pending),
            }
        }
    }

    fn encode(&mut self, mut reply: Reply) {
        if self.plain {
            reply.enhanced = None;
        }
        if !reply.text.is_ascii() {
            // RFC 6531 §3.7.4.2. (What a client said, quoted.)
            reply.text = reply.text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect::<String>().into();
        }
        reply.encode(&mut self.transmit);
    }
}
