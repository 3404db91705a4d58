//! Outages of the machine's own parts, which the engine has to live through: others fill its disk for a while, the index
//! fails. On a real disk the one brings the other about.

use crate::clock::{MINUTE, Micros, SECOND};
use crate::scenario::moment;
use crate::storage::StorageEvent;
use crate::world::{Event, World};
use queue::QueueError;
use queue::disk::{Disk, MemoryDisk};
use queue::index::MemoryIndex;
use std::io::ErrorKind;

/// Operations of the index within which it breaks.
const BREAKS_WITHIN: u64 = 20;

#[derive(Clone, Copy, Debug)]
pub struct Outage {
    pub from: Micros,
    pub until: Micros,
    pub part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// So many quarters of a segment are left.
    Disk { room: u64 },
    /// It breaks in one of its next operations, and cannot be opened again before the end.
    Index,
    /// What the index holds makes no sense: the engine goes on as long as it can do without, and is then started anew.
    IndexContent,
}

impl Outage {
    /// None, for most seeds.
    pub fn some(rng: &mut fastrand::Rng, heal_at: Micros) -> Vec<Outage> {
        let mut outages = Vec::new();
        if rng.u8(..5) == 0 {
            for _ in 0..rng.u8(1..3) {
                let outage = Outage::new(rng, heal_at, |rng| Part::Disk { room: rng.u64(..5) });
                // The index on a full disk fails, sooner or later.
                let broken = (rng.u8(..3) == 0).then_some(Outage { part: Part::Index, ..outage });
                outages.push(outage);
                outages.extend(broken);
            }
        }
        if rng.u8(..5) == 0 {
            let part = |rng: &mut fastrand::Rng| if rng.u8(..4) == 0 { Part::IndexContent } else { Part::Index };
            outages.extend((0..rng.u8(1..3)).map(|_| Outage::new(rng, heal_at, part)).collect::<Vec<_>>());
        }
        outages
    }

    fn new(rng: &mut fastrand::Rng, heal_at: Micros, part: impl Fn(&mut fastrand::Rng) -> Part) -> Outage {
        let from = moment(rng, heal_at);
        let length = [0..10 * SECOND, MINUTE..15 * MINUTE][rng.usize(..2)].clone();
        Outage { from, until: heal_at.min(from + rng.u64(length)), part: part(rng) }
    }
}

/// What is out of order now.
#[derive(Default)]
pub struct Outages {
    under_way: Vec<Part>,
    /// Of the disk, while it is full.
    pub capacity: Option<u64>,
}

impl Outages {
    pub fn is_disk_full(&self) -> bool {
        self.capacity.is_some()
    }

    pub fn is_index_out(&self) -> bool {
        self.has(Part::Index) || self.has(Part::IndexContent)
    }

    fn has(&self, part: Part) -> bool {
        self.under_way.contains(&part)
    }
}

impl World {
    pub fn begin_outage(&mut self, part: Part) {
        self.note("outage", &[u64::from(part == Part::Index), u64::from(part == Part::IndexContent)]);
        self.outages.under_way.push(part);
        if let (Part::Disk { room }, None) = (part, self.outages.capacity) {
            let room = room * self.scenario.disk.segment_bytes / 4;
            let disk = self.engine.as_ref().map(|engine| &engine.disk).or(self.wreck.as_ref().map(|(disk, _)| disk));
            let disk = disk.expect("either the engine has it or nobody");
            self.outages.capacity = Some(used_bytes(disk) + room);
            disk.set_capacity(self.outages.capacity);
        }
        self.disturb_index();
    }

    pub fn end_outage(&mut self, part: Part) {
        self.note("outage ends", &[u64::from(part == Part::Index), u64::from(part == Part::IndexContent)]);
        let at = self.outages.under_way.iter().position(|other| *other == part).expect("it began");
        self.outages.under_way.remove(at);
        if !self.outages.under_way.iter().any(|part| matches!(part, Part::Disk { .. })) {
            self.outages.capacity = None;
        }
        let disk = self.engine.as_ref().map(|engine| &engine.disk).or(self.wreck.as_ref().map(|(disk, _)| disk));
        disk.expect("either the engine has it or nobody").set_capacity(self.outages.capacity);
        let Some(engine) = &self.engine else { return };
        let is_broken = self.outages.has(Part::Index) && engine.is_index_broken();
        if !is_broken && !self.outages.has(Part::IndexContent) {
            engine.index.fail(false);
            self.disturb_index();
        }
    }

    /// Lets the running engine's index feel what is out of order.
    pub fn disturb_index(&mut self) {
        let Some(engine) = &self.engine else { return };
        if self.outages.has(Part::IndexContent) {
            engine.index.fail(true);
        } else if self.outages.has(Part::Index) && !engine.is_index_broken() {
            engine.index.break_after(self.rng.u64(1..BREAKS_WITHIN), self.rng.u64(..));
            self.plan_checkpoint();
        }
    }

    /// The same of an index that is about to be opened: recovery may see it break.
    pub fn disturb_start(&mut self, index: &MemoryIndex) {
        index.fail(false);
        if self.outages.has(Part::Index) && self.rng.bool() {
            index.break_after(self.rng.u64(1..BREAKS_WITHIN), self.rng.u64(..));
        }
    }

    /// The checkpointer looks at the index also when nothing comes in.
    pub fn plan_checkpoint(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        if !std::mem::replace(&mut engine.checkpoint_planned, true) {
            let at = self.clock.now + self.scenario.disk.checkpoint_interval;
            self.calendar.add(at, Event::Storage(self.life, StorageEvent::Checkpoint));
        }
    }

    /// The store may only fail for what is out of order.
    pub fn check_excuse(&self, error: &QueueError) {
        let Some(engine) = &self.engine else { return };
        let is_excused = match error {
            QueueError::Io { source, .. } => self.outages.is_disk_full() && source.kind() == ErrorKind::StorageFull,
            QueueError::Stalled(_) => engine.is_index_broken() || engine.store.is_memtable_full(),
            QueueError::Index(_) => self.outages.has(Part::IndexContent),
            _ => false,
        };
        assert!(is_excused, "the store fails for no reason: {error}");
    }

    /// A file of the journal that is not a segment yet, for outcomes when the disk has no room for another.
    pub fn has_reserve(&self) -> bool {
        let Some(engine) = self.engine.as_ref().filter(|_| self.outages.is_disk_full()) else { return true };
        let names = engine.disk.list("journal").expect("it can be listed");
        names.iter().any(|name| name.starts_with("spare-") || name.starts_with("blank-"))
    }
}

fn used_bytes(disk: &MemoryDisk) -> u64 {
    disk.set_capacity(Some(u64::MAX));
    let free = disk.free_bytes().expect("it has a capacity");
    disk.set_capacity(None);
    u64::MAX - free
}
