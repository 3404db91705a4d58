//! What a listener counts.

use super::names;
use crate::config::SocketName;
use metrics::{Counter, Gauge, counter, gauge};
use std::sync::{Arc, Mutex, PoisonError};

/// Counters of one listener; cheap to clone, for its threads.
#[derive(Clone)]
pub struct ListenerMetrics {
    label: Arc<str>,
    accepted: Counter,
    recipients: Counter,
    connections: Gauge,
    etrn: Counter,
    atrn: Counter,
    rejected: Arc<Mutex<Vec<(&'static str, Counter)>>>,
}

impl ListenerMetrics {
    pub(super) fn new(bind: &SocketName) -> ListenerMetrics {
        let label: Arc<str> = bind.to_string().into();
        let accepted = counter!(names::ACCEPTED, "listener" => label.clone());
        let recipients = counter!(names::ACCEPTED_RECIPIENTS, "listener" => label.clone());
        let connections = gauge!(names::CLIENTS, "listener" => label.clone());
        let etrn = counter!(names::ETRN, "listener" => label.clone());
        let atrn = counter!(names::ATRN, "listener" => label.clone());
        ListenerMetrics { label, accepted, recipients, connections, etrn, atrn, rejected: Arc::default() }
    }
    /// The listener's label: the socket that it listens on.
    pub fn name(&self) -> &str {
        &self.label
    }
    /// A message for so many recipients became durable.
    pub fn accepted(&self, recipients: u64) {
        self.accepted.increment(1);
        self.recipients.increment(recipients);
    }
    /// A client has connected.
    pub fn connected(&self) {
        self.connections.increment(1.0);
    }
    /// Its connection has ended.
    pub fn disconnected(&self) {
        self.connections.decrement(1.0);
    }
    /// A client said ETRN.
    pub fn etrn(&self) {
        self.etrn.increment(1);
    }
    /// A customer said ATRN.
    pub fn atrn(&self) {
        self.atrn.increment(1);
    }
    /// A message or a connection was refused. `reason` is a word of the program, never of a peer.
    pub fn rejected(&self, reason: &'static str) {
        self.rejected_often(reason, 1);
    }
    /// So many for the same reason.
    pub fn rejected_often(&self, reason: &'static str, count: u64) {
        let mut reasons = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        by_name(
            &mut reasons,
            reason,
            || counter!(names::REJECTED, "listener" => self.label.clone(), "reason" => reason),
        )
        .increment(count);
    }
    /// Somebody tried to log in: a mechanism's name, and `accepted`, `refused` or `unavailable`.
    pub fn auth_attempt(&self, mechanism: &'static str, result: &'static str) {
        let listener = self.label.clone();
        counter!(names::AUTH_ATTEMPTS, "listener" => listener, "mechanism" => mechanism, "result" => result)
            .increment(1);
    }
    /// When the certificate expires, in seconds since 1970.
    pub fn certificate_expires(&self, not_after: i64) {
        gauge!(names::CERTIFICATE_EXPIRY, "listener" => self.label.clone()).set(not_after as f64);
    }
}

/// The value under a name, made when first asked for. For the few names that a program has.
pub(super) fn by_name<'v, T>(
    values: &'v mut Vec<(&'static str, T)>,
    name: &'static str,
    make: impl FnOnce() -> T,
) -> &'v mut T {
    let at = values.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
        values.push((name, make()));
        values.len() - 1
    });
    &mut values[at].1
}
