//! The mind: decides what is tried when, where and over which connection. A pure state machine.
//!
//! ```text
//! handle(now, input) / handle_timeout(now), then loop { poll_action } until None, then arm poll_timeout.
//! ```

use crate::config::{Config, SocketName, TlsPolicy};
use crate::now::Now;
use queue::store::Committed;
use queue::{Content, Domain, Entry, EntryKey, Group, Location, MessageId, RecipientSet};
use smtp::Reply;
use smtp::client::{Cause, Pipelining, Protocol, Report, Stage};
use smtp::server::TlsInfo;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names an outbound connection, from `Action::Open` to `Input::Closed`. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What dispatch is told.
#[derive(Debug)]
pub enum Input {
    /// Messages that just became durable (from intake, or notices of our own).
    Committed(Vec<Committed>),
    /// At start-up: every domain with something queued, and its earliest due time (unix ms).
    Backlog(Vec<(Domain, u64)>),
    /// Answer to `Action::ResolveMx`.
    Mx(Domain, Result<dns::MxAnswer, dns::MxFailure>),
    /// Answer to `Action::ResolveAddresses`.
    Addresses(Arc<str>, Result<dns::AddressAnswer, dns::MxFailure>),
    /// Answer to `Action::Fetch`: entries in due order, and whether more are due.
    Fetched {
        /// As asked.
        domain: Domain,
        /// Entries that were due, including ones that dispatch already holds.
        entries: Vec<(EntryKey, Entry)>,
        /// The limit cut the answer.
        more: bool,
        /// The domain's next due time beyond what was asked for (unix ms).
        next_due_ms: Option<u64>,
    },
    /// Answer to `Action::Load`. An error: the record cannot be read (said in the text).
    Loaded(MessageId, Result<Arc<Content>, Arc<str>>),
    /// A settle group is durable.
    Settled(u64),
    /// A connection finished its set-up.
    Ready(ConnectionId, Option<TlsState>),
    /// A transaction's result.
    Report(ConnectionId, Report),
    /// A connection ended; all its reports came before.
    Closed(ConnectionId, Stage, Cause),
    /// An operator's wish.
    Operate(Operation),
    /// SIGHUP: new limits, routes, retry policy.
    Reload(Arc<Config>),
    /// SIGTERM: start nothing new; close connections as they become free.
    Drain,
}

/// What TLS on a connection came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsState {
    /// Version and cipher.
    pub info: TlsInfo,
    /// The certificate was verified for the host.
    pub verified: bool,
}

/// Which queued recipients an operation is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One message.
    pub id: Option<MessageId>,
    /// One recipient domain.
    pub domain: Option<Domain>,
}

/// What operators can do to what is queued. Dispatch acts on what it holds in memory and is told the rest by key.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Make these entries due now.
    Retry(Vec<(EntryKey, Entry)>),
    /// Hold these entries.
    Hold(Vec<(EntryKey, Entry)>),
    /// Release held entries: due now.
    Release(Vec<(EntryKey, Entry)>),
    /// Remove these entries without a notice.
    Remove(Vec<(EntryKey, Entry)>),
}

/// What dispatch wants done.
#[derive(Debug)]
pub enum Action {
    /// Look up the domain's exchangers.
    ResolveMx(Domain),
    /// Look up a host's addresses.
    ResolveAddresses(Arc<str>),
    /// Read the domain's entries with `due_ms <= until_ms` from the queue.
    Fetch {
        /// Whose.
        domain: Domain,
        /// Up to when.
        until_ms: u64,
        /// How many at most (those that dispatch already holds are included in the count).
        limit: usize,
    },
    /// Read a message back.
    Load(MessageId, Location),
    /// Open a connection.
    Open(Box<Open>),
    /// Hand a transaction to a connection (never more than its credit).
    Deliver(Deliver),
    /// Quit after what was handed over.
    Close(ConnectionId),
    /// Make durable, then answer `Input::Settled` with the token and `Input::Committed` with the accepted notices.
    Settle {
        /// For `Input::Settled`.
        token: u64,
        /// Outcomes, retries and notices.
        group: Group,
    },
    /// Something happened to a recipient: event log and metrics.
    Happened(Box<Happened>),
    /// A limit kept a site waiting for so long: metrics.
    Throttled {
        /// The site.
        site: Arc<str>,
        /// `connections`, `connection_rate`, `rate`, `backoff`, `suspend`.
        limit: &'static str,
        /// How long.
        waited: Duration,
    },
}

