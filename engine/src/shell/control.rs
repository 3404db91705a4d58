//! What may be asked of a running engine from outside its loops: by signals, by the admin API.

use super::inbox::Address;
use super::letter::Letter;
use super::mind::Mind;
use super::walks::Walks;
use super::watch::Watch;
use crate::config::Config;
use crate::delivery::Settings;
use crate::dispatch::Input;
use crate::intake::Shared;
use crate::now::Now;
use crate::passwords::{self, PasswordError};
use queue::Queue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
    walks: Arc<Walks>,
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
        Handle {
            config,
            intake,
            resolver,
            loops,
            watch,
            failed,
            draining: Arc::default(),
            settings,
            walks: Arc::default(),
        }
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
        self.tell_mind(move |mind, now| mind.reload(config, now));
        Ok(())
    }

    /// All that waited for this customer has been made due.
    pub(super) fn collected(&self, user: Arc<str>, offer: u64) {
        let collected = Input::Collected { user, offer };
        self.tell_mind(move |mind, now| mind.handle(collected, now));
    }

    /// Asks the mind and waits for its answer; `None` when it has ended, or is too busy to answer.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&crate::dispatch::Dispatch, Now) -> T + Send + 'static,
    ) -> Option<T> {
        self.ask_mind(move |mind, now| question(mind.dispatch_at(now), now))
    }

    pub(super) fn walks(&self) -> &Walks {
        &self.walks
    }

    pub(super) fn tell_mind(&self, what: impl FnOnce(&mut Mind, Now) + Send + 'static) {
        self.loops[0].send(Letter::Ask(Box::new(what)));
    }

    pub(super) fn ask_mind<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Mind, Now) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.tell_mind(move |mind, now| {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(question(mind, now));
        });
        answer.recv_timeout(PATIENCE).ok()
    }

    /// The mind's loop tells the others, unless it has ended by itself (`is_mindless`).
    pub(super) fn drain(&self, is_mindless: bool) {
        self.draining.store(true, Ordering::Relaxed);
        let told = if is_mindless { &self.loops[..] } else { &self.loops[..1] };
        told.iter().for_each(|address| address.send(Letter::Drain));
    }

    pub(super) fn stop(&self) {
        self.loops.iter().for_each(|address| address.send(Letter::Stop));
        self.watch.stop();
    }
}
