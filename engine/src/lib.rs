//! The engine: mail in, durable, delivered, reported.
//!
//! Pure rooms (no socket, clock, thread or disk): [`config`], [`dispatch`], [`verdict`], [`notice`].
//! Rooms at the edge: `intake` (ingest connections), `delivery` (outbound connections), `shell` (event loops, threads), [`tls`], [`users`].

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test begins at some time"))]

mod beginning;
pub mod config;
mod delivery;
pub mod dispatch;
pub mod events;
mod intake;
pub mod limit;
mod look;
pub mod metrics;
pub mod notice;
pub mod now;
pub mod passwords;
pub mod retry;
pub mod shell;
pub mod tls;
pub mod users;
pub mod verdict;
