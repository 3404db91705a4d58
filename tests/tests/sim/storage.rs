//! The queue as the shell would run it: a committer, checkpoints, reads. The store is the real one, on a disk in memory.

use crate::world::{Event, MILLISECOND, Micros, World};
use engine::dispatch::Input;
use queue::{Committed, Domain, Due, Flow, Group, Location, MessageId, QueueError, Store};

/// The longest that a settle waits for company.
const GATHER: Micros = 5 * MILLISECOND;

/// Who waits for a group.
#[derive(Clone, Copy)]
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
            StorageEvent::Checkpoint => self.checkpoint(),
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
        let Some(engine) = &mut self.engine else { return };
        if engine.store.is_memtable_full() {
            self.checkpoint();
        }
        let Some(engine) = &mut self.engine else { return };
        let (groups, askers): (Vec<Group>, Vec<Asker>) = std::mem::take(&mut engine.waiting).into_iter().unzip();
        let committed = match engine.store.commit(groups.iter()) {
            Ok(committed) => committed,
            Err(error) => return self.lose_power(&groups, &error),
        };
        let (accepts, settles) = groups.iter().fold((0, 0), |n, g| (n.0 + g.accepts.len(), n.1 + g.settles.len()));
        self.note("commit", &[groups.len() as u64, accepts as u64, settles as u64]);
        groups.iter().for_each(|group| self.checker.durable(group));
        let answers = committed.into_iter().zip(askers).collect();
        let sync = self.scenario.disk.sync.clone();
        self.in_a_while(sync, Event::Storage(self.life, StorageEvent::Synced(answers)));
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
        let Some(engine) = &mut self.engine else { return };
        engine.committing = !engine.waiting.is_empty();
        if engine.committing {
            self.in_a_while(0..GATHER, Event::Storage(self.life, StorageEvent::Commit));
        }
        let Some(engine) = &mut self.engine else { return };
        if !std::mem::replace(&mut engine.checkpointing, true) {
            let at = self.clock.now + self.scenario.disk.checkpoint_interval;
            self.calendar.add(at, Event::Storage(self.life, StorageEvent::Checkpoint));
        }
    }

    /// What the checkpointer does in one round.
    fn checkpoint(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        engine.checkpointing = false;
        let round = |store: &Store| -> Result<u64, QueueError> {
            store.checkpoint()?;
            let moved = store.relocate()?;
            store.prepare_spare(true)?;
            Ok(moved)
        };
        match round(&engine.store) {
            Ok(moved) => self.note("checkpoint", &[moved]),
            Err(error) => self.lose_power(&[], &error),
        }
    }

    fn fetch(&mut self, domain: Domain, flow: Flow, until_ms: u64, limit: usize) {
        let Some(engine) = &self.engine else { return };
        let due = engine.store.fetch(&domain, flow, until_ms, limit).expect("the index works");
        let Due { entries, more, next_due_ms } = due;
        self.note("fetch", &[entries.len() as u64, u64::from(more), next_due_ms.unwrap_or(0)]);
        let answer = Input::Fetched { domain, flow, entries, more, next_due_ms };
        self.in_a_while(self.scenario.disk.read.clone(), Event::Engine(self.life, answer));
    }

    fn load(&mut self, id: MessageId, location: Location) {
        let Some(engine) = &self.engine else { return };
        let result = engine.store.load(id, location).map_err(|error| error.to_string().into());
        self.note("load", &[id.0, u64::from(result.is_ok())]);
        self.in_a_while(self.scenario.disk.read.clone(), Event::Engine(self.life, Input::Loaded(id, result)));
    }
}
