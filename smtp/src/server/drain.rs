//! An orderly end: what a client is in the midst of comes to its end first.

use super::session::Question;
use super::{CloseReason, Server, answers};
use crate::Reply;
use std::time::{Duration, Instant};

/// Silence within the transaction that the end waits for. Who goes on sending has nothing to fear from it; who has gone away
/// does not hold up the end for `idle_timeout`.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Server {
    /// As `close`, but an open transaction comes to its end first, whatever that is: the message and its reply, RSET, a
    /// refusal. What is behind it is not taken. Ten seconds without a whole command, or without any content, end it too.
    pub fn drain(&mut self, reply: Reply, now: Instant) {
        self.last_words = Some(reply);
        self.deadline = self.deadline.min(now + self.patience());
        self.end_if_drained();
    }

    /// The end has been waited for, and nothing keeps it any more. (Messages that await completion do not keep it: the last
    /// reply comes behind theirs.)
    pub(super) fn end_if_drained(&mut self) {
        if self.last_words.is_some() && !self.is_in_transaction() {
            let reply = self.last_words.take();
            self.end(CloseReason::Shutdown, reply);
        }
    }

    /// From MAIL on, also while it is being thought about.
    fn is_in_transaction(&self) -> bool {
        self.transaction.is_some() || matches!(self.question, Some(Question::Mail(..)))
    }

    /// Silence has lasted too long.
    pub(super) fn end_silence(&mut self) {
        match self.last_words.take() {
            Some(reply) => self.end(CloseReason::Shutdown, Some(reply)),
            None => self.end(CloseReason::Timeout, Some(answers::IDLE)),
        }
    }
}
