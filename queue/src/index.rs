//! The seam to the index: an ordered map of entries that is written only at checkpoints and never trusted with anything
//! that the journal could not restore.

mod memory;
mod sled;

pub use memory::MemoryIndex;
pub use sled::SledIndex;

use crate::checkpoint::Checkpoint;
use crate::{Entry, EntryKey};
use std::ops::Bound;
use std::sync::Arc;

/// The index failed or is not what was written. Never fatal by itself: a start rebuilds it from the journal.
#[derive(Clone, Debug, thiserror::Error)]
#[error("index: {0}")]
pub struct IndexError(pub String);

/// One change of a key: what it holds from now on, or nothing.
pub type Change<'a> = (&'a EntryKey, Option<&'a Entry>);

/// An open index.
pub trait Index: Send + Sync {
    /// Applies changes, in key order. Not atomic, not durable before [`Index::sync`].
    fn apply(&self, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<(), IndexError>;
    /// Entries in key order within the bounds, at most `limit`.
    fn range(
        &self,
        from: Bound<&EntryKey>,
        to: Bound<&EntryKey>,
        limit: usize,
    ) -> Result<Vec<(EntryKey, Entry)>, IndexError>;
    /// One entry.
    fn get(&self, key: &EntryKey) -> Result<Option<Entry>, IndexError>;
    /// The checkpoint that was set last.
    fn checkpoint(&self) -> Result<Option<Checkpoint>, IndexError>;
    /// Says what the index holds. Durable after [`Index::sync`].
    fn set_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), IndexError>;
    /// Makes everything durable.
    fn sync(&self) -> Result<(), IndexError>;
    /// How many entries it really holds; reads all of it.
    fn count(&self) -> Result<u64, IndexError>;
    /// It failed in a way that lasts, which [`Index::reopen`] may mend.
    fn is_broken(&self) -> bool;
    /// Opens it again, as after a crash: what was not synced may be there or not.
    fn reopen(&self) -> Result<(), IndexError>;
    /// It is not to be believed: from now on everything fails, for this reason.
    fn shut(&self, why: &IndexError);
}

/// Where an index lives between two runs.
pub trait IndexHome: Send + Sync {
    /// Opens the index, empty where there is none.
    fn open(&self) -> Result<Arc<dyn Index>, IndexError>;
    /// Moves the index out of the way, so that the next [`IndexHome::open`] finds none. It is closed by then.
    fn set_aside(&self) -> std::io::Result<()>;
}
