//! Time: both clocks of the simulation, and what is to come.

use crate::world::Event;
use engine::now::Now;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// Simulated time since the start, in microseconds.
pub type Micros = u64;
pub const MILLISECOND: Micros = 1_000;
pub const SECOND: Micros = 1_000 * MILLISECOND;
pub const MINUTE: Micros = 60 * SECOND;
pub const HOUR: Micros = 60 * MINUTE;

/// The wall clock at the start: unix microseconds.
const EPOCH_US: u64 = 1_800_000_000_000_000;
/// Both clocks of the simulation.
#[derive(Clone, Copy)]
pub struct Clock {
    /// Where simulated instants begin. An `Instant` cannot be made out of nothing; nothing depends on which one it is.
    origin: Instant,
    pub now: Micros,
    /// How far the wall clock was set forward, and how far back.
    forward: Micros,
    back: Micros,
}

impl Clock {
    pub fn new(origin: Instant) -> Clock {
        Clock { origin, now: 0, forward: 0, back: 0 }
    }
    pub fn mono(&self) -> Instant {
        self.origin + Duration::from_micros(self.now)
    }
    pub fn read(&self) -> Now {
        Now { mono: self.mono(), wall_us: EPOCH_US + self.now + self.forward - self.back }
    }
    pub fn set(&mut self, change: ClockChange) {
        match change {
            ClockChange::Forward(by) => self.forward += by,
            ClockChange::Back(by) => self.back += by,
        }
    }
    /// The first tick at which `instant` has come.
    pub fn tick_of(&self, instant: Instant) -> Micros {
        let nanos = instant.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos.div_ceil(1000)).expect("simulations end long before")
    }
    pub fn after(&self, delay: Micros) -> Instant {
        self.mono() + Duration::from_micros(delay)
    }
}

/// Somebody sets the wall clock, or the machine was suspended.
#[derive(Clone, Copy, Debug)]
pub enum ClockChange {
    Forward(Micros),
    Back(Micros),
}

struct Scheduled {
    at: Micros,
    sequence: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.sequence == other.sequence
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// What is to come, earliest first; what was scheduled first of the same tick.
#[derive(Default)]
pub struct Calendar {
    heap: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
}

impl Calendar {
    pub fn add(&mut self, at: Micros, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse(Scheduled { at, sequence: self.sequence, event }));
    }
    pub fn next(&mut self) -> Option<(Micros, Event)> {
        self.heap.pop().map(|Reverse(scheduled)| (scheduled.at, scheduled.event))
    }
}
