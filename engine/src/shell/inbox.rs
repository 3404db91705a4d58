//! Letters between threads: a channel and a waker that is only rung when the loop sleeps.

use crossbeam_channel::{Receiver, Sender};
use mio::Waker;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The sending side; cheap to clone.
///
/// Invariant: the channel needs no bound of its own. Each kind of letter answers a request that was counted when it
/// was made (a permit at MAIL, credit on a connection, one question a domain), so their number is bounded by those.
pub(crate) struct Address<T> {
    letters: Sender<T>,
    bell: Arc<Bell>,
}

impl<T> Clone for Address<T> {
    fn clone(&self) -> Self {
        Address { letters: self.letters.clone(), bell: self.bell.clone() }
    }
}

struct Bell {
    /// The loop is in `poll`, or about to be: it has to be woken.
    asleep: AtomicBool,
    waker: Waker,
}

/// The receiving side, owned by one loop.
pub(crate) struct Inbox<T> {
    letters: Receiver<T>,
    bell: Arc<Bell>,
}

pub(crate) fn inbox<T>(waker: Waker) -> (Address<T>, Inbox<T>) {
    let (sender, receiver) = crossbeam_channel::unbounded();
    let bell = Arc::new(Bell { asleep: AtomicBool::new(false), waker });
    (Address { letters: sender, bell: bell.clone() }, Inbox { letters: receiver, bell })
}

impl<T> Address<T> {
    /// Sends; a loop that has ended gets no more letters, and nobody waits for it.
    pub(crate) fn send(&self, letter: T) {
        let _ = self.letters.send(letter);
        if self.bell.asleep.swap(false, Ordering::SeqCst) {
            // The eventfd can only fail when its counter is full, and then the loop is being woken anyway.
            let _ = self.bell.waker.wake();
        }
    }
}

impl<T> Inbox<T> {
    pub(crate) fn take(&self) -> Option<T> {
        self.letters.try_recv().ok()
    }

    /// Call before sleeping. `false`: there is a letter, do not sleep.
    pub(crate) fn may_sleep(&self) -> bool {
        self.bell.asleep.store(true, Ordering::SeqCst);
        self.letters.is_empty()
    }

    pub(crate) fn awake(&self) {
        self.bell.asleep.store(false, Ordering::SeqCst);
    }
}
