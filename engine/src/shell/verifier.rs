//! Threads that look up who wants in. A password is checked by a hash that is slow on purpose (some 30 ms and 19 MiB each):
//! an event loop has no time for that, and no machine for many at once. So there are few threads, and what does not fit
//! into their queue is told to come again (454 4.7.0): a flood of logins costs others their logins, and nothing else.

use crate::users::Directory;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use smtp::sasl::server::{Finding, Inquiry};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

const THREADS: usize = 2;
/// Inquiries that may wait: some seconds of work.
const MAX_WAITING: usize = 128;

/// Takes inquiries; cheap to clone.
#[derive(Clone)]
pub(crate) struct Verifier(Sender<Order>);

struct Order {
    inquiry: Inquiry,
    done: Box<dyn FnOnce(Finding) + Send>,
}

impl Verifier {
    /// The threads end when the last clone is dropped.
    pub(super) fn start(directory: &Arc<Directory>) -> io::Result<(Verifier, Vec<JoinHandle<io::Result<()>>>)> {
        let (orders, inbox) = crossbeam_channel::bounded(MAX_WAITING);
        let start = |n| {
            let (directory, inbox) = (directory.clone(), inbox.clone());
            std::thread::Builder::new().name(format!("verify-{n}")).spawn(move || {
                work(&directory, &inbox);
                Ok(())
            })
        };
        let threads = (0..THREADS).map(start).collect::<io::Result<Vec<_>>>()?;
        Ok((Verifier(orders), threads))
    }

    /// `done` gets the finding, from another thread unless there is no room.
    pub(crate) fn order(&self, inquiry: Inquiry, done: impl FnOnce(Finding) + Send + 'static) {
        match self.0.try_send(Order { inquiry, done: Box::new(done) }) {
            Ok(()) => {}
            Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) => (order.done)(Finding::Unavailable),
        }
    }
}

fn work(directory: &Directory, orders: &Receiver<Order>) {
    while let Ok(Order { inquiry, done }) = orders.recv() {
        done(directory.find(&inquiry));
    }
}
