//! The thread that turns questions into answers, and the table that it shares with those who ask.

use crate::cache::{Answer, Cache, Known};
use crate::mx::{self, Exchanger, MxAnswer, MxFailure};
use crate::name;
use crate::resolver::{AddressAnswer, IpFamily, Lookup, Options};
use crate::upstream::{Reply, Upstream};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;

/// How long a "no" holds whose server did not say (no SOA, RFC 2308 §5), within `min_ttl` and `max_ttl`.
const NEGATIVE_TTL: Duration = Duration::from_secs(60);
/// No "no" is believed for longer (RFC 2308 §5 suggests one to three hours).
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(3600);
/// How long a failure to get an answer is remembered; also how often a stale answer's name is asked for again.
/// Never longer than the timeout: what is cheap to find out is not worth remembering.
const MAX_FAILURE_TTL: Duration = Duration::from_secs(5);
/// Different questions waiting at once, per kind; the next is answered with [`MxFailure::Temporary`].
const MAX_WAITING: usize = 100_000;
/// Addresses of a host that are tried. They come in random order, so that those of a larger set share the load all the same.
const MAX_ADDRESSES: usize = 16;

/// Called with the answer.
pub(crate) type Done<A> = Box<dyn FnOnce(Result<A, MxFailure>) + Send>;

pub(crate) enum Question {
    Mx(Arc<str>),
    Addresses(Arc<str>),
}

/// One kind of question: what is known and who waits for what.
pub(crate) struct Table<A>(Mutex<State<A>>);

struct State<A> {
    cache: Cache<A>,
    /// Those who wait for a question under way; nobody when it is asked in the background.
    waiting: HashMap<Arc<str>, Vec<Done<A>>>,
}

impl<A: Answer> Table<A> {
    fn new(options: &Options) -> Table<A> {
        let retry_after = options.timeout.min(MAX_FAILURE_TTL);
        let cache = Cache::new(options.cache_entries, options.max_stale, retry_after);
        Table(Mutex::new(State { cache, waiting: HashMap::new() }))
    }

    /// Nothing that can panic runs under the lock, so a poisoned one is whole.
    fn state(&self) -> MutexGuard<'_, State<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a name in whatever spelling; misses if the spelling is unusual.
    pub(crate) fn fresh(&self, name: &str, now: Instant) -> Option<Result<A, MxFailure>> {
        match self.state().cache.lookup(name, now) {
            Known::Yes(answer) => Some(answer),
            _ => None,
        }
    }

    /// Answers from the cache, or notes who waits. The name is returned when the question has to go out.
    pub(crate) fn ask(&self, name: &str, now: Instant, done: Done<A>) -> Option<Arc<str>> {
        let mut state = self.state();
        let (answer, wait) = match state.cache.lookup(name, now) {
            Known::Yes(answer) => (Some(answer), false),
            Known::AskAgain(answer) => (Some(Ok(answer)), true),
            Known::No => (None, true),
        };
        let merged = state.waiting.contains_key(name);
        let full = !merged && state.waiting.len() >= MAX_WAITING;
        let question = (wait && !merged && !full).then(|| Arc::<str>::from(name));
        if let Some(question) = &question {
            state.waiting.insert(question.clone(), Vec::new());
        }
        match (answer, state.waiting.get_mut(name)) {
            (Some(answer), _) => {
                drop(state);
                done(answer);
            }
            (None, Some(waiting)) => waiting.push(done),
            (None, None) => {
                drop(state);
                done(Err(MxFailure::Temporary("too many DNS questions are waiting".into())));
            }
        }
        question
    }

    /// Remembers what a question brought. Those who wait are told by [`Settled::tell`].
    pub(crate) fn settle(&self, name: Arc<str>, outcome: Outcome<A>) -> Settled<A> {
        let mut state = self.state();
        let waiting = state.waiting.remove(&name).unwrap_or_default();
        let failed = outcome.answer.is_err();
        let answer = state.cache.settle(name, outcome.answer, outcome.expires, Instant::now());
        Settled { waiting, stale: failed && answer.is_ok(), answer }
    }

    /// Nobody will answer any more.
    pub(crate) fn abandon(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        let failure = MxFailure::Temporary("the resolver has stopped".into());
        waiting.into_values().flatten().for_each(|done| done(Err(failure.clone())));
    }

    pub(crate) fn clear(&self) {
        self.state().cache.clear();
    }
}

/// What those who ask share with the thread.
pub(crate) struct Tables {
    pub(crate) mx: Table<MxAnswer>,
    pub(crate) addresses: Table<AddressAnswer>,
}

impl Tables {
    pub(crate) fn new(options: &Options) -> Tables {
        Tables { mx: Table::new(options), addresses: Table::new(options) }
    }
}

/// An answer and until when it holds.
pub(crate) struct Outcome<A> {
    answer: Result<A, MxFailure>,
    expires: Instant,
}

