//! What dispatch wants done.

use super::{ConnectionId, Manner, TlsState};
use crate::config::{RoutePolicy, SocketName, TlsPolicy};
use crate::notice;
use crate::now::Now;
use queue::{Content, Domain, Envelope, Flow, Group, Location, MessageId, RecipientSet};
use smtp::Reply;
use smtp::client::Protocol;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What dispatch wants done.
#[derive(Debug)]
pub enum Action {
    /// Look up the domain's exchangers.
    ResolveMx(Domain),
    /// Look up a host's addresses.
    ResolveAddresses(Arc<str>),
    /// Read the entries of a domain's flow with `due_ms <= until_ms` from the queue.
    Fetch {
        /// For whom.
        domain: Domain,
        /// Whose.
        flow: Flow,
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
    /// A notice is in the group that follows: metrics.
    Noticed(notice::Kind),
    /// Connections cannot be opened for a fault of our own: log. Not said of each, see `bounds::OWN_FAULT_TOLD`.
    NotOpened {
        /// The source address that is to blame.
        source: Option<IpAddr>,
        /// What the system says.
        why: Arc<str>,
    },
    /// A limit kept a site waiting for so long: metrics.
    Throttled {
        /// The site.
        site: Arc<str>,
        /// Its name, see [`crate::limit::Limit::name`].
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
    /// It was found by MX, not named by a route.
    pub by_mx: bool,
    /// What it runs over.
    pub peer: Peer,
    /// Local address to bind.
    pub source: Option<IpAddr>,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// TLS policy; after a failed opportunistic handshake dispatch opens again with `Off`.
    pub tls: TlsPolicy,
    /// TLS before SMTP.
    pub implicit_tls: bool,
    /// What a route says of it.
    pub policy: Option<Arc<RoutePolicy>>,
    /// What to make use of.
    pub manner: Manner,
    /// Content waits for the replies to its recipients.
    pub careful: bool,
    /// Transactions in flight at most.
    pub window: usize,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// To be connected to.
    At(SocketName),
    /// It has connected to us, and waits with this offer ([`super::Offer::id`]).
    Caller(u64),
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
    /// Its envelope, when that is known without the content.
    pub envelope: Option<Arc<Envelope>>,
    /// Octets of its body.
    pub body_bytes: u32,
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
    /// Duration of the transaction; only with one of its recipients.
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
