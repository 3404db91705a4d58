//! From one life of the engine to the next: what the disk must hold.

use super::Checker;
use super::book::{Person, State};
use crate::clock::Micros;
use engine::dispatch::Kind;
use queue::{Group, QueueError, Store};
use std::collections::{BTreeMap, BTreeSet};

impl Checker {
    pub fn crashed(&mut self, uncertain: &[Group]) {
        self.uncertain = uncertain.to_vec();
        self.transactions.clear();
        self.connections.clear();
        self.limits.crashed();
    }

    /// The engine stopped on request: nothing is in flight, nothing unsettled.
    pub fn stopped(&mut self) {
        assert!(self.transactions.is_empty(), "stopped in the middle of a transaction");
        assert!(self.connections.is_empty(), "stopped with connections open");
        for (id, mail) in &self.mails {
            for (position, book) in mail.books.iter().enumerate() {
                let settled = !matches!((book.state, book.said), (State::Open, Some(said)) if said != Kind::Deferred);
                assert!(settled, "stopped without having settled: {}", self.name((*id, position as u32)));
            }
        }
        self.limits.crashed();
    }

    /// The engine starts on what the disk holds: what was promised, what is done, and of what was being written all or
    /// nothing.
    pub fn recovered(&mut self, store: &Store, now: Micros) -> Result<(), QueueError> {
        self.now = now;
        self.life += 1;
        let queued = queued(store)?;
        let groups = std::mem::take(&mut self.uncertain);
        let applied: BTreeSet<bool> = groups
            .iter()
            .flat_map(|group| {
                let accepts = group.accepts.iter().map(|m| queued.contains_key(&(m.content.id, 0)));
                let done =
                    |s: &queue::Settle| s.done.iter().map(|p| !queued.contains_key(&(s.key.id, p))).collect::<Vec<_>>();
                accepts.chain(group.settles.iter().flat_map(done)).collect::<Vec<_>>()
            })
            .collect();
        assert!(applied.len() < 2, "a group is on disk in part");
        if applied.contains(&true) {
            groups.iter().for_each(|group| self.durable(group));
            // Whatever was thought of it when the faults ended, while the machine was down.
            for settle in groups.iter().flat_map(|group| &group.settles) {
                settle.done.iter().for_each(|position| self.book((settle.key.id, position)).survived = false);
            }
        }
        for book in self.mails.values_mut().flat_map(|mail| &mut mail.books) {
            if book.state == State::Submitted {
                book.state = State::Lost;
            }
            if matches!(book.state, State::Open) {
                book.said = None;
            }
        }
        self.restarted = self.now;
        self.compare(store)
    }

    /// The queue holds exactly what it should.
    pub fn compare(&mut self, store: &Store) -> Result<(), QueueError> {
        let queued = queued(store)?;
        for (person, times) in &queued {
            assert_eq!(*times, 1, "several times in the queue: {}", self.name(*person));
            let state = self.book(*person).state;
            assert_eq!(state, State::Open, "in the queue: {}", self.name(*person));
        }
        let open = self.mails.iter().flat_map(|(id, mail)| {
            let open = mail.books.iter().enumerate().filter(|(_, book)| book.state == State::Open);
            open.map(|(position, _)| (*id, position as u32))
        });
        for person in open {
            assert!(queued.contains_key(&person), "lost from the queue: {}", self.name(person));
        }
        Ok(())
    }
}

/// Every open recipient in the queue, and how often it is there.
fn queued(store: &Store) -> Result<BTreeMap<Person, u32>, QueueError> {
    let mut found = BTreeMap::new();
    for (key, entry) in store.list(None, usize::MAX)? {
        for position in entry.open.iter() {
            *found.entry((key.id, position)).or_default() += 1;
        }
    }
    Ok(found)
}
