//! The configuration as it is meant: no option left open, every value checked.
//!
//! Two stages: `raw` is what is written and where, key by key; `meaning` makes of it what is meant, filling in
//! [`defaults`] and noting everything that cannot be. [`Config::load`] either gives a whole configuration or all of its
//! mistakes. Values that go together are checked together (an `allow` that makes an open relay, a rule that an earlier
//! one hides); what only the running machine can tell (a port in use, a missing file) is for whoever opens it.

mod auth;
pub mod defaults;
mod error;
mod kinds;
mod limits;
mod listener;
mod load;
mod loops;
mod meaning;
mod pattern;
mod quantities;
mod raw;
mod relay;
mod restart;
mod route;

pub use error::{ConfigErrors, Mistake, Place};
pub use pattern::{Pattern, domain_forms};
pub use quantities::{duration as parse_duration, rate as parse_rate, size as parse_size};
pub use route::{Login, NextHop, RoutePolicy, RouteRule, Via};

use pattern::a_labels;
use smtp::Mailbox;
use smtp::client::{Pipelining, Timeouts};
use smtp::server::BareNewline;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything that `posthaste.toml` says, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// EHLO name, `Received:`, Message-ID of notices.
    pub hostname: Arc<str>,
    /// Queue, event log, lock.
    pub data_dir: PathBuf,
    /// From-header of notices.
    pub postmaster: Mailbox,
    /// Ingest sockets.
    pub listeners: Vec<Listener>,
    /// `[auth]`.
    pub auth: Auth,
    /// HTTP; `None` when switched off.
    pub admin: Option<SocketAddr>,
    /// `[dns]`.
    pub dns: Dns,
    /// `[delivery]`.
    pub delivery: Delivery,
    /// `[retry]`.
    pub retry: RetryPolicy,
    /// `[queue]`: backlog limits.
    pub queue: QueueLimits,
    /// `[limits]`.
    pub limits: Arc<Limits>,
    /// `[[site]]`, in order; the first that matches a site (by domain or by any of its MX hosts) is used.
    pub sites: Vec<SiteRule>,
    /// `[[route]]`, in order; the first that matches.
    pub routes: Vec<RouteRule>,
    /// `[log]`.
    pub log: Log,
}

/// `host:port`, or a Unix socket's path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SocketName {
    /// TCP.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl std::fmt::Display for SocketName {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SocketName::Tcp(address) => address.fmt(f),
            SocketName::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One `[[listener]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Where.
    pub bind: SocketName,
    /// SMTP or LMTP.
    pub protocol: smtp::client::Protocol,
    /// Relay, or submission.
    pub mode: Mode,
    /// Clients that may relay; Unix sockets are always allowed.
    pub allow: Vec<ipnet::IpNet>,
    /// Proxies that say with a PROXY header for whom they speak, and must.
    pub proxy_protocol: Vec<ipnet::IpNet>,
    /// Proxies that may say it with XCLIENT.
    pub xclient: Vec<ipnet::IpNet>,
    /// 552 beyond; announced as SIZE.
    pub max_message_bytes: usize,
    /// 452 beyond.
    pub max_recipients: usize,
    /// 421 4.3.2 beyond.
    pub max_connections: usize,
    /// 421 4.7.0 beyond, for one address that may not relay by itself.
    pub max_connections_per_address: usize,
    /// 5xx since the last whole message; beyond it 421 4.7.0, and the end.
    pub max_errors: u32,
    /// Without a whole command, or any content: 421 4.4.2, and the end.
    pub idle_timeout: Duration,
    /// From MAIL to the end of the content: the same.
    pub transaction_timeout: Duration,
    /// What becomes of a CR or LF that is not part of CRLF.
    pub bare_newline: BareNewline,
    /// How far ahead a message may be given (FUTURERELEASE, RFC 4865); zero: not at all.
    pub max_hold: Duration,
    /// TLS; `None`: not offered.
    pub tls: Option<ListenerTls>,
    /// Who has to authenticate.
    pub auth: AuthPolicy,
    /// AUTH also in clear text.
    pub auth_without_tls: bool,
}

impl Listener {
    /// How TLS begins.
    pub fn tls_mode(&self) -> Option<TlsMode> {
        self.tls.as_ref().map(|tls| tls.mode)
    }
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Mail goes on as it came.
    #[default]
    Relay,
    /// Mail is new (RFC 6409): what its header lacks is added, and addresses need full domains.
    Submission,
}

/// `[auth]`: what holds for every listener that has AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The users file; `posthaste user` writes it.
    pub users: PathBuf,
    /// What is offered, strongest first.
    pub mechanisms: Vec<smtp::sasl::Mechanism>,
    /// Failed logins of one connection; with the last of them it ends.
    pub max_failures: u32,
    /// Before the first refusal is told; the second waits twice as long, and so on.
    pub failure_delay: Duration,
}

/// Who has to authenticate before mail is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthPolicy {
    /// Nobody can: addresses decide alone.
    #[default]
    None,
    /// Clients whose address is not allowed to relay.
    Optional,
    /// Everybody.
    Required,
}

/// TLS of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// How it begins.
    pub mode: TlsMode,
    /// PEM file with the chain, the listener's own certificate first.
    pub certificate: PathBuf,
    /// PEM file with the private key; may be the same file.
    pub key: PathBuf,
}

/// How TLS begins on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// By STARTTLS, if the client wants it (RFC 3207).
    StartTls,
    /// By STARTTLS, and before anything else.
    Required,
    /// With the first octet (RFC 8314 §3.3).
    Implicit,
}

/// `[dns]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// Empty: the system's.
    pub nameservers: Vec<SocketAddr>,
    /// For one question.
    pub timeout: Duration,
}

