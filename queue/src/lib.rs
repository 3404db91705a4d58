//! The persistent queue: a journal for durability, sled as the index of what stays longer than a checkpoint.
//!
//! [`Store`] is the queue without threads (the simulation drives it on a memory disk); [`Queue`] is the handle that the
//! engine uses: a committer, a checkpointer and a reader thread around one store.

pub mod entry;
pub mod envelope;
pub mod service;
pub mod store;

pub use entry::{Entry, EntryKey, Location, RecipientSet};
pub use envelope::{Content, Domain, Envelope, MessageId, Recipient};
pub use service::{Queue, QueueError};
pub use store::{Group, NewMessage, Settle, Store};
