//! Whom a loop hands what its connections and its mind want: the queue, other threads, other loops.

use super::etrn::Starter;
use super::expiry::Alive;
use super::inbox::Address;
use super::letter::Letter;
use super::verifier::Verifier;
use crate::intake::{Origin, Outbox};
use crate::metrics::EngineMetrics;
use crate::now::Now;
use queue::{Committed, Group, NewMessage, Queue, QueueError};
use smtp::sasl::server::Finding;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a loop needs from the others.
#[derive(Clone)]
pub(crate) struct Neighbours {
    pub mind: Address<Letter>,
    pub loops: Vec<Address<Letter>>,
    pub queue: Queue,
    pub starter: Starter,
    /// The thread that looks for what has expired goes on while this lives.
    #[expect(dead_code, reason = "it is kept, and dropped with the last loop")]
    pub alive: Alive,
    /// Where a listener has AUTH.
    pub verifier: Option<Verifier>,
    pub metrics: Arc<EngineMetrics>,
    /// What the mind has still to hear of: groups submitted and not yet answered, and loops other than its own that run.
    pub awaited: Arc<AtomicUsize>,
}

impl Neighbours {
    /// What connections of the loop at `home` want. The answers come there.
    pub(crate) fn forward(&self, home: &Address<Letter>, outbox: Outbox, now: Now) {
        let Outbox { received, origins, starts, calls, inquiries } = outbox;
        for (asker, node) in starts {
            let home = home.clone();
            self.starter.start_queue(node, move |reply| home.send(Letter::Answer(asker, reply)));
        }
        for (asker, call) in calls {
            let home = home.clone();
            self.starter.answer_call(call, move |reply| home.send(Letter::Answer(asker, reply)));
        }
        for (asker, inquiry) in inquiries {
            let home = home.clone();
            let done = move |finding| home.send(Letter::Found(asker, finding));
            match &self.verifier {
                Some(verifier) => verifier.order(inquiry, done),
                // No listener has AUTH, so no machine asks.
                None => done(Finding::Unavailable),
            }
        }
        if !received.is_empty() {
            self.submit_received(home, received, origins, now);
        }
    }

    fn submit_received(&self, home: &Address<Letter>, accepts: Vec<NewMessage>, origins: Vec<Origin>, now: Now) {
        let (home, mind) = (home.clone(), self.mind.clone());
        let injectors = origins.iter().map(|origin| origin.injector.clone()).collect();
        let done = move |result: Result<Vec<Committed>, Arc<QueueError>>| {
            let ids = match &result {
                Ok(committed) => Ok(committed.iter().map(|c| c.content.id).collect()),
                Err(error) => Err(error.clone()),
            };
            home.send(Letter::Durable(origins, now.mono, ids));
            mind.send(Letter::Accepted(result, injectors));
        };
        self.awaited.fetch_add(1, Ordering::Relaxed);
        self.queue.submit(Group { accepts, settles: Vec::new() }, Box::new(done));
    }

    /// Outcomes, and what the mind knows them by.
    pub(crate) fn submit_settled(&self, group: Group, tokens: Vec<u64>) {
        let mind = self.mind.clone();
        let done = move |result: Result<Vec<Committed>, Arc<QueueError>>| {
            mind.send(Letter::Settled(result, tokens));
        };
        self.awaited.fetch_add(1, Ordering::Relaxed);
        self.queue.submit(group, Box::new(done));
    }
}
