//! Measuring instruments: a load generator and a sink that are much cheaper than what they measure, the arithmetic that
//! proves from both ends what was lost, doubled or changed on the way, and a local DNS server for both to live behind.
//!
//! Generator and sink speak through the `smtp` crate's machines on their own `mio` loops; neither knows the engine.

pub mod dns;
pub mod load;
pub mod proof;
pub mod report;
pub mod sink;
mod socket;
pub mod stamp;
mod timers;
pub mod tls;

pub use socket::{Address, AddressError};
