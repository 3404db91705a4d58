//! The resolver thread and its cache.

use crate::mx::{MxAnswer, MxFailure};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// A handle on the resolver thread; cheap to clone. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct Resolver {}

impl Resolver {
    /// Starts the thread. `observe` is called for every question that went out.
    pub fn start(options: Options, observe: Box<dyn Fn(Lookup) + Send>) -> Result<Resolver, std::io::Error> {
        let _ = (options, observe);
        todo!()
    }
    /// Asks where the domain's mail goes. `done` is called once, on the resolver's thread or, for a cache hit, at once.
    /// Concurrent questions for one domain are merged.
    pub fn mx(&self, domain: &str, done: Box<dyn FnOnce(Result<MxAnswer, MxFailure>) + Send>) {
        let _ = (domain, done);
        todo!()
    }
    /// Asks for a host's addresses. An IP literal answers itself. `NoSuchDomain`: the host has none.
    pub fn addresses(&self, host: &str, done: Box<dyn FnOnce(Result<AddressAnswer, MxFailure>) + Send>) {
        let _ = (host, done);
        todo!()
    }
    /// Forgets everything cached (SIGHUP).
    pub fn flush(&self) {
        todo!()
    }
}
