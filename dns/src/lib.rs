//! Domain → mail exchangers → addresses, behind a cache.
//!
//! hickory-resolver runs on one thread with one current-thread tokio runtime; questions come and answers go through
//! callbacks. MX rules (RFC 5321 §5, RFC 7505) are pure functions in [`mx`].

pub mod mx;
pub mod resolver;

pub use mx::{Exchanger, MxAnswer, MxFailure};
pub use resolver::{AddressAnswer, Options, Resolver};
