//! What the connections of one tick want of others, until the loop sends it there.

use super::permit::Permit;
use crate::events::Injector;
use crate::shell::turned::Call;
use queue::NewMessage;
use smtp::sasl::server::Inquiry;
use smtp::server::{Node, Ticket};
use std::sync::Arc;

/// Where the reply to a message goes.
pub(crate) struct Origin {
    /// Who handed it in.
    pub injector: Arc<Injector>,
    /// How many it is for.
    pub(super) recipients: u64,
    pub(super) connection: usize,
    pub(super) generation: u64,
    pub(super) ticket: Ticket,
    /// Held until the message is durable, whether or not somebody still waits for the reply: so long it takes up memory.
    pub(super) permit: Option<Permit>,
}

/// Where the answer to a connection's question goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(super) connection: usize,
    pub(super) generation: u64,
}

#[derive(Default)]
pub(crate) struct Outbox {
    /// Whole messages, to be submitted as one group, and where their replies go.
    pub received: Vec<NewMessage>,
    pub origins: Vec<Origin>,
    /// Queues that are to be started (ETRN). Each gets its reply by `Intake::handle_answer`.
    pub starts: Vec<(Asker, Node)>,
    /// Customers that have come for their mail (ATRN); answered likewise.
    pub calls: Vec<(Asker, Call)>,
    /// What has to be looked up of users; answered by `Intake::handle_finding`.
    pub inquiries: Vec<(Asker, Inquiry)>,
}
