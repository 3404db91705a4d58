//! What must hold, whatever happens: the promises of ARCHITECTURE.md as assertions.
//!
//! The checker keeps its own book of every recipient. It hears what was handed in, what became durable, what dispatch was
//! told and wanted, and what exchangers took; it never looks inside.

use crate::limits::LimitWatch;
use crate::scenario::Scenario;
use crate::world::{MINUTE, Micros, SECOND, Summary};
use engine::dispatch::{ConnectionId, Counts, Deliver, Happened, Kind, Open};
use queue::{Committed, Content, Group, MessageId, Recipient, RecipientSet, Store};
use smtp::Mailbox;
use smtp::client::{Outcome, Report, Stage};
use smtp::parameters::{ByMode, DeliverBy, Notify};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Mail for the calm site is delivered within this, however bad the others are.
const CALM_PATIENCE: Micros = 2 * MINUTE;
/// Octets of bodies in memory beyond which hardly any is read back.
const LARGE_CACHE: usize = 1 << 20;

/// A connection of one life of the engine.
type Connection = (u32, ConnectionId);
/// A recipient: message and position.
type Person = (MessageId, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Handed over, not known to be durable.
    Submitted,
    /// Durable: promised.
    Open,
    /// Durably out of the queue.
    Done(Kind),
    /// Never was durable.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    /// The final reply never came.
    InDoubt,
    /// The peer did not take it.
    NotTaken,
}

#[derive(Debug)]
struct Attempt {
    connection: Connection,
    /// An exchanger took it.
    copied: bool,
    /// And tells the sender of what comes next.
    knows_dsn: bool,
    /// `None`: not known, or the engine died first.
    fate: Option<Fate>,
}

#[derive(Debug)]
struct Book {
    state: State,
    attempts: Vec<Attempt>,
    /// What dispatch said last, in this life.
    said: Option<Kind>,
    notify: Notify,
    /// Notices about it that are durable.
    notices: Notices,
    calm: bool,
    acknowledged: Option<Micros>,
    /// The queue held it when all faults had ended.
    survived: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Notices {
    failed: u32,
    delayed: u32,
    succeeded: u32,
}

struct Mail {
    /// Who it is from; `None`: nobody is to be told of failures.
    sender: Option<Mailbox>,
    accepted_ms: u64,
    addresses: Vec<Mailbox>,
    text: Vec<u8>,
    deliver_by: Option<DeliverBy>,
    /// Whom it is a notice about, and what became of them.
    notice_of: Vec<(Person, String)>,
    books: Vec<Book>,
}

struct InFlight {
    connection: Connection,
    message: MessageId,
    recipients: RecipientSet,
}

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
}

impl Checker {
    pub fn new(scenario: &Scenario) -> Checker {
        let names = |wanted: &dyn Fn(&str) -> bool| {
            scenario.domains.iter().map(|d| d.name.clone()).filter(|name| wanted(name)).collect()
        };
        let (read, cache) = (&scenario.disk.read, scenario.config.queue.body_cache_bytes);
        // One message after the other, each for seconds.
        let read_slowly = read.end > SECOND && cache < LARGE_CACHE;
        Checker {
            mails: BTreeMap::new(),
            by_address: HashMap::new(),
            transactions: BTreeMap::new(),
            connections: BTreeSet::new(),
            refused: BTreeSet::new(),
            limits: LimitWatch::new(scenario),
            uncertain: Vec::new(),
            restarted: 0,
            nothing_else_delays: !scenario.plan.operations
                && scenario.plan.burst < 50
                && scenario.plan.clock_changes.is_empty()
                && !read_slowly,
            expire_ms: scenario.config.retry.expire.as_millis() as u64,
            dead_domains: names(&|name| !scenario.can_deliver(name)),
            calm_domains: names(&|name| scenario.is_calm(name)),
            life: 0,
            now: 0,
        }
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
        for message in &group.accepts {
            self.enter(&message.content);
        }
    }