/// `[delivery]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Port of MX hosts.
    pub port: u16,
    /// Event loops; never 0 here.
    pub workers: usize,
    /// Address families to use.
    pub ip_family: dns::resolver::IpFamily,
    /// Local addresses to send from; empty: the system chooses.
    pub source_addresses: Vec<IpAddr>,
    /// PEM file with the roots for `tls = "verified"`; `None`: the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// For the TCP connect.
    pub connect_timeout: Duration,
    /// For what comes after it, stage by stage: `greeting_timeout` and so on.
    pub timeouts: Timeouts,
    /// `Received:` fields from which on a message is taken to loop (5.4.6).
    pub max_hops: u32,
}

/// `[retry]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Waiting time after the n-th attempt; the last repeats.
    pub schedule: Vec<Duration>,
    /// Since acceptance; then the recipient expires.
    pub expire: Duration,
    /// A recipient that waits this long after acceptance: its sender is told, once. `None`: only senders who asked for it
    /// (NOTIFY=DELAY) are, after [`RetryPolicy::ASKED_DELAY`].
    pub notify_delay: Option<Duration>,
    /// Each wait is multiplied by a random factor in `1 - jitter ..= 1 + jitter`.
    pub jitter: f64,
}

impl RetryPolicy {
    /// See `notify_delay`.
    pub const ASKED_DELAY: Duration = Duration::from_secs(4 * 3600);
}

/// `[queue]`: when intake answers 452 4.3.1.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueLimits {
    /// Recipients queued.
    pub max_recipients: u64,
    /// Journal bytes.
    pub max_bytes: u64,
    /// Free bytes to leave on the file system of `data_dir`.
    pub min_free_bytes: u64,
    /// Memory for mail that is coming in.
    pub max_arriving_bytes: u64,
    /// Memory for bodies of messages waiting for their turn.
    pub body_cache_bytes: usize,
    /// Journal bytes written ahead of need.
    pub prepare_bytes: u64,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// JSON instead of text.
    pub json: bool,
    /// The event log; `None` when switched off.
    pub events: Option<PathBuf>,
}

/// Events per time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// So many …
    pub count: u32,
    /// … in this time.
    pub per: Duration,
}

/// TLS towards a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TlsPolicy {
    /// Never.
    Off,
    /// When offered; the certificate is not verified; a failed handshake is followed by one attempt in clear text.
    #[default]
    Opportunistic,
    /// Always; the certificate is not verified.
    Required,
    /// Always, with a certificate that names the MX host and chains to a known root.
    Verified,
}

impl TlsPolicy {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            TlsPolicy::Off => "none",
            TlsPolicy::Opportunistic => "opportunistic",
            TlsPolicy::Required => "required",
            TlsPolicy::Verified => "verified",
        }
    }
}

/// Limits towards one site, after `[limits]` and `[[site]]` were merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections at once.
    pub connections: u32,
    /// New connections per time; `None`: unlimited.
    pub connection_rate: Option<Rate>,
    /// Transactions on one connection.
    pub messages_per_connection: u32,
    /// Messages per time; `None`: unlimited.
    pub rate: Option<Rate>,
    /// RCPTs in one transaction.
    pub recipients_per_message: u32,
    /// How long a connection is kept without work.
    pub idle_timeout: Duration,
    /// TLS.
    pub tls: TlsPolicy,
    /// The pipelining level.
    pub pipelining: Pipelining,
    /// Deliver nothing (an operator's stop).
    pub suspend: bool,
    /// Which table of the configuration this is: `posthaste.toml:41`.
    pub origin: Arc<str>,
    /// Which line says each of the keys, for `explain`. What none says is a default.
    pub lines: BTreeMap<&'static str, Arc<str>>,
}

impl Limits {
    /// What says that this key holds: `posthaste.toml:43`, or `default`.
    pub fn origin_of(&self, key: &str) -> &str {
        self.lines.get(key).map_or("default", |line| line)
    }
}

/// One `[[site]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteRule {
    /// Recipient domains: exact or `*.suffix`.
    pub domains: Vec<Pattern>,
    /// MX hosts: exact or `*.suffix`.
    pub mx: Vec<Pattern>,
    /// What holds for it.
    pub limits: Arc<Limits>,
}

/// What in a `[[site]]` matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchedBy {
    /// The provider: all its domains are meant.
    Exchanger,
    /// The recipients' domain: others at the same provider are not meant.
    Domain,
}

impl Config {
    /// The route of a domain (lower case); without one, its mail goes to its mail exchangers.
    pub fn route(&self, domain: &str) -> Option<&RouteRule> {
        let domain = a_labels(domain);
        self.routes.iter().find(|rule| rule.domains.iter().any(|p| p.matches(&domain)))
    }

    /// The first `[[site]]` that names one of the site's MX hosts or the recipients' domain (all lower case); without
    /// one, `[limits]` hold.
    pub fn site_rule<'a>(
        &self,
        domain: &str,
        mx_hosts: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<(&SiteRule, MatchedBy)> {
        let domain = a_labels(domain);
        self.sites.iter().find_map(|rule| {
            let by_exchanger =
                !rule.mx.is_empty() && mx_hosts.clone().any(|host| rule.mx.iter().any(|p| p.matches(host)));
            let by_domain = || rule.domains.iter().any(|p| p.matches(&domain));
            match by_exchanger {
                true => Some((rule, MatchedBy::Exchanger)),
                false => by_domain().then_some((rule, MatchedBy::Domain)),
            }
        })
    }
}

#[cfg(test)]
mod tests;
