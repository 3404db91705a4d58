//! The shell's part, played without threads: messages in, dispatch's wishes out to where they are granted.

use crate::clock::{MILLISECOND, MINUTE, Micros};
use crate::network::Order;
use crate::storage::{Asker, StorageEvent};
use crate::world::{Event, World};
use engine::dispatch::{Action, Dispatch, Input, Operation};
use queue::disk::MemoryDisk;
use queue::index::{Index, MemoryIndex};
use queue::{Content, Entry, EntryKey, Envelope, Group, MailParameters, NewMessage, Recipient, Store};
use smtp::parameters::{ByMode, DeliverBy, Notify};
use smtp::{Body, Mailbox, ReversePath};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Actions of one drain: more mean that dispatch goes round in circles.
const MAX_ACTIONS: usize = 1_000_000;
/// Deliveries that dispatch keeps in memory for one site (its `bounds`), and what other domains of the site may have had
/// waiting for their route when it was found.
const READY_PER_SITE: usize = 2_000 + 500;
/// An answer of DNS within which little comes in, even in a flood.
const QUICK_ANSWER: Micros = 5 * MILLISECOND;
/// Operators stop interfering so long before all faults end.
const LAST_OPERATION: Micros = 10 * MINUTE;
/// Between an operator's look at the queue and dispatch's hearing of it.
const STALENESS: Micros = 20 * MILLISECOND;

/// One life of the engine: from a start to a power cut.
pub struct Engine {
    pub dispatch: Dispatch,
    pub store: Arc<Store>,
    pub disk: MemoryDisk,
    pub index: MemoryIndex,
    /// Groups that wait for the committer.
    pub waiting: Vec<(Group, Asker)>,
    pub committing: bool,
    pub checkpoint_planned: bool,
    /// It was told to stop.
    pub draining: bool,
    /// Outcomes could not be written, and never will be in this life.
    pub failed: bool,
    /// What the ids of notices are made from.
    wall_ms: Arc<AtomicU64>,
    armed: Option<Micros>,
}

impl Engine {
    pub fn is_index_broken(&self) -> bool {
        self.index.is_broken()
    }
}

impl World {
    /// Starts the engine on what recovery finds.
    pub fn begin_life(&mut self, store: Store, disk: MemoryDisk, index: MemoryIndex) {
        let store = Arc::new(store);
        let wall_ms = Arc::new(AtomicU64::new(self.clock.read().wall_ms()));
        let ids = {
            let (store, wall_ms) = (store.clone(), wall_ms.clone());
            Box::new(move || store.next_id(wall_ms.load(Relaxed)))
        };
        let dispatch = Dispatch::new(self.config.clone(), ids, self.rng.u64(..), self.clock.read());
        let backlog = store.backlog().expect("the index works");
        let (waiting, armed) = (Vec::new(), None);
        let engine = Engine {
            dispatch,
            store,
            disk,
            index,
            waiting,
            committing: false,
            checkpoint_planned: false,
            draining: false,
            failed: false,
            wall_ms,
            armed,
        };
        self.engine = Some(engine);
        self.begun = self.clock.now;
        self.tell_dispatch(Input::Backlog(backlog));
        self.in_a_while(0..MINUTE, Event::Look(self.life));
        self.disturb_index();
        if self.healed {
            self.release_all();
        } else if self.scenario.plan.operations {
            self.in_a_while(0..30 * MINUTE, Event::Operate(self.life));
        }
    }

    pub fn tell_dispatch(&mut self, input: Input) {
        self.witness(&input);
        let now = self.clock.read();
        let Some(engine) = &mut self.engine else { return };
        engine.wall_ms.store(now.wall_ms(), Relaxed);
        engine.dispatch.handle(now, input);
        // Several inputs may come before dispatch is asked what it wants: they do in a busy loop.
        if self.rng.u8(..4) == 0 {
            self.calendar.add(self.clock.now, Event::Tick(self.life));
        } else {
            self.drain();
        }
    }

    /// The checker hears what dispatch hears.
    fn witness(&mut self, input: &Input) {
        match input {
            Input::Committed(list) => {
                self.note("committed", &[list.len() as u64]);
                self.checker.acknowledged(list, self.clock.now);
            }
            Input::Ready(connection, ..) => self.note("ready", &[connection.0]),
            Input::Report(connection, report) => {
                self.note("report", &[connection.0, report.id, report.exceptions.len() as u64]);
                self.checker.reported(*connection, report);
            }
            Input::Closed(connection, stage, _) => {
                self.note("closed", &[connection.0, *stage as u64]);
                self.checker.closed(*connection);
            }
            Input::NotOpened(connection, _) => {
                self.note("not opened", &[connection.0]);
                self.checker.closed(*connection);
            }
            Input::Settled(token) => self.note("settled", &[*token]),
            _ => {}
        }
    }

