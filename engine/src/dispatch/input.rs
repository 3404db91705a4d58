//! What dispatch is told.

use super::{ConnectionId, OwnFault};
use crate::config::Config;
use queue::{Committed, Content, Domain, Entry, EntryKey, Envelope, Flow, MessageId};
use smtp::client::{Cause, Features, Report, Stage};
use smtp::server::TlsInfo;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What dispatch is told.
#[derive(Debug)]
pub enum Input {
    /// Messages that just became durable (from intake, or notices of our own).
    Committed(Vec<Committed>),
    /// At start-up: every domain's flows with something queued, and the earliest due time (unix ms).
    Backlog(Vec<(Domain, Flow, u64)>),
    /// Answer to `Action::ResolveMx`.
    Mx(Domain, Result<dns::MxAnswer, dns::MxFailure>),
    /// Answer to `Action::ResolveAddresses`.
    Addresses(Arc<str>, Result<dns::AddressAnswer, dns::MxFailure>),
    /// Answer to `Action::Fetch`: entries in due order, and whether more are due.
    Fetched {
        /// As asked.
        domain: Domain,
        /// As asked.
        flow: Flow,
        /// Entries that were due, including ones that dispatch already holds.
        entries: Vec<(EntryKey, Entry)>,
        /// The limit cut the answer.
        more: bool,
        /// The flow's next due time beyond what was asked for (unix ms).
        next_due_ms: Option<u64>,
    },
    /// Answer to `Action::Load`. An error: the record cannot be read (said in the text).
    Loaded(MessageId, Result<Arc<Content>, Arc<str>>),
    /// A settle group is durable.
    Settled(u64),
    /// A connection finished its set-up.
    Ready(ConnectionId, Option<TlsState>, Arc<Features>),
    /// A connection led back to this server. It is not set up any further.
    Ourselves(ConnectionId),
    /// A transaction's result.
    Report(ConnectionId, Report),
    /// A connection ended; all its reports came before.
    Closed(ConnectionId, Stage, Cause),
    /// A connection could not be opened, for a reason that lies with us. It is not told closed.
    NotOpened(ConnectionId, OwnFault),
    /// A customer has come for its mail, over a connection that is ours if `Action::Open` follows at once.
    Offered(Offer),
    /// What waited for that customer has been made due, as far as it could be: nothing more comes of its offer.
    Collected {
        /// [`Offer::user`].
        user: Arc<str>,
        /// [`Offer::id`].
        offer: u64,
    },
    /// An operator's wish.
    Operate(Operation),
    /// SIGHUP: new limits, routes, retry policy.
    Reload(Arc<Config>),
    /// SIGTERM: start nothing new; close connections as they become free.
    Drain,
}

/// A connection that a customer turned round (ATRN).
#[derive(Clone, Debug)]
pub struct Offer {
    /// Comes back as [`super::Peer::Caller`].
    pub id: u64,
    /// Who has logged in.
    pub user: Arc<str>,
    /// Whose mail it takes; `None`: all that is routed to the user.
    pub domains: Option<Box<[Domain]>>,
    /// Where the customer is, for the event log.
    pub address: Option<IpAddr>,
}

/// What TLS on a connection came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsState {
    /// Version and cipher.
    pub info: TlsInfo,
    /// The certificate was verified for the host.
    pub verified: bool,
    /// The session began with an earlier connection.
    pub resumed: bool,
}

/// What operators can do to what is queued. Dispatch acts on what it holds in memory and is told the rest by key.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Make these entries due now.
    Retry(Vec<(EntryKey, Entry)>),
    /// Hold these entries.
    Hold(Vec<(EntryKey, Entry)>),
    /// Release held entries: due now, or when their sender wants it (FUTURERELEASE).
    Release(Vec<(EntryKey, Entry)>),
    /// Remove these entries without a notice. What of their messages' envelopes is known is for the event log.
    Remove(Vec<(EntryKey, Entry)>, HashMap<MessageId, Arc<Envelope>>),
    /// Give these entries up, as far as their time is over ([`super::is_time_over`]) and their site stands still.
    Expire(Vec<(EntryKey, Entry)>),
}
