//! The persistent queue: a journal for durability, sled as the index of what stays longer than a checkpoint.
//!
//! [`Store`] is the queue without threads (the simulation drives it on a memory disk); [`Queue`] is the handle that the
//! engine uses: a committer, a checkpointer and a reader thread around one store. `docs/queue.md` draws every byte.

pub mod checkpoint;
mod checkpointer;
mod codec;
mod committer;
mod company;
mod counters;
pub mod disk;
pub mod entry;
pub mod envelope;
mod error;
mod files;
pub mod flow;
mod group;
mod id;
pub mod index;
mod journal;
mod lock;
mod losses;
mod memtable;
mod pace;
mod places;
mod read;
mod record;
mod recovery;
mod relocate;
mod repair;
mod replay;
mod scan;
mod segment;
pub mod service;
mod settle;
mod spare;
mod stall;
mod state;
mod step;
pub mod store;

pub use counters::Stats;
pub use entry::{Deadline, Entry, EntryKey, Location, RecipientSet, Terms};
pub use envelope::{Content, Domain, Envelope};
pub use error::QueueError;
pub use files::FORMAT;
pub use flow::Flow;
pub use id::{BadMessageId, MessageId};
pub use read::Due;
pub use recovery::Recovery;
pub use repair::{LostMessage, Repaired, repair, repair_disk};

pub use service::{Options, Queue};
pub use smtp::{MailParameters, Recipient};
pub use step::{Committed, Group, NewMessage, Retry, Settle};
pub use store::{Limits, Store};
