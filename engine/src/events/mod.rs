//! The event log: one JSON object a line for every step in a recipient's life.
//!
//! [`mod@format`] turns a happening into a line, without touching anything; [`EventLog`] gathers lines and writes them with one
//! `write(2)` a flush, and opens its file anew after log rotation. Mail never waits for it and never suffers from it: lines
//! that cannot be written are counted and dropped, and the first failure of a series is reported. Not synced: the queue is
//! the record of what is owed, this is the story of what was done.

mod buffer;
pub mod format;
mod injector;
mod log;

pub use format::Formatter;
pub use injector::Injector;
pub use log::EventLog;
