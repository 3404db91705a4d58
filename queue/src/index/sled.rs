//! sled 0.34 as the index, kept on a short leash.
//!
//! Its `flush` does not reach the disk (`sync_file_range`), so its file is synced by us; it can panic on what a crash left, so every
//! call is fenced; leaf pages over 128 KiB would go to `blobs/` files that are never synced, so values stay under 1 KiB.

use super::{Change, Index, IndexError, IndexHome};
use crate::checkpoint::Checkpoint;
use crate::codec::{Malformed, Reader};
use crate::{Domain, Entry, EntryKey, Flow, MessageId};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

const CHECKPOINT: &[u8] = b"\0ckpt";
const ENTRY: u8 = b'q';
/// `0`, flow, due, id.
const KEY_TAIL: usize = 1 + Flow::BYTES + 8 + 8;
/// Whoever still holds sled's file when it is to be opened gets so long to let go of it, and is asked this often.
const RELEASE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(1));

/// The home of a sled index: a directory.
#[derive(Clone, Debug)]
pub struct SledIndex {
    /// `queue/index`.
    pub path: PathBuf,
    /// sled's cache, octets.
    pub cache_bytes: u64,
}

impl IndexHome for SledIndex {
    fn open(&self) -> Result<Arc<dyn Index>, IndexError> {
        let tree = RwLock::new(Ok(self.tree()?));
        Ok(Arc::new(Open { home: self.clone(), tree, is_broken: AtomicBool::new(false) }))
    }

    fn set_aside(&self) -> std::io::Result<()> {
        let aside = self.path.with_extension("distrusted");
        match std::fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match std::fs::rename(&self.path, &aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl SledIndex {
    fn tree(&self) -> Result<Tree, IndexError> {
        self.await_release();
        let config = sled::Config::new().path(&self.path).cache_capacity(self.cache_bytes).flush_every_ms(None);
        let opened = fenced(|| {
            let db = config.open()?;
            Ok(Tree { db, file: File::open(self.path.join("db"))? })
        });
        opened.map_err(|fault| IndexError(fault.to_string()))
    }

    /// sled locks its file and says at once if it cannot. But one of its threads that has just written for the last flush
    /// has told so before it drops its handle, as late as the scheduler likes; and a process that ends closes our lock before
    /// that one. Nobody else has a right to the index while we have the queue's lock, so either is over in a moment: an index
    /// taken for a broken one is read anew from all of the journal.
    fn await_release(&self) {
        let Ok(file) = File::open(self.path.join("db")) else { return };
        let (patience, pause) = RELEASE;
        let begun = Instant::now();
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() && begun.elapsed() < patience {
            std::thread::sleep(pause);
        }
        // Closing would do; this makes it certain even if a descendant inherited the descriptor.
        let _ = flock(&file, FlockOperation::Unlock);
    }
}

/// What is open of sled.
struct Tree {
    db: sled::Db,
    file: File,
}

/// sled remembers its first error of the disk and says it to everybody ever after, also when the disk has long had room again:
/// then it has to be opened anew.
struct Open {
    home: SledIndex,
    /// Or why there is none.
    tree: RwLock<Result<Tree, IndexError>>,
    is_broken: AtomicBool,
}

impl Open {
    fn with<T>(&self, call: impl FnOnce(&Tree) -> Result<T, Fault>) -> Result<T, IndexError> {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        let tree = tree.as_ref().map_err(IndexError::clone)?;
        fenced(|| call(tree)).map_err(|fault| {
            // What is there but makes no sense does not get better.
            let is_damaged = matches!(fault, Fault::Malformed(_) | Fault::Sled(sled::Error::Corruption { .. }));
            self.is_broken.fetch_or(!is_damaged, Relaxed);
            IndexError(fault.to_string())
        })
    }
}

/// Errors of sled and of decoding, as text.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Sled(#[from] sled::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Panic(String),
}

/// A panic of sled becomes an error: the index is dispensable, the process is not.
fn fenced<T>(call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        Err(Fault::Panic(text.to_owned()))
    })
}

fn encode_key(key: &EntryKey, out: &mut Vec<u8>) {
    out.clear();
    out.push(ENTRY);
    out.extend_from_slice(key.domain.as_str().as_bytes());
    out.push(0);
    out.extend_from_slice(&key.flow.encode());
    out.extend_from_slice(&key.due_ms.to_be_bytes());
    out.extend_from_slice(&key.id.0.to_be_bytes());
}

fn key_bytes(key: &EntryKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.domain.as_str().len() + KEY_TAIL);
    encode_key(key, &mut out);
    out
}

