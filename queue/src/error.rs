//! Why the queue cannot be opened, or cannot go on.

use crate::MessageId;
use crate::index::IndexError;
use std::io;
use std::path::PathBuf;

/// Why the queue cannot be opened, or cannot go on. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Another process has it.
    #[error("{} is in use by {holder}; two servers never share one data_dir", .dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Process id and host, as the lock file says.
        holder: String,
    },
    /// The journal is damaged before its end.
    #[error(
        "the journal is damaged at {segment} byte {offset} ({what}); run `posthaste queue repair` to save what can be saved"
    )]
    Damaged {
        /// File name.
        segment: String,
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// Written by a version that this one does not read.
    #[error("{} has queue format {found}, this version reads {expected}", .dir.display())]
    Version {
        /// The directory.
        dir: PathBuf,
        /// On disk.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The file that says which version wrote the queue is gone or damaged.
    #[error(
        "{} does not say which format the queue has; if it was written by this version, write the line `posthaste queue {expected}` into it",
        .path.display()
    )]
    Unversioned {
        /// Of the file.
        path: PathBuf,
        /// Ours.
        expected: u32,
    },
    /// The operating system said no. Nothing has changed.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// A write or sync of the journal failed: nothing is accepted any more.
    #[error("the journal cannot be written ({0}); no mail is accepted until a restart")]
    Failed(String),
    /// The index cannot be read or written. The next start rebuilds it from the journal; until then new mail is still
    /// accepted while memory lasts.
    #[error("{0}; restart to rebuild it from the journal")]
    Index(IndexError),
    /// Too much waits for the index, or it is being opened again. Nothing has changed; it may pass.
    #[error("{0}")]
    Stalled(std::sync::Arc<str>),
    /// More of something than the journal can hold together.
    #[error("the queue takes at most {limit} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The most there may be.
        limit: u64,
    },
    /// The message is not in the queue (any more).
    #[error("message {0} is not in the queue")]
    NoSuchMessage(MessageId),
}

impl QueueError {
    /// The disk is full, or what this user may take of it.
    pub fn is_full(&self) -> bool {
        matches!(self, QueueError::Io { source, .. } if is_full(source))
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