    pub fn tick_dispatch(&mut self) {
        let now = self.clock.read();
        let Some(engine) = &mut self.engine else { return };
        if engine.armed.is_some_and(|at| at <= self.clock.now) {
            engine.armed = None;
        }
        engine.wall_ms.store(now.wall_ms(), Relaxed);
        if engine.dispatch.poll_timeout().is_some_and(|at| at <= now.mono) {
            engine.dispatch.handle_timeout(now);
        }
        self.drain();
    }

    pub fn drain(&mut self) {
        for _ in 0..MAX_ACTIONS {
            let Some(action) = self.engine.as_mut().and_then(|engine| engine.dispatch.poll_action()) else {
                self.arm();
                return self.stop_if_quiet();
            };
            self.perform(action);
        }
        panic!("dispatch wants more and more");
    }

    fn arm(&mut self) {
        self.check_memory();
        let Some(engine) = &mut self.engine else { return };
        self.checker.check_counts(engine.dispatch.counts());
        let Some(at) = engine.dispatch.poll_timeout() else { return };
        let at = self.clock.tick_of(at).max(self.clock.now);
        if engine.armed.is_none_or(|armed| armed > at) {
            engine.armed = Some(at);
            self.calendar.add(at, Event::Tick(self.life));
        }
    }

    fn perform(&mut self, action: Action) {
        let (life, read) = (self.life, self.scenario.disk.read.clone());
        match action {
            Action::ResolveMx(domain) => self.resolve_mx(domain),
            Action::ResolveAddresses(host) => self.resolve_addresses(host),
            Action::Fetch { domain, flow, until_ms, limit } => {
                let fetch = StorageEvent::Fetch { domain, flow, until_ms, limit };
                self.in_a_while(read, Event::Storage(life, fetch));
            }
            Action::Load(id, location) => self.in_a_while(read, Event::Storage(life, StorageEvent::Load(id, location))),
            Action::Open(open) => {
                self.note("open", &[open.connection.0]);
                self.checker.opened(&open, self.clock.now, life);
                self.open(open);
            }
            Action::Deliver(deliver) => {
                self.note("deliver", &[deliver.connection.0, deliver.transaction, deliver.content.id.0]);
                self.checker.delivered(&deliver, self.clock.now, life);
                self.order(deliver.connection, Order::Deliver(deliver));
            }
            Action::Close(connection) => {
                self.note("close", &[connection.0]);
                self.order(connection, Order::Close);
            }
            Action::Settle { token, group } => {
                self.note("settle", &[token, group.settles.len() as u64, group.accepts.len() as u64]);
                self.submit(group, Asker::Dispatch(token));
            }
            Action::Happened(happened) => {
                self.note("happened", &[happened.kind as u64, happened.id.0, u64::from(happened.recipient)]);
                self.checker.happened(&happened, self.clock.now);
            }
            Action::Noticed(kind) => self.note("notice", &[kind as u64]),
            Action::NotOpened { .. } => self.note("own fault", &[]),
            Action::Throttled { waited, .. } => self.note("throttled", &[waited.as_micros() as u64]),
        }
    }

    /// Clients hand in messages, while the engine is there to take them; also again, after they were told to try later.
    /// When it is told to stop, those do that are in a transaction.
    pub fn inject(&mut self, is_first: bool) {
        let plan = self.scenario.plan.clone();
        let is_draining = self.engine.as_ref().map(|engine| engine.draining);
        if let Some(is_draining) = is_draining {
            let messages = if is_draining { self.rng.u32(1..=plan.burst) } else { plan.burst };
            let group = Group { accepts: (0..messages).map(|_| self.message()).collect(), settles: Vec::new() };
            self.submit(group, Asker::Client);
        }
        if is_first && self.injected < plan.messages && self.clock.now < plan.heal_at {
            self.in_a_while(plan.gap, Event::Inject { is_first });
        }
    }

    /// However much is queued for a site, dispatch keeps little of it in memory. What waits for its route is not the site's
    /// yet, and each flow asks for itself: where DNS is slow, that may be all there is.
    fn check_memory(&self) {
        let (Some(engine), Some(domain)) = (&self.engine, self.scenario.flooded()) else { return };
        if self.scenario.network.dns_latency.end > QUICK_ANSWER {
            return;
        }
        let ready = engine.dispatch.explain_site(domain).map_or(0, |site| site.ready);
        assert!(ready <= READY_PER_SITE, "{ready} deliveries of one site in memory");
    }

