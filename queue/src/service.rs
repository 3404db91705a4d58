//! The queue as threads: committer, checkpointer, reader.
//!
//! The committer takes everything that is waiting, makes it durable with one write and one sync, and answers; while it does,
//! the next group gathers by itself. Submitters never block; what bounds them are the permits that intake gives out.

use crate::checkpointer;
use crate::committer::{self, Inbox, Patience, Submission};
use crate::disk::{Disk, RealDisk, make_dirs, sync_dir};
use crate::index::SledIndex;
use crate::lock::Lock;
use crate::pace::Pace;
use crate::store::{Limits, Store};
use crate::{Content, Domain, Due, Entry, EntryKey, Envelope, Flow, Location, MessageId};
use crossbeam_channel::{Receiver, Sender};
use std::fs::Permissions;
use std::hash::{BuildHasher, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

pub use crate::committer::Answer;
pub use crate::{Committed, Group, QueueError, Recovery, Stats};

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
    /// A full memtable waits so long for a checkpoint before mail is refused: 5 s.
    pub checkpoint_patience: Duration,
    /// sled's cache: 48 MiB.
    pub index_cache_bytes: u64,
    /// The longest that the committer waits for company once traffic is dense, if to write a group takes no longer: 2 ms. A
    /// lone message is never delayed.
    pub gather: Duration,
    /// A lone settle waits at most so long for a commit to ride on: 5 ms.
    pub settle_delay: Duration,
    /// The journal may always grow to this before survivors are copied forward: 1 GiB.
    pub journal_floor_bytes: u64,
    /// So much of that is written with zeros, which makes syncs of what comes later cheaper: before the first mail of a
    /// new queue, for a second at most, and when nothing came for a second. 0: none.
    pub prepare_bytes: u64,
}

impl Options {
    /// The defaults, for this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            memtable_entries: 50_000,
            memtable_bytes: 32 << 20,
            checkpoint_interval: Duration::from_secs(1),
            checkpoint_patience: Duration::from_secs(5),
            index_cache_bytes: 48 << 20,
            gather: Duration::from_millis(2),
            settle_delay: Duration::from_millis(5),
            journal_floor_bytes: 1 << 30,
            prepare_bytes: 0,
        }
    }
}

/// What a fetch answers.
pub type Fetched = Result<Due, Arc<QueueError>>;

/// What a load answers.
pub type Loaded = Result<Arc<Content>, Arc<QueueError>>;

/// A new queue is prepared for so long before it takes mail.
const PREPARE_PATIENCE: Duration = Duration::from_secs(1);

type Read = Box<dyn FnOnce(&Store) + Send>;

/// What the reader is told; `None`: to end.
type Request = Option<Read>;

/// A handle on the open queue; cheap to clone, usable from every thread. When the last one goes without
/// [`Queue::close`], the threads end as in a crash: what was answered is durable, the next start replays.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    disk: RealDisk,
    inbox: Arc<Inbox>,
    pace: Arc<Pace>,
    reads: Sender<Request>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Invariant: the last field, dropped after the index. Whoever gets the lock finds the index closed.
    _lock: Lock,
}

fn io(action: &'static str, path: PathBuf) -> impl FnOnce(std::io::Error) -> QueueError {
    move |source| QueueError::Io { action, path, source }
}

/// Names the directory in what the store says of paths within it.
pub(crate) fn within(dir: &std::path::Path, error: QueueError) -> QueueError {
    match error {
        QueueError::Io { action, path, source } => QueueError::Io { action, path: dir.join(path), source },
        QueueError::Version { found, expected, .. } => QueueError::Version { dir: dir.to_owned(), found, expected },
        QueueError::Unversioned { path, expected } => QueueError::Unversioned { path: dir.join(path), expected },
        other => other,
    }
}

/// Unknown outside the process: the standard library seeds its hashers from the operating system.
pub(crate) fn secret_seed() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