    fn enter(&mut self, content: &Content) {
        let text = content.body.to_bytes().to_vec();
        let notice_of = if content.envelope.reverse_path.is_null() { self.actions_in(&text) } else { Vec::new() };
        let addresses: Vec<Mailbox> = content.envelope.recipients.iter().map(|r| r.mailbox.clone()).collect();
        for (position, address) in addresses.iter().enumerate() {
            if notice_of.is_empty() {
                self.by_address.insert(address.to_string(), (content.id, position as u32));
            }
        }
        let book = |recipient: &Recipient| Book {
            state: State::Submitted,
            attempts: Vec::new(),
            said: None,
            notify: recipient.notify,
            notices: Notices::default(),
            calm: self.calm_domains.contains(recipient.mailbox.domain()),
            acknowledged: None,
            survived: false,
        };
        let mail = Mail {
            sender: content.envelope.reverse_path.0.clone(),
            accepted_ms: content.envelope.accepted_us / 1000,
            books: content.envelope.recipients.iter().map(book).collect(),
            deliver_by: content.envelope.parameters.deliver_by,
            addresses,
            text,
            notice_of,
        };
        assert!(self.mails.insert(content.id, mail).is_none(), "the id {} was given twice", content.id);
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
            self.conclude((flight.message, position), fate_of(outcome));
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
            let position = mail_position(&self.mails[&id], &recipient.mailbox);
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

    // --- crashes ---

    pub fn crashed(&mut self, uncertain: &[Group]) {
        self.uncertain = uncertain.to_vec();
        self.transactions.clear();
        self.connections.clear();
        self.limits.crashed();
    }

    /// The engine stopped on request: nothing is in flight, nothing unsettled.
    pub fn stopped(&mut self, store: &Store) {
        assert!(self.transactions.is_empty(), "stopped in the middle of a transaction");
        assert!(self.connections.is_empty(), "stopped with connections open");
        for (id, mail) in &self.mails {
            for (position, book) in mail.books.iter().enumerate() {
                let settled = !matches!((book.state, book.said), (State::Open, Some(said)) if said != Kind::Deferred);
                assert!(settled, "stopped without having settled: {}", self.name((*id, position as u32)));
            }
        }
        self.limits.crashed();
        self.compare(store);
    }

    /// The engine starts on what the disk holds: what was promised, what is done, and of what was being written all or
    /// nothing.
    pub fn recovered(&mut self, store: &Store, now: Micros) {
        self.now = now;
        self.life += 1;
        let queued = queued(store);
        let groups = std::mem::take(&mut self.uncertain);
        let applied: BTreeSet<bool> = groups
            .iter()
            .flat_map(|group| {
                let accepts = group.accepts.iter().map(|m| queued.contains_key(&(m.content.id, 0)));
                let done =
                    |s: &queue::Settle| s.done.iter().map(|p| !queued.contains_key(&(s.key.id, p))).collect::<Vec<_>>();
                accepts.chain(group.settles.iter().flat_map(done)).collect::<Vec<_>>()
            })
            .collect();
        assert!(applied.len() < 2, "a group is on disk in part");
        if applied.contains(&true) {
            groups.iter().for_each(|group| self.durable(group));
        }
        for book in self.mails.values_mut().flat_map(|mail| &mut mail.books) {
            if book.state == State::Submitted {
                book.state = State::Lost;
            }
            if matches!(book.state, State::Open) {
                book.said = None;
            }
        }
        self.restarted = self.now;
        self.compare(store);
    }

    /// The queue holds exactly what it should.
    pub fn compare(&mut self, store: &Store) {
        let queued = queued(store);
        for (person, times) in &queued {
            assert_eq!(*times, 1, "several times in the queue: {}", self.name(*person));
            let state = self.book(*person).state;
            assert_eq!(state, State::Open, "in the queue: {}", self.name(*person));
        }
        let open = self.mails.iter().flat_map(|(id, mail)| {
            let open = mail.books.iter().enumerate().filter(|(_, book)| book.state == State::Open);
            open.map(|(position, _)| (*id, position as u32))
        });
        for person in open {
            assert!(queued.contains_key(&person), "lost from the queue: {}", self.name(person));
        }
    }

    // --- the end ---

    pub fn heal(&mut self, now: Micros) {
        self.now = now;
        for book in self.mails.values_mut().flat_map(|mail| &mut mail.books) {
            book.survived = matches!(book.state, State::Open | State::Submitted);
        }
    }

    /// Every recipient ended in one way, and its sender knows.
    pub fn judge(&self) -> Summary {
        self.limits.judge();
        let mut summary = Summary { messages: self.mails.len() as u64, ..Summary::default() };
        for (id, mail) in &self.mails {
            for position in 0..mail.books.len() {
                summary.recipients += 1;
                self.judge_person(mail, (*id, position as u32), &mut summary);
            }
        }
        summary
    }

    fn judge_person(&self, mail: &Mail, person: Person, summary: &mut Summary) {
        let (book, address) = (&mail.books[person.1 as usize], &mail.addresses[person.1 as usize]);
        match book.state {
            State::Done(Kind::Delivered) => summary.delivered += 1,
            State::Done(Kind::Bounced) => summary.bounced += 1,
            State::Done(Kind::Expired) => summary.expired += 1,
            State::Done(Kind::Removed) => summary.removed += 1,
            State::Lost => {}
            _ => panic!("no end: {}", self.name(person)),
        }
        summary.delayed += u64::from(book.notices.delayed);
        summary.succeeded += u64::from(book.notices.succeeded);
        self.judge_notices(mail, person);
        let good = !address.local_part().starts_with("bad") && !self.dead_domains.contains(address.domain());
        if good && book.survived && !matches!(book.state, State::Lost) {
            let fine = matches!(book.state, State::Done(Kind::Delivered | Kind::Expired));
            // A refusal may have been on its way when the faults ended.
            let refused = book.attempts.last().is_some_and(|attempt| self.refused.contains(&attempt.connection));
            // Not to hosts that do not care for the sender's time.
            let returned = mail.deliver_by.is_some_and(|by| by.mode == ByMode::Return);
            assert!(fine || refused || returned, "the world healed, but not: {}", self.name(person));
        }
        self.judge_copies(book, person, summary);
    }

    /// The sender was told what it wanted to hear, once.
    fn judge_notices(&self, mail: &Mail, person: Person) {
        let book = &mail.books[person.1 as usize];
        let (notify, notices) = (book.notify, book.notices);
        let told = mail.sender.is_some();
        let failed = told && notify.on_failure() && matches!(book.state, State::Done(Kind::Bounced | Kind::Expired));
        assert_eq!(notices.failed, failed.into(), "notices of failure: {}", self.name(person));
        let delivered = matches!(book.state, State::Done(Kind::Delivered));
        let taken = book.attempts.iter().rev().find(|attempt| attempt.fate == Some(Fate::Delivered));
        // Who sent BY may hear of a relay without having asked for it.
        let asked = mail.deliver_by.is_some() || (notify.on_success() && taken.is_some_and(|a| !a.knows_dsn));
        let least = u32::from(told && delivered && mail.deliver_by.is_none() && asked);
        let most = u32::from(told && delivered && asked && !notify.is_never());
        assert!((least..=most).contains(&notices.succeeded), "notices of success: {}", self.name(person));
        assert!(notices.delayed <= u32::from(told && notify.on_delay()), "notices of delay: {}", self.name(person));
    }

    /// Every copy but the last is one whose outcome could not be known.
    fn judge_copies(&self, book: &Book, person: Person, summary: &mut Summary) {
        let copies: Vec<&Attempt> = book.attempts.iter().filter(|attempt| attempt.copied).collect();
        let Some((_, earlier)) = copies.split_last() else { return };
        for copy in earlier {
            match copy.fate {
                Some(Fate::InDoubt) => summary.doubled_in_doubt += 1,
                Some(Fate::Delivered) | None => summary.doubled_by_crash += 1,
                Some(Fate::NotTaken) => panic!("a copy too many: {}", self.name(person)),
            }
            let known = copy.fate == Some(Fate::Delivered) || copy.fate.is_none();
            assert!(!known || copy.connection.0 < book.attempts.last().expect("one at least").connection.0);
        }
    }
}

fn mail_position(mail: &Mail, recipient: &Mailbox) -> u32 {
    let position = mail.addresses.iter().position(|address| address == recipient);
    position.expect("only recipients of the message are named") as u32
}

fn fate_of(outcome: &Outcome) -> Fate {
    match outcome {
        Outcome::Replied(Stage::Final, reply) if reply.is_success() => Fate::Delivered,
        Outcome::Lost { in_doubt: true, .. } => Fate::InDoubt,
        _ => Fate::NotTaken,
    }
}

/// Every open recipient in the queue, and how often it is there.
fn queued(store: &Store) -> BTreeMap<Person, u32> {
    let mut found = BTreeMap::new();
    for (key, entry) in store.list(None, usize::MAX).expect("the index works") {
        for position in entry.open.iter() {
            *found.entry((key.id, position)).or_default() += 1;
        }
    }
    found
}
