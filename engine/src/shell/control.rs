//! What may be asked of a running engine from outside its loops: by signals, by the admin API.

use super::event_loop::Letter;
use super::inbox::Address;
use crate::config::Config;
use crate::dispatch::{Input, Operation};
use crate::now::Now;
use queue::{Entry, EntryKey, Queue, QueueError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Entries looked at in one step of a walk through the queue.
const WALK_STEP: usize = 1000;
/// How long a question to the mind may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Cheap to clone; usable from every thread.
#[derive(Clone)]
pub struct Handle {
    config: Arc<Config>,
    queue: Queue,
    loops: Vec<Address<Letter>>,
    failed: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
}

/// What an operator wants done with entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Due now.
    Retry,
    /// Not before it is released.
    Hold,
    /// Held ones are due now.
    Release,
    /// Out of the queue, without a notice.
    Remove,
}

impl Handle {
    pub(super) fn new(
        config: Arc<Config>,
        queue: Queue,
        loops: Vec<Address<Letter>>,
        failed: Arc<AtomicBool>,
    ) -> Handle {
        Handle { config, queue, loops, failed, draining: Arc::default() }
    }

    /// The configuration that the engine started with.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The queue, for looking.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Why mail is not being accepted, if so.
    pub fn not_ready(&self) -> Option<&'static str> {
        if self.failed.load(Ordering::Relaxed) {
            Some("the queue's journal cannot be written; see the log, then restart")
        } else if self.draining.load(Ordering::Relaxed) {
            Some("shutting down")
        } else {
            None
        }
    }

    /// Limits, routes and retry policy of another configuration take effect; listeners and directories do not.
    pub fn reload(&self, config: Arc<Config>) {
        self.loops[0].send(Letter::Ask(Box::new(move |mind, now| mind.reload(config, now))));
    }

    /// Applies a wish to every entry that `wanted` picks; walks the queue, so it takes as long as that. Returns the
    /// number of recipients concerned.
    pub fn operate(&self, wish: Wish, mut wanted: impl FnMut(&EntryKey, &Entry) -> bool) -> Result<u64, QueueError> {
        let mut recipients = 0;
        let mut after = None;
        loop {
            let page = self.queue.list(after.take(), WALK_STEP)?;
            let Some((last, _)) = page.last() else { return Ok(recipients) };
            after = Some(last.clone());
            let held = |key: &EntryKey| key.due_ms == EntryKey::HELD;
            let chosen: Vec<_> = page
                .into_iter()
                .filter(|(key, _)| held(key) == (wish == Wish::Release) || wish == Wish::Remove)
                .filter(|(key, entry)| wanted(key, entry))
                .collect();
            recipients += chosen.iter().map(|(_, entry)| entry.open.len() as u64).sum::<u64>();
            if !chosen.is_empty() {
                self.loops[0].send(Letter::Think(vec![Input::Operate(wish.about(chosen))]));
            }
        }
    }

    /// Asks the mind and waits for its answer.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&crate::dispatch::Dispatch, Now) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.loops[0].send(Letter::Ask(Box::new(move |mind, now| {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(question(mind.dispatch(), now));
        })));
        answer.recv_timeout(PATIENCE).ok()
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.loops.iter().for_each(|address| address.send(Letter::Drain));
    }

    pub(super) fn stop(&self) {
        self.loops.iter().for_each(|address| address.send(Letter::Stop));
    }
}

impl Wish {
    fn about(self, entries: Vec<(EntryKey, Entry)>) -> Operation {
        match self {
            Wish::Retry => Operation::Retry(entries),
            Wish::Hold => Operation::Hold(entries),
            Wish::Release => Operation::Release(entries),
            Wish::Remove => Operation::Remove(entries),
        }
    }
}
