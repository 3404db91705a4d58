//! What may be asked of a running engine from outside its loops: by signals, by the admin API.

use super::event_loop::Letter;
use super::inbox::Address;
use super::mind::Mind;
use super::watch::Watch;
use crate::config::Config;
use crate::delivery::Settings;
use crate::dispatch::{Input, Operation};
use crate::intake::Shared;
use crate::now::Now;
use crate::passwords::{self, PasswordError};
use queue::{Domain, Entry, EntryKey, MessageId, Queue, QueueError};
use std::collections::HashSet;
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
    intake: Arc<Shared>,
    resolver: dns::Resolver,
    loops: Vec<Address<Letter>>,
    watch: Watch,
    failed: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
    settings: Arc<Settings>,
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

/// What became of a wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operated {
    /// Recipients concerned.
    pub recipients: u64,
    /// Entries that they are in.
    pub entries: u64,
}

/// Why a wish was not, or not wholly, carried out.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The queue cannot be read.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The engine has ended, or is too busy to answer.
    #[error("the engine does not answer; it may be shutting down")]
    Stopped,
}

impl Handle {
    pub(super) fn new(
        config: Arc<Config>,
        intake: Arc<Shared>,
        resolver: dns::Resolver,
        loops: Vec<Address<Letter>>,
        watch: Watch,
        failed: Arc<AtomicBool>,
        settings: Arc<Settings>,
    ) -> Handle {
        Handle { config, intake, resolver, loops, watch, failed, draining: Arc::default(), settings }
    }

    /// The configuration that the engine started with; [`crate::dispatch::Dispatch::config`] is the newest.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The queue, for looking.
    pub fn queue(&self) -> &Queue {
        &self.intake.queue
    }

    /// The resolver that the engine asks, for the same answers.
    pub fn resolver(&self) -> &dns::Resolver {
        &self.resolver
    }

    /// Why mail is not being accepted, if so.
    pub fn not_ready(&self) -> Option<Arc<str>> {
        if self.failed.load(Ordering::Relaxed) {
            Some("the queue's journal cannot be written; see the log, then restart".into())
        } else if self.draining.load(Ordering::Relaxed) {
            Some("shutting down".into())
        } else {
            self.queue().stalled().or_else(|| self.intake.permits.lacking().map(Into::into))
        }
    }

    /// Limits, routes and retry policy of another configuration take effect, and certificates are read anew; listeners
    /// and directories do not change. Passwords are read again, before dispatch hears of the routes that they are for.
    ///
    /// # Errors
    /// A password cannot be read: everything stays as it was.
    pub fn reload(&self, config: Arc<Config>) -> Result<(), PasswordError> {
        self.settings.passwords.replace(passwords::read(&config)?);
        self.watch.reload(config.clone());
        self.loops[0].send(Letter::Ask(Box::new(move |mind, now| mind.reload(config, now))));
        Ok(())
    }

    /// Applies a wish to every entry, of one domain if so said, that `wanted` picks. Walks the queue, and blocks for as
    /// long as that takes; the mind is given one step at a time, so that memory stays bounded however much is queued.
    /// Recipients in a transaction are left alone.
    ///
    /// # Errors
    /// The queue cannot be read, or the engine has stopped; some of the wish may have been carried out.
    pub fn operate(
        &self,
        wish: Wish,
        domain: Option<&Domain>,
        mut wanted: impl FnMut(&EntryKey, &Entry) -> bool,
    ) -> Result<Operated, OperateError> {
        let mut sum = Operated::default();
        let mut retried = Retried::default();
        let mut after = None;
        loop {
            let page = match domain {
                Some(domain) => self.intake.queue.list_domain(domain, after.take(), WALK_STEP),
                None => self.intake.queue.list(after.take(), WALK_STEP),
            }?;
            let Some((last, _)) = page.last() else { return Ok(sum) };
            after = Some(last.clone());
            let chosen: Vec<_> = page
                .into_iter()
                .filter(|(key, _)| wish.concerns(key))
                .filter(|(key, entry)| wanted(key, entry))
                .filter(|(key, entry)| wish != Wish::Retry || retried.is_first(key, entry))
                .collect();
            if !chosen.is_empty() {
                let step = self.carry_out(wish, chosen).ok_or(OperateError::Stopped)?;
                sum.recipients += step.recipients;
                sum.entries += step.entries;
            }
        }
    }

