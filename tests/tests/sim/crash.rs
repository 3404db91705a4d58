//! The power goes, at any moment: in the middle of a write, between a sync and its answer, while octets are on their way.

use crate::world::{Event, MINUTE, SECOND, World};
use queue::{Group, Limits, QueueError, Store};

impl World {
    /// At once, or in one of the disk's next steps.
    pub fn cut_power(&mut self) {
        let Some(engine) = &self.engine else { return };
        if self.rng.bool() {
            engine.disk.cut_after(self.rng.u64(1..12));
        } else {
            self.crash(&[]);
        }
    }

    /// The disk failed under the store: that has to be our power cut. These groups may be on disk, all or none.
    pub fn lose_power(&mut self, groups: &[Group], error: &QueueError) {
        let is_cut = self.engine.as_ref().is_some_and(|engine| engine.disk.is_cut());
        assert!(is_cut, "the store fails for no reason: {error}");
        self.crash(groups);
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

    pub fn restart(&mut self) {
        let Some((disk, index)) = self.wreck.take() else { return };
        self.life += 1;
        let plan = &self.scenario.disk;
        let limits = Limits {
            segment_bytes: plan.segment_bytes,
            memtable_entries: plan.memtable_entries,
            memtable_bytes: 32 << 20,
            journal_floor_bytes: plan.journal_floor_bytes,
            seed: self.rng.u64(..),
        };
        let opened = Store::open(std::sync::Arc::new(disk.clone()), &index, limits);
        let (store, recovery) = opened.unwrap_or_else(|error| panic!("after a power cut: {error}"));
        assert_eq!(recovery.index_rebuilt.filter(|_| self.life == 1), None, "a new queue has nothing to rebuild");
        self.note("restart", &[recovery.entries, recovery.recipients]);
        self.checker.recovered(&store, self.clock.now);
        self.begin_life(store, disk, index);
    }
}
