//! The queue as threads: committer, checkpointer, reader.

use crate::store::{Committed, Group};
use crate::{Content, Domain, Entry, EntryKey, Location, MessageId};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// All limits of the queue.
#[derive(Clone, Debug)]
pub struct Options {
    /// `data_dir/queue`. Locked exclusively while open.
    pub dir: PathBuf,
    /// 64 MiB.
    pub segment_bytes: u64,
    /// Entries newer than the last checkpoint: 50,000; back-pressure past it.
    pub memtable_entries: usize,
    /// Their bytes: 32 MiB.
    pub memtable_bytes: usize,
    /// Between checkpoints: 1 s.
    pub checkpoint_interval: Duration,
    /// sled's cache: 48 MiB.
    pub index_cache_bytes: u64,
    /// The longest that the committer waits for company once traffic is dense; 0 for a lone message.
    pub gather: Duration,
    /// A lone settle waits at most so long for a commit to ride on: 5 ms.
    pub settle_delay: Duration,
}

/// A handle on the open queue; cheap to clone, usable from every thread.
#[derive(Clone)]
pub struct Queue {}

/// Why the queue cannot be opened, or cannot go on. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Another process has it.
    #[error("{dir} is in use by {holder}; two servers never share one data_dir")]
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
    #[error("{dir} has queue format {found}, this version reads {expected}")]
    Version {
        /// The directory.
        dir: PathBuf,
        /// On disk.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The operating system said no.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// A write or sync of the journal failed: nothing is accepted any more.
    #[error("the journal cannot be written ({0}); no mail is accepted until a restart")]
    Failed(String),
}

/// What recovery found.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Entries and recipients in the queue.
    pub entries: u64,
    /// Recipients in the queue.
    pub recipients: u64,
    /// Octets cut from the torn tail.
    pub torn_bytes: u64,
    /// The index had to be rebuilt from the journal, and why.
    pub index_rebuilt: Option<String>,
    /// Groups replayed.
    pub replayed_groups: u64,
}

/// Counters and gauges, read at any time without a lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Entries in the queue (message × domain × due).
    pub entries: u64,
    /// Recipients in the queue.
    pub recipients: u64,
    /// Recipients that are held.
    pub held_recipients: u64,
    /// Octets of journal on disk.
    pub journal_bytes: u64,
    /// Groups written and synced since the start.
    pub commits: u64,
    /// Syncs of any file since the start.
    pub syncs: u64,
    /// Messages accepted since the start.
    pub messages: u64,
}

impl Queue {
    /// Opens or creates the queue, recovers, and starts the threads.
    pub fn open(options: Options) -> Result<(Queue, Recovery), QueueError> {
        let _ = options;
        todo!()
    }
    /// The next id.
    pub fn next_id(&self) -> MessageId {
        todo!()
    }
    /// Makes a group durable; then `done` is called once, on the committer's thread, with the accepted messages in order.
    /// Groups of several callers share a sync. A group without `accepts` is not urgent: it rides on the next commit,
    /// or is written after `settle_delay`.
    pub fn submit(&self, group: Group, done: Box<dyn FnOnce(Result<Vec<Committed>, Arc<QueueError>>) + Send>) {
        let _ = (group, done);
        todo!()
    }
    /// Entries of a domain with `due_ms <= until_ms`, from the oldest due, at most `limit`, without those whose key is
    /// for which `skip` says true. Answered on the reader thread. The flag says whether there may be more.
    pub fn fetch(
        &self,
        domain: Domain,
        until_ms: u64,
        limit: usize,
        skip: Box<dyn Fn(&EntryKey) -> bool + Send>,
        done: Box<dyn FnOnce(Result<(Vec<(EntryKey, Entry)>, bool), Arc<QueueError>>) + Send>,
    ) {
        let _ = (domain, until_ms, limit, skip, done);
        todo!()
    }
    /// Reads a message back, one `pread`. Answered on the reader thread. The location is followed if the message moved.
    pub fn load(
        &self,
        id: MessageId,
        location: Location,
        done: Box<dyn FnOnce(Result<Arc<Content>, Arc<QueueError>>) + Send>,
    ) {
        let _ = (id, location, done);
        todo!()
    }
    /// Every domain with something queued, with its earliest due time (unix ms); one seek a domain. Blocks; for start-up.
    pub fn domains(&self) -> Result<Vec<(Domain, u64)>, QueueError> {
        todo!()
    }
    /// Walks all entries in key order from `after` (exclusive), at most `limit`. Blocks; for operators.
    pub fn list(&self, after: Option<EntryKey>, limit: usize) -> Result<Vec<(EntryKey, Entry)>, QueueError> {
        let _ = (after, limit);
        todo!()
    }
    /// Now.
    pub fn stats(&self) -> Stats {
        todo!()
    }
    /// Free octets on the queue's file system.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        todo!()
    }
    /// Commits what is pending, writes a checkpoint, ends the threads, releases the lock. Blocks.
    pub fn close(self) -> Result<(), QueueError> {
        todo!()
    }
}
