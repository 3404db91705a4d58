//! One thread of the load generator: hands messages to whichever of its connections has room, and keeps the account.

use super::account::{Flight, Job, Share};
use super::connection::{Connection, Line};
use super::pacer::Pacer;
use super::{LoadError, Shared};
use crate::report::thread_cpu;
use crate::timers::Timers;
use bytes::BytesMut;
use mio::{Events, Poll, Token};
use slab::Slab;
use smtp::client::{Cause, Event, Outcome, Pipelining, Report, Stage, Transaction};
use smtp::{MailParameters, Recipient};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

const EVENTS: usize = 1024;
const READ_BYTES: usize = 32 << 10;
/// How often the stop flag is looked at when nothing happens.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);
/// Messages, besides one per connection, that may wait to be tried again before no new ones are taken.
const SPARE_RETRIES: usize = 64;

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
    pool: BytesMut,
    recipients: Vec<Recipient>,
    share: Share,
    /// When a connection was last known to work, and why the last one failed.
    alive: Instant,
    cause: String,
    deadline: Option<Instant>,
    now: Instant,
    wall_us: u64,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, index: usize, threads: usize, start: Instant) -> io::Result<Worker> {
        let options = &shared.options;
        let connections = options.connections.max(1);
        let mine = connections / threads + usize::from(index < connections % threads);
        let pacer = options.rate.filter(|rate| *rate > 0.0).map(|rate| Pacer::new(start, rate / threads as f64));
        let deadline = options.timeout.map(|timeout| start + timeout);
        Ok(Worker {
            poll: Poll::new()?,
            connections: (0..mine).map(|key| Connection::new(Token(key), start)).collect(),
            timers: Timers::default(),
            idle: VecDeque::new(),
            flights: Slab::new(),
            retries: Vec::new(),
            pacer,
            pool: BytesMut::new(),
            recipients: Vec::new(),
            share: Share::default(),
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
        for (_, Flight { job, .. }) in &self.flights {
            self.share.doubt(&self.shared, job);
        }
        self.share.cpu = thread_cpu();
        Ok(self.share)
    }

    fn begin_tick(&mut self) {
        self.now = Instant::now();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.wall_us = wall.map_or(0, |d| d.as_micros() as u64);
        let is_exhausted = self.is_exhausted();
        if let Some(pacer) = self.pacer.as_mut().filter(|_| !is_exhausted) {
            pacer.release(self.now);
        }
    }

    fn sleep(&self) -> Duration {
        let until = |at: Instant| at.saturating_duration_since(self.now);
        let pacer = self.pacer.as_ref().filter(|_| !self.is_exhausted()).map(|pacer| until(pacer.next()));
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
        self.stopping() || (self.is_exhausted() && self.retries.is_empty())
    }

    /// No message is left to be taken. (Known before anybody asks for another: who took the last one may have closed.)
    fn is_exhausted(&self) -> bool {
        self.shared.next.load(Relaxed) >= self.shared.options.messages
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
            match connection.establish(
                self.shared.client_config(),
                self.shared.tls_from_the_start(),
                self.poll.registry(),
                self.now,
            ) {
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
            // Only asked for where there is one.
            Event::StartTls => {
                if let Some((_, config)) = &self.shared.tls {
                    self.connections[key].begin_tls(config.clone());
                }
            }
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
        // A server that refuses everything for now is not to be asked about ever more messages.
        if self.is_exhausted() || self.retries.len() >= self.connections.len() + SPARE_RETRIES {
            return None;
        }
        let due = match &mut self.pacer {
            None => self.now,
            Some(pacer) => pacer.take()?,
        };
        let message = self.shared.next.fetch_add(1, Relaxed);
        // Another thread may have taken the last one just now.
        if message >= self.shared.options.messages {
            return None;
        }
        Some(Job { message, left: Vec::new(), attempts: 0, counted: false, due })
    }

    fn submit(&mut self, key: usize, job: Job) {
        let plan = &self.shared.plan;
        let body = plan.body(job.message, self.wall_us, &mut self.pool);
        if let Some(submissions) = &self.shared.options.submissions {
            submissions.record(job.message, self.wall_us);
        }
        self.recipients.clear();
        for position in job.positions(plan.recipients_per_message) {
            self.recipients.extend(plan.recipient(job.message, position).map(Recipient::new));
        }
        let id = self.flights.insert(Flight { job, body_bytes: body.len() as u64 });
        if self.share.span.is_none() {
            self.share.span = Some((self.now, self.now));
        }
        let Some(client) = self.connections[key].client() else { return self.resubmit(id) };
        let transaction = Transaction {
            id: id as u64,
            reverse_path: &plan.sender,
            recipients: &mut self.recipients.iter(),
            body: &body,
            parameters: &MailParameters::default(),
            age_seconds: 0,
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

    fn settle(&mut self, report: Report) {
        let flight = self.flights.remove(report.id as usize);
        self.retries.extend(self.share.settle(&self.shared, flight, &report, self.now));
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
        Cause::Auth(error) => format!("at {stage:?}: {error}"),
        Cause::Done => format!("at {stage:?} it ended the conversation"),
    }
}
