//! The queue as the shell would run it: a committer, checkpoints, reads. The store is the real one, on a disk in memory.
//!
//! What the committer does when the store cannot do what it is asked for is `queue/src/committer.rs` without the threads:
//! mail is refused, outcomes wait.

use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::world::{Event, World};
use engine::dispatch::Input;
use queue::{Committed, Domain, Due, Flow, Group, Location, MessageId, QueueError, Store};

/// The longest that a settle waits for company.
const GATHER: Micros = 5 * MILLISECOND;
/// Outcomes that found no room are tried again after this.
const NO_ROOM_DELAY: Micros = SECOND;
/// A domain whose entries could not be read is left alone for so long.
const UNREADABLE_PAUSE_MS: u64 = 10_000;
/// Where there are reloads, there is one in the midst of one read of so many.
const RELOADS_IN_A_READ: u8 = 8;
/// A client that was told to try later does, within this.
const CLIENT_PAUSE: std::ops::Range<Micros> = SECOND..60 * SECOND;

/// Who waits for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A client that handed in messages.
    Client,
    /// Dispatch, under this token.
    Dispatch(u64),
}

pub enum StorageEvent {
    /// What was submitted is written.
    Commit,
    /// The sync is done.
    Synced(Vec<(Vec<Committed>, Asker)>),
    Checkpoint,
    Fetch {
        domain: Domain,
        flow: Flow,
        until_ms: u64,
        limit: usize,
    },
    Load(MessageId, Location),
}

impl World {
    pub fn handle_storage(&mut self, event: StorageEvent) {
        match event {
            StorageEvent::Commit => self.commit(),
            StorageEvent::Synced(answers) => self.answer(answers),
            StorageEvent::Checkpoint => {
                if let Some(engine) = &mut self.engine {
                    engine.checkpoint_planned = false;
                }
                self.checkpoint();
            }
            StorageEvent::Fetch { domain, flow, until_ms, limit } => self.fetch(domain, flow, until_ms, limit),
            StorageEvent::Load(id, location) => self.load(id, location),
        }
    }

    pub fn submit(&mut self, group: Group, asker: Asker) {
        self.checker.submitted(&group);
        let Some(engine) = &mut self.engine else { unreachable!("only a living engine submits") };
        engine.waiting.push((group, asker));
        if !std::mem::replace(&mut engine.committing, true) {
            self.in_a_while(0..GATHER, Event::Storage(self.life, StorageEvent::Commit));
        }
    }

    fn commit(&mut self) {
        if self.engine.as_ref().is_some_and(|engine| engine.store.is_memtable_full()) {
            self.checkpoint();
        }
        let Some(engine) = &mut self.engine else { return };
        let mut batch = std::mem::take(&mut engine.waiting);
        let store = engine.store.clone();
        if store.is_memtable_full() {
            self.refuse_mail(&mut batch);
        }
        if store.is_memtable_overfull() {
            return self.put_back(batch);
        }
        while !batch.is_empty() {
            match store.commit(batch.iter().map(|(group, _)| group)) {
                Ok(committed) => return self.written(batch, committed),
                Err(error) if self.is_cut() => {
                    let groups: Vec<Group> = batch.into_iter().map(|(group, _)| group).collect();
                    return self.lose_power(&groups, &error);
                }
                Err(error) => {
                    self.check_excuse(&error);
                    let is_mail_only = self.refuse_mail(&mut batch) > 0;
                    match error {
                        QueueError::Index(_) => return self.fail(batch),
                        // What else there was may still fit the current segment, or the reserve.
                        QueueError::Io { .. } if is_mail_only => {}
                        _ => return self.put_back(batch),
                    }
                }
            }
        }
        self.commit_more(0..GATHER);
    }

    fn written(&mut self, batch: Vec<(Group, Asker)>, committed: Vec<Vec<Committed>>) {
        let (accepts, settles) = batch.iter().fold((0, 0), |n, (g, _)| (n.0 + g.accepts.len(), n.1 + g.settles.len()));
        self.note("commit", &[batch.len() as u64, accepts as u64, settles as u64]);
        batch.iter().for_each(|(group, _)| self.checker.durable(group));
        let has_mail = batch.iter().any(|(_, asker)| *asker == Asker::Client);
        assert!(!has_mail || self.has_reserve(), "mail took what is kept for outcomes");
        let answers = committed.into_iter().zip(batch.into_iter().map(|(_, asker)| asker)).collect();
        let sync = self.scenario.disk.sync.clone();
        self.in_a_while(sync, Event::Storage(self.life, StorageEvent::Synced(answers)));
    }

