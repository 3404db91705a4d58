//! The world of one seed: its time, its events, and all that lives in it.

use crate::checker::Checker;
use crate::engine::Engine;
use crate::exchanger::Exchanger;
use crate::network::{LinkId, Links, NetworkEvent};
use crate::resolver::Zone;
use crate::scenario::Scenario;
use crate::storage::StorageEvent;
use crate::trace::Trace;
use engine::dispatch::Input;
use engine::now::Now;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

/// Simulated time since the start, in microseconds.
pub type Micros = u64;
pub const MILLISECOND: Micros = 1_000;
pub const SECOND: Micros = 1_000 * MILLISECOND;
pub const MINUTE: Micros = 60 * SECOND;
pub const HOUR: Micros = 60 * MINUTE;

/// The wall clock at the start: unix microseconds.
const EPOCH_US: u64 = 1_800_000_000_000_000;
/// A seed that takes more events than this is going round in circles.
const MAX_EVENTS: u64 = 3_000_000;
/// After this much quiet, dispatch remembers nothing: every DNS answer has expired.
const OBLIVION: Micros = 2 * HOUR;

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
    pub fn mono(&self) -> Instant {
        self.origin + Duration::from_micros(self.now)
    }
    pub fn read(&self) -> Now {
        Now { mono: self.mono(), wall_us: EPOCH_US + self.now + self.forward - self.back }
    }
    fn set(&mut self, change: ClockChange) {
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

/// What happens at a time.
pub enum Event {
    /// A client of ours hands in the next message.
    Inject,
    /// Something at dispatch's door, unless a crash came first (the number of the engine's life).
    Engine(u32, Input),
    /// Dispatch's timer, or a look at what it wants.
    Tick(u32),
    /// The journal, the index and what reads them.
    Storage(u32, StorageEvent),
    /// An operator does something.
    Operate(u32),
    /// A look for what has expired where nothing is tried.
    Look(u32),
    Network(LinkId, NetworkEvent),
    /// A host goes down or comes back.
    Weather(usize),
    PowerCut,
    Clock(ClockChange),
    /// SIGTERM.
    Stop,
    /// It must have stopped by now.
    Stopped(u32),
    Restart,
    /// All faults end.
    Heal,
    /// All mail must be on its way or given up by now.
    Emptied,
    /// And everything forgotten.
    Judge,
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
    fn next(&mut self) -> Option<(Micros, Event)> {
        self.heap.pop().map(|Reverse(scheduled)| (scheduled.at, scheduled.event))
    }
}

/// What a seed came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub trace: u64,
    pub events: u64,
    pub messages: u64,
    pub recipients: u64,
    pub delivered: u64,
    pub bounced: u64,
    pub expired: u64,
    pub removed: u64,
    /// Notices of delay, and of success.
    pub delayed: u64,
    pub succeeded: u64,
    pub crashes: u64,
    /// Copies beyond the first: the outcome was in doubt, or its settle was lost in a crash.
    pub doubled_in_doubt: u64,
    pub doubled_by_crash: u64,
}

pub struct World {
    pub scenario: Scenario,
    pub clock: Clock,
    pub calendar: Calendar,
    pub rng: fastrand::Rng,
    pub trace: Trace,
    pub checker: Checker,
    pub exchangers: Vec<Exchanger>,
    pub zone: Zone,
    pub links: Links,
    /// `None` while the machine is down.
    pub engine: Option<Engine>,
    /// The machine's disk while it is down.
    pub wreck: Option<(queue::disk::MemoryDisk, queue::index::MemoryIndex)>,
    /// How often the engine was started.
    pub life: u32,
    /// When it was started last.
    pub begun: Micros,
    pub injected: u32,
    pub healed: bool,
    /// Which lines went over, by tag: for the summary of a failure.
    pub tally: BTreeMap<&'static str, u64>,
}

impl World {
    pub fn new(seed: u64, origin: Instant, verbose: bool) -> World {
        let mut rng = fastrand::Rng::with_seed(seed);
        let scenario = Scenario::random(&mut rng);
        let exchangers = scenario.hosts.iter().map(Exchanger::new).collect();
        World {
            zone: Zone::new(&scenario),
            checker: Checker::new(&scenario),
            exchangers,
            links: Links::default(),
            clock: Clock { origin, now: 0, forward: 0, back: 0 },
            calendar: Calendar::default(),
            trace: Trace::new(verbose),
            engine: None,
            wreck: None,
            life: 0,
            begun: 0,
            injected: 0,
            healed: false,
            tally: BTreeMap::new(),
            rng,
            scenario,
        }
    }

