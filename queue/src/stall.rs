//! Whether the index keeps up. While it does not, mail is refused at the memtable's bound, and outcomes go on.

use crate::store::lock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub(crate) struct Stall {
    /// Read for every message; the reason is not. Changed only with that, under its lock.
    is_on: AtomicBool,
    reason: Mutex<Option<Arc<str>>>,
}

impl Stall {
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    pub(crate) fn reason(&self) -> Option<Arc<str>> {
        if self.is_on() { lock(&self.reason).clone() } else { None }
    }

    /// Says so once.
    pub(crate) fn begin(&self, reason: Arc<str>) {
        let mut known = lock(&self.reason);
        if known.is_none() {
            tracing::error!("{reason}; mail is refused until the index is written again");
            *known = Some(reason);
            self.is_on.store(true, Relaxed);
        }
    }

    pub(crate) fn end(&self) {
        if !self.is_on() {
            return;
        }
        let mut known = lock(&self.reason);
        if known.take().is_some() {
            self.is_on.store(false, Relaxed);
            tracing::info!("the index has caught up, or there is less to be written to it; mail is accepted");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::checkpoint::Checkpoint;
    use crate::committer::{self, Inbox, Patience, Submission};
    use crate::disk::MemoryDisk;
    use crate::index::{Change, Index, IndexError, IndexHome, MemoryIndex};
    use crate::pace::Pace;
    use crate::step::tests::message;
    use crate::{Committed, Entry, EntryKey, Group, Limits, QueueError, Settle, Store, checkpointer};
    use std::ops::Bound;
    use std::sync::mpsc::{Receiver, channel};
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Duration;

    /// Shut: a sync of the index does not come back.
    #[derive(Clone, Default)]
    struct Gate {
        index: MemoryIndex,
        is_shut: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Gate {
        fn shut(&self, shut: bool) {
            *crate::store::lock(&self.is_shut.0) = shut;
            self.is_shut.1.notify_all();
        }
    }

    impl IndexHome for Gate {
        fn open(&self) -> Result<Arc<dyn Index>, IndexError> {
            Ok(Arc::new(self.clone()))
        }
        fn set_aside(&self) -> std::io::Result<()> {
            self.index.set_aside()
        }
    }

    impl Index for Gate {
        fn apply(&self, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<(), IndexError> {
            self.index.apply(changes)
        }
        fn range(
            &self,
            from: Bound<&EntryKey>,
            to: Bound<&EntryKey>,
            limit: usize,
        ) -> Result<Vec<(EntryKey, Entry)>, IndexError> {
            self.index.range(from, to, limit)
        }
        fn get(&self, key: &EntryKey) -> Result<Option<Entry>, IndexError> {
            self.index.get(key)
        }
        fn checkpoint(&self) -> Result<Option<Checkpoint>, IndexError> {
            Index::checkpoint(&self.index)
        }
        fn set_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), IndexError> {
            self.index.set_checkpoint(checkpoint)
        }
        fn sync(&self) -> Result<(), IndexError> {
            let (is_shut, opened) = &*self.is_shut;
            drop(opened.wait_while(crate::store::lock(is_shut), |shut| *shut));
            self.index.sync()
        }
        fn count(&self) -> Result<u64, IndexError> {
            self.index.count()
        }
        fn is_broken(&self) -> bool {
            self.index.is_broken()
        }
        fn reopen(&self) -> Result<(), IndexError> {
            self.index.reopen()
        }
        fn shut(&self, why: &IndexError) {
            self.index.shut(why);
        }
    }

    const BOUND: usize = 20;
    const SHORT: Duration = Duration::from_millis(50);
    /// However slow the machine is: a checkpoint ends, if only by failing.
    const ENDLESS: Duration = Duration::from_secs(60);

    struct World {
        store: Store,
        inbox: Inbox,
        pace: Pace,
    }

    type Answered = Receiver<Result<Vec<Committed>, Arc<QueueError>>>;

    impl World {
        /// With committer and checkpointer at work, and `queued` messages that only the index knows. `patience`: how long
        /// a checkpoint may take before mail is refused.
        fn run(gate: &Gate, queued: usize, patience: Duration, test: impl FnOnce(&World)) {
            let limits = Limits {
                segment_bytes: 1 << 20,
                memtable_entries: BOUND,
                memtable_bytes: 1 << 20,
                journal_floor_bytes: 1 << 30,
                prepare_bytes: 0,
                seed: 1,
            };
            let disk = MemoryDisk::new();
            let (store, _) = Store::open(Arc::new(disk.clone()), gate, limits.clone()).expect("opens");
            let world = World { store, inbox: Inbox::default(), pace: Pace::default() };
            let World { store, inbox, pace } = &world;
            for _ in 0..queued {
                store.commit(std::iter::once(&world.message())).expect("a working disk");
            }
            store.checkpoint().expect("written");
            std::thread::scope(|threads| {
                let patience =
                    Patience { gather: Duration::ZERO, settle: Duration::from_millis(1), checkpoint: patience };
                threads.spawn(move || committer::run(store, inbox, pace, patience));
                threads.spawn(move || checkpointer::run(store, pace, Duration::from_millis(5)));
                let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&world)));
                gate.shut(false);
                gate.index.fail(false);
                inbox.close(true);
                pace.stop();
                if let Err(panic) = ended {
                    std::panic::resume_unwind(panic);
                }
            });
            let entries = store.stats().entries;
            let (again, _) = Store::open(Arc::new(disk.crash(&mut || 1)), &MemoryIndex::new(), limits).expect("opens");
            assert_eq!(again.stats().entries, entries, "what was answered is in the journal");
        }

        fn message(&self) -> Group {
            Group { accepts: vec![message(self.store.next_id(0), 1)], settles: vec![] }
        }

        fn submit(&self, group: Group) -> Answered {
            let (answer, answered) = channel();
            self.inbox.push(Submission { group, done: Box::new(move |result| _ = answer.send(result)) });
            answered
        }

        fn accept(&self) -> Result<Vec<Committed>, Arc<QueueError>> {
            World::answer(self.submit(self.message()))
        }

        fn answer(answered: Answered) -> Result<Vec<Committed>, Arc<QueueError>> {
            answered.recv_timeout(Duration::from_secs(60)).expect("every submission is answered")
        }

        /// Outcomes of all that is queued, each in a group of its own.
        fn outcomes(&self) -> Vec<Group> {
            let entries = self.store.list(None, usize::MAX).expect("an index that can be read");
            let settle = |(key, entry): (EntryKey, Entry)| Settle { key, done: entry.open, retry: None };
            entries.into_iter().map(|entry| Group { accepts: vec![], settles: vec![settle(entry)] }).collect()
        }

        /// Accepts until that is refused: why.
        fn accept_to_the_bound(&self) -> Arc<str> {
            for accepted in 0..2 * BOUND {
                if let Some(why) = self.refusal() {
                    assert!(accepted >= BOUND / 2, "no sooner than need be");
                    return why;
                }
            }
            panic!("there is no bound");
        }

        /// Why a message is refused, if it is.
        fn refusal(&self) -> Option<Arc<str>> {
            match &*self.accept().err()? {
                QueueError::Stalled(why) => Some(why.clone()),
                error => panic!("{error}"),
            }
        }

        fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
            for _ in 0..10_000 {
                if is_so() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            panic!("never: {what}");
        }
    }

