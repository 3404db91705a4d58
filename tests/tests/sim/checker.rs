//! What must hold, whatever happens: the promises of ARCHITECTURE.md as assertions.
//!
//! The checker keeps its own book of every recipient. It hears what was handed in, what became durable, what dispatch was
//! told and wanted, and what exchangers took; it never looks inside.
//!
//! `book`: what is known of each recipient. `lives`: what a disk must hold. `judge`: the end.

mod book;
mod judge;
mod lives;

use crate::clock::{MINUTE, Micros, SECOND};
use crate::limits::LimitWatch;
use crate::outage::Part;
use crate::scenario::Scenario;
use crate::summary::Summary;
use book::{Attempt, Book, Connection, Fate, InFlight, Mail, Person, State};
use engine::config::Config;
use engine::dispatch::{ConnectionId, Counts, Deliver, Happened, Kind, Open};
use queue::{Committed, Group, MessageId, NewMessage, Recipient};
use smtp::client::Report;
use smtp::parameters::{ByMode, Notify};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Mail for the calm site is delivered within this, however bad the others are.
const CALM_PATIENCE: Micros = 2 * MINUTE;
/// Octets of bodies in memory beyond which hardly any is read back.
const LARGE_CACHE: usize = 1 << 20;

pub struct Checker {
    mails: BTreeMap<MessageId, Mail>,
    by_address: HashMap<String, Person>,
    /// By the transaction's name, of this life.
    transactions: BTreeMap<u64, InFlight>,
    connections: BTreeSet<ConnectionId>,
    refused: BTreeSet<Connection>,
    limits: LimitWatch,
    /// Groups that a power cut caught in the middle of the write.
    uncertain: Vec<Group>,
    restarted: Micros,
    /// No operator, no flood of mail, no clock and no disk keeps the calm site from delivering at once.
    nothing_else_delays: bool,
    expire_ms: u64,
    dead_domains: BTreeSet<String>,
    calm_domains: BTreeSet<String>,
    life: u32,
    now: Micros,
    /// Counted on the way.
    pub summary: Summary,
}

impl Checker {
    pub fn new(scenario: &Scenario, config: &Config) -> Checker {
        let names = |wanted: &dyn Fn(&str) -> bool| {
            scenario.domains.iter().map(|d| d.name.clone()).filter(|name| wanted(name)).collect()
        };
        let (read, cache) = (&scenario.disk.read, config.queue.body_cache_bytes);
        // One message after the other, each for seconds.
        let read_slowly = read.end > SECOND && cache < LARGE_CACHE;
        Checker {
            mails: BTreeMap::new(),
            by_address: HashMap::new(),
            transactions: BTreeMap::new(),
            connections: BTreeSet::new(),
            refused: BTreeSet::new(),
            limits: LimitWatch::new(scenario, config),
            uncertain: Vec::new(),
            restarted: 0,
            nothing_else_delays: !scenario.plan.operations
                && scenario.plan.burst < 50
                && scenario.plan.clock_changes.is_empty()
                && scenario.plan.outages.iter().all(|outage| matches!(outage.part, Part::Disk { .. }))
                && !read_slowly,
            expire_ms: config.retry.expire.as_millis() as u64,
            dead_domains: names(&|name| !scenario.can_deliver(name)),
            calm_domains: names(&|name| scenario.is_calm(name)),
            life: 0,
            now: 0,
            summary: Summary::default(),
        }
    }

    /// From now on these rules hold.
    pub fn reloaded(&mut self, config: &Config, now: Micros) {
        self.summary.reloads += 1;
        self.expire_ms = config.retry.expire.as_millis() as u64;
        self.limits.reloaded(config, now);
    }

    /// An operator keeps back the mail for this domain.
    pub fn is_suspended(&self, domain: &str) -> bool {
        self.limits.is_suspended(domain)
    }

