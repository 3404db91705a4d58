//! Domain → mail exchangers → addresses, behind a cache.
//!
//! hickory-resolver runs on one thread with one current-thread tokio runtime; questions come and answers go through
//! callbacks. What is known is answered at once on the asker's own thread.
//!
//! - [`mx`]: the rules of RFC 5321 §5 and RFC 7505 as pure functions.
//! - [`resolver`]: settings and the handle that the engine holds.
//! - `name`, `cache`: one spelling per name; what is kept, for how long, and what serves through an outage. Pure.
//! - `upstream`, `service`: the name servers, and the thread that asks them.
//!
//! A failure is one of two kinds, and the difference decides the fate of mail: the DNS *said* that there is no such
//! place (NXDOMAIN, or no such records: the mail bounces), or it said nothing useful (the mail waits).
//!
//! Absent on purpose: DNSSEC, `/etc/hosts`, search domains (a mail domain is always fully qualified), and hickory's
//! own cache (one policy, one place).

mod cache;
pub mod mx;
mod name;
pub mod resolver;
mod service;
mod upstream;

pub use mx::{Exchanger, MxAnswer, MxFailure};
pub use resolver::{AddressAnswer, IpFamily, Lookup, Options, Resolver};
