//! The outside world, played: a queue, DNS and exchangers whose answers take a while. Same seed, same story.
//!
//! What an exchanger says is written in the local part of the recipient: `ok`, `bounce`, `full` (450 for ever), `later`
//! (450 once), `spam` (554 to the content), `grey` (451 to the content once), `doubt` (lost after the content, once),
//! `lost` (lost at DATA, once), `close` (421 at MAIL, once), `big` (over the SIZE limit); a number may follow.

use crate::config::*;
use crate::dispatch::action::{Deliver, Open, Peer as To};
use crate::dispatch::{Action, ConnectionId, Dispatch, Happened, Input, Kind, Operation};
use crate::now::Now;
use dns::{AddressAnswer, Exchanger, MxAnswer, MxFailure};
use queue::store::Committed;
use queue::{
    Content, Domain, Entry, EntryKey, Envelope, Flow, Group, Location, MailParameters, MessageId, Recipient,
    RecipientSet, Terms,
};
use smtp::client::{Cause, Features, Outcome, Pipelining, Report, Stage, Unsupported};
use smtp::reply::EnhancedCode;
use smtp::{Body, Mailbox, Reply, ReversePath};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a host behaves before mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    #[default]
    Open,
    /// Connection refused.
    Refused,
    /// 554 as greeting.
    Unwelcome,
    /// It is this server.
    Ourselves,
    /// The handshake fails.
    BadTls,
    /// Ends every connection at the first MAIL.
    Slams,
}

enum Event {
    Input(Input),
    Apply(u64, Box<Group>),
    Fetch(Domain, Flow, u64, usize),
    Load(MessageId),
    /// The peer answers the oldest transaction of this connection.
    Answer(ConnectionId),
}

pub struct Peer {
    pub open: Open,
    pub in_flight: VecDeque<Deliver>,
    pub handed: u32,
    closing: bool,
    /// Inputs about one connection keep their order.
    last: Instant,
}

pub struct World {
    pub dispatch: Dispatch,
    pub config: Config,
    pub now: Now,
    rng: fastrand::Rng,
    /// Answers take up to so long.
    pub delay: Duration,
    /// Peers answer only when told to.
    pub manual: bool,
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
    pub peers: BTreeMap<ConnectionId, Peer>,
    tries: HashMap<(MessageId, u32), u32>,
    pub opens: Vec<(Instant, Open)>,
    pub deliveries: Vec<(Instant, ConnectionId, MessageId, RecipientSet)>,
    pub happened: Vec<Happened>,
    pub notices: Vec<Arc<Content>>,
    pub fetches: u32,
    pub loads: u32,
    pub questions: u32,
    pub throttled: BTreeMap<&'static str, Duration>,
    /// Message ids and counts of recipients that were accepted.
    pub accepted: BTreeMap<MessageId, u32>,
}

pub fn limits() -> Limits {
    Limits {
        connections: 20,
        connection_rate: None,
        messages_per_connection: 100,
        rate: None,
        recipients_per_message: 100,
        idle_timeout: Duration::from_secs(5),
        tls: TlsPolicy::Opportunistic,
        pipelining: Pipelining::Transaction,
        suspend: false,
        origin: "test".into(),
    }
}

