//! What the protocol machines cost by themselves: no sockets, no disk.
//!
//! `cargo bench -p posthaste-bench`, or `… -- scan` for one group. Allocations are counted by tests/allocations.rs.

#![allow(clippy::disallowed_methods, reason = "a conversation begins at some time")]
#![allow(missing_docs, reason = "criterion's macros make public items")]

mod commands;
mod contents;
mod conversation;
mod replies;
mod scan;
mod transactions;

use criterion::{criterion_group, criterion_main};

criterion_group!(benches, scan::benches, replies::benches, commands::benches, transactions::benches);
criterion_main!(benches);