    /// Somebody is being told of it: whatever holds by now, that comes to its end.
    pub fn is_in_flight(&self, id: MessageId) -> bool {
        self.transactions.values().any(|flight| flight.message == id)
    }

    fn book(&mut self, (message, position): Person) -> &mut Book {
        let mail = self.mails.get_mut(&message).unwrap_or_else(|| panic!("message {message} was never handed in"));
        &mut mail.books[position as usize]
    }

    fn name(&self, (message, position): Person) -> String {
        let mail = &self.mails[&message];
        format!("{} of {message}: {:?}", mail.addresses[position as usize], mail.books[position as usize])
    }

    // --- what becomes durable ---

    /// A group is on its way to the disk.
    pub fn submitted(&mut self, group: &Group) {
        for NewMessage { content, .. } in &group.accepts {
            let is_notice = content.envelope.reverse_path.is_null();
            let notice_of = if is_notice { self.actions_in(&content.body.to_bytes()) } else { Vec::new() };
            let is_calm = |domain: &str| self.calm_domains.contains(domain);
            let mail = Mail::new(content, notice_of, is_calm);
            if mail.notice_of.is_empty() {
                let people = mail.addresses.iter().zip(0..);
                self.by_address.extend(people.map(|(address, n)| (address.to_string(), (content.id, n))));
            }
            // What was lost before it was promised leaves no trace, and clocks are set back.
            let is_lost = |mail: Mail| mail.books.iter().all(|book| book.state == State::Lost);
            assert!(self.mails.insert(content.id, mail).is_none_or(is_lost), "the id {} was given twice", content.id);
        }
    }

    /// Clients were told to try later with it: nothing was promised, and nothing of it may ever be seen again.
    pub fn refused_mail(&mut self, group: &Group) {
        for message in &group.accepts {
            self.summary.refused += 1;
            for book in &mut self.mails.get_mut(&message.content.id).expect("handed in").books {
                assert_eq!(book.state, State::Submitted, "refused, but {book:?}");
                book.state = State::Lost;
            }
        }
    }

    /// Whom a notice is about, and what it says of them.
    fn actions_in(&self, text: &[u8]) -> Vec<(Person, String)> {
        let text = String::from_utf8_lossy(text);
        let named = text.lines().filter_map(|line| line.strip_prefix("Final-Recipient: rfc822; "));
        let actions = text.lines().filter_map(|line| line.strip_prefix("Action: "));
        named.zip(actions).map(|(address, action)| (self.by_address[address], action.to_owned())).collect()
    }

    /// A group is on disk.
    pub fn durable(&mut self, group: &Group) {
        for settle in &group.settles {
            for position in settle.done.iter() {
                self.settle((settle.key.id, position));
            }
        }
        for message in &group.accepts {
            self.open_mail(message.content.id);
        }
    }

    fn open_mail(&mut self, id: MessageId) {
        let Some(mail) = self.mails.get_mut(&id) else { panic!("{id} became durable without having been handed in") };
        mail.books.iter_mut().for_each(|book| book.state = State::Open);
        for (person, action) in mail.notice_of.clone() {
            let notices = &mut self.book(person).notices;
            match &*action {
                "failed" => notices.failed += 1,
                "delayed" => notices.delayed += 1,
                "delivered" | "relayed" => notices.succeeded += 1,
                _ => panic!("{action}?"),
            }
        }
    }

    fn settle(&mut self, person: Person) {
        let (state, said) = (self.book(person).state, self.book(person).said);
        let kind = match said {
            Some(kind) if kind != Kind::Deferred => kind,
            other => panic!("out of the queue without an outcome ({other:?}): {}", self.name(person)),
        };
        assert_eq!(state, State::Open, "settled twice, or never open: {}", self.name(person));
        self.book(person).state = State::Done(kind);
    }

    pub fn acknowledged(&mut self, list: &[Committed], now: Micros) {
        self.now = now;
        for committed in list {
            for book in &mut self.mails.get_mut(&committed.content.id).expect("handed in").books {
                assert!(matches!(book.state, State::Open), "answered before it is durable: {book:?}");
                book.acknowledged = Some(now);
            }
        }
    }