fn decode_key(bytes: &[u8]) -> Result<EntryKey, Malformed> {
    const BAD: Malformed = Malformed("index key");
    let (&ENTRY, rest) = bytes.split_first().ok_or(BAD)? else { return Err(BAD) };
    let (domain, tail) = rest.split_last_chunk::<KEY_TAIL>().ok_or(BAD)?;
    let domain = std::str::from_utf8(domain).map_err(|_| BAD)?;
    let [0, flow @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *tail else { return Err(BAD) };
    let numbers = &tail[1 + Flow::BYTES..];
    let number = |from: usize| numbers[from..from + 8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let (flow, id) = (Flow::decode(flow), MessageId(number(8)));
    Ok(EntryKey { domain: Domain(domain.into()), flow, due_ms: number(0), id })
}

fn decode_entry(bytes: &[u8]) -> Result<Entry, Malformed> {
    let reader = &mut Reader::new(bytes);
    let entry = Entry::decode(reader)?;
    reader.end()?;
    Ok(entry)
}

impl Index for Open {
    fn apply(&self, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<(), IndexError> {
        let (mut name, mut value) = (Vec::new(), Vec::new());
        self.with(|tree| {
            for (key, entry) in changes {
                encode_key(key, &mut name);
                match entry {
                    Some(entry) => {
                        value.clear();
                        entry.encode(&mut value);
                        tree.db.insert(&name, value.as_slice())?;
                    }
                    None => _ = tree.db.remove(&name)?,
                }
            }
            Ok(())
        })
    }

    fn range(
        &self,
        from: Bound<&EntryKey>,
        to: Bound<&EntryKey>,
        limit: usize,
    ) -> Result<Vec<(EntryKey, Entry)>, IndexError> {
        let from = match from {
            Bound::Unbounded => Bound::Included(vec![ENTRY]),
            bound => bound.map(key_bytes),
        };
        let to = match to {
            Bound::Unbounded => Bound::Excluded(vec![ENTRY + 1]),
            bound => bound.map(key_bytes),
        };
        self.with(|tree| {
            let mut found = Vec::new();
            for item in tree.db.range::<Vec<u8>, _>((from, to)).take(limit) {
                let (key, value) = item?;
                found.push((decode_key(&key)?, decode_entry(&value)?));
            }
            Ok(found)
        })
    }

    fn get(&self, key: &EntryKey) -> Result<Option<Entry>, IndexError> {
        self.with(|tree| Ok(tree.db.get(key_bytes(key))?.map(|value| decode_entry(&value)).transpose()?))
    }

    fn checkpoint(&self) -> Result<Option<Checkpoint>, IndexError> {
        self.with(|tree| {
            let Some(value) = tree.db.get(CHECKPOINT)? else { return Ok(None) };
            Ok(Some(Checkpoint::decode(&mut Reader::new(&value))?))
        })
    }

    fn set_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), IndexError> {
        let mut value = Vec::new();
        checkpoint.encode(&mut value);
        self.with(|tree| {
            tree.db.insert(CHECKPOINT, value)?;
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), IndexError> {
        self.with(|tree| {
            tree.db.flush()?;
            tree.file.sync_data()?;
            Ok(())
        })
    }

    fn count(&self) -> Result<u64, IndexError> {
        self.with(|tree| {
            let mut count = 0;
            for key in tree.db.range([ENTRY]..[ENTRY + 1]).keys() {
                key?;
                count += 1;
            }
            Ok(count)
        })
    }

    fn is_broken(&self) -> bool {
        self.is_broken.load(Relaxed)
    }

    fn reopen(&self) -> Result<(), IndexError> {
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        // It lets go of its files when it is dropped, for which it may try to write once more.
        let closed = std::mem::replace(&mut *tree, Err(IndexError("it is being opened again".into())));
        let _ = fenced(|| {
            drop(closed);
            Ok(())
        });
        *tree = self.home.tree();
        self.is_broken.store(tree.is_err(), Relaxed);
        tree.as_ref().map(|_| ()).map_err(IndexError::clone)
    }

    fn shut(&self, why: &IndexError) {
        *self.tree.write().unwrap_or_else(PoisonError::into_inner) = Err(why.clone());
        self.is_broken.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opened_again_it_holds_what_was_synced_and_shut_it_says_why() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let index = SledIndex { path: dir.path().join("index"), cache_bytes: 1 << 20 }.open().expect("made");
        let checkpoint = Checkpoint { number: 7, ..Checkpoint::default() };
        index.set_checkpoint(&checkpoint).and_then(|()| index.sync()).expect("written");
        assert!(!index.is_broken());
        index.reopen().expect("opened again");
        assert_eq!(index.checkpoint().expect("read"), Some(checkpoint));
        // Its directory is gone: it cannot be opened until there is one again.
        std::fs::rename(dir.path().join("index"), dir.path().join("away")).expect("moved");
        std::fs::write(dir.path().join("index"), "").expect("in the way");
        let why = index.reopen().expect_err("not there");
        assert!(index.is_broken() && index.count().expect_err("closed").to_string() == why.to_string());
        std::fs::remove_file(dir.path().join("index")).expect("removed");
        std::fs::rename(dir.path().join("away"), dir.path().join("index")).expect("moved back");
        index.reopen().expect("opened again");
        assert!(!index.is_broken() && index.checkpoint().expect("read").is_some());
        index.shut(&IndexError("for a reason".into()));
        assert!(!index.is_broken() && index.count().expect_err("shut").to_string().contains("for a reason"));
    }

    #[test]
    fn what_a_thread_of_sled_still_holds_is_waited_for() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = SledIndex { path: dir.path().join("index"), cache_bytes: 1 << 20 };
        let index = home.open().expect("made");
        index.set_checkpoint(&Checkpoint { number: 7, ..Checkpoint::default() }).expect("written");
        drop(index);
        let file = File::open(home.path.join("db")).expect("there");
        flock(&file, FlockOperation::LockExclusive).expect("sled lets go of it");
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(file);
        });
        let index = home.open().expect("waited for");
        assert_eq!(index.checkpoint().expect("read").expect("it is the same index").number, 7);
        thread.join().expect("it only waits");
    }
}
