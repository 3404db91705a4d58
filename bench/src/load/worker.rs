//! One thread of the load generator: hands messages to whichever of its connections has room, and keeps the account.

use super::connection::{Connection, Line};
use super::{LoadError, Shared};
use crate::proof::IdSet;
use crate::report::{latency_histogram, thread_cpu};
use crate::timers::Timers;
use bytes::BytesMut;
use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};
use slab::Slab;
use smtp::Mailbox;
use smtp::client::{Cause, Event, Outcome, Pipelining, Report, Stage, Transaction};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

const EVENTS: usize = 1024;
const READ_BYTES: usize = 32 << 10;
/// How often the stop flag is looked at when nothing happens.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// Before a message that was refused for now is tried again.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// Code under which the report counts what the server cannot do.
const UNSUPPORTED: u16 = 0;

/// One thread's part of the result.
pub(super) struct Share {
    pub messages: u64,
    pub bytes: u64,
    pub connections_opened: u64,
    pub connection_failures: u64,
    pub refused: BTreeMap<u16, u64>,
    pub deferred: BTreeMap<u16, u64>,
    pub acknowledged: IdSet,
    pub doubtful: IdSet,
    pub latency: Histogram<u64>,
    /// First submission, last reply.
    pub span: Option<(Instant, Instant)>,
    pub cpu: Duration,
}

/// A message, or what is left of it, to be submitted.
struct Job {
    message: u64,
    /// Positions of the recipients that are left; empty: all.
    left: Vec<u32>,
    attempts: u32,
    /// Acknowledged for somebody already.
    counted: bool,
    /// From when its latency counts.
    due: Instant,
}

/// A submitted job.
struct Flight {
    job: Job,
    body_bytes: u64,
}

/// One thread.
pub(super) struct Worker {
    shared: Arc<Shared>,
    poll: Poll,
    connections: Vec<Connection>,
    timers: Timers,
    idle: VecDeque<usize>,
    flights: Slab<Flight>,
    retries: Vec<(Instant, Job)>,
    pacer: Option<Pacer>,
    /// No message is left to be taken.
    exhausted: bool,
    pool: BytesMut,
    mailboxes: Vec<Mailbox>,
    share: Share,
    /// When a connection was last known to work, and why the last one failed.
    alive: Instant,
    cause: String,
    deadline: Option<Instant>,
    now: Instant,
    wall_us: u64,
}

/// Lets messages go at their times.
struct Pacer {
    start: Instant,
    interval: Duration,
    released: u64,
    /// When those that wait for a connection became due.
    due: VecDeque<Instant>,
}

impl Pacer {
    fn release(&mut self, now: Instant) {
        while self.next() <= now {
            self.released += 1;
            // What counts is when the generator could have sent it, not the timer's lateness.
            self.due.push_back(now);
        }
    }