impl Queue {
    /// Opens or creates the queue, recovers, and starts the threads.
    pub fn open(options: Options) -> Result<(Queue, Recovery), QueueError> {
        let dir = options.dir.clone();
        let is_new = !dir.exists();
        make_dirs(&dir, &mut sync_dir).map_err(io("creating", dir.clone()))?;
        if is_new {
            // For its user alone: mail stands there as it came in. What is there stays as its owner has it.
            let private = std::fs::set_permissions(&dir, Permissions::from_mode(0o700));
            private.map_err(io("closing to others", dir.clone()))?;
        }
        let lock = Lock::take(&dir)?;
        let disk = RealDisk::new(&dir);
        let home = SledIndex { path: dir.join("index"), cache_bytes: options.index_cache_bytes };
        let limits = Limits::of(&options, secret_seed());
        let opened = Store::open(Arc::new(disk.clone()), &home, limits);
        let (store, recovery) = opened.map_err(|error| within(&dir, error))?;
        if recovery.created {
            checkpointer::prepare_new(&store, PREPARE_PATIENCE);
        }
        let (reads, requests) = crossbeam_channel::unbounded();
        let inner = Inner {
            store: Arc::new(store),
            disk,
            inbox: Arc::default(),
            pace: Arc::default(),
            reads,
            threads: Mutex::default(),
            _lock: lock,
        };
        inner.start(&options, requests).map_err(io("starting a thread for", dir))?;
        Ok((Queue { inner: Arc::new(inner) }, recovery))
    }

    /// The next id.
    pub fn next_id(&self) -> MessageId {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.inner.store.next_id(now.as_millis() as u64)
    }

    /// Makes a group durable; then `done` is called once, on the committer's thread, with the accepted messages in order.
    /// Groups of several callers share a sync. A group without `accepts` is not urgent: it rides on the next commit,
    /// or is written after `settle_delay`.
    ///
    /// [`QueueError::Failed`] is final; [`QueueError::Io`] (no room), [`QueueError::Stalled`] and [`QueueError::TooLarge`] concern
    /// this group only, of which then nothing is kept. Groups with settles are not refused for want of room: they wait for it.
    pub fn submit(&self, group: Group, done: Answer) {
        self.inner.inbox.push(Submission { group, done });
    }

    /// Entries of a flow to a domain with `due_ms <= until_ms`, from the oldest due, at most `limit`. Answered on the reader thread.
    ///
    /// What a settle that is not yet answered changes may still be seen as it was before.
    pub fn fetch(
        &self,
        domain: Domain,
        flow: Flow,
        until_ms: u64,
        limit: usize,
        done: Box<dyn FnOnce(Fetched) + Send>,
    ) {
        self.read(Box::new(move |store| done(store.fetch(&domain, flow, until_ms, limit).map_err(Arc::new))));
    }

    /// Reads a message back, one `pread`. Answered on the reader thread. The location is followed if the message moved.
    /// A message that is damaged or gone is an error of its own; the queue goes on.
    pub fn load(&self, id: MessageId, location: Location, done: Box<dyn FnOnce(Loaded) + Send>) {
        self.read(Box::new(move |store| done(store.load(id, location).map_err(Arc::new))));
    }

    /// After [`Queue::close`] the reader is gone, and the answer with it: it is dropped uncalled.
    fn read(&self, read: Read) {
        let _ = self.inner.reads.send(Some(read));
    }

    /// Every domain's flows with something queued, with the earliest due time (unix ms); one seek each. Blocks; for start-up.
    pub fn backlog(&self) -> Result<Vec<(Domain, Flow, u64)>, QueueError> {
        self.inner.store.backlog()
    }

    /// Every domain with something queued. Blocks; for operators.
    pub fn domains(&self) -> Result<Vec<Domain>, QueueError> {
        let mut domains: Vec<Domain> = self.backlog()?.into_iter().map(|(domain, ..)| domain).collect();
        domains.dedup();
        Ok(domains)
    }

    /// Walks all entries in key order from `after` (exclusive), at most `limit`. Blocks; for operators.
    pub fn list(&self, after: Option<EntryKey>, limit: usize) -> Result<Vec<(EntryKey, Entry)>, QueueError> {
        self.inner.store.list(after, limit)
    }

