//! bench
pub mod dns;
