//! One event loop: a thread that hosts an intake room, a delivery room, and perhaps the mind.
//!
//! A tick: letters, then sockets, then timers, then thinking, then writing; each connection is written at most once and
//! the queue is given at most two groups. Much is done per wake-up because a wake-up costs more than a message.

use super::hands::Hands;
use super::inbox::{Address, Inbox, inbox};
use super::letter::Letter;
use super::mind::Mind;
use super::neighbours::Neighbours;
use super::stream::Readiness;
use super::turned::Turned;
use crate::delivery::Delivery;
use crate::dispatch::Input;
use crate::events::Injector;
use crate::intake::{Crowd, Intake};
use crate::now::Now;
use mio::{Events, Poll, Registry, Token, Waker};
use queue::{Committed, Group, QueueError};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Socket events taken per tick.
const EVENTS: usize = 1024;
/// Letters taken per tick, so that a flood of them cannot starve the sockets.
const LETTERS: usize = 4096;
/// The longest sleep: bounds how stale anything sampled can be, and how long callers wait when descriptors are there again.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

const WAKER: Token = Token(usize::MAX);
const ROOM_BITS: u32 = usize::BITS - 2;
const DOOR: usize = 1 << ROOM_BITS;
const INTAKE: usize = 2 << ROOM_BITS;
const DELIVERY: usize = 0;

fn door_token(n: usize) -> Token {
    Token(DOOR | n)
}
fn intake_token(key: usize) -> Token {
    Token(INTAKE | key)
}
pub(super) fn delivery_token(key: usize) -> Token {
    Token(DELIVERY | key)
}

/// A loop before its thread starts: its address exists, its rooms do not yet.
pub(crate) struct Unstarted {
    poll: Poll,
    inbox: Inbox<Letter>,
    address: Address<Letter>,
}

impl Unstarted {
    pub(crate) fn new() -> io::Result<Unstarted> {
        let poll = Poll::new()?;
        let (address, inbox) = inbox(Waker::new(poll.registry(), WAKER)?);
        Ok(Unstarted { poll, inbox, address })
    }

    pub(crate) fn address(&self) -> &Address<Letter> {
        &self.address
    }
}

/// The running loop.
pub(crate) struct EventLoop {
    poll: Poll,
    registry: Registry,
    inbox: Inbox<Letter>,
    address: Address<Letter>,
    neighbours: Neighbours,
    index: usize,
    intake: Intake,
    delivery: Delivery,
    mind: Option<Mind>,
    group: Group,
    draining: bool,
    /// The other loops are to be told to drain, when the mind wants no more connections of them: who has none ends, and would not hear
    /// of one that was still on its way.
    parting: bool,
    stopped: bool,
    /// Doors where others may be waiting.
    crowded: Vec<usize>,
    /// Something can go on without an event.
    busy: bool,
}

impl EventLoop {
    pub(crate) fn new(
        unstarted: Unstarted,
        index: usize,
        neighbours: Neighbours,
        intake: Intake,
        delivery: Delivery,
        mind: Option<Mind>,
    ) -> io::Result<EventLoop> {
        Ok(EventLoop {
            registry: unstarted.poll.registry().try_clone()?,
            poll: unstarted.poll,
            inbox: unstarted.inbox,
            address: unstarted.address,
            neighbours,
            index,
            intake,
            delivery,
            mind,
            group: Group::default(),
            draining: false,
            parting: false,
            stopped: false,
            crowded: Vec::new(),
            busy: false,
        })
    }

