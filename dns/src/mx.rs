//! MX rules as pure functions.

use std::sync::Arc;
use std::time::Instant;

/// One mail exchanger of a domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exchanger {
    /// Lower is tried first; equals in random order.
    pub preference: u16,
    /// Host name, lower case, without the final dot.
    pub host: Arc<str>,
}

/// Where a domain's mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxAnswer {
    /// By preference, then name; never empty. With an implicit MX, the domain itself (preference 0).
    pub exchangers: Arc<[Exchanger]>,
    /// The site: the sorted set of host names. Domains with the same set have the same site.
    pub site: Arc<str>,
    /// No MX record exists: the domain's own address is used (RFC 5321 §5.1).
    pub implicit: bool,
    /// Until when it may be used.
    pub expires: Instant,
    /// From before an outage: the servers did not answer, this is what they last said.
    pub stale: bool,
}

/// Why a domain has no place to go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MxFailure {
    /// NXDOMAIN, or neither MX nor address records: bounces with 5.1.2.
    #[error("the domain does not exist or has no mail server")]
    NoSuchDomain,
    /// `MX 0 .` (RFC 7505): bounces with 5.1.10.
    #[error("the domain does not accept mail (null MX, RFC 7505)")]
    NullMx,
    /// Every exchanger left is ourselves: bounces with 5.4.6.
    #[error("mail for the domain loops back to this server")]
    Loop,
    /// SERVFAIL, refused, timeout: tried again later with 4.4.3.
    #[error("DNS gave no answer: {0}")]
    Temporary(Arc<str>),
}