    /// As [`Queue::list`], of one domain. Blocks.
    pub fn list_domain(
        &self,
        domain: &Domain,
        after: Option<EntryKey>,
        limit: usize,
    ) -> Result<Vec<(EntryKey, Entry)>, QueueError> {
        self.inner.store.list_domain(domain, after, limit)
    }

    /// What a key holds now, if anything. Blocks; for operators.
    pub fn entry(&self, key: &EntryKey) -> Result<Option<Entry>, QueueError> {
        let store = &self.inner.store;
        store.get(key).map_err(|error| store.index_error(&error))
    }

    /// All entries of a message. Reads the whole index and blocks; for operators.
    pub fn find(&self, id: MessageId) -> Result<Vec<(EntryKey, Entry)>, QueueError> {
        self.inner.store.find(id)
    }

    /// Reads a message back on this thread; as [`Queue::load`], for operators.
    pub fn load_now(&self, id: MessageId, location: Location) -> Result<Arc<Content>, QueueError> {
        self.inner.store.load(id, location)
    }

    /// As [`Queue::load_now`], without the body, which is not read either.
    pub fn load_envelope(&self, id: MessageId, location: Location) -> Result<Envelope, QueueError> {
        self.inner.store.load_envelope(id, location)
    }

    /// Whether so much waits for a checkpoint that what has time should wait, too: more, and mail would have to.
    pub fn is_pressed(&self) -> bool {
        self.inner.store.is_checkpoint_due()
    }

    /// Now.
    pub fn stats(&self) -> Stats {
        self.inner.store.stats()
    }

    /// Why mail is refused although the journal can be written, if it is: the index cannot, and too much waits for it.
    pub fn stalled(&self) -> Option<Arc<str>> {
        self.inner.store.stall.reason()
    }

    /// Whether one of its threads has ended by itself: nobody will be answered any more.
    pub fn is_broken(&self) -> bool {
        crate::store::lock(&self.inner.threads).iter().any(JoinHandle::is_finished)
    }

    /// Free octets on the queue's file system.
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        self.inner.disk.free_bytes()
    }

    /// Commits what is pending, writes a checkpoint, ends the threads. Blocks. Not from a callback. The directory is free
    /// again when the last handle is gone: the others can still read the index.
    pub fn close(self) -> Result<(), QueueError> {
        self.inner.inbox.close(true);
        self.inner.join();
        match self.inner.store.checkpoint() {
            Ok(_) => Ok(()),
            Err(error) => Err(within(self.inner.disk.root(), error)),
        }
    }
}

impl Inner {
    fn start(&self, options: &Options, requests: Receiver<Request>) -> std::io::Result<()> {
        let mut threads = crate::store::lock(&self.threads);
        let name = |name: &str| std::thread::Builder::new().name(format!("queue-{name}"));

        let (store, inbox, pace) = (self.store.clone(), self.inbox.clone(), self.pace.clone());
        let patience = Patience::of(options);
        threads.push(name("commit").spawn(move || committer::run(&store, &inbox, &pace, patience))?);

        let (store, pace, interval) = (self.store.clone(), self.pace.clone(), options.checkpoint_interval);
        threads.push(name("checkpoint").spawn(move || checkpointer::run(&store, &pace, interval))?);

        let store = self.store.clone();
        threads.push(name("read").spawn(move || requests.iter().map_while(|read| read).for_each(|read| read(&store)))?);
        Ok(())
    }
}

impl Inner {
    /// Ends the threads. From one of them (a handle dropped in a callback), only tells them to end.
    fn join(&self) {
        let threads = std::mem::take(&mut *crate::store::lock(&self.threads));
        let mine = std::thread::current().id();
        let mut threads = threads.into_iter();
        let wait = |thread: Option<JoinHandle<()>>| {
            if let Some(thread) = thread.filter(|thread| thread.thread().id() != mine)
                && thread.join().is_err()
            {
                tracing::error!("a thread of the queue panicked");
            }
        };
        // The committer first: it may be waiting for a checkpoint.
        wait(threads.next());
        self.pace.stop();
        let _ = self.reads.send(None);
        threads.for_each(|thread| wait(Some(thread)));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.inbox.close(false);
        self.join();
    }
}