    fn next(&self) -> Instant {
        self.start + self.interval.mul_f64(self.released as f64)
    }
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, index: usize, threads: usize, start: Instant) -> io::Result<Worker> {
        let options = &shared.options;
        let connections = options.connections.max(1);
        let mine = connections / threads + usize::from(index < connections % threads);
        let pacer = options.rate.filter(|rate| *rate > 0.0).map(|rate| Pacer {
            start,
            interval: Duration::from_secs_f64(threads as f64 / rate),
            released: 0,
            due: VecDeque::new(),
        });
        let deadline = options.timeout.map(|timeout| start + timeout);
        Ok(Worker {
            poll: Poll::new()?,
            connections: (0..mine).map(|key| Connection::new(Token(key), start)).collect(),
            timers: Timers::default(),
            idle: VecDeque::new(),
            flights: Slab::new(),
            retries: Vec::new(),
            pacer,
            exhausted: false,
            pool: BytesMut::new(),
            mailboxes: Vec::new(),
            share: Share {
                messages: 0,
                bytes: 0,
                connections_opened: 0,
                connection_failures: 0,
                refused: BTreeMap::new(),
                deferred: BTreeMap::new(),
                acknowledged: IdSet::default(),
                doubtful: IdSet::default(),
                latency: latency_histogram(),
                span: None,
                cpu: Duration::ZERO,
            },
            alive: start,
            cause: "no answer".into(),
            deadline,
            now: start,
            wall_us: 0,
            shared,
        })
    }

    pub(super) fn run(mut self) -> Result<Share, LoadError> {
        let mut events = Events::with_capacity(EVENTS);
        let mut buffer = vec![0; READ_BYTES];
        self.begin_tick();
        for key in 0..self.connections.len() {
            self.connect(key);
        }
        while !self.finished() {
            match self.poll.poll(&mut events, Some(self.sleep())) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            self.begin_tick();
            for event in &events {
                let Token(key) = event.token();
                let closed = event.is_read_closed() || event.is_error();
                self.handle_event(key, event.is_readable() || closed, closed, &mut buffer);
            }
            while let Some((at, key)) = self.timers.pop(self.now) {
                self.connections[key].armed.fired(at);
                self.handle_timer(key);
            }
            self.employ_idle();
            self.check_alive()?;
        }
        self.account_for_the_rest();
        self.share.cpu = thread_cpu();
        Ok(self.share)
    }

    fn begin_tick(&mut self) {
        self.now = Instant::now();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.wall_us = wall.map_or(0, |d| d.as_micros() as u64);
        if let Some(pacer) = &mut self.pacer {
            pacer.release(self.now);
        }
    }

    fn sleep(&self) -> Duration {
        let until = |at: Instant| at.saturating_duration_since(self.now);
        let pacer = self.pacer.as_ref().filter(|_| !self.exhausted).map(|pacer| until(pacer.next()));
        let retry = self.retries.iter().map(|(at, _)| until(*at)).min().filter(|_| !self.idle.is_empty());
        let deadline = self.deadline.map(until);
        let waits = [self.timers.wait(self.now), pacer, retry, deadline];
        waits.into_iter().flatten().min().unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }

    /// Nothing is left to do, or no time to do it. The last connections say QUIT before.
    fn finished(&mut self) -> bool {
        if self.shared.abort.load(Relaxed) || self.deadline.is_some_and(|at| at <= self.now) {
            return true;
        }
        if !self.out_of_work() || !self.flights.is_empty() {
            return false;
        }
        for key in 0..self.connections.len() {
            let connection = &mut self.connections[key];
            match &mut connection.line {
                Line::Up(_, client) if connection.ready => {
                    connection.ready = false;
                    connection.quitting = true;
                    client.quit(self.now);
                    self.pump(key);
                }
                Line::Up(..) if connection.quitting => {}
                _ => connection.line = Line::Done,
            }
        }
        self.connections.iter().all(|connection| matches!(connection.line, Line::Done))
    }

    /// Nothing is to be submitted now or later.
    fn out_of_work(&self) -> bool {
        self.stopping() || (self.exhausted && self.retries.is_empty())
    }

    fn stopping(&self) -> bool {
        self.shared.options.stop.load(Relaxed)
    }

    fn check_alive(&mut self) -> Result<(), LoadError> {
        let any = self.connections.iter().any(|c| c.ready || matches!(c.line, Line::Done));
        if any || !self.flights.is_empty() {
            self.alive = self.now;
        }
        if self.now.duration_since(self.alive) < self.shared.options.patience || self.stopping() {
            return Ok(());
        }
        Err(LoadError::Unreachable { to: self.shared.options.to.clone(), cause: self.cause.clone() })
    }
}

/// Connections.
impl Worker {
    fn connect(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        match connection.connect(&self.shared.options.to, self.poll.registry()) {
            Ok(()) => self.share.connections_opened += 1,
            Err(e) => self.handle_failure(key, e.to_string()),
        }
        self.arm(key);
    }

    fn arm(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let deadline = connection.deadline();
        self.timers.arm(&mut connection.armed, key, deadline);
    }

    fn handle_event(&mut self, key: usize, readable: bool, closed: bool, buffer: &mut [u8]) {
        let connection = &mut self.connections[key];
        if let Line::Connecting(_) = connection.line {
            match connection.establish(&self.shared.client, self.poll.registry(), self.now) {
                Ok(true) => {}
                Ok(false) => return,
                Err(e) => {
                    self.handle_failure(key, e.to_string());
                    return self.arm(key);
                }
            }
        }
        if readable {
            self.connections[key].read(buffer, closed, self.now);
        }
        self.pump(key);
    }

