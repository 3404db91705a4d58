//! The world of one seed: its time, its events, and all that lives in it.

use crate::checker::Checker;
use crate::clock::{Calendar, Clock, ClockChange, HOUR, Micros};
use crate::configuration::Wishes;
use crate::engine::Engine;
use crate::exchanger::Exchanger;
use crate::link::{LinkId, Links};
use crate::network::NetworkEvent;
use crate::outage::{Outages, Part};
use crate::resolver::Zone;
use crate::scenario::Scenario;
use crate::storage::StorageEvent;
use crate::summary::Summary;
use crate::trace::Trace;
use engine::config::Config;
use engine::dispatch::Input;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// A seed that takes more events than this is going round in circles.
const MAX_EVENTS: u64 = 3_000_000;
/// After this much quiet, dispatch remembers nothing: every DNS answer has expired.
const OBLIVION: Micros = 2 * HOUR;

/// What happens at a time.
pub enum Event {
    /// A client of ours hands in the next messages, or others after it was told to try later.
    Inject {
        is_first: bool,
    },
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
    /// Something of the machine is out of order, and in order again.
    Outage(Part),
    OutageEnds(Part),
    Clock(ClockChange),
    /// SIGHUP.
    Reload,
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

pub struct World {
    pub scenario: Scenario,
    /// As the file has it now: a reload or a start takes it up.
    pub config: Arc<Config>,
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
    pub outages: Outages,
    /// How often the engine was started.
    pub life: u32,
    /// When it was started last, or told of another configuration.
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
        let config = scenario.configuration(&mut rng, Wishes { suspend: scenario.plan.is_suspended, routes: false });
        let exchangers = scenario.hosts.iter().map(Exchanger::new).collect();
        World {
            zone: Zone::new(&scenario),
            checker: Checker::new(&scenario, &config),
            config,
            exchangers,
            links: Links::default(),
            clock: Clock::new(origin),
            calendar: Calendar::default(),
            trace: Trace::new(verbose),
            engine: None,
            wreck: None,
            outages: Outages::default(),
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
        self.calendar.add(0, Event::Inject { is_first: true });
        for at in plan.power_cuts {
            self.calendar.add(at, Event::PowerCut);
        }
        for at in plan.stops {
            self.calendar.add(at, Event::Stop);
        }
        for (at, change) in plan.clock_changes {
            self.calendar.add(at, Event::Clock(change));
        }
        for outage in plan.outages {
            self.calendar.add(outage.from, Event::Outage(outage.part));
            self.calendar.add(outage.until, Event::OutageEnds(outage.part));
        }
        for at in plan.reloads {
            self.calendar.add(at, Event::Reload);
        }
        for host in 0..self.exchangers.len() {
            self.calendar.add(self.rng.u64(0..plan.heal_at), Event::Weather(host));
        }
        self.calendar.add(plan.heal_at, Event::Heal);
        self.calendar.add(plan.heal_at + plan.recovery, Event::Emptied);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Inject { is_first } => self.inject(is_first),
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
            Event::Outage(part) => self.begin_outage(part),
            Event::OutageEnds(part) => self.end_outage(part),
            Event::Reload => self.reload(),
            Event::Stop => self.stop(),
            Event::Stopped(life) => {
                assert!(!self.is_alive(life), "the engine was told to stop long ago, and has not");
            }
            Event::Restart => self.restart(),
            Event::Heal => self.heal(),
            Event::Emptied => self.look_for_the_rest(),
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
        if self.engine.as_ref().is_some_and(Engine::is_index_broken) {
            self.checkpoint();
        }
        if let Some(engine) = self.engine.take() {
            self.compare(&engine);
            self.engine = Some(engine);
        }
        self.checker.heal(self.clock.now);
        self.release_all();
        self.reload_for_good();
    }

    /// What the queue holds is what it should, as far as its index can be read.
    pub fn compare(&mut self, engine: &Engine) {
        let result = self.checker.compare(&engine.store);
        let is_out = self.outages.is_index_out() || engine.is_index_broken();
        assert!(result.is_ok() || is_out, "the queue cannot be read: {result:?}");
    }

    /// The queue holds nothing, or what an operator keeps back.
    fn check_empty(&mut self) {
        let engine = self.engine.as_ref().expect("the machine is up at the end");
        self.checker.compare(&engine.store).expect("the index works");
        let backlog = engine.store.backlog().expect("the index works");
        if let Some((domain, _, due_ms)) =
            backlog.iter().find(|(domain, ..)| !self.checker.is_suspended(domain.as_str()))
        {
            let site = engine.dispatch.explain_site(domain.as_str());
            panic!("long after all faults ended, mail for {domain:?} is queued, due at {due_ms}; its site: {site:#?}");
        }
    }

    /// All that can be delivered is. What is kept back is let go, and has as much time.
    fn look_for_the_rest(&mut self) {
        self.check_empty();
        if self.resume_all() {
            self.calendar.add(self.clock.now + self.scenario.plan.recovery, Event::Emptied);
        } else {
            self.calendar.add(self.clock.now + OBLIVION, Event::Judge);
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
