//! Outbound connections as dispatch sees them, and the transactions on them.

use super::bounds::{AT_ONCE, BYTES_AHEAD, WINDOW, WINDOW_STREAM};
use super::message::HeldId;
use super::{ConnectionId, Manner, TlsState};
use crate::config::TlsPolicy;
use crate::now::Now;
use crate::verdict::Reached;
use queue::{Content, Domain, RecipientSet};
use smallvec::SmallVec;
use smtp::client::{Features, Limits, Pipelining, Protocol};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// One connection, on the lane of its site that its source address and TLS policy name. Any of the site's mail may go over
/// it, but for what is strict.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) site: u32,
    pub(super) host: Arc<str>,
    /// Its place in the site's hosts, which stay as they are.
    pub(super) host_index: usize,
    /// `None`: a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// The address as the event log shows it.
    pub(super) address_text: Option<Arc<str>>,
    pub(super) source: Option<IpAddr>,
    pub(super) tls_policy: TlsPolicy,
    pub(super) tls: Option<Arc<TlsState>>,
    /// What the host announced, once it did.
    pub(super) features: Option<Arc<Features>>,
    pub(super) manner: Manner,
    pub(super) phase: Phase,
    /// Since when it takes transactions.
    pub(super) ready_since: Option<Instant>,
    pub(super) window: usize,
    /// It leads past hosts that other mail prefers, for mail that they will not do for.
    pub(super) strict: bool,
    /// Whose mail went over it, where the host limits that.
    pub(super) domains: Vec<Domain>,
    /// Transactions in flight, as handed over.
    pub(super) transactions: SmallVec<[u32; 2]>,
    pub(super) bytes_ahead: usize,
    /// Transactions handed over since it was opened, and at most.
    pub(super) handed: u32,
    pub(super) most: u32,
    /// A transaction was answered by the peer.
    pub(super) of_use: bool,
    pub(super) idle_since: Instant,
    /// A look at its idleness is in the timers.
    pub(super) idle_armed: bool,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Being set up.
    Connecting,
    /// Takes transactions.
    Ready,
    /// Finishes what it has.
    Closing,
    /// Like `Closing`, but it never was ready.
    Abandoned,
}

impl Connection {
    /// Whether HELO is an alternative. It announces neither STARTTLS nor AUTH, and LMTP has none.
    pub(super) fn may_say_helo(&self, protocol: Protocol, login: bool) -> bool {
        let clear_text = matches!(self.tls_policy, TlsPolicy::Off | TlsPolicy::Opportunistic);
        protocol == Protocol::Smtp && clear_text && !login
    }
    /// What the host set for itself (RFC 9422).
    pub(super) fn limits(&self) -> Limits {
        self.features.as_ref().map_or(Limits::default(), |features| features.limits)
    }
    /// Takes our limit of transactions, below which the host may have set its own (MAILMAX, RFC 9422 §4).
    pub(super) fn limit_mails(&mut self, most: u32) {
        self.most = most.min(self.limits().mails.unwrap_or(u32::MAX));
    }
    /// It takes transactions, or will.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Connecting)
    }
    /// How far it has come.
    pub(super) fn reached(&self, now: Instant) -> Reached {
        match self.ready_since {
            _ if self.of_use => Reached::Use,
            None => Reached::SetUp,
            Some(since) if now < since + AT_ONCE => Reached::JustReady,
            Some(_) => Reached::Ready,
        }
    }
    /// It has answered transactions, and the host counts it.
    pub(super) fn is_at_work(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Closing) && self.of_use
    }
    /// It takes what any host will do for.
    pub(super) fn is_for_any(&self) -> bool {
        !self.strict
    }
    /// How many more transactions may be handed over.
    pub(super) fn credit(&self) -> usize {
        if self.phase != Phase::Ready || (!self.transactions.is_empty() && self.bytes_ahead >= BYTES_AHEAD) {
            return 0;
        }
        (self.window - self.transactions.len().min(self.window)).min((self.most - self.handed.min(self.most)) as usize)
    }
}

/// How many transactions may be in flight at this level.
pub(super) fn window(level: Pipelining) -> usize {
    match level {
        Pipelining::Stream => WINDOW_STREAM,
        Pipelining::Off | Pipelining::Transaction => WINDOW,
    }
}

/// One transaction in flight.
pub(super) struct Transaction {
    pub(super) name: u64,
    pub(super) content: Arc<Content>,
    /// Its recipients by entry.
    pub(super) parts: SmallVec<[(HeldId, RecipientSet); 1]>,
    pub(super) handed: Now,
}

/// A name that is never used twice, and finds its slot without a table: a running number and the slot's index.
pub(super) fn name(serial: u64, slot: usize) -> u64 {
    debug_assert!(slot < 1 << SLOT_BITS);
    serial << SLOT_BITS | slot as u64
}

/// 16 million slots leave numbers for four years at 8,000 a second.
const SLOT_BITS: u32 = 24;

/// The slot of a name.
pub(super) fn slot(name: u64) -> usize {
    (name & ((1 << SLOT_BITS) - 1)) as usize
}
