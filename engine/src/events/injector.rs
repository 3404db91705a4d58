//! Who handed a message in.

use crate::metrics::ListenerMetrics;
use std::net::IpAddr;

/// Who handed a message in: for its `accepted` lines, and for counting. The client of an injector's connection says so little
/// that one value serves all of its messages.
#[derive(Clone)]
pub struct Injector {
    /// Where it came in.
    pub listener: ListenerMetrics,
    /// The client's; behind a proxy, as that one says. None on a Unix socket, and where the proxy does not know it.
    pub address: Option<IpAddr>,
    /// Who logged in.
    pub user: Option<Box<str>>,
}