    /// 452 to clients. Says how many groups were theirs.
    fn refuse_mail(&mut self, batch: &mut Vec<(Group, Asker)>) -> usize {
        let (refused, rest): (Vec<_>, Vec<_>) =
            std::mem::take(batch).into_iter().partition(|(group, _)| group.settles.is_empty());
        *batch = rest;
        for (group, asker) in &refused {
            assert_eq!(*asker, Asker::Client, "dispatch wrote mail that settles nothing");
            self.note("refuse", &[group.accepts.len() as u64]);
            self.checker.refused_mail(group);
            self.in_a_while(CLIENT_PAUSE, Event::Inject { is_first: false });
        }
        refused.len()
    }

    /// Outcomes wait for room, or for the index, before all others.
    fn put_back(&mut self, batch: Vec<(Group, Asker)>) {
        self.note("postpone", &[batch.len() as u64]);
        self.checker.summary.postponed += batch.len() as u64;
        if let Some(engine) = &mut self.engine {
            engine.waiting.splice(0..0, batch);
        }
        self.plan_checkpoint();
        self.commit_more(NO_ROOM_DELAY..NO_ROOM_DELAY + 1);
    }

    pub fn commit_more(&mut self, delay: std::ops::Range<Micros>) {
        let Some(engine) = &mut self.engine else { return };
        engine.committing = !engine.waiting.is_empty();
        if engine.committing {
            self.in_a_while(delay, Event::Storage(self.life, StorageEvent::Commit));
        } else {
            self.stop_if_quiet();
        }
    }

    /// Everybody is answered, in an order that nobody may rely on.
    fn answer(&mut self, answers: Vec<(Vec<Committed>, Asker)>) {
        for (committed, asker) in answers {
            let messages = (!committed.is_empty()).then_some(Input::Committed(committed));
            let settled = match asker {
                Asker::Client => None,
                Asker::Dispatch(token) => Some(Input::Settled(token)),
            };
            let order = if self.rng.bool() { [messages, settled] } else { [settled, messages] };
            for input in order.into_iter().flatten() {
                self.calendar.add(self.clock.now, Event::Engine(self.life, input));
            }
        }
        self.commit_more(0..GATHER);
        self.plan_checkpoint();
    }

    /// What the checkpointer does in one round.
    pub fn checkpoint(&mut self) {
        let Some(engine) = &self.engine else { return };
        let was_broken = engine.is_index_broken();
        let round = |store: &Store| -> Result<u64, QueueError> {
            store.checkpoint()?;
            let moved = store.relocate()?;
            store.prepare_spare(true)?;
            Ok(moved)
        };
        let result = round(&engine.store);
        if was_broken && !engine.is_index_broken() {
            self.checker.summary.reopened += 1;
        }
        match result {
            Ok(moved) => self.note("checkpoint", &[moved]),
            Err(error) if self.is_cut() => self.lose_power(&[], &error),
            Err(error) => {
                self.check_excuse(&error);
                self.note("no checkpoint", &[]);
                self.plan_checkpoint();
            }
        }
    }

    fn fetch(&mut self, domain: Domain, flow: Flow, until_ms: u64, limit: usize) {
        let Some(engine) = &self.engine else { return };
        let due = engine.store.fetch(&domain, flow, until_ms, limit).unwrap_or_else(|error| {
            self.check_excuse(&error);
            self.plan_checkpoint();
            Due { next_due_ms: Some(until_ms + UNREADABLE_PAUSE_MS), ..Due::default() }
        });
        let Due { entries, more, next_due_ms } = due;
        self.note("fetch", &[entries.len() as u64, u64::from(more), next_due_ms.unwrap_or(0)]);
        let answer = Input::Fetched { domain, flow, entries, more, next_due_ms };
        let read = self.scenario.disk.read.clone();
        // An operator who reloads at the worst moment: what was read is on its way.
        if !self.scenario.plan.reloads.is_empty() && self.rng.u8(..RELOADS_IN_A_READ) == 0 {
            self.in_a_while(read.clone(), Event::Reload);
        }
        self.in_a_while(read, Event::Engine(self.life, answer));
    }

    fn load(&mut self, id: MessageId, location: Location) {
        let Some(engine) = &self.engine else { return };
        let result = engine.store.load(id, location).map_err(|error| error.to_string().into());
        self.note("load", &[id.0, u64::from(result.is_ok())]);
        self.in_a_while(self.scenario.disk.read.clone(), Event::Engine(self.life, Input::Loaded(id, result)));
    }
}
