//! Whoever reads the queue does not wait for the disk while segments are freed.

mod mail;

use posthaste_queue as queue;
use queue::disk::{Disk, File, MemoryDisk};
use queue::index::MemoryIndex;
use queue::{Group, Limits, Settle, Store};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A disk on which to take the first segment away lasts until it is told to go on.
struct SlowDisk {
    disk: MemoryDisk,
    gate: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl SlowDisk {
    fn freeing(&self, path: &str) {
        let gate = if path.ends_with(".seg") { self.gate.lock().ok().and_then(|mut gate| gate.take()) } else { None };
        if let Some((begun, go_on)) = gate {
            begun.send(()).expect("somebody waits for it");
            // Whoever has to wait for this to end never says so.
            go_on.recv_timeout(Duration::from_secs(10)).expect("readers go on");
        }
    }
}

impl Disk for SlowDisk {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.disk.open(path)
    }
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.disk.create(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.freeing(from);
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.freeing(path);
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

fn group(store: &Store) -> Group {
    let message = mail::message(store.next_id(0), ["a@x.example"], vec![b'x'; 10_000]);
    Group { accepts: vec![message], settles: vec![] }
}

#[test]
fn readers_do_not_wait_while_a_segment_is_freed() {
    let limits = Limits {
        segment_bytes: 64 << 10,
        memtable_entries: 1000,
        memtable_bytes: 1 << 20,
        journal_floor_bytes: 1 << 20,
        prepare_bytes: 0,
        seed: 1,
    };
    let disk = Arc::new(SlowDisk { disk: MemoryDisk::new(), gate: Mutex::default() });
    let (store, _) = Store::open(disk.clone(), &MemoryIndex::new(), limits).expect("opens");
    // Some segments of mail, of which only the last message stays.
    (0..20).for_each(|_| drop(store.commit(std::iter::once(&group(&store))).expect("room")));
    let mut entries = store.list(None, usize::MAX).expect("read");
    let (kept, _) = entries.pop().expect("queued");
    let settles = entries.into_iter().map(|(key, entry)| Settle { key, done: entry.open, retry: None });
    store.commit(std::iter::once(&Group { accepts: vec![], settles: settles.collect() })).expect("room");

    let ((begun, freeing), (tell, go_on)) = (channel(), channel());
    *disk.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some((begun, go_on));
    std::thread::scope(|threads| {
        let checkpoint = threads.spawn(|| store.checkpoint().expect("written"));
        freeing.recv().expect("a segment is freed");
        let found = store.list(None, usize::MAX).expect("read");
        assert!(found.iter().map(|(key, _)| key).eq([&kept]));
        let (_, entry) = &found[0];
        store.load(kept.id, entry.location).expect("read back");
        tell.send(()).expect("the disk waits for it");
        assert!(checkpoint.join().expect("no panic"));
    });
    assert_eq!(disk.disk.content("journal/0000000001.seg"), None, "it was freed");
}
