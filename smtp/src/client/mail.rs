//! The mail phase: transactions in order, two cursors over the replies they expect.
//!
//! `release` moves the first cursor as far as the level allows and puts what it passes into the transmit queue; `reply`
//! moves the second. A transaction leaves the front when all its replies are in, so reports come in order.

use super::command::Encoder;
use super::config::LARGE_BODY_BYTES;
use super::exchange::{Awaited, Exchange, Reset};
use super::transmit::Transmit;
use super::{Cause, Config, Features, Pipelining, Protocol, Report, Transaction, Unsupported};
use crate::{Reply, reply::ReplyRef};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Mail {
    features: Arc<Features>,
    /// What the owner wants and the peer allows.
    level: Pipelining,
    chunking: bool,
    careful: bool,
    /// LMTP: a final reply for each recipient.
    each: bool,
    /// AUTH came first.
    logged_in: bool,
    window: usize,
    encoder: Encoder,
    /// Submitted, not reported.
    exchanges: VecDeque<Exchange>,
    /// The first of `exchanges` that is not wholly in the transmit queue.
    sending: usize,
    /// The peer may hold a transaction open that has failed.
    left_open: bool,
}

impl Mail {
    pub(super) fn new(features: Arc<Features>, config: &Config) -> Mail {
        let level = if features.pipelining { config.pipelining } else { Pipelining::Off };
        // The same whatever the peer allows: who hands over transactions decided on it before anything was known of the
        // peer. Where only one is on the wire at a time, the others wait, encoded.
        let window = config.window.max(1);
        Mail {
            level,
            chunking: config.chunking && features.chunking,
            careful: config.careful,
            each: config.protocol == Protocol::Lmtp,
            logged_in: config.login.is_some(),
            window,
            encoder: Encoder::new(),
            exchanges: VecDeque::with_capacity(window.min(16)),
            sending: 0,
            left_open: false,
            features,
        }
    }

    pub(super) fn credit(&self) -> usize {
        self.window.saturating_sub(self.exchanges.len())
    }
    pub(super) fn in_flight(&self) -> usize {
        self.exchanges.len()
    }
    /// The oldest reply that is expected.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        self.exchanges.front().and_then(Exchange::awaited)
    }
    /// Some of the oldest transaction was written.
    pub(super) fn is_begun(&self, written: u64) -> bool {
        self.exchanges.front().is_some_and(|exchange| exchange.is_begun(written))
    }
    /// The oldest transaction's BDAT is no command to the peer (RFC 5321 §4.2.4).
    pub(super) fn is_unknown_chunk(&self, code: u16) -> bool {
        matches!(code, 500 | 502) && self.exchanges.front().is_some_and(|exchange| !exchange.uses_data())
    }
    /// The peer owes a reply; not yet to content that is still being written.
    pub(super) fn reply_is_due(&self, written: u64) -> bool {
        self.exchanges.front().is_some_and(|exchange| match exchange.awaited() {
            None => false,
            Some(Awaited::Final) => exchange.content_end.is_none_or(|end| end <= written),
            Some(_) => true,
        })
    }

    pub(super) fn submit(&mut self, transaction: Transaction<'_>) -> Result<(), Unsupported> {
        let exchange = self.encoder.encode(transaction, &self.features, self.chunking, self.each, self.logged_in)?;
        self.exchanges.push_back(exchange);
        Ok(())
    }

    /// Takes the reply to the oldest command outstanding. A report, if that was the last reply of its transaction.
    pub(super) fn reply(&mut self, reply: ReplyRef<'_>, written: u64) -> Result<Option<Report>, &'static str> {
        let awaited = self.awaited();
        let front = self.exchanges.front_mut().filter(|exchange| exchange.is_begun(written));
        let (Some(front), Some(awaited)) = (front, awaited) else {
            return Err("a reply came without a command");
        };
        front.reply(awaited, reply, written)?;
        if !front.is_over() {
            return Ok(None);
        }
        self.left_open = front.leaves_open();
        self.sending = self.sending.saturating_sub(1);
        Ok(self.exchanges.pop_front().map(Exchange::report))
    }

    /// Queues for sending what may go now.
    pub(super) fn release(&mut self, transmit: &mut Transmit) {
        while self.sending < self.exchanges.len() {
            if !self.release_one(transmit) {
                return;
            }
        }
    }

    /// One step of the transaction that is being sent; false if it has to wait.
    fn release_one(&mut self, transmit: &mut Transmit) -> bool {
        if self.exchanges[self.sending].start.is_none() {
            return self.begin(transmit);
        }
        let off = self.level == Pipelining::Off;
        let exchange = &mut self.exchanges[self.sending];
        if off && !exchange.all_heard() {
            return false;
        }
        if !exchange.commands.is_empty() {
            queue_commands(exchange, off, transmit);
            return true;
        }
        let content_may_go = if exchange.uses_data() {
            exchange.go_ahead
        } else {
            (exchange.body.len() <= LARGE_BODY_BYTES && !self.careful) || exchange.all_heard()
        };
        if !content_may_go {
            return false;
        }
        queue_content(exchange, transmit);
        self.sending += 1;
        true
    }

    /// Begins a transaction: now if the one before is answered, or under `Stream` if it is sent.
    fn begin(&mut self, transmit: &mut Transmit) -> bool {
        if self.sending > 0 && self.level != Pipelining::Stream {
            return false;
        }
        // Behind a BDAT that is not answered yet the peer may turn out to hold the transaction open, and this one's
        // recipients would join it; RSET keeps them apart. The end of DATA always closes a transaction.
        let behind_chunk = self.sending > 0 && !self.exchanges[self.sending - 1].uses_data();
        let exchange = &mut self.exchanges[self.sending];
        exchange.start = Some(transmit.end());
        if self.left_open || behind_chunk {
            exchange.reset = Reset::Awaited;
            transmit.push(Bytes::from_static(b"RSET\r\n"));
        }
        true
    }

    /// Ends all that is in flight, in order.
    pub(super) fn lose(&mut self, cause: &Cause, said: Option<&Reply>, written: u64, mut tell: impl FnMut(Report)) {
        let mut hit = self.is_begun(written);
        for exchange in self.exchanges.drain(..) {
            tell(exchange.lose(cause, hit, said, written));
            hit = false;
        }
        self.sending = 0;
    }
}

/// MAIL, RCPT… and DATA: the next of them, or all.
fn queue_commands(exchange: &mut Exchange, one: bool, transmit: &mut Transmit) {
    if !one {
        exchange.sent = exchange.command_count();
        return transmit.push(std::mem::take(&mut exchange.commands));
    }
    exchange.sent += 1;
    let end = memchr::memchr(b'\n', &exchange.commands).map_or(exchange.commands.len(), |at| at + 1);
    transmit.push(exchange.commands.split_to(end));
}

/// The content; or after a 354 that came in spite of refusals a lone dot, whose reply means nothing (RFC 2920 §3.1).
fn queue_content(exchange: &mut Exchange, transmit: &mut Transmit) {
    exchange.sent += 1;
    if !exchange.uses_data() {
        transmit.push(exchange.chunk.clone());
        exchange.body.segments().iter().for_each(|segment| transmit.push(segment.clone()));
    } else if exchange.is_refused() {
        return transmit.push(Bytes::from_static(b".\r\n"));
    } else {
        exchange.body.for_data().into_iter().for_each(|segment| transmit.push(segment));
    }
    exchange.content_end = Some(transmit.end());
}
