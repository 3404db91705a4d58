//! The end of the engine: on request, because outcomes cannot be written, or because the power goes, at any moment: in the
//! middle of a write, between a sync and its answer, while octets are on their way.

use crate::clock::{HOUR, MINUTE, Micros, SECOND};
use crate::engine::Engine;
use crate::storage::Asker;
use crate::world::{Event, World};
use engine::dispatch::Input;
use queue::disk::MemoryDisk;
use queue::index::{Index, MemoryIndex};
use queue::{Group, Limits, QueueError, Store};

/// The longest that a stop may take: the final reply to a message is waited for ten minutes, and outcomes wait for the end
/// of all that is out of order.
const STOP_PATIENCE: Micros = 2 * HOUR;

impl World {
    /// At once, or in one of the disk's next steps.
    pub fn cut_power(&mut self) {
        let Some(engine) = &self.engine else { return };
        if !engine.disk.is_cut() && self.rng.bool() {
            engine.disk.cut_after(self.rng.u64(1..12));
        } else {
            self.crash(&[]);
        }
    }

    pub fn is_cut(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.disk.is_cut())
    }

    /// The disk failed under the store: that has to be our power cut. These groups may be on disk, all or none.
    pub fn lose_power(&mut self, groups: &[Group], error: &QueueError) {
        assert!(self.is_cut(), "the store fails for no reason: {error}");
        self.crash(groups);
    }

    /// These outcomes will never be written: nothing more is tried, and what is in flight comes to its end. Then somebody
    /// starts it anew; until then it is as after a crash.
    pub fn fail(&mut self, batch: Vec<(Group, Asker)>) {
        self.note("fail", &[batch.len() as u64]);
        let Some(engine) = &mut self.engine else { return };
        engine.failed = true;
        self.commit_more(0..SECOND);
        self.stop();
    }

    fn crash(&mut self, uncertain: &[Group]) {
        let Some(engine) = self.engine.take() else { return };
        self.note("crash", &[uncertain.len() as u64]);
        let rng = &mut self.rng;
        let disk = engine.disk.crash(&mut || rng.u64(..));
        let index = engine.index.crash(&mut || rng.u64(..));
        self.wreck = Some((disk, index));
        self.checker.crashed(uncertain);
        self.orphan_links();
        self.in_a_while(SECOND..20 * MINUTE, Event::Restart);
    }

    /// SIGTERM: nothing new is taken, what is in flight comes to its end.
    pub fn stop(&mut self) {
        let Some(engine) = self.engine.as_mut().filter(|engine| !engine.draining) else { return };
        engine.draining = true;
        self.note("stop", &[]);
        self.calendar.add(self.clock.now + STOP_PATIENCE, Event::Stopped(self.life));
        self.tell_dispatch(Input::Drain);
    }

    /// Everything that was under way is settled: the process ends, and starts again later.
    pub fn stop_if_quiet(&mut self) {
        let is_quiet = |e: &Engine| {
            let is_quiet = if e.failed { e.dispatch.is_hung_up() } else { e.dispatch.is_quiet() };
            e.draining && is_quiet && e.waiting.is_empty() && !e.committing
        };
        if !self.engine.as_ref().is_some_and(is_quiet) {
            return;
        }
        let Some(engine) = self.engine.take() else { return };
        self.note("stopped", &[u64::from(engine.failed)]);
        if engine.failed {
            self.checker.crashed(&[]);
        } else {
            self.checker.stopped();
            self.compare(&engine);
        }
        self.leave(engine.disk, &engine.index);
    }

    /// The process ends, and another one comes later. What of a broken index was not synced is as after a crash.
    fn leave(&mut self, disk: MemoryDisk, index: &MemoryIndex) {
        let rng = &mut self.rng;
        let index = if index.is_broken() { index.crash(&mut || rng.u64(..)) } else { index.clone() };
        self.wreck = Some((disk, index));
        self.in_a_while(SECOND..20 * MINUTE, Event::Restart);
    }

    fn crash_recovery(&mut self, disk: &MemoryDisk, index: &MemoryIndex) {
        self.note("crash again", &[]);
        let rng = &mut self.rng;
        self.wreck = Some((disk.crash(&mut || rng.u64(..)), index.crash(&mut || rng.u64(..))));
        self.in_a_while(SECOND..20 * MINUTE, Event::Restart);
    }

    pub fn restart(&mut self) {
        let Some((disk, index)) = self.wreck.take() else { return };
        disk.set_capacity(self.outages.capacity);
        if self.life > 0 && !self.healed && self.rng.u8(..4) == 0 {
            disk.cut_after(self.rng.u64(1..12));
        }
        self.disturb_start(&index);
        let plan = &self.scenario.disk;
        let limits = Limits {
            segment_bytes: plan.segment_bytes,
            memtable_entries: plan.memtable_entries,
            memtable_bytes: 32 << 20,
            journal_floor_bytes: plan.journal_floor_bytes,
            prepare_bytes: 100 << 10,
            seed: self.rng.u64(..),
        };
        let opened = Store::open(std::sync::Arc::new(disk.clone()), &index, limits);
        // As the engine does when it starts.
        let opened = opened.and_then(|opened| opened.0.backlog().map(|_| opened));
        let (store, recovery) = match opened {
            Ok(opened) => opened,
            // It went again, in the middle of recovery.
            Err(_) if disk.is_cut() => return self.crash_recovery(&disk, &index),
            Err(QueueError::Stalled(_) | QueueError::Index(_)) if index.is_broken() => {
                self.note("no start", &[]);
                return self.leave(disk, &index);
            }
            Err(error) => panic!("after a power cut: {error}"),
        };
        index.fail(false);
        self.life += 1;
        assert_eq!(recovery.index_rebuilt.filter(|_| self.life == 1), None, "a new queue has nothing to rebuild");
        self.note("restart", &[recovery.entries, recovery.recipients]);
        self.checker.recovered(&store, self.clock.now).expect("an index that was just opened can be read");
        self.begin_life(store, disk, index);
    }
}
