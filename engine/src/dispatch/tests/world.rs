//! The outside world, played: a queue, DNS and exchangers whose answers take a while. Same seed, same story.
//!
//! What an exchanger says is written in the local part of the recipient: `ok`, `bounce`, `full` (450 for ever), `later`
//! (450 once), `spam` (554 to the content), `grey` (451 to the content once), `doubt` (lost after the content, once),
//! `lost` (lost at DATA, once), `close` (421 at MAIL, once), `big` (over the SIZE limit), `crowd` (too many
//! recipients, once); a number may follow.

mod disk;
mod names;
mod peers;
mod settings;

pub use names::address_of;
pub use peers::{Door, Peer};
pub use settings::{config, limits};

use crate::config::*;
use crate::dispatch::action::{Deliver, Open, Peer as To};
use crate::dispatch::{Action, ConnectionId, Dispatch, Happened, Input, Kind, Operation};
use crate::now::Now;
use dns::{AddressAnswer, Exchanger, MxAnswer, MxFailure};
use queue::{
    Committed, Content, Domain, Entry, EntryKey, Envelope, Flow, Group, Location, MailParameters, MessageId, Recipient,
    RecipientSet, Terms,
};
use smtp::client::{Cause, Features, Outcome, Report, Stage, Unsupported};
use smtp::reply::EnhancedCode;
use smtp::{Body, Mailbox, Reply, ReversePath};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

enum Event {
    Input(Input),
    Apply(u64, Box<Group>),
    Fetch(Domain, Flow, u64, usize),
    Load(MessageId),
    /// The peer answers the oldest transaction of this connection.
    Answer(ConnectionId),
}

pub struct World {
    pub dispatch: Dispatch,
    pub config: Config,
    pub now: Now,
    rng: fastrand::Rng,
    /// Answers take up to so long.
    pub delay: Duration,
    /// Contents are there so long after they were asked for, at the earliest.
    pub reading: Duration,
    /// Peers answer only when told to.
    pub manual: bool,
    /// Outcomes do not become durable any more, and nobody says so.
    pub is_broken: bool,
    /// Outcomes that wait to be written, while they do.
    pub stalled: Option<Vec<(u64, Box<Group>)>>,
    /// Whose the next messages are, and of what campaign.
    pub tenant: Option<&'static str>,
    pub campaign: Option<&'static str>,
    /// What peers announce.
    pub features: Arc<Features>,
    /// Hosts that promise REQUIRETLS; `None`: all do.
    pub promising: Option<Vec<&'static str>>,
    events: BTreeMap<(Instant, u64), Event>,
    serial: u64,
    committed: Instant,
    pub disk: BTreeMap<EntryKey, Entry>,
    contents: HashMap<MessageId, Arc<Content>>,
    pub mx: HashMap<String, Result<Vec<(u16, String)>, MxFailure>>,
    pub addresses: HashMap<String, Vec<IpAddr>>,
    pub doors: HashMap<IpAddr, Door>,
    /// Peers that take so many count those that left for so long.
    pub counting: Duration,
    left: Vec<(Instant, To)>,
    pub peers: BTreeMap<ConnectionId, Peer>,
    tries: HashMap<(MessageId, u32), u32>,
    pub opens: Vec<(Instant, Open)>,
    pub deliveries: Vec<(Instant, ConnectionId, MessageId, RecipientSet)>,
    pub happened: Vec<Happened>,
    pub notices: Vec<Arc<Content>>,
    pub fetches: u32,
    pub loads: u32,
    pub questions: u32,
    /// Faults of our own that the operator was told.
    pub not_opened: Vec<(Option<IpAddr>, Arc<str>)>,
    pub throttled: BTreeMap<&'static str, Duration>,
    /// Message ids and counts of recipients that were accepted.
    pub accepted: BTreeMap<MessageId, u32>,
}