    /// One step, counted and done in one breath of the mind.
    fn carry_out(&self, wish: Wish, chosen: Vec<(EntryKey, Entry)>) -> Option<Operated> {
        self.ask_mind(move |mind, now| {
            let waiting = |(key, entry): &(EntryKey, Entry)| mind.dispatch().entry_state(key, entry).0 as u64;
            let mut sum = Operated::default();
            for recipients in chosen.iter().map(waiting).filter(|recipients| *recipients > 0) {
                sum.recipients += recipients;
                sum.entries += 1;
            }
            mind.handle(Input::Operate(wish.about(chosen)), now);
            sum
        })
    }

    /// All that waited for this customer has been made due.
    pub(super) fn collected(&self, user: Arc<str>, offer: u64) {
        let collected = Input::Collected { user, offer };
        self.loops[0].send(Letter::Ask(Box::new(move |mind, now| mind.handle(collected, now))));
    }

    /// Asks the mind and waits for its answer; `None` when it has ended, or is too busy to answer.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&crate::dispatch::Dispatch, Now) -> T + Send + 'static,
    ) -> Option<T> {
        self.ask_mind(move |mind, now| question(mind.dispatch_at(now), now))
    }

    fn ask_mind<T: Send + 'static>(&self, question: impl FnOnce(&mut Mind, Now) -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.loops[0].send(Letter::Ask(Box::new(move |mind, now| {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(question(mind, now));
        })));
        answer.recv_timeout(PATIENCE).ok()
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.loops.iter().for_each(|address| address.send(Letter::Drain));
    }

    pub(super) fn stop(&self) {
        self.loops.iter().for_each(|address| address.send(Letter::Stop));
        self.watch.stop();
    }
}

impl Wish {
    /// Held entries can only be released or removed.
    fn concerns(self, key: &EntryKey) -> bool {
        self == Wish::Remove || key.is_held() == (self == Wish::Release)
    }

    fn about(self, entries: Vec<(EntryKey, Entry)>) -> Operation {
        match self {
            Wish::Retry => Operation::Retry(entries),
            Wish::Hold => Operation::Hold(entries),
            Wish::Release => Operation::Release(entries),
            Wish::Remove => Operation::Remove(entries),
        }
    }
}

/// Entries of the domain that a walk is at which were made due already. Their attempt may fail before the walk is over,
/// and they come back with a later due time, ahead of it.
#[derive(Default)]
struct Retried {
    domain: Option<Domain>,
    /// By the first recipient, which no other entry of the message has.
    entries: HashSet<(MessageId, Option<u32>)>,
}

impl Retried {
    fn is_first(&mut self, key: &EntryKey, entry: &Entry) -> bool {
        if self.domain.as_ref() != Some(&key.domain) {
            self.domain = Some(key.domain.clone());
            self.entries.clear();
        }
        self.entries.insert((key.id, entry.open.iter().next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_comes_back_in_the_same_walk_is_not_retried_again() {
        let mut retried = Retried::default();
        for (domain, due_ms, id, first, expected) in [
            ("a.test", 10, 1, 0, true),
            ("a.test", 11, 1, 5, true),
            ("a.test", 12, 2, 0, true),
            ("a.test", 90, 1, 0, false),
            ("b.test", 10, 1, 0, true),
        ] {
            let key = EntryKey { domain: Domain::new(domain), flow: queue::Flow::default(), due_ms, id: MessageId(id) };
            let entry = Entry {
                location: queue::Location { segment: 1, offset: 0, len: 0 },
                open: [first, first + 1].into_iter().collect(),
                attempts: 1,
                accepted_ms: 0,
                body_bytes: 0,
                last_error: "".into(),
                terms: queue::Terms::default(),
                delay_told: false,
            };
            assert_eq!(retried.is_first(&key, &entry), expected, "{key:?}");
        }
    }
}
