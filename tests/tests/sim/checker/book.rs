//! What is known of each message and each of its recipients.

use crate::clock::Micros;
use engine::dispatch::{ConnectionId, Kind};
use queue::{Content, Envelope, MessageId, Recipient, RecipientSet};
use smtp::Mailbox;
use smtp::client::{Outcome, Stage};
use smtp::parameters::{DeliverBy, Notify};

/// A connection of one life of the engine.
pub type Connection = (u32, ConnectionId);
/// A recipient: message and position.
pub type Person = (MessageId, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Handed over, not known to be durable.
    Submitted,
    /// Durable: promised.
    Open,
    /// Durably out of the queue.
    Done(Kind),
    /// Never was durable.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Delivered,
    /// The final reply never came.
    InDoubt,
    /// The peer did not take it.
    NotTaken,
}

#[derive(Debug)]
pub struct Attempt {
    pub connection: Connection,
    /// An exchanger took it.
    pub copied: bool,
    /// And tells the sender of what comes next.
    pub knows_dsn: bool,
    /// `None`: not known, or the engine died first.
    pub fate: Option<Fate>,
}

#[derive(Debug)]
pub struct Book {
    pub state: State,
    pub attempts: Vec<Attempt>,
    /// What dispatch said last, in this life.
    pub said: Option<Kind>,
    pub notify: Notify,
    /// Notices about it that are durable.
    pub notices: Notices,
    pub calm: bool,
    pub acknowledged: Option<Micros>,
    /// The queue held it when all faults had ended.
    pub survived: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    pub failed: u32,
    pub delayed: u32,
    pub succeeded: u32,
}

pub struct Mail {
    /// Who it is from; `None`: nobody is to be told of failures.
    pub sender: Option<Mailbox>,
    pub accepted_ms: u64,
    pub addresses: Vec<Mailbox>,
    pub text: Vec<u8>,
    pub deliver_by: Option<DeliverBy>,
    /// Whom it is a notice about, and what became of them.
    pub notice_of: Vec<(Person, String)>,
    pub books: Vec<Book>,
}

pub struct InFlight {
    pub connection: Connection,
    pub message: MessageId,
    pub recipients: RecipientSet,
}

impl Mail {
    /// As it is handed over; `is_calm` says of a domain whether nothing holds up its mail.
    pub fn new(content: &Content, notice_of: Vec<(Person, String)>, is_calm: impl Fn(&str) -> bool) -> Mail {
        let Envelope { reverse_path, recipients, accepted_us, parameters, .. } = &content.envelope;
        let book = |recipient: &Recipient| Book {
            state: State::Submitted,
            attempts: Vec::new(),
            said: None,
            notify: recipient.notify,
            notices: Notices::default(),
            calm: is_calm(recipient.mailbox.domain()),
            acknowledged: None,
            survived: false,
        };
        Mail {
            sender: reverse_path.0.clone(),
            accepted_ms: accepted_us / 1000,
            addresses: recipients.iter().map(|recipient| recipient.mailbox.clone()).collect(),
            text: content.body.to_bytes().to_vec(),
            deliver_by: parameters.deliver_by,
            notice_of,
            books: recipients.iter().map(book).collect(),
        }
    }

    pub fn position(&self, recipient: &Mailbox) -> u32 {
        let position = self.addresses.iter().position(|address| address == recipient);
        position.expect("only recipients of the message are named") as u32
    }
}

impl Fate {
    pub fn of(outcome: &Outcome) -> Fate {
        match outcome {
            Outcome::Replied(Stage::Final, reply) if reply.is_success() => Fate::Delivered,
            Outcome::Lost { in_doubt: true, .. } => Fate::InDoubt,
            _ => Fate::NotTaken,
        }
    }
}