    /// Else nothing would ever be refused again, and whoever waits for room would wait for ever.
    #[test]
    fn a_stall_that_begins_while_another_ends_is_one() {
        let (stall, late) = (super::Stall::default(), Arc::<str>::from("late"));
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| (0..3_000_000).for_each(|_| stall.begin(late.clone())));
                threads.spawn(|| (0..3_000_000).for_each(|_| stall.end()));
            }
        });
        assert_eq!(stall.is_on(), crate::store::lock(&stall.reason).is_some());
        stall.end();
        stall.begin("again".into());
        assert_eq!(stall.reason().as_deref(), Some("again"));
    }

    #[test]
    fn an_index_that_fails_holds_up_mail_at_the_bound_until_it_works_again() {
        let gate = Gate::default();
        World::run(&gate, 0, ENDLESS, |world| {
            gate.index.fail(true);
            let why = world.accept_to_the_bound();
            assert!(why.contains("told to fail"), "{why}");
            assert_eq!(world.store.stall.reason(), Some(why));
            assert_eq!(world.refusal(), world.store.stall.reason(), "at once, from now on");
            gate.index.fail(false);
            world.wait_until("accepted again", || world.store.stall.reason().is_none());
            world.accept().expect("there is room");
            world.wait_until("what waited is written", || !world.store.is_memtable_full());
        });
    }

    #[test]
    fn outcomes_wait_for_an_index_that_broke_until_it_is_open_again() {
        let gate = Gate::default();
        World::run(&gate, 3 * BOUND, ENDLESS, |world| {
            let outcomes = world.outcomes();
            gate.index.fail(true);
            gate.index.break_down();
            let waiting: Vec<Answered> = outcomes.into_iter().map(|outcome| world.submit(outcome)).collect();
            world.wait_until("mail is refused", || world.store.stall.reason().is_some());
            assert!(waiting.iter().all(|answer| answer.try_recv().is_err()), "what they are of cannot be looked up");
            let unreadable = world.store.list(None, 1).expect_err("nor can anything else");
            assert!(matches!(&unreadable, QueueError::Stalled(why) if why.contains("opened again")), "{unreadable}");
            gate.index.fail(false);
            for answer in waiting {
                World::answer(answer).expect("written");
            }
            world.wait_until("accepted again", || world.store.stall.reason().is_none());
            world.accept().expect("there is room");
            assert_eq!(world.store.stats().entries, 1);
        });
    }

    #[test]
    fn a_checkpoint_that_hangs_holds_up_mail_and_at_twice_the_bound_outcomes_but_loses_none() {
        let gate = Gate::default();
        World::run(&gate, 3 * BOUND, SHORT, |world| {
            gate.shut(true);
            let why = world.accept_to_the_bound();
            assert!(why.contains("longer"), "{why}");
            let mut outcomes = world.outcomes().into_iter();
            while !world.store.is_memtable_overfull() {
                let outcome = outcomes.next().expect("there is a bound for outcomes");
                World::answer(world.submit(outcome)).expect("written past the bound for mail");
            }
            let late: Vec<Answered> = outcomes.map(|outcome| world.submit(outcome)).collect();
            world.refusal().expect("mail is refused as before");
            assert!(!late.is_empty() && late.iter().all(|answer| answer.try_recv().is_err()), "those wait");
            gate.shut(false);
            world.wait_until("all outcomes are written", || world.store.stats().entries == 0);
            world.wait_until("accepted again", || world.store.stall.reason().is_none());
            world.accept().expect("there is room");
        });
    }

    #[test]
    fn where_outcomes_make_room_by_themselves_mail_is_accepted_again() {
        let gate = Gate::default();
        World::run(&gate, 0, SHORT, |world| {
            gate.shut(true);
            // A checkpoint is under way, with this one in it; all others leave no trace when they are gone.
            world.accept().expect("there is room");
            world.wait_until("a checkpoint", || crate::store::lock(&world.store.state).frozen.is_some());
            world.accept_to_the_bound();
            for outcome in world.outcomes() {
                World::answer(world.submit(outcome)).expect("written");
            }
            world.wait_until("accepted again", || world.store.stall.reason().is_none());
            world.accept().expect("there is room");
        });
    }
}