impl World {
    pub fn new(config: Config, seed: u64) -> World {
        let now = Now { mono: Instant::now(), wall_us: 1_700_000_000_000_000 };
        let mut notice = 1 << 40;
        let ids = Box::new(move || {
            notice += 1;
            MessageId(notice)
        });
        World {
            dispatch: Dispatch::new(Arc::new(config.clone()), ids, seed, now),
            config,
            now,
            rng: fastrand::Rng::with_seed(seed),
            delay: Duration::ZERO,
            reading: Duration::ZERO,
            manual: false,
            is_broken: false,
            stalled: None,
            tenant: None,
            campaign: None,
            features: Arc::default(),
            promising: None,
            events: BTreeMap::new(),
            serial: 0,
            committed: now.mono,
            disk: BTreeMap::new(),
            contents: HashMap::new(),
            mx: HashMap::new(),
            addresses: HashMap::new(),
            doors: HashMap::new(),
            counting: Duration::ZERO,
            left: Vec::new(),
            peers: BTreeMap::new(),
            tries: HashMap::new(),
            opens: Vec::new(),
            deliveries: Vec::new(),
            happened: Vec::new(),
            notices: Vec::new(),
            fetches: 0,
            loads: 0,
            questions: 0,
            not_opened: Vec::new(),
            throttled: BTreeMap::new(),
            accepted: BTreeMap::new(),
        }
    }

    fn later(&mut self) -> Instant {
        let most = self.delay.as_micros() as u64;
        self.now.mono + Duration::from_micros(if most == 0 { 0 } else { self.rng.u64(..most) })
    }
    fn push(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }
    fn push_soon(&mut self, event: Event) {
        let at = self.later();
        self.push(at, event);
    }
    /// About a connection: in order.
    fn push_peer(&mut self, id: ConnectionId, event: Event) {
        let at = self.later();
        let peer = self.peers.get_mut(&id).unwrap();
        peer.last = peer.last.max(at);
        let at = peer.last;
        self.push(at, event);
    }

    pub fn handle(&mut self, input: Input) {
        self.dispatch.handle(self.now, input);
        self.drain();
    }
    pub fn operate(&mut self, operation: Operation) {
        self.handle(Input::Operate(operation));
    }
    /// A new dispatch on the same disk, as after a crash.
    pub fn restart(&mut self, seed: u64) {
        let mut fresh = World::new(self.config.clone(), seed);
        std::mem::swap(&mut fresh.dispatch, &mut self.dispatch);
        self.events.clear();
        self.peers.clear();
        let mut backlog: BTreeMap<(Domain, Flow), u64> = BTreeMap::new();
        for key in self.disk.keys() {
            backlog.entry((key.domain.clone(), key.flow)).or_insert(key.due_ms);
        }
        self.handle(Input::Backlog(backlog.into_iter().map(|((domain, flow), due)| (domain, flow, due)).collect()));
    }

    fn drain(&mut self) {
        let mut most = 5_000_000;
        while let Some(action) = self.dispatch.poll_action() {
            self.act(action);
            most -= 1;
            assert!(most > 0, "dispatch never comes to rest");
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::ResolveMx(domain) => {
                self.questions += 1;
                let answer = self.mx_answer(domain.as_str());
                self.push_soon(Event::Input(Input::Mx(domain, answer)));
            }
            Action::ResolveAddresses(host) => {
                let expires = self.now.mono + Duration::from_secs(3600);
                let answer = match self.addresses.get(&*host) {
                    Some(list) if list.is_empty() => Err(MxFailure::NoSuchDomain),
                    Some(list) => Ok(AddressAnswer { addresses: list.as_slice().into(), expires, stale: false }),
                    None => Ok(AddressAnswer { addresses: [address_of(&host)].into(), expires, stale: false }),
                };
                self.push_soon(Event::Input(Input::Addresses(host, answer)));
            }
            Action::Fetch { domain, flow, until_ms, limit } => {
                self.fetches += 1;
                self.push_soon(Event::Fetch(domain, flow, until_ms, limit));
            }
            Action::Load(id, _) => {
                self.loads += 1;
                let at = self.later() + self.reading;
                self.push(at, Event::Load(id));
            }
            Action::Open(open) => self.open(*open),
            Action::Deliver(deliver) => self.deliver(deliver),
            Action::Close(id) => {
                let peer = self.peers.get_mut(&id).expect("closes what is open");
                assert!(!peer.closing, "closed twice");
                peer.closing = true;
                if peer.in_flight.is_empty() {
                    self.push_peer(id, Event::Input(Input::Closed(id, Stage::Idle, Cause::Done)));
                }
            }
            Action::Settle { .. } if self.is_broken => {}
            Action::Settle { token, group } if self.stalled.is_some() => {
                self.stalled.get_or_insert_default().push((token, Box::new(group)));
            }
            Action::Settle { token, group } => {
                self.committed = self.committed.max(self.later());
                let at = self.committed;
                self.push(at, Event::Apply(token, Box::new(group)));
            }
            Action::Happened(happened) => self.happened.push(*happened),
            Action::Noticed(_) => {}
            Action::NotOpened { source, why } => self.not_opened.push((source, why)),
            Action::Throttled { limit, waited, .. } => *self.throttled.entry(limit).or_default() += waited,
        }
    }

