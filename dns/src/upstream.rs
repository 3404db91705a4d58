//! The name servers: one question, asked of as many of them as it takes.
//!
//! Servers are asked in the order of the configuration, each with hickory's own retransmission (UDP, then TCP when
//! truncated). The next one is asked when one fails or stays silent for a while; silent ones may still win. What counts
//! is the first answer that says something: records, or an honest "no". hickory's pool is not used for this, because
//! there one server's quick SERVFAIL or REFUSED is the last word.

use crate::resolver::Options;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A server silent for this long has company.
const HEDGE: Duration = Duration::from_secs(1);
/// How long a server further down the list, once it had to help out, is asked first.
const PREFERENCE: Duration = Duration::from_secs(60);

/// What the servers say to one question.
pub(crate) enum Reply {
    /// At least one record of the kind asked for, and the least TTL on the way to it.
    Records(Vec<RData>, Duration),
    /// NXDOMAIN, and how long that holds, if they say so (RFC 2308 §5).
    NoSuchName(Option<Duration>),
    /// The name exists but has no such record.
    NoData(Option<Duration>),
    /// Nothing useful, in words.
    Failed(Arc<str>),
}

pub(crate) struct Upstream {
    servers: Vec<TokioResolver>,
    /// The server to begin with, until when.
    first: Cell<(usize, Instant)>,
}

impl Upstream {
    /// The servers of the options or, if there are none, those of `/etc/resolv.conf`.
    pub(crate) fn new(options: &Options) -> io::Result<Upstream> {
        let servers = if options.nameservers.is_empty() {
            let (config, _) = hickory_resolver::system_conf::read_system_conf().map_err(|fault| {
                io::Error::other(format!("cannot learn the system's name servers from /etc/resolv.conf: {fault}"))
            })?;
            config.name_servers
        } else {
            options.nameservers.iter().copied().map(server).collect()
        };
        if servers.is_empty() {
            return Err(io::Error::other("no name server is configured"));
        }
        let servers = servers.into_iter().map(|server| resolver(server, options.timeout));
        Ok(Upstream { servers: servers.collect::<io::Result<_>>()?, first: Cell::new((0, Instant::now())) })
    }

    /// Asks until there is an answer, all servers have failed, or it is `deadline`.
    pub(crate) async fn ask(&self, name: &Name, kind: RecordType, deadline: Instant) -> Reply {
        let silence = HEDGE.min(deadline.saturating_duration_since(Instant::now()) / self.servers.len() as u32);
        let mut under_way = JoinSet::new();
        let mut failure: Arc<str> = "no answer in time".into();
        let mut order = self.order();
        let mut start_next = true;
        loop {
            if std::mem::take(&mut start_next)
                && let Some(at) = order.next()
            {
                let (server, name) = (self.servers[at].clone(), name.clone());
                under_way.spawn_local(async move { (at, reply(server.lookup(name, kind).await, kind)) });
            }
            let wake = if order.len() == 0 { deadline } else { deadline.min(Instant::now() + silence) };
            match tokio::time::timeout_at(wake.into(), under_way.join_next()).await {
                Ok(Some(Ok((_, Reply::Failed(why))))) => (failure, start_next) = (why, true),
                Ok(Some(Ok((at, reply)))) => {
                    self.prefer(at);
                    return reply;
                }
                Ok(Some(Err(fault))) => (failure, start_next) = (fault.to_string().into(), true),
                Ok(None) if order.len() == 0 => return Reply::Failed(failure),
                Ok(None) => start_next = true,
                Err(_) if Instant::now() >= deadline => return Reply::Failed(failure),
                Err(_) => start_next = true,
            }
        }
    }

    fn order(&self) -> impl ExactSizeIterator<Item = usize> + use<> {
        let count = self.servers.len();
        let (first, until) = self.first.get();
        let first = if Instant::now() < until { first } else { 0 };
        (0..count).map(move |step| (first + step) % count)
    }

    fn prefer(&self, at: usize) {
        let (first, until) = self.first.get();
        if at != first || (at != 0 && Instant::now() >= until) {
            self.first.set((at, Instant::now() + PREFERENCE));
        }
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

/// hickory for one server, without its own ideas about caching, hosts files, search domains and retries.
fn resolver(server: NameServerConfig, timeout: Duration) -> io::Result<TokioResolver> {
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.attempts = 0;
    options.num_concurrent_reqs = 1;
    options.timeout = timeout;
    builder.build().map_err(io::Error::other)
}

fn reply(result: Result<hickory_resolver::lookup::Lookup, NetError>, kind: RecordType) -> Reply {
    match result {
        Ok(lookup) => {
            let answers = lookup.answers();
            let ttl = answers.iter().map(|record| record.ttl).min().map(seconds);
            let records: Vec<RData> = answers
                .iter()
                .filter(|record| record.record_type() == kind)
                .map(|record| record.data.clone())
                .collect();
            if records.is_empty() { Reply::NoData(ttl) } else { Reply::Records(records, ttl.unwrap_or_default()) }
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
            ResponseCode::NXDomain => Reply::NoSuchName(none.negative_ttl.map(seconds)),
            // A referral is no answer: this server does not recurse for us.
            ResponseCode::NoError if none.soa.is_none() && none.ns.is_some() => {
                Reply::Failed("the name server only refers to others".into())
            }
            ResponseCode::NoError => Reply::NoData(none.negative_ttl.map(seconds)),
            code => Reply::Failed(code.to_string().into()),
        },
        Err(fault) => Reply::Failed(fault.to_string().into()),
    }
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}