/// An answer and those who wait for it.
pub(crate) struct Settled<A> {
    waiting: Vec<Done<A>>,
    answer: Result<A, MxFailure>,
    /// The question failed, an older answer serves.
    stale: bool,
}

impl<A: Clone> Settled<A> {
    fn tell(self) {
        self.waiting.into_iter().for_each(|done| done(self.answer.clone()));
    }
}

/// The resolver thread's own.
pub(crate) struct Service {
    pub(crate) options: Options,
    pub(crate) upstream: Upstream,
    pub(crate) tables: Arc<Tables>,
    pub(crate) observe: Box<dyn Fn(Lookup) + Send>,
    pub(crate) rng: RefCell<fastrand::Rng>,
}

impl Service {
    /// Answers questions in their order, `max_concurrent` at once, until nobody is left to ask.
    pub(crate) async fn run(self, mut questions: UnboundedReceiver<Question>) {
        let permits = Arc::new(Semaphore::new(self.options.max_concurrent.clamp(1, Semaphore::MAX_PERMITS)));
        let service = Rc::new(self);
        while let Some(question) = questions.recv().await {
            let Ok(permit) = permits.clone().acquire_owned().await else { break };
            let service = service.clone();
            tokio::task::spawn_local(async move {
                service.answer(question).await;
                drop(permit);
            });
        }
        service.tables.mx.abandon();
        service.tables.addresses.abandon();
    }

    async fn answer(&self, question: Question) {
        let asking = Asking {
            service: self,
            deadline: Instant::now() + self.options.timeout,
            lookups: RefCell::new(Vec::with_capacity(3)),
        };
        match question {
            Question::Mx(domain) => {
                let outcome = asking.mx(&domain).await;
                let settled = self.tables.mx.settle(domain, outcome);
                self.report(asking, settled.stale);
                settled.tell();
            }
            Question::Addresses(host) => {
                let outcome = asking.addresses(&host).await;
                let settled = self.tables.addresses.settle(host, outcome);
                self.report(asking, settled.stale);
                settled.tell();
            }
        }
    }

    fn report(&self, asking: Asking, stale: bool) {
        for mut lookup in asking.lookups.into_inner() {
            if stale && lookup.result == "error" {
                lookup.result = "stale";
            }
            (self.observe)(lookup);
        }
    }
}

/// One question under way.
struct Asking<'a> {
    service: &'a Service,
    /// For all it takes, the address check of an implicit MX included.
    deadline: Instant,
    lookups: RefCell<Vec<Lookup>>,
}