    fn handle_timer(&mut self, key: usize) {
        match &mut self.connections[key].line {
            Line::Down(until) if *until <= self.now => self.connect(key),
            Line::Up(_, client) if client.poll_timeout().is_some_and(|at| at <= self.now) => {
                client.handle_timeout(self.now);
                self.pump(key);
            }
            _ => self.arm(key),
        }
    }

    fn handle_failure(&mut self, key: usize, cause: String) {
        self.cause = cause;
        self.share.connection_failures += 1;
        self.connections[key].back_off(self.now);
    }

    /// Hears what the machine has to say, gives it work, writes.
    fn pump(&mut self, key: usize) {
        loop {
            while let Some(event) = self.connections[key].poll_event() {
                self.handle_client(key, event);
            }
            self.employ(key);
            self.connections[key].write(self.poll.registry(), self.now);
            // A write that failed has something to say.
            let Some(event) = self.connections[key].poll_event() else { break };
            self.handle_client(key, event);
        }
        self.arm(key);
    }

    fn handle_client(&mut self, key: usize, event: Event) {
        match event {
            Event::Ready(_) => self.connections[key].ready = true,
            Event::Report(report) => {
                self.connections[key].set_healthy();
                self.settle(report);
            }
            Event::StartTls => {}
            Event::Closed { stage, cause } => self.handle_closed(key, stage, cause),
        }
    }

    fn handle_closed(&mut self, key: usize, stage: Stage, cause: Cause) {
        // The last words, QUIT perhaps.
        self.connections[key].write(self.poll.registry(), self.now);
        if self.out_of_work() && self.flights.is_empty() {
            self.connections[key].line = Line::Done;
        } else if cause == Cause::Done {
            self.connections[key].reconnect(self.now);
        } else {
            self.handle_failure(key, describe(stage, &cause));
        }
    }
}

/// Work.
impl Worker {
    fn employ_idle(&mut self) {
        while !self.idle.is_empty() {
            let Some(job) = self.next_job() else { return };
            let Some(key) = self.idle.pop_front() else { return };
            self.connections[key].idle = false;
            if self.connections[key].ready {
                self.submit(key, job);
                self.pump(key);
            } else {
                self.retries.push((self.now, job));
            }
        }
    }

    /// Fills a connection's room.
    fn employ(&mut self, key: usize) {
        let wanted = match self.shared.options.pipelining {
            Pipelining::Stream => self.shared.options.window.max(1),
            // A second one would only grow old in the machine.
            Pipelining::Off | Pipelining::Transaction => 1,
        };
        while self.connections[key].room(wanted) {
            match self.next_job() {
                Some(job) => self.submit(key, job),
                None => {
                    if !std::mem::replace(&mut self.connections[key].idle, true) {
                        self.idle.push_back(key);
                    }
                    return;
                }
            }
        }
    }

    fn next_job(&mut self) -> Option<Job> {
        if self.stopping() {
            return None;
        }
        if !self.retries.is_empty()
            && let Some(at) = self.retries.iter().position(|(due, _)| *due <= self.now)
        {
            return Some(self.retries.swap_remove(at).1);
        }
        if self.exhausted {
            return None;
        }
        let due = match &mut self.pacer {
            None => self.now,
            Some(pacer) => pacer.due.pop_front()?,
        };
        let message = self.shared.next.fetch_add(1, Relaxed);
        if message >= self.shared.options.messages {
            self.exhausted = true;
            return None;
        }
        Some(Job { message, left: Vec::new(), attempts: 0, counted: false, due })
    }

    fn submit(&mut self, key: usize, job: Job) {
        let plan = &self.shared.plan;
        let body = plan.body(job.message, self.wall_us, &mut self.pool);
        self.mailboxes.clear();
        for position in job.positions(plan.recipients_per_message) {
            self.mailboxes.extend(plan.recipient(job.message, position));
        }
        let id = self.flights.insert(Flight { job, body_bytes: body.len() as u64 });
        if self.share.span.is_none() {
            self.share.span = Some((self.now, self.now));
        }
        let Some(client) = self.connections[key].client() else { return self.resubmit(id) };
        let transaction = Transaction {
            id: id as u64,
            reverse_path: &plan.sender,
            recipients: &mut self.mailboxes.iter(),
            body: &body,
            smtputf8: false,
        };
        if let Err(unsupported) = client.submit(transaction, self.now) {
            let report = Report { id: id as u64, outcome: Outcome::Unsupported(unsupported), exceptions: Vec::new() };
            self.settle(report);
        }
    }

