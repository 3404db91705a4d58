//! The settings of the resolver and the handle on its thread.

use crate::cache::Answer;
use crate::mx::{self, MxAnswer, MxFailure};
use crate::name;
use crate::service::{Done, Question, Service, Table, Tables};
use crate::upstream::Upstream;
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::LocalSet;

/// No setting means more than this; no TTL in the wild does.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Which address families to use, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IpFamily {
    /// IPv6 and IPv4.
    #[default]
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// All settings of the resolver.
#[derive(Clone, Debug)]
pub struct Options {
    /// Empty: the system's (`/etc/resolv.conf`).
    pub nameservers: Vec<SocketAddr>,
    /// For one question, retries included.
    pub timeout: Duration,
    /// Addresses wanted.
    pub ip_family: IpFamily,
    /// Our own names, lower case: an exchanger with such a name is ourselves.
    pub own_names: Vec<String>,
    /// Cache entries per kind.
    pub cache_entries: usize,
    /// Bounds on how long an answer is kept, whatever its TTL.
    pub min_ttl: Duration,
    /// See `min_ttl`.
    pub max_ttl: Duration,
    /// How long a stale answer may serve through an outage.
    pub max_stale: Duration,
    /// Questions under way at once.
    pub max_concurrent: usize,
    /// For random choices.
    pub seed: u64,
}

/// Addresses of one host, in the order to try them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressAnswer {
    /// Never empty.
    pub addresses: Arc<[IpAddr]>,
    /// Until when they may be used.
    pub expires: Instant,
    /// See [`MxAnswer::stale`].
    pub stale: bool,
}

/// What the resolver did, for metrics.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// `mx`, `a`, `aaaa`.
    pub kind: &'static str,
    /// `ok`, `nxdomain`, `nodata`, `error`, `stale`.
    pub result: &'static str,
    /// How long it took on the wire; cache hits are not reported.
    pub took: Duration,
}

/// A handle on the resolver thread; cheap to clone. The thread ends when the last handle is dropped; those who still
/// wait are told [`MxFailure::Temporary`].
#[derive(Clone)]
pub struct Resolver {
    tables: Arc<Tables>,
    questions: UnboundedSender<Question>,
    literal_ttl: Duration,
}

impl Resolver {
    /// Starts the thread. `observe` is called for every question that went out. Errors: no name server is configured,
    /// `/etc/resolv.conf` cannot be read, no thread or no epoll to be had.
    pub fn start(options: Options, observe: Box<dyn Fn(Lookup) + Send>) -> Result<Resolver, std::io::Error> {
        let options = options.within_reason();
        let upstream = Upstream::new(&options)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let tables = Arc::new(Tables::new(&options));
        // Unbounded by type, bounded by `Table::ask`: one for each question that waits, each name once.
        let (questions, arriving) = mpsc::unbounded_channel();
        let resolver = Resolver { tables: tables.clone(), questions, literal_ttl: options.max_ttl };
        let rng = RefCell::new(fastrand::Rng::with_seed(options.seed));
        let serve = move || {
            let service = Service { options, upstream, tables, observe, rng };
            LocalSet::new().block_on(&runtime, service.run(arriving));
        };
        std::thread::Builder::new().name("dns".into()).spawn(serve)?;
        Ok(resolver)
    }

    /// Asks where the domain's mail goes. `done` is called once, on the resolver's thread or, for a cache hit, at once.
    /// Concurrent questions for one domain are merged. An address literal (`[192.0.2.1]`, RFC 5321 §4.1.3) is its own
    /// implicit exchanger; what cannot be a domain name is [`MxFailure::NoSuchDomain`].
    pub fn mx(&self, domain: &str, done: Box<dyn FnOnce(Result<MxAnswer, MxFailure>) + Send>) {
        match name::literal(domain) {
            None => self.ask(&self.tables.mx, domain, Question::Mx, done),
            Some(None) => done(Err(MxFailure::NoSuchDomain)),
            Some(Some(address)) => {
                let host: Arc<str> = address.to_string().into();
                let expires = Instant::now() + self.literal_ttl;
                let exchangers = [mx::implicit(&host)].into();
                done(Ok(MxAnswer { exchangers, site: host, implicit: true, expires, stale: false }));
            }
        }
    }

    /// Asks for a host's addresses. An IP literal answers itself. `NoSuchDomain`: the host has none.
    pub fn addresses(&self, host: &str, done: Box<dyn FnOnce(Result<AddressAnswer, MxFailure>) + Send>) {
        match name::host_address(host) {
            None => self.ask(&self.tables.addresses, host, Question::Addresses, done),
            Some(address) => {
                let expires = Instant::now() + self.literal_ttl;
                done(Ok(AddressAnswer { addresses: [address].into(), expires, stale: false }));
            }
        }
    }

    /// Forgets everything cached (SIGHUP).
    pub fn flush(&self) {
        self.tables.mx.clear();
        self.tables.addresses.clear();
    }

    fn ask<A: Answer>(&self, table: &Table<A>, name: &str, question: fn(Arc<str>) -> Question, done: Done<A>) {
        let now = Instant::now();
        // Names in the cache are normalised, so a hit is right however the asker spells; most do spell it so.
        if let Some(answer) = table.fresh(name, now) {
            return done(answer);
        }
        let Some(name) = name::normalise(name) else { return done(Err(MxFailure::NoSuchDomain)) };
        if let Some(name) = table.ask(&name, now, done)
            && self.questions.send(question(name)).is_err()
        {
            table.abandon();
        }
    }
}

impl Options {
    /// Durations are added to instants, which must not overflow.
    fn within_reason(mut self) -> Options {
        for duration in [&mut self.timeout, &mut self.min_ttl, &mut self.max_ttl, &mut self.max_stale] {
            *duration = LONGEST.min(*duration);
        }
        self
    }

    /// How long an answer with this TTL is kept.
    pub(crate) fn bounded(&self, ttl: Duration) -> Duration {
        ttl.min(self.max_ttl).max(self.min_ttl)
    }
}

impl Answer for MxAnswer {
    fn into_stale(self, expires: Instant) -> Self {
        MxAnswer { expires, stale: true, ..self }
    }
}

impl Answer for AddressAnswer {
    fn into_stale(self, expires: Instant) -> Self {
        AddressAnswer { expires, stale: true, ..self }
    }
}
