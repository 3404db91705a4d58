//! SMTP without sockets, clocks or threads (RFC 5321 and its extensions).
//!
//! Two state machines, [`client::Client`] and [`server::Server`], speak the protocol; everything else here is what they
//! are made of. Both are driven the same way: feed what arrived (`handle_*`), then drain what to do next (`poll_*`)
//! until it answers `None`.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test begins at some time"))]

pub mod address;
pub mod body;
pub mod client;
pub mod mime;
pub mod parameters;
pub mod reply;
pub mod sasl;
pub mod server;

pub use address::{Mailbox, ReversePath};
pub use body::Body;
pub use client::Client;
pub use parameters::{MailParameters, Recipient};
pub use reply::{EnhancedCode, Reply};
pub use server::Server;