    /// Input now; a connection that ends is forgotten first.
    fn hand_in(&mut self, input: Input) {
        if let Input::Closed(id, ..) | Input::NotOpened(id, ..) = &input {
            let Some(peer) = self.peers.remove(id) else { return };
            if peer.greeted {
                self.left.push((self.now.mono, peer.open.peer));
            }
        }
        if let Input::Ready(id, ..) = &input
            && !self.peers.contains_key(id)
        {
            return;
        }
        // What was polled in between belongs to the same tick.
        self.dispatch.handle(self.now, input);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Input(input) => self.hand_in(input),
            Event::Apply(token, group) => self.apply(token, *group),
            Event::Fetch(domain, flow, until_ms, limit) => self.fetch(domain, flow, until_ms, limit),
            Event::Load(id) => {
                let content = self.contents[&id].clone();
                self.hand_in(Input::Loaded(id, Ok(content)));
            }
            Event::Answer(id) => self.answer(id),
        }
    }

    /// Lets everything happen that takes no more than this time.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        self.drain();
        loop {
            if self.events.is_empty() {
                // Nothing else would bring it about before the next timer.
                self.drain();
            }
            let event = self.events.keys().next().map(|(at, _)| *at);
            let timer = self.dispatch.poll_timeout();
            let Some(next) = event.into_iter().chain(timer).min().filter(|at| *at <= end) else {
                let known = self.serial;
                self.drain();
                if self.serial == known && self.dispatch.poll_timeout() == timer {
                    break;
                }
                continue;
            };
            self.advance_to(next);
            if let Some((at, serial)) = self.events.keys().next().copied().filter(|(at, _)| *at <= self.now.mono) {
                let event = self.events.remove(&(at, serial)).unwrap();
                self.happen(event);
            } else {
                self.dispatch.handle_timeout(self.now);
            }
            // Not after every input: in one tick there are several.
            if self.delay.is_zero() || self.rng.bool() {
                self.drain();
            }
            if timer.is_some_and(|t| t <= self.now.mono) {
                self.dispatch.handle_timeout(self.now);
                self.drain();
            }
        }
        self.drain();
        self.advance_to(end);
    }
    fn advance_to(&mut self, at: Instant) {
        if at > self.now.mono {
            let step = at - self.now.mono;
            self.now = Now { mono: at, wall_us: self.now.wall_us + step.as_micros() as u64 };
        }
    }
    pub fn settle_down(&mut self) {
        self.run(Duration::from_millis(1));
    }

    pub fn content(&self, id: MessageId) -> &Content {
        &self.contents[&id]
    }
    pub fn kinds(&self, id: MessageId, recipient: u32) -> Vec<Kind> {
        self.happened.iter().filter(|h| h.id == id && h.recipient == recipient).map(|h| h.kind).collect()
    }
    pub fn count(&self, kind: Kind) -> usize {
        self.happened.iter().filter(|h| h.kind == kind).count()
    }
    /// Every accepted recipient came to exactly one end; a second delivery only after a doubt.
    pub fn check_ends(&self) {
        let mut ends: HashMap<(MessageId, u32), Vec<Kind>> = HashMap::new();
        for h in self.happened.iter().filter(|h| h.kind != Kind::Deferred) {
            ends.entry((h.id, h.recipient)).or_default().push(h.kind);
        }
        for (id, count) in &self.accepted {
            for position in 0..*count {
                let ends = ends.get(&(*id, position));
                assert!(ends.is_some_and(|e| e.len() == 1), "message {id} recipient {position}: {ends:?}");
            }
        }
    }
    pub fn hosts_opened(&self) -> Vec<String> {
        self.opens.iter().map(|(_, o)| o.host.to_string()).collect()
    }
}
