//! What threads tell a loop.

use super::mind::Mind;
use super::turned::Turned;
use crate::dispatch::{ConnectionId, Deliver, Input, Open};
use crate::events::Injector;
use crate::intake::{Asker, Origin};
use crate::now::Now;
use queue::{Committed, MessageId, QueueError};
use smtp::sasl::server::Finding;
use std::sync::Arc;
use std::time::Instant;

type Question = Box<dyn FnOnce(&mut Mind, Now) + Send>;

/// In an `Inbox`.
pub(crate) enum Letter {
    /// For the intake room: these messages are durable, or will never be.
    Durable(Vec<Origin>, Instant, Result<Vec<MessageId>, Arc<QueueError>>),
    /// For the intake room: the answer to what a connection asked.
    Answer(Asker, smtp::Reply),
    /// For the intake room: what was found of a user.
    Found(Asker, Finding),
    /// For the delivery room.
    Open(Box<Open>, Option<Box<Turned>>),
    /// For the mind: a customer has come for its mail.
    Offer(Box<Turned>),
    /// For the delivery room.
    Deliver(Deliver),
    /// For the delivery room.
    Close(ConnectionId),
    /// For the mind.
    Think(Vec<Input>),
    /// For the mind: these messages are durable, or will never be; and who handed in each.
    Accepted(Result<Vec<Committed>, Arc<QueueError>>, Vec<Arc<Injector>>),
    /// For the mind: these settles are durable with the notices among them, or will never be.
    Settled(Result<Vec<Committed>, Arc<QueueError>>, Vec<u64>),
    /// For the mind: a question of an operator.
    Ask(Question),
    /// Accept nothing new, finish what is in flight, then end.
    Drain,
    /// End now.
    Stop,
}