    /// Until drained or stopped.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let result = self.turn();
        if self.mind.is_none() {
            self.neighbours.awaited.fetch_sub(1, Ordering::Relaxed);
            self.neighbours.mind.send(Letter::Think(Vec::new()));
        }
        result
    }

    fn turn(&mut self) -> io::Result<()> {
        self.intake.open_doors(&self.registry, door_token)?;
        let mut events = Events::with_capacity(EVENTS);
        while !self.is_finished() {
            self.sleep(&mut events)?;
            let now = read_clock();
            self.busy = false;
            self.handle_letters(now);
            self.handle_sockets(&events, now);
            self.intake.handle_timers(now);
            self.delivery.handle_timers(now);
            self.think(now);
            if std::mem::take(&mut self.parting) {
                self.neighbours.loops.iter().skip(1).for_each(|other| other.send(Letter::Drain));
            }
            self.write(now);
            self.submit(now);
        }
        Ok(())
    }

    fn sleep(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = match self.busy || !self.inbox.may_sleep() {
            true => Duration::ZERO,
            false => self.until_next_timer(),
        };
        let result = self.poll.poll(events, Some(timeout));
        self.inbox.awake();
        match result {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }

    fn until_next_timer(&self) -> Duration {
        let mind = self.mind.as_ref().and_then(Mind::next_timer);
        let next = [self.intake.next_timer(), self.delivery.next_timer(), mind].into_iter().flatten().min();
        next.map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(read_clock().mono)).min(LONGEST_SLEEP)
    }

    fn handle_letters(&mut self, now: Now) {
        for taken in 0.. {
            if taken == LETTERS {
                self.busy = true;
                return;
            }
            let Some(letter) = self.inbox.take() else { return };
            match letter {
                Letter::Durable(origins, since, result) => {
                    self.neighbours.metrics.commit(origins.len(), now.mono - since);
                    self.intake.handle_durable(origins, result.as_deref().map_err(|error| &**error), now);
                }
                Letter::Answer(asker, reply) => self.intake.handle_answer(asker, reply, now),
                Letter::Found(asker, finding) => self.intake.handle_finding(asker, finding, now),
                Letter::Open(open, turned) => {
                    self.delivery.open(open, turned, now, &self.registry, delivery_token);
                }
                Letter::Offer(turned) => self.offer(turned, now),
                Letter::Deliver(deliver) => self.delivery.deliver(&deliver, now),
                Letter::Close(connection) => self.delivery.close(connection, now),
                Letter::Think(inputs) => {
                    if let Some(mind) = &mut self.mind {
                        inputs.into_iter().for_each(|input| mind.handle(input, now));
                    }
                }
                Letter::Accepted(result, injectors) => self.handle_accepted(result, &injectors, now),
                Letter::Settled(result, tokens) => self.handle_settled(result, tokens, now),
                Letter::Ask(question) => {
                    if let Some(mind) = &mut self.mind {
                        question(mind, now);
                    }
                }
                Letter::Drain => self.drain(now),
                Letter::Stop => self.stopped = true,
            }
        }
    }

    /// Tells the mind of a connection that was turned round; then the queue can be started for it.
    fn offer(&mut self, turned: Box<Turned>, now: Now) {
        match &mut self.mind {
            Some(mind) => {
                let call = turned.call.clone();
                let offer = mind.offer(turned, now);
                self.neighbours.starter.collect(call, offer);
                self.busy = true;
            }
            None => self.neighbours.mind.send(Letter::Offer(turned)),
        }
    }

    fn handle_accepted(
        &mut self,
        result: Result<Vec<Committed>, Arc<QueueError>>,
        injectors: &[Arc<Injector>],
        now: Now,
    ) {
        self.neighbours.awaited.fetch_sub(1, Ordering::Relaxed);
        let Some(mind) = &mut self.mind else { return };
        match result {
            Ok(committed) => mind.handle_accepted(committed, injectors, now),
            Err(error) => mind.handle_refused(&error, now),
        }
    }

    fn handle_settled(&mut self, result: Result<Vec<Committed>, Arc<QueueError>>, tokens: Vec<u64>, now: Now) {
        self.neighbours.awaited.fetch_sub(1, Ordering::Relaxed);
        let Some(mind) = &mut self.mind else { return };
        match result {
            Ok(notices) => {
                mind.handle(Input::Committed(notices), now);
                tokens.into_iter().for_each(|token| mind.handle(Input::Settled(token), now));
            }
            Err(error) => mind.handle_unsettled(&error, now),
        }
    }

    fn handle_sockets(&mut self, events: &Events, now: Now) {
        let mut doors = std::mem::take(&mut self.crowded);
        let knocks = events.iter().filter(|e| e.token() != WAKER && e.token().0 >> ROOM_BITS == 1);
        doors.extend(knocks.map(|e| e.token().0 & !DOOR));
        doors.sort_unstable();
        doors.dedup();
        for n in doors {
            let crowd = self.intake.handle_door(n, now, &self.registry, intake_token);
            // Where nobody can be let in, the next tick will do: it comes within the longest sleep.
            self.busy |= crowd == Crowd::More;
            if crowd != Crowd::Nobody {
                self.crowded.push(n);
            }
        }
        for event in events {
            let Token(token) = event.token();
            let ready = Readiness::of(event);
            match token >> ROOM_BITS {
                2 => self.intake.handle_ready(token & !INTAKE, ready, now),
                0 => self.delivery.handle_ready(token, ready, now),
                _ => {}
            }
        }
        self.intake.handle_backlog(now);
        self.delivery.handle_backlog(now);
    }

    /// Lets the mind act on what is known, and the hands on what it says, until both are quiet.
    fn think(&mut self, now: Now) {
        loop {
            let news = self.delivery.take_news();
            match &mut self.mind {
                None => {
                    if !news.is_empty() {
                        self.neighbours.mind.send(Letter::Think(news));
                    }
                    return;
                }
                Some(mind) => {
                    let quiet = news.is_empty();
                    news.into_iter().for_each(|input| mind.handle(input, now));
                    mind.handle_timers(now);
                    let mut hands = Hands {
                        index: self.index,
                        delivery: &mut self.delivery,
                        registry: &self.registry,
                        loops: &self.neighbours.loops,
                    };
                    let acted = mind.act(&mut hands, &mut self.group, now);
                    if quiet && !acted {
                        return;
                    }
                }
            }
        }
    }

    fn write(&mut self, now: Now) {
        self.delivery.flush(now, &self.registry);
        if self.delivery.has_news() {
            self.think(now);
            self.busy |= self.delivery.is_dirty();
        }
        self.intake.flush(&self.registry);
        for turned in self.intake.take_turned() {
            self.offer(Box::new(turned), now);
        }
        self.busy |= self.intake.has_backlog() || self.delivery.has_backlog();
        if let Some(mind) = &mut self.mind {
            mind.end_of_tick(now);
        }
    }

    /// Gives the queue this tick's messages, and its outcomes, as two groups: when the disk is full the messages are
    /// refused, while the outcomes wait for room. The committer writes both at once.
    fn submit(&mut self, now: Now) {
        self.neighbours.forward(&self.address, self.intake.take_outbox(), now);
        let group = std::mem::take(&mut self.group);
        let Some(mind) = &mut self.mind else { return };
        let tokens = mind.take_settle_tokens();
        if !tokens.is_empty() {
            mind.write_events();
            self.neighbours.submit_settled(group, tokens);
        }
    }

    fn drain(&mut self, now: Now) {
        self.draining = true;
        self.intake.drain(&self.registry, now);
        if let Some(mind) = &mut self.mind {
            mind.handle(Input::Drain, now);
            self.parting = true;
        }
    }

    /// Nothing is on its way to the mind. Every letter that counts takes itself off when it is handled.
    fn is_heard_out(&self) -> bool {
        self.neighbours.awaited.load(Ordering::Relaxed) == 0
    }

    fn is_finished(&self) -> bool {
        self.stopped
            || (self.draining
                && self.intake.is_empty()
                && self.delivery.is_empty()
                && self.mind.as_ref().is_none_or(|mind| mind.is_quiet() && self.is_heard_out()))
    }
}

/// The only place that reads a clock.
#[allow(clippy::disallowed_methods)]
pub(crate) fn read_clock() -> Now {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { mono: Instant::now(), wall_us: wall.as_micros() as u64 }
}