    // --- what dispatch does ---

    pub fn opened(&mut self, open: &Open, now: Micros, life: u32) {
        (self.now, self.life) = (now, life);
        assert!(self.connections.insert(open.connection), "the name {:?} is used twice", open.connection);
        self.limits.opened(open, now, life);
    }

    pub fn delivered(&mut self, deliver: &Deliver, now: Micros, life: u32) {
        (self.now, self.life) = (now, life);
        assert!(!deliver.recipients.is_empty(), "a transaction for nobody");
        let id = deliver.content.id;
        for position in deliver.recipients.iter() {
            let book = self.book((id, position));
            let earlier = book.attempts.last().filter(|attempt| attempt.connection.0 == life);
            let free = earlier.is_none_or(|a| matches!(a.fate, Some(Fate::InDoubt | Fate::NotTaken)));
            assert!(free && book.state == State::Open, "must not be tried now: {}", self.name((id, position)));
            let connection = (life, deliver.connection);
            self.book((id, position)).attempts.push(Attempt {
                connection,
                copied: false,
                knows_dsn: false,
                fate: None,
            });
        }
        self.limits.delivered(deliver, now);
        let flight =
            InFlight { connection: (life, deliver.connection), message: id, recipients: deliver.recipients.clone() };
        assert!(self.transactions.insert(deliver.transaction, flight).is_none(), "a transaction's name is used twice");
    }

    /// Dispatch hears what became of a transaction.
    pub fn reported(&mut self, connection: ConnectionId, report: &Report) {
        let Some(flight) = self.transactions.remove(&report.id) else { panic!("reported twice: {report:?}") };
        assert_eq!(flight.connection.1, connection, "reported by another connection");
        self.limits.reported(report);
        for (index, position) in flight.recipients.iter().enumerate() {
            let exception = report.exceptions.iter().find(|(i, _)| *i as usize == index);
            let outcome = exception.map_or(&report.outcome, |(_, outcome)| outcome);
            self.conclude((flight.message, position), Fate::of(outcome));
        }
    }

    fn conclude(&mut self, person: Person, fate: Fate) {
        let attempt = self.book(person).attempts.last_mut().expect("it was handed over");
        attempt.fate = Some(fate);
        match fate {
            Fate::Delivered => {
                assert!(attempt.copied, "reported as delivered, but nobody took it: {}", self.name(person))
            }
            Fate::NotTaken => assert!(!attempt.copied, "taken, but reported as not: {}", self.name(person)),
            Fate::InDoubt => {}
        }
    }

    /// A connection ended. What was still handed to it was never sent.
    pub fn closed(&mut self, connection: ConnectionId) {
        assert!(self.connections.remove(&connection), "closed twice");
        self.limits.closed(connection);
        let unsent: Vec<u64> =
            self.transactions.iter().filter(|(_, t)| t.connection.1 == connection).map(|(id, _)| *id).collect();
        for id in unsent {
            self.limits.unsent(id);
            let Some(flight) = self.transactions.remove(&id) else { continue };
            for position in flight.recipients.iter() {
                self.conclude((flight.message, position), Fate::NotTaken);
            }
        }
    }