pub fn config() -> Config {
    Config {
        hostname: "mta.test".into(),
        data_dir: "/nowhere".into(),
        postmaster: Mailbox::parse("postmaster@mta.test").unwrap(),
        listeners: Vec::new(),
        auth: Auth { users: "/nowhere".into(), mechanisms: Vec::new(), max_failures: 3, failure_delay: Duration::ZERO },
        admin: None,
        dns: Dns { nameservers: Vec::new(), timeout: Duration::from_secs(5) },
        delivery: Delivery {
            port: 25,
            workers: 1,
            ip_family: dns::resolver::IpFamily::Any,
            source_addresses: Vec::new(),
            tls_ca_file: None,
            connect_timeout: Duration::from_secs(30),
            timeouts: Default::default(),
            max_hops: 50,
        },
        retry: RetryPolicy {
            schedule: [60, 300, 900, 3600].map(Duration::from_secs).to_vec(),
            expire: Duration::from_secs(6 * 3600),
            notify_delay: None,
            jitter: 0.2,
        },
        queue: QueueLimits {
            max_recipients: 1 << 30,
            max_bytes: 1 << 40,
            min_free_bytes: 0,
            body_cache_bytes: 1 << 20,
        },
        limits: Arc::new(limits()),
        sites: Vec::new(),
        routes: Vec::new(),
        log: Log { json: false, events: None },
    }
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
            manual: false,
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
            peers: BTreeMap::new(),
            tries: HashMap::new(),
            opens: Vec::new(),
            deliveries: Vec::new(),
            happened: Vec::new(),
            notices: Vec::new(),
            fetches: 0,
            loads: 0,
            questions: 0,
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

    /// A message enters the queue; dispatch is told.
    pub fn accept(&mut self, sender: &str, recipients: &[&str]) -> MessageId {
        self.accept_body(sender, recipients, "Subject: hello\r\nFrom: a@b\r\n\r\nHi.\r\n")
    }
    pub fn accept_body(&mut self, sender: &str, recipients: &[&str], body: &str) -> MessageId {
        let recipients = recipients.iter().map(|r| Recipient::new(Mailbox::parse(r).unwrap())).collect();
        self.accept_envelope(sender, recipients, MailParameters::default(), body)
    }
    pub fn accept_envelope(
        &mut self,
        sender: &str,
        recipients: Vec<Recipient>,
        parameters: MailParameters,
        body: &str,
    ) -> MessageId {
        self.serial += 1;
        let id = MessageId(self.serial);
        let content = Content {
            id,
            envelope: Envelope {
                reverse_path: ReversePath((!sender.is_empty()).then(|| Mailbox::parse(sender).unwrap())),
                recipients,
                accepted_us: self.now.wall_us,
                parameters,
                tenant: self.tenant.map(Into::into),
                campaign: self.campaign.map(Into::into),
            },
            body: Body::new(body.to_owned()),
        };
        let committed = self.commit(Arc::new(content));
        self.handle(Input::Committed(vec![committed]));
        id
    }
    fn commit(&mut self, content: Arc<Content>) -> Committed {
        let mut domains: BTreeMap<Domain, RecipientSet> = BTreeMap::new();
        for (i, r) in content.envelope.recipients.iter().enumerate() {
            domains.entry(Domain::new(&r.mailbox.domain_key())).or_default().insert(i as u32);
        }
        let mut entries = smallvec::SmallVec::new();
        for (domain, open) in domains {
            let flow = Flow::of(&content.envelope);
            let key = EntryKey { domain, flow, due_ms: self.now.wall_ms(), id: content.id };
            let entry = Entry {
                location: Location { segment: 1, offset: 0, len: 1 },
                open,
                attempts: 0,
                accepted_ms: self.now.wall_ms(),
                body_bytes: content.body.len() as u32,
                last_error: "".into(),
                terms: Terms::of(&content.envelope),
                delay_told: false,
            };
            self.disk.insert(key.clone(), entry.clone());
            entries.push((key, entry));
        }
        self.accepted.insert(content.id, content.envelope.recipients.len() as u32);
        self.contents.insert(content.id, content.clone());
        Committed { content, entries }
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
                self.push_soon(Event::Load(id));
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
            Action::Settle { token, group } => {
                self.committed = self.committed.max(self.later());
                let at = self.committed;
                self.push(at, Event::Apply(token, Box::new(group)));
            }
            Action::Happened(happened) => self.happened.push(*happened),
            Action::Noticed(_) => {}
            Action::Throttled { limit, waited, .. } => *self.throttled.entry(limit).or_default() += waited,
        }
    }

    pub fn mx_answer(&self, domain: &str) -> Result<MxAnswer, MxFailure> {
        let list = match self.mx.get(domain) {
            Some(answer) => answer.clone()?,
            None => vec![(10, format!("mx.{domain}"))],
        };
        let exchanger =
            |(preference, host): &(u16, String)| Exchanger { preference: *preference, host: (**host).into() };
        let mut hosts: Vec<&str> = list.iter().map(|(_, h)| &**h).collect();
        hosts.sort_unstable();
        Ok(MxAnswer {
            exchangers: list.iter().map(exchanger).collect(),
            site: hosts.join(",").into(),
            implicit: false,
            expires: self.now.mono + Duration::from_secs(3600),
            stale: false,
        })
    }

    fn open(&mut self, open: Open) {
        let id = open.connection;
        let limit = |limits: &Limits| limits.connections as usize;
        let most =
            self.config.sites.iter().map(|s| limit(&s.limits)).chain([limit(&self.config.limits)]).max().unwrap();
        let same = self.peers.values().filter(|p| p.open.site == open.site).count();
        assert!(same < most, "{} connections to {}", same + 1, open.site);
        self.opens.push((self.now.mono, open.clone()));
        let door = match &open.peer {
            To::At(SocketName::Tcp(peer)) => self.doors.get(&peer.ip()).copied().unwrap_or_default(),
            To::At(SocketName::Unix(_)) | To::Caller(_) => Door::Open,
        };
        let tls = open.tls != TlsPolicy::Off;
        let peer = Peer { open, in_flight: VecDeque::new(), handed: 0, closing: false, last: self.now.mono };
        self.peers.insert(id, peer);
        let refused = Reply::fixed(554, EnhancedCode(5, 7, 1), "no");
        let input = match door {
            Door::Refused => Input::Closed(id, Stage::Connect, Cause::Io(std::io::ErrorKind::ConnectionRefused)),
            Door::Unwelcome => Input::Closed(id, Stage::Greeting, Cause::Replied(refused)),
            Door::BadTls if tls => Input::Closed(id, Stage::Tls, Cause::Tls("bad".into())),
            Door::Ourselves => Input::Ourselves(id),
            Door::Open | Door::BadTls | Door::Slams => Input::Ready(id, None, self.features.clone()),
        };
        self.push_peer(id, Event::Input(input));
    }

    fn deliver(&mut self, deliver: Deliver) {
        let id = deliver.connection;
        self.deliveries.push((self.now.mono, id, deliver.content.id, deliver.recipients.clone()));
        assert!(!deliver.recipients.is_empty());
        assert!(deliver.recipients.len() <= self.config.limits.recipients_per_message as usize);
        let Some(peer) = self.peers.get_mut(&id) else { panic!("delivers over a closed connection") };
        peer.handed += 1;
        assert!(peer.handed <= self.config.limits.messages_per_connection);
        assert!(!peer.closing, "delivers after Close");
        peer.in_flight.push_back(deliver);
        assert!(peer.in_flight.len() <= peer.open.window, "more than its credit");
        if !self.manual {
            self.push_peer(id, Event::Answer(id));
        }
    }

    /// Every peer answers all it has (for manual peers).
    pub fn answer_all(&mut self) {
        let waiting: Vec<(ConnectionId, usize)> = self.peers.iter().map(|(id, p)| (*id, p.in_flight.len())).collect();
        for (id, count) in waiting {
            for _ in 0..count {
                self.answer(id);
            }
        }
    }

    fn answer(&mut self, id: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(deliver) = peer.in_flight.pop_front() else { return };
        let slams = match &peer.open.peer {
            To::At(SocketName::Tcp(peer)) => self.doors.get(&peer.ip()) == Some(&Door::Slams),
            To::At(SocketName::Unix(_)) | To::Caller(_) => false,
        };
        let mut exceptions = Vec::new();
        let mut whole = None;
        for (i, position) in deliver.recipients.iter().enumerate() {
            let tries = self.tries.entry((deliver.content.id, position)).or_default();
            *tries += 1;
            let local = deliver.content.envelope.recipients[position as usize].mailbox.local_part();
            let (own, all) = script(local, *tries);
            if let Some(own) = own {
                exceptions.push((i as u32, own));
            }
            whole = whole.or(all);
        }
        let promises = self.promising.as_ref().is_none_or(|hosts| hosts.contains(&&*peer.open.host));
        let envelope = &deliver.content.envelope;
        if envelope.parameters.require_tls && !envelope.reverse_path.is_null() && !promises {
            whole = Some(Outcome::Unsupported(Unsupported::RequireTls));
            exceptions.clear();
        }
        if slams {
            whole = Some(Outcome::Lost { stage: Stage::Mail, cause: Cause::Eof, in_doubt: false });
        }
        let taken = Outcome::Replied(Stage::Final, Reply::fixed(250, EnhancedCode(2, 0, 0), "taken"));
        let outcome = whole.unwrap_or(taken);
        let ends = match &outcome {
            Outcome::Lost { stage, cause, .. } => Some((*stage, cause.clone())),
            Outcome::Replied(stage, reply) if reply.code == 421 => Some((*stage, Cause::Replied(reply.clone()))),
            _ => None,
        };
        if ends.is_some() {
            exceptions.clear();
        }
        let report = Report { id: deliver.transaction, outcome, exceptions };
        let mut inputs = vec![Input::Report(id, report)];
        if let Some((stage, cause)) = ends {
            let rest = std::mem::take(&mut self.peers.get_mut(&id).unwrap().in_flight);
            for other in rest {
                let report = Report { id: other.transaction, outcome: Outcome::NotSent, exceptions: Vec::new() };
                inputs.push(Input::Report(id, report));
            }
            inputs.push(Input::Closed(id, stage, cause));
            self.peers.get_mut(&id).unwrap().closing = true;
        } else {
            let peer = &self.peers[&id];
            if peer.closing && peer.in_flight.is_empty() {
                inputs.push(Input::Closed(id, Stage::Idle, Cause::Done));
            }
        }
        for input in inputs {
            self.hand_in(input);
        }
    }

    /// Input now; a connection that ends is forgotten first.
    fn hand_in(&mut self, input: Input) {
        if let Input::Closed(id, ..) = &input
            && self.peers.remove(id).is_none()
        {
            return;
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

    fn apply(&mut self, token: u64, group: Group) {
        for settle in group.settles {
            let Some(entry) = self.disk.get_mut(&settle.key) else { continue };
            entry.open.subtract(&settle.done);
            let mut moved = None;
            if let Some(retry) = settle.retry {
                entry.open.subtract(&retry.recipients);
                let to = EntryKey { due_ms: retry.due_ms, ..settle.key.clone() };
                let queue::Retry { attempts, last_error, delay_told, .. } = retry;
                let entry = Entry { attempts, last_error, delay_told, ..entry.clone() };
                moved = Some((to, retry.recipients, entry));
            }
            if entry.open.is_empty() {
                self.disk.remove(&settle.key);
            }
            if let Some((to, recipients, entry)) = moved {
                let target = self.disk.entry(to).or_insert(Entry { open: RecipientSet::new(), ..entry });
                target.open.union(&recipients);
            }
        }
        let mut committed = Vec::new();
        for notice in group.accepts {
            self.notices.push(notice.content.clone());
            committed.push(self.commit(notice.content));
        }
        self.dispatch.handle(self.now, Input::Settled(token));
        if !committed.is_empty() {
            self.dispatch.handle(self.now, Input::Committed(committed));
        }
    }

    fn fetch(&mut self, domain: Domain, flow: Flow, until_ms: u64, limit: usize) {
        let first = EntryKey { domain: domain.clone(), flow, due_ms: 0, id: MessageId(0) };
        let all = self.disk.range(first..).take_while(|(k, _)| k.domain == domain && k.flow == flow);
        let due: Vec<(EntryKey, Entry)> = all
            .clone()
            .take_while(|(k, _)| k.due_ms <= until_ms)
            .take(limit + 1)
            .map(|(k, e)| (k.clone(), e.clone()))
            .collect();
        let more = due.len() > limit;
        let next_due_ms = all.map(|(k, _)| k.due_ms).find(|due| *due > until_ms && *due != EntryKey::HELD);
        let entries = due.into_iter().take(limit).collect();
        self.push_soon(Event::Input(Input::Fetched { domain, flow, entries, more, next_due_ms }));
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

/// What the local part says: this recipient's outcome, or the whole transaction's.
fn script(local: &str, tries: u32) -> (Option<Outcome>, Option<Outcome>) {
    let word = local.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
    let reply = |stage, code: u16, x, y| {
        Some(Outcome::Replied(stage, Reply::fixed(code, EnhancedCode((code / 100) as u8, x, y), "scripted")))
    };
    let lost = |stage, in_doubt| Some(Outcome::Lost { stage, cause: Cause::Eof, in_doubt });
    match word {
        "bounce" => (reply(Stage::Rcpt, 550, 1, 1), None),
        "full" => (reply(Stage::Rcpt, 450, 2, 2), None),
        "later" if tries == 1 => (reply(Stage::Rcpt, 450, 2, 0), None),
        "spam" => (None, reply(Stage::Final, 554, 7, 1)),
        "grey" if tries == 1 => (None, reply(Stage::Final, 451, 7, 1)),
        "doubt" if tries == 1 => (None, lost(Stage::Final, true)),
        "lost" if tries == 1 => (None, lost(Stage::Data, false)),
        "close" if tries == 1 => (None, reply(Stage::Mail, 421, 3, 2)),
        "big" => (None, Some(Outcome::Unsupported(Unsupported::Size { limit: 1 }))),
        _ => (None, None),
    }
}

/// An address for a host that none was given for.
pub fn address_of(host: &str) -> IpAddr {
    let sum = host.bytes().fold(7u32, |sum, b| sum.wrapping_mul(31).wrapping_add(u32::from(b)));
    IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 | sum & 0x00ff_ffff))
}