    fn message(&mut self) -> NewMessage {
        let now = self.clock.read();
        let Some(engine) = &self.engine else { unreachable!("it was there a line before") };
        let id = engine.store.next_id(now.wall_ms());
        self.injected += 1;
        let number = self.injected;
        let count = self.rng.usize(self.scenario.plan.recipients.clone());
        let recipients: Vec<Recipient> = (0..count).map(|i| self.recipient(&format!("{number}.{i}"))).collect();
        let sender =
            if self.rng.u8(..8) == 0 { None } else { Some(self.recipient(&format!("{number}.sender")).mailbox) };
        let mut text = format!("Message-ID: <{id}@sim.example>\r\nSubject: {number}\r\n\r\n").into_bytes();
        let end = text.len() + self.rng.usize(self.scenario.plan.body_bytes.clone());
        while text.len() < end {
            let line = self.rng.usize(..70);
            text.extend((0..line).map(|_| b". abcdefgh"[self.rng.usize(..10)]));
            text.extend_from_slice(b"\r\n");
        }
        let mode = if self.rng.bool() { ByMode::Notify } else { ByMode::Return };
        let by = DeliverBy { seconds: self.rng.i32(60..7200), mode, trace: self.rng.u8(..4) == 0 };
        let parameters = MailParameters {
            priority: self.rng.i8(-1..=1),
            deliver_by: (self.rng.u8(..10) == 0).then_some(by),
            ..MailParameters::default()
        };
        let envelope = Envelope {
            reverse_path: ReversePath(sender),
            recipients,
            accepted_us: now.wall_us,
            parameters,
            tenant: ["a", "b"].get(self.rng.usize(..4)).map(|name| (*name).into()),
            campaign: (self.rng.u8(..3) == 0).then(|| format!("c{}", self.rng.u8(..3)).into()),
        };
        NewMessage::new(Arc::new(Content { id, envelope, body: Body::new(text) }), now.wall_ms())
    }

    /// Somebody somewhere; `bad` ones are never known to their server, and a few domains take no mail.
    fn recipient(&mut self, name: &str) -> Recipient {
        let domains = &self.scenario.domains;
        let flooded = self.scenario.flooded().filter(|_| self.rng.u8(..8) > 0);
        let domain = flooded.unwrap_or_else(|| &domains[self.rng.usize(..domains.len())].name);
        let kind = if self.rng.u8(..20) == 0 { "bad" } else { "u" };
        let mailbox = Mailbox::parse(&format!("{kind}{name}@{domain}")).expect("well formed");
        let notify = ["", "", "", "NEVER", "SUCCESS", "SUCCESS,FAILURE,DELAY", "DELAY"][self.rng.usize(..7)];
        Recipient { notify: Notify::parse(notify).unwrap_or_default(), ..Recipient::new(mailbox) }
    }

    /// An operator takes some entries, as `posthaste queue` would.
    pub fn operate(&mut self) {
        if self.clock.now + LAST_OPERATION > self.scenario.plan.heal_at {
            return;
        }
        let entries = self.some_entries();
        let what = self.rng.u8(..5);
        self.note("operate", &[u64::from(what), entries.len() as u64]);
        let input = match what {
            0 => Input::Operate(Operation::Retry(entries)),
            1 => Input::Operate(Operation::Hold(entries)),
            2 => Input::Operate(Operation::Release(entries)),
            3 => return self.remove(entries),
            // Nothing has changed.
            _ => Input::Reload(self.config.clone()),
        };
        // What the operator saw may be old by the time it is acted on.
        self.in_a_while(0..STALENESS, Event::Engine(self.life, input));
        self.in_a_while(0..20 * MINUTE, Event::Operate(self.life));
    }

    /// At once: that a removal of what has just left the queue is told as one is known, and hurts nobody.
    fn remove(&mut self, entries: Vec<(EntryKey, Entry)>) {
        self.tell_dispatch(Input::Operate(Operation::Remove(entries, HashMap::new())));
        self.in_a_while(0..20 * MINUTE, Event::Operate(self.life));
    }

    fn some_entries(&mut self) -> Vec<(EntryKey, Entry)> {
        let Some(engine) = &self.engine else { return Vec::new() };
        let mut entries = match engine.store.list(None, 1000) {
            Ok(entries) => entries,
            Err(error) => {
                self.check_excuse(&error);
                return Vec::new();
            }
        };
        self.rng.shuffle(&mut entries);
        entries.truncate(self.rng.usize(1..6));
        entries
    }

    /// Whatever operators held is let go.
    pub fn release_all(&mut self) {
        let Some(engine) = &self.engine else { return };
        let held = engine.store.list(None, usize::MAX).expect("the index works");
        let held = held.into_iter().filter(|(key, _)| key.due_ms == EntryKey::HELD).collect();
        self.tell_dispatch(Input::Operate(Operation::Release(held)));
    }
}