    pub fn happened(&mut self, happened: &Happened, now: Micros) {
        self.now = now;
        let person = (happened.id, happened.recipient);
        let (life, refused) = (self.life, &self.refused);
        let mail = self.mails.get_mut(&happened.id).expect("handed in");
        let domain = mail.addresses[happened.recipient as usize].domain().to_owned();
        let age_ms = happened.now.wall_ms().saturating_sub(mail.accepted_ms);
        let returned_ms = mail.deliver_by.filter(|by| by.mode == ByMode::Return).map(|by| by.seconds as u64 * 1000);
        let book = &mut mail.books[happened.recipient as usize];
        let last = book.attempts.last().filter(|attempt| attempt.connection.0 == life);
        let justified = match happened.kind {
            Kind::Delivered => last.is_some_and(|attempt| attempt.fate == Some(Fate::Delivered)),
            Kind::Bounced => {
                let said_so = last.is_some_and(|attempt| refused.contains(&attempt.connection));
                // A host that does not care for the time, or too little of it left.
                said_so || self.dead_domains.contains(&domain) || returned_ms.is_some()
            }
            Kind::Expired => age_ms >= self.expire_ms.min(returned_ms.unwrap_or(u64::MAX)),
            Kind::Deferred | Kind::Removed => true,
        };
        let in_time = book.state == State::Open && book.said.is_none_or(|said| said == Kind::Deferred);
        book.said = Some(happened.kind);
        assert!(justified && in_time, "{:?} is not what happened: {}", happened.kind, self.name(person));
        if happened.kind == Kind::Delivered {
            self.check_calm(person);
        }
        let doubt = self.book(person).attempts.last().is_some_and(|a| a.fate == Some(Fate::InDoubt));
        assert!(!happened.in_doubt || doubt, "not in doubt: {}", self.name(person));
    }

    /// Mail for the calm site never waits for anybody else's troubles.
    fn check_calm(&self, person: Person) {
        let book = &self.mails[&person.0].books[person.1 as usize];
        let Some(acknowledged) = book.acknowledged.filter(|_| book.calm && self.nothing_else_delays) else { return };
        let waited = self.now - acknowledged.max(self.restarted);
        assert!(waited < CALM_PATIENCE, "it waited {waited} µs for others: {}", self.name(person));
    }

    /// The gauges say what is so.
    pub fn check_counts(&self, counts: Counts) {
        let open = counts.connections.total();
        let active: usize = self.transactions.values().map(|flight| flight.recipients.len()).sum();
        assert_eq!((open, counts.active), (self.connections.len() as u64, active as u64), "{counts:?}");
    }

    // --- what exchangers do ---

    /// An exchanger said 5xx on this connection.
    pub fn refused(&mut self, connection: ConnectionId, life: u32) {
        self.refused.insert((life, connection));
    }

    /// An exchanger took a message for these recipients.
    pub fn copied(
        &mut self,
        life: u32,
        connection: ConnectionId,
        (knows_dsn, knows_by): (bool, bool),
        recipients: &[Recipient],
        text: &[u8],
        now: Micros,
    ) {
        self.now = now;
        let head = String::from_utf8_lossy(&text[..text.len().min(2000)]);
        let id =
            head.lines().find_map(|line| line.strip_prefix("Message-ID: <")).and_then(|rest| rest.split('@').next());
        let id: MessageId = id.and_then(|id| id.parse().ok()).expect("every message of ours has a Message-ID");
        let mail = self.mails.get(&id).unwrap_or_else(|| panic!("{id} came out of nowhere"));
        assert!(mail.text == text, "{id} was changed on its way");
        let is_watched = knows_by || mail.deliver_by.is_none();
        for recipient in recipients {
            let position = self.mails[&id].position(&recipient.mailbox);
            let book = self.book((id, position));
            let attempt = book.attempts.iter_mut().rev().find(|a| a.connection == (life, connection) && !a.copied);
            let notify = match (knows_dsn, is_watched) {
                (false, _) => Notify::default(),
                (true, true) => book.notify,
                // RFC 2852 §4.1.4.2.
                (true, false) => book.notify.with_delay(),
            };
            assert_eq!(recipient.notify, notify, "NOTIFY on its way");
            let fits = attempt.map(|attempt| {
                (attempt.copied, attempt.knows_dsn) = (true, knows_dsn);
                attempt.fate.is_none_or(|fate| fate == Fate::InDoubt)
            });
            assert_eq!(fits, Some(true), "nobody sent this copy: {}", self.name((id, position)));
        }
    }
}