    /// Lets everything happen, to the end.
    pub fn run(&mut self) -> Summary {
        self.start();
        let mut events = 0;
        while let Some((at, event)) = self.calendar.next() {
            assert!(at >= self.clock.now, "time runs backwards");
            self.clock.now = at;
            events += 1;
            assert!(events < MAX_EVENTS, "no end: {:?}", self.tally);
            let is_end = matches!(event, Event::Judge);
            self.handle(event);
            if is_end {
                break;
            }
        }
        let mut summary = self.checker.judge();
        summary.trace = self.trace.hash();
        summary.events = events;
        summary.crashes = u64::from(self.life) - 1;
        summary
    }

    fn start(&mut self) {
        self.wreck = Some(Default::default());
        self.restart();
        let plan = self.scenario.plan.clone();
        self.calendar.add(0, Event::Inject);
        for at in plan.power_cuts {
            self.calendar.add(at, Event::PowerCut);
        }
        for at in plan.stops {
            self.calendar.add(at, Event::Stop);
        }
        for (at, change) in plan.clock_changes {
            self.calendar.add(at, Event::Clock(change));
        }
        for host in 0..self.exchangers.len() {
            self.calendar.add(self.rng.u64(0..plan.heal_at), Event::Weather(host));
        }
        self.calendar.add(plan.heal_at, Event::Heal);
        self.calendar.add(plan.heal_at + plan.recovery, Event::Emptied);
        self.calendar.add(plan.heal_at + plan.recovery + OBLIVION, Event::Judge);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Inject => self.inject(),
            Event::Engine(life, input) if self.is_alive(life) => self.tell_dispatch(input),
            Event::Tick(life) if self.is_alive(life) => self.tick_dispatch(),
            Event::Storage(life, event) if self.is_alive(life) => self.handle_storage(event),
            Event::Operate(life) if self.is_alive(life) => self.operate(),
            Event::Look(life) if self.is_alive(life) => self.look_for_expired(),
            Event::Engine(..) | Event::Tick(_) | Event::Storage(..) | Event::Operate(_) | Event::Look(_) => {}
            Event::Network(link, event) => self.handle_network(link, event),
            Event::Weather(host) => self.change_weather(host),
            Event::PowerCut => self.cut_power(),
            Event::Clock(change) => {
                self.clock.set(change);
                self.note("clock", &[self.clock.read().wall_ms()]);
            }
            Event::Stop => self.stop(),
            Event::Stopped(life) => {
                assert!(!self.is_alive(life), "the engine was told to stop long ago, and has not");
            }
            Event::Restart => self.restart(),
            Event::Heal => self.heal(),
            Event::Emptied => self.check_empty(),
            Event::Judge => self.end(),
        }
    }

    fn is_alive(&self, life: u32) -> bool {
        self.engine.is_some() && self.life == life
    }

    /// Notes a step in the trace.
    pub fn note(&mut self, tag: &'static str, figures: &[u64]) {
        *self.tally.entry(tag).or_default() += 1;
        self.trace.note(self.clock.now, tag, figures);
    }

    pub fn in_a_while(&mut self, delay: std::ops::Range<Micros>, event: Event) {
        let at = self.clock.now + self.rng.u64(delay);
        self.calendar.add(at, event);
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.f64() < probability
    }

    fn heal(&mut self) {
        self.note("heal", &[]);
        self.healed = true;
        self.zone.heal();
        self.exchangers.iter_mut().for_each(Exchanger::heal);
        if let Some(engine) = &self.engine {
            self.checker.compare(&engine.store);
        }
        self.checker.heal(self.clock.now);
        self.resume();
        self.release_all();
    }

    fn check_empty(&mut self) {
        let engine = self.engine.as_ref().expect("the machine is up at the end");
        self.checker.compare(&engine.store);
        if let Some((domain, _, due_ms)) = engine.store.backlog().expect("the index works").first() {
            let site = engine.dispatch.explain_site(domain.as_str());
            panic!("long after all faults ended, mail for {domain:?} is queued, due at {due_ms}; its site: {site:#?}");
        }
    }

    /// Time is up: nothing may be left anywhere.
    fn end(&mut self) {
        self.check_empty();
        let engine = self.engine.as_ref().expect("it was there a line before");
        let counts = engine.dispatch.counts();
        assert_eq!(counts, Default::default(), "dispatch still counts something when all is done");
        assert!(engine.dispatch.is_quiet(), "dispatch is not quiet when all is done");
        assert_eq!(engine.dispatch.known(), (0, 0), "domains, sites that dispatch remembers when all is done");
        assert_eq!(self.links.open(), 0, "connections left when all is done");
    }
}

impl Summary {
    pub fn add(&mut self, other: &Summary) {
        self.trace ^= other.trace;
        self.events += other.events;
        self.messages += other.messages;
        self.recipients += other.recipients;
        self.delivered += other.delivered;
        self.bounced += other.bounced;
        self.expired += other.expired;
        self.removed += other.removed;
        self.crashes += other.crashes;
        self.delayed += other.delayed;
        self.succeeded += other.succeeded;
        self.doubled_in_doubt += other.doubled_in_doubt;
        self.doubled_by_crash += other.doubled_by_crash;
    }
}
