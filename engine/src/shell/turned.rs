//! A connection that changes rooms: a customer turned it round (ATRN, RFC 2645), and it is now for delivery.

use super::stream::Stream;
use crate::tls::Session;
use queue::Domain;
use std::net::IpAddr;
use std::sync::Arc;

/// What a customer comes for.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Who has logged in.
    pub user: Arc<str>,
    /// In lower case; none: all of the user's.
    pub domains: Vec<Box<str>>,
}

impl Call {
    /// `None`: all of the user's.
    pub(crate) fn named(&self) -> Option<Box<[Domain]>> {
        (!self.domains.is_empty()).then(|| self.domains.iter().map(|domain| Domain::new(domain)).collect())
    }
}

/// The connection, registered nowhere; every octet before the reply to ATRN, and that, has left.
#[derive(Debug)]
pub(crate) struct Turned {
    pub call: Call,
    pub stream: Stream,
    /// Past its handshake.
    pub tls: Option<Box<Session>>,
    /// Where the customer is.
    pub address: Option<IpAddr>,
}
