//! ETRN (RFC 1985): starts the queues that hosts ask for, and those that they come for with ATRN ([`super::odmr`]). It has a
//! thread of its own, as it walks the queue's index; one order is carried out at a time, so that asking often costs the mind
//! no more than asking once.

use super::control::Handle;
use super::odmr;
use super::operate::{OperateError, Wish};
use super::turned::Call;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use queue::Domain;
use smtp::server::Node;
use smtp::{EnhancedCode, Reply};
use std::io;
use std::thread::JoinHandle;

/// Orders that may wait; their connections do.
const MAX_WAITING: usize = 256;

const TOO_MANY: Reply =
    Reply::fixed(458, EnhancedCode(4, 3, 2), "Unable to queue messages: too many ask; try again later");

/// Takes orders; cheap to clone.
#[derive(Clone)]
pub(crate) struct Starter(Sender<Order>);

enum Order {
    /// ETRN.
    Start(Node, Done),
    /// ATRN: whether the connection may be turned round.
    Answer(Call, Done),
    /// It is, with this offer.
    Collect(Call, u64),
}

/// Gets the reply.
type Done = Box<dyn FnOnce(Reply) + Send>;

impl Starter {
    /// The thread ends when the last clone is dropped.
    pub(super) fn start(handle: Handle) -> io::Result<(Starter, JoinHandle<io::Result<()>>)> {
        let (orders, inbox) = crossbeam_channel::bounded(MAX_WAITING);
        let thread = std::thread::Builder::new().name("etrn".into()).spawn(move || {
            work(&handle, &inbox);
            Ok(())
        })?;
        Ok((Starter(orders), thread))
    }

    /// `done` gets the reply, from another thread unless there is no room.
    pub(crate) fn start_queue(&self, node: Node, done: impl FnOnce(Reply) + Send + 'static) {
        self.order(Order::Start(node, Box::new(done)));
    }

    /// ATRN: `done` gets the reply, as above.
    pub(crate) fn answer_call(&self, call: Call, done: impl FnOnce(Reply) + Send + 'static) {
        self.order(Order::Answer(call, Box::new(done)));
    }

    /// Makes due what a customer has come for.
    pub(crate) fn collect(&self, call: Call, offer: u64) {
        self.order(Order::Collect(call, offer));
    }

    fn order(&self, order: Order) {
        match self.0.try_send(order) {
            Ok(()) => {}
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => match order {
                Order::Start(_, done) => done(TOO_MANY),
                Order::Answer(_, done) => done(odmr::NOT_NOW),
                // It gets what becomes due meanwhile, and the rest when it comes again.
                Order::Collect(call, _) => tracing::warn!(user = &*call.user, "ATRN: too many ask; mail stays"),
            },
        }
    }
}

fn work(handle: &Handle, orders: &Receiver<Order>) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Start(node, done) => {
                let started = start(handle, &node);
                match &started {
                    Ok(messages) => tracing::info!(%node, messages, "ETRN"),
                    Err(error) => tracing::warn!(%node, %error, "ETRN"),
                }
                done(reply(&node, started.ok()));
            }
            Order::Answer(call, done) => done(odmr::answer(handle, &call)),
            Order::Collect(call, offer) => {
                match odmr::start(handle, &call) {
                    Ok(messages) => tracing::info!(user = &*call.user, messages, "ATRN"),
                    Err(error) => tracing::warn!(user = &*call.user, %error, "ATRN"),
                }
                handle.collected(call.user, offer);
            }
        }
    }
}

/// Messages for the node that wait and were made due.
fn start(handle: &Handle, node: &Node) -> Result<u64, OperateError> {
    let domains = match node.and_below {
        false => vec![Domain::new(&node.domain)],
        true => handle.queue().domains()?,
    };
    let mut messages = 0;
    for domain in domains.iter().filter(|domain| node.covers(domain.as_str())) {
        messages += handle.operate(Wish::Retry, Some(domain), |_, _| true)?.entries;
    }
    Ok(messages)
}

/// RFC 1985.
fn reply(node: &Node, started: Option<u64>) -> Reply {
    let ok = EnhancedCode(2, 0, 0);
    match started {
        Some(0) => Reply::new(251, ok, format!("OK, no messages waiting for node {node}")),
        Some(messages) => Reply::new(253, ok, format!("OK, {messages} pending messages for node {node} started")),
        None => {
            Reply::new(458, EnhancedCode(4, 3, 0), format!("Unable to queue messages for node {node}; try again later"))
        }
    }
}