/// How to open a connection.
#[derive(Clone, Debug)]
pub struct Open {
    /// Its name from now on.
    pub connection: ConnectionId,
    /// For metrics and events.
    pub site: Arc<str>,
    /// The MX host or smart host: TLS server name, events.
    pub host: Arc<str>,
    /// Where to connect.
    pub peer: SocketName,
    /// Local address to bind.
    pub source: Option<IpAddr>,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// TLS policy; after a failed opportunistic handshake dispatch opens again with `Off`.
    pub tls: TlsPolicy,
    /// Level.
    pub pipelining: Pipelining,
    /// Transactions in flight at most.
    pub window: usize,
}

/// One transaction.
#[derive(Clone, Debug)]
pub struct Deliver {
    /// On this connection.
    pub connection: ConnectionId,
    /// Comes back as `Report::id`.
    pub transaction: u64,
    /// Envelope and body.
    pub content: Arc<Content>,
    /// Which of its recipients.
    pub recipients: RecipientSet,
}

/// A recipient's step, as the event log tells it.
#[derive(Clone, Debug)]
pub struct Happened {
    /// When.
    pub now: Now,
    /// What.
    pub kind: Kind,
    /// The message, when its content is known.
    pub content: Option<Arc<Content>>,
    /// Its id.
    pub id: MessageId,
    /// Position of the recipient.
    pub recipient: u32,
    /// Site name (or the domain, when no site was found).
    pub site: Arc<str>,
    /// MX host, when there was one.
    pub mx: Option<Arc<str>>,
    /// Its address.
    pub mx_address: Option<Arc<str>>,
    /// Ours.
    pub source_address: Option<IpAddr>,
    /// From 1.
    pub attempt: u16,
    /// What the peer said, or our own words in the same form.
    pub reply: Option<Reply>,
    /// The final reply never came.
    pub in_doubt: bool,
    /// Duration of the transaction.
    pub attempt_time: Option<Duration>,
    /// TLS of the connection.
    pub tls: Option<Arc<TlsState>>,
    /// Acceptance, unix µs.
    pub accepted_us: u64,
}

/// Outcomes of an attempt, by their names in the event log and in `posthaste_deliveries_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The peer took it.
    Delivered,
    /// To be tried again.
    Deferred,
    /// Refused for good.
    Bounced,
    /// Given up after `[retry] expire`.
    Expired,
    /// By an operator.
    Removed,
}

/// Counts for gauges, kept as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Recipients waiting for their turn in memory.
    pub ready: u64,
    /// Recipients in transactions.
    pub active: u64,
    /// Open connections: being set up.
    pub connecting: u64,
    /// Without a transaction.
    pub idle: u64,
    /// With one.
    pub busy: u64,
}

/// The mind.
pub struct Dispatch {}

impl Dispatch {
    /// Nothing queued, nothing open. `ids` names the notices it writes.
    pub fn new(config: Arc<Config>, ids: Box<dyn FnMut() -> MessageId + Send>, seed: u64, now: Now) -> Dispatch {
        let _ = (config, ids, seed, now);
        todo!()
    }
    /// Takes an input.
    pub fn handle(&mut self, now: Now, input: Input) {
        let _ = (now, input);
        todo!()
    }
    /// The time that `poll_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
        todo!()
    }
    /// The next thing to do. Settles are gathered: they come last, as one group per drain.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }
    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// Drained: no transaction in flight, no connection open, no settle outstanding.
    pub fn is_quiet(&self) -> bool {
        todo!()
    }
    /// For gauges.
    pub fn counts(&self) -> Counts {
        todo!()
    }
}
