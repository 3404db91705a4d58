//! One file a subcommand: its arguments, and what it does with them.

mod account;
pub mod check;
pub mod demo;
pub mod explain;
pub mod load;
pub mod queue;
pub mod send;
pub mod serve;
pub mod sink;
pub mod user;
mod wishes;