impl Asking<'_> {
    async fn mx(&self, domain: &Arc<str>) -> Outcome<MxAnswer> {
        let Some(name) = name::qualified(domain) else { return self.no(MxFailure::NoSuchDomain, None) };
        match self.ask(&name, RecordType::MX).await {
            Reply::Records(records, ttl) => self.explicit(records, ttl),
            Reply::NoSuchName(ttl) => self.no(MxFailure::NoSuchDomain, ttl),
            Reply::NoData(_) => self.implicit(domain).await,
            Reply::Failed(why) => self.failed(why),
        }
    }

    fn explicit(&self, records: Vec<RData>, ttl: Duration) -> Outcome<MxAnswer> {
        let records = records.iter().filter_map(|record| match record {
            RData::MX(mx) => {
                Some(Exchanger { preference: mx.preference, host: name::from_record(&mx.exchange)?.into() })
            }
            _ => None,
        });
        match mx::evaluate(records.collect(), &self.service.options.own_names) {
            Ok(exchangers) => self.exchangers(exchangers, false, self.positive(ttl)),
            Err(failure) => self.no(failure, Some(ttl)),
        }
    }

    /// No MX record: the domain itself, if it has an address (RFC 5321 §5.1). The address will be asked for next and
    /// is kept too.
    async fn implicit(&self, domain: &Arc<str>) -> Outcome<MxAnswer> {
        let addresses = self.addresses(domain).await;
        let expires = addresses.expires;
        let outcome = match &addresses.answer {
            Ok(_) => match mx::evaluate(vec![mx::implicit(domain)], &self.service.options.own_names) {
                Ok(exchangers) => self.exchangers(exchangers, true, expires),
                Err(failure) => Outcome { answer: Err(failure), expires },
            },
            Err(failure) => Outcome { answer: Err(failure.clone()), expires },
        };
        self.service.tables.addresses.settle(domain.clone(), addresses).tell();
        outcome
    }

    fn exchangers(&self, exchangers: Vec<Exchanger>, implicit: bool, expires: Instant) -> Outcome<MxAnswer> {
        let site = mx::site(&exchangers);
        let answer = MxAnswer { exchangers: exchangers.into(), site, implicit, expires, stale: false };
        Outcome { answer: Ok(answer), expires }
    }

    /// Both families at once. One family's failure does not spoil what the other brought: name servers that choke on
    /// AAAA exist.
    async fn addresses(&self, host: &str) -> Outcome<AddressAnswer> {
        let Some(name) = name::qualified(host) else { return self.no(MxFailure::NoSuchDomain, None) };
        let family = self.service.options.ip_family;
        let (v6, v4) = tokio::join!(
            self.ask_family(family != IpFamily::Ipv4, &name, RecordType::AAAA),
            self.ask_family(family != IpFamily::Ipv6, &name, RecordType::A),
        );
        let mut ttl = None;
        let mut failed = None;
        let mut brought = |reply| match reply {
            Some(Reply::Records(records, of_records)) => {
                ttl = Some(ttl.map_or(of_records, |ttl: Duration| ttl.min(of_records)));
                let mut addresses: Vec<IpAddr> = records.iter().filter_map(RData::ip_addr).collect();
                self.service.rng.borrow_mut().shuffle(&mut addresses);
                addresses
            }
            Some(Reply::Failed(why)) => {
                failed = Some(why);
                Vec::new()
            }
            Some(Reply::NoSuchName(of_no) | Reply::NoData(of_no)) => {
                ttl = ttl.or(of_no);
                Vec::new()
            }
            None => Vec::new(),
        };
        let addresses = alternate(brought(v6), brought(v4));
        match failed {
            _ if !addresses.is_empty() => {
                let expires = self.positive(ttl.unwrap_or_default());
                Outcome { answer: Ok(AddressAnswer { addresses: addresses.into(), expires, stale: false }), expires }
            }
            Some(why) => self.failed(why),
            None => self.no(MxFailure::NoSuchDomain, ttl),
        }
    }

    async fn ask_family(&self, wanted: bool, name: &Name, kind: RecordType) -> Option<Reply> {
        if wanted { Some(self.ask(name, kind).await) } else { None }
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Reply {
        let asked = Instant::now();
        let reply = self.service.upstream.ask(name, kind, self.deadline).await;
        let kind = match kind {
            RecordType::MX => "mx",
            RecordType::AAAA => "aaaa",
            _ => "a",
        };
        let result = match &reply {
            Reply::Records(..) => "ok",
            Reply::NoSuchName(_) => "nxdomain",
            Reply::NoData(_) => "nodata",
            Reply::Failed(why) => {
                tracing::debug!(%name, kind, %why, "DNS gave no answer");
                "error"
            }
        };
        self.lookups.borrow_mut().push(Lookup { kind, result, took: asked.elapsed() });
        reply
    }

    fn positive(&self, ttl: Duration) -> Instant {
        Instant::now() + self.service.options.bounded(ttl)
    }

    fn no<A>(&self, failure: MxFailure, ttl: Option<Duration>) -> Outcome<A> {
        let ttl = ttl.unwrap_or(NEGATIVE_TTL).min(MAX_NEGATIVE_TTL);
        Outcome { answer: Err(failure), expires: self.positive(ttl) }
    }

    fn failed<A>(&self, why: Arc<str>) -> Outcome<A> {
        let expires = Instant::now() + self.service.options.timeout.min(MAX_FAILURE_TTL);
        Outcome { answer: Err(MxFailure::Temporary(why)), expires }
    }
}

/// IPv6 first, then by turns (RFC 8305 §4), so that one broken family costs one attempt, not all; and not too many.
fn alternate(v6: Vec<IpAddr>, v4: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut addresses = Vec::with_capacity(v6.len() + v4.len());
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    loop {
        let before = addresses.len();
        addresses.extend(v6.next());
        addresses.extend(v4.next());
        if addresses.len() == before || addresses.len() >= MAX_ADDRESSES {
            addresses.truncate(MAX_ADDRESSES);
            return addresses;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let list = |text: &str| text.split_whitespace().map(|word| word.parse().unwrap()).collect::<Vec<IpAddr>>();
        let cases = [
            ("", "", ""),
            ("::1", "", "::1"),
            ("", "127.0.0.1 127.0.0.2", "127.0.0.1 127.0.0.2"),
            ("::1 ::2", "127.0.0.1", "::1 127.0.0.1 ::2"),
            ("::1", "127.0.0.1 127.0.0.2 127.0.0.3", "::1 127.0.0.1 127.0.0.2 127.0.0.3"),
        ];
        for (v6, v4, expected) in cases {
            assert_eq!(alternate(list(v6), list(v4)), list(expected), "{v6} and {v4}");
        }
        let many: Vec<IpAddr> = (0..200).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        assert_eq!(alternate(many.clone(), list("::1 ::2")).len(), MAX_ADDRESSES);
        assert_eq!(alternate(list("::1"), many.clone())[1..], many[..MAX_ADDRESSES - 1]);
    }
}