    fn resubmit(&mut self, id: usize) {
        let job = self.flights.remove(id).job;
        self.retries.push((self.now, job));
    }

    /// Accounts for a transaction's result, recipient by recipient.
    fn settle(&mut self, report: Report) {
        let Flight { mut job, body_bytes } = self.flights.remove(report.id as usize);
        let before = self.share.acknowledged.len();
        let mut again = Vec::new();
        let mut retry_at = None;
        let mut exceptions = report.exceptions.iter().peekable();
        for (index, position) in job.positions(self.shared.plan.recipients_per_message).enumerate() {
            let exception = exceptions.next_if(|(at, _)| *at as usize == index);
            let outcome = exception.map_or(&report.outcome, |(_, outcome)| outcome);
            if let Some(wait) = self.judge(&job, position, outcome) {
                again.push(position);
                retry_at = retry_at.max(Some(self.now + wait));
            }
        }
        if let Some((_, last)) = &mut self.share.span {
            *last = self.now;
        }
        let accepted = self.share.acknowledged.len() - before;
        if accepted > 0 {
            self.shared.recipients.fetch_add(accepted, Relaxed);
            let micros = self.now.saturating_duration_since(job.due).as_micros() as u64;
            self.share.latency.saturating_record(micros.max(1));
            if !std::mem::replace(&mut job.counted, true) {
                self.share.messages += 1;
                self.share.bytes += body_bytes;
                self.shared.messages.fetch_add(1, Relaxed);
            }
        }
        if let Some(at) = retry_at {
            let not_sent = report.exceptions.is_empty() && report.outcome == Outcome::NotSent;
            job.attempts += u32::from(!not_sent);
            job.left = again;
            self.retries.push((at, job));
        }
    }

    /// The fate of one recipient: `Some` when it is to be tried again, after so long.
    fn judge(&mut self, job: &Job, position: u32, outcome: &Outcome) -> Option<Duration> {
        let number = self.shared.plan.number(job.message, position);
        let last = job.attempts + 1 >= self.shared.options.attempts;
        let code = match outcome {
            Outcome::Replied(_, reply) if reply.is_success() => {
                self.share.acknowledged.insert(number);
                return None;
            }
            Outcome::Replied(_, reply) if reply.is_permanent() || last => reply.code,
            Outcome::Replied(_, reply) => {
                *self.share.deferred.entry(reply.code).or_default() += 1;
                self.shared.deferred.fetch_add(1, Relaxed);
                return Some(FIRST_RETRY.saturating_mul(1 << job.attempts.min(10)).min(LAST_RETRY));
            }
            Outcome::Lost { in_doubt: true, .. } => {
                self.share.doubtful.insert(number);
                self.shared.failed.fetch_add(1, Relaxed);
                return None;
            }
            Outcome::Lost { .. } | Outcome::NotSent => return Some(Duration::ZERO),
            Outcome::Unsupported(_) => UNSUPPORTED,
        };
        *self.share.refused.entry(code).or_default() += 1;
        self.shared.failed.fetch_add(1, Relaxed);
        None
    }

    /// Time is up: what is still in flight may have been taken.
    fn account_for_the_rest(&mut self) {
        for (_, Flight { job, .. }) in &self.flights {
            for position in job.positions(self.shared.plan.recipients_per_message) {
                self.share.doubtful.insert(self.shared.plan.number(job.message, position));
            }
        }
    }
}

impl Job {
    fn positions(&self, all: u64) -> impl Iterator<Item = u32> + use<> {
        let left = self.left.clone();
        let all = if left.is_empty() { all as u32 } else { 0 };
        left.into_iter().chain(0..all)
    }
}

fn describe(stage: Stage, cause: &Cause) -> String {
    match cause {
        Cause::Replied(reply) => format!("at {stage:?} it said {} {}", reply.code, reply.text),
        Cause::Eof => format!("at {stage:?} it closed the connection"),
        Cause::Timeout => format!("at {stage:?} it gave no answer in time"),
        Cause::Io(kind) => format!("at {stage:?}: {kind}"),
        Cause::Protocol(what) => format!("at {stage:?}: {what}"),
        Cause::Tls(what) => format!("at {stage:?}: {what}"),
        Cause::Done => format!("at {stage:?} it ended the conversation"),
    }
}
