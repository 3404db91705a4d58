//! What gauges show.

/// Counts for gauges, kept as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Recipients waiting for their turn in memory.
    pub ready: u64,
    /// Recipients in transactions.
    pub active: u64,
    /// Open connections: being set up.
    pub connecting: u64,
    /// Without a transaction.
    pub idle: u64,
    /// With one.
    pub busy: u64,
}
