//! When checkpoints are written, and what the committer and the checkpointer tell each other of them.

use crate::store::lock;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What the checkpointer and a committer that waits for it tell each other.
#[derive(Default)]
pub(crate) struct Pace {
    shared: Mutex<Shared>,
    wanted: Condvar,
    finished: Condvar,
}

#[derive(Default)]
struct Shared {
    wanted: bool,
    stop: bool,
    rounds: u64,
    /// Why the last round failed, if it did.
    failure: Option<Arc<str>>,
}

/// Why a checkpoint may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Somebody asked, and may wait for it.
    Wanted,
    /// The interval is over.
    Time,
}

/// What came of waiting for a checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Written,
    Failed(Arc<str>),
    /// It is still being written.
    Late,
    /// The queue is closed.
    Stopped,
}

impl Pace {
    /// A checkpoint is due before its time.
    pub(crate) fn want(&self) {
        let mut state = lock(&self.shared);
        if !state.wanted {
            state.wanted = true;
            self.wanted.notify_one();
        }
    }

    /// Asks for a checkpoint and waits for the end of one, at most `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Waited {
        self.want();
        let state = lock(&self.shared);
        let rounds = state.rounds;
        let waiting = |state: &mut Shared| state.rounds == rounds && !state.stop;
        let waited = self.finished.wait_timeout_while(state, patience, waiting);
        let (state, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        match &state.failure {
            _ if state.stop => Waited::Stopped,
            _ if state.rounds == rounds => Waited::Late,
            None => Waited::Written,
            Some(why) => Waited::Failed(why.clone()),
        }
    }

    pub(crate) fn stop(&self) {
        lock(&self.shared).stop = true;
        self.wanted.notify_all();
        self.finished.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        lock(&self.shared).stop
    }

    /// Until the next checkpoint is wanted, or it is time for one; none at the end.
    pub(crate) fn next(&self, interval: Duration) -> Option<Occasion> {
        let state = lock(&self.shared);
        let waited = self.wanted.wait_timeout_while(state, interval, |state| !state.wanted && !state.stop);
        let (mut state, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        let wanted = std::mem::take(&mut state.wanted);
        (!state.stop).then_some(if wanted { Occasion::Wanted } else { Occasion::Time })
    }

    /// After a failure: no new attempt before its time.
    pub(crate) fn pause(&self, interval: Duration) {
        let state = lock(&self.shared);
        let _ = self.wanted.wait_timeout_while(state, interval, |state| !state.stop);
    }

    pub(crate) fn finished(&self, failure: Option<Arc<str>>) {
        let mut state = lock(&self.shared);
        state.rounds += 1;
        state.failure = failure;
        self.finished.notify_all();
    }
}
