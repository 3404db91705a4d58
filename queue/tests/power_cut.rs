//! One scripted life of a queue (messages, outcomes, retries, checkpoints, segments freed and used again, survivors copied
//! forward), and the power going at every single operation of it: each write, sync and change of a name on the disk, and
//! each step into the index. What a disk may hold then is opened, and must be what was answered.
//!
//! Then the same on real files with the real index, which is found as it was, older, damaged, or not at all.

mod model;

use model::{Model, apply, difference, limits, message, observe, settle};
use posthaste_queue as queue;
use queue::checkpoint::Checkpoint;
use queue::disk::{Disk, MemoryDisk, RealDisk};
use queue::index::{Change, Index, IndexError, IndexHome, MemoryIndex, SledIndex};
use queue::{Entry, EntryKey, Group, QueueError, Settle, Store};
use std::collections::BTreeSet;
use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Clone, Copy)]
enum Step {
    /// So many messages in one group.
    Accept(usize),
    /// Outcomes and retries of so many entries, with a message in the same group.
    Settle(usize),
    /// All is done but every tenth entry, with a message in the same group.
    Finish,
    Checkpoint,
    Relocate,
    /// As while messages come in.
    Spare,
    /// As while none do.
    Idle,
}

const SCRIPT: &[Step] = {
    use Step::*;
    &[
        Accept(1),
        Settle(1),
        Accept(3),
        Settle(2),
        Checkpoint,
        Accept(8),
        Spare,
        Settle(6),
        Accept(9),
        Accept(9),
        Finish,
        Checkpoint,
        Idle,
        Accept(9),
        Accept(9),
        Settle(9),
        Checkpoint,
        Accept(9),
        Finish,
        Spare,
        Checkpoint,
        Relocate,
        Accept(9),
        Settle(5),
        Checkpoint,
        Idle,
        Accept(9),
        Finish,
        Checkpoint,
        Relocate,
        Checkpoint,
        Accept(2),
        Finish,
        Accept(2),
    ]
};

/// An index whose steps can fail at a chosen one, half done: then the power went there.
#[derive(Clone, Default)]
struct CutIndex {
    inner: MemoryIndex,
    /// Fails when so many more steps were begun; 0: never.
    fuse: Arc<AtomicU64>,
    steps: Arc<AtomicU64>,
}

impl CutIndex {
    fn begin(&self) -> bool {
        self.steps.fetch_add(1, Relaxed);
        let left = self.fuse.load(Relaxed);
        self.fuse.store(left.saturating_sub(1), Relaxed);
        left == 1
    }
    fn end(cut: bool) -> Result<(), IndexError> {
        if cut { Err(IndexError("the power is off".into())) } else { Ok(()) }
    }
}

impl IndexHome for CutIndex {
    fn open(&self) -> Result<Arc<dyn Index>, IndexError> {
        Ok(Arc::new(self.clone()))
    }
    fn set_aside(&self) -> std::io::Result<()> {
        self.inner.set_aside()
    }
}

impl Index for CutIndex {
    fn apply(&self, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<(), IndexError> {
        let cut = self.begin();
        let mut changes: Vec<_> = changes.collect();
        if cut {
            changes.truncate(changes.len() / 2);
        }
        self.inner.apply(&mut changes.into_iter())?;
        CutIndex::end(cut)
    }
    fn range(
        &self,
        from: Bound<&EntryKey>,
        to: Bound<&EntryKey>,
        n: usize,
    ) -> Result<Vec<(EntryKey, Entry)>, IndexError> {
        self.inner.range(from, to, n)
    }
    fn get(&self, key: &EntryKey) -> Result<Option<Entry>, IndexError> {
        self.inner.get(key)
    }
    fn checkpoint(&self) -> Result<Option<Checkpoint>, IndexError> {
        Index::checkpoint(&self.inner)
    }
    fn set_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), IndexError> {
        let cut = self.begin();
        self.inner.set_checkpoint(checkpoint)?;
        CutIndex::end(cut)
    }
    fn sync(&self) -> Result<(), IndexError> {
        let cut = self.begin();
        if !cut {
            self.inner.sync()?;
        }
        CutIndex::end(cut)
    }
    fn count(&self) -> Result<u64, IndexError> {
        self.inner.count()
    }
    fn is_broken(&self) -> bool {
        self.inner.is_broken()
    }
    fn reopen(&self) -> Result<(), IndexError> {
        self.inner.reopen()
    }
    fn shut(&self, why: &IndexError) {
        self.inner.shut(why);
    }
}

/// How far the script came, and what the queue must hold then.
struct Life {
    random: fastrand::Rng,
    model: Model,
    /// What the step that failed would have made of it.
    perhaps: Option<Model>,
}

impl Life {
    fn new() -> Life {
        Life { random: fastrand::Rng::with_seed(5), model: Model::new(), perhaps: None }
    }

    fn step(&mut self, store: &Store, step: Step) -> Result<(), QueueError> {
        let (messages, outcomes) = match step {
            Step::Accept(messages) => (messages, 0),
            Step::Settle(outcomes) => (1, outcomes),
            Step::Finish => (1, usize::MAX),
            Step::Checkpoint => return store.checkpoint().map(|_| ()),
            Step::Relocate => return store.relocate().map(|_| ()),
            // Its failure is told by whatever comes next.
            Step::Spare | Step::Idle => {
                let _ = store.prepare_spare(matches!(step, Step::Idle));
                return Ok(());
            }
        };
        let mut group = Group::default();
        for _ in 0..messages {
            group.accepts.push(message(&mut self.random, store.next_id(0)));
        }
        let entries = store.list(None, usize::MAX)?;
        for (n, (key, entry)) in entries.into_iter().enumerate().take(outcomes) {
            match step {
                Step::Finish if n % 10 == 0 => {}
                Step::Finish => group.settles.push(Settle { key, done: entry.open, retry: None }),
                _ => group.settles.push(settle(&mut self.random, key, &entry)),
            }
        }
        let mut after = self.model.clone();
        apply(&mut after, &group);
        match store.commit(std::iter::once(&group)) {
            Ok(_) => self.model = after,
            Err(error) => {
                self.perhaps = Some(after);
                return Err(error);
            }
        }
        Ok(())
    }

    fn check(&self, found: &Model, what: &str) {
        let fits = *found == self.model || Some(found) == self.perhaps.as_ref();
        assert!(fits, "{what}: lost or risen: {:?}", difference(found, &self.model));
    }
}

/// Lives until the power goes, or to the end of the script (true).
fn live(disk: &MemoryDisk, index: &CutIndex) -> (Life, bool) {
    let mut life = Life::new();
    let Ok((store, _)) = Store::open(Arc::new(disk.clone()), index, limits(3)) else { return (life, false) };
    let mut kinds = BTreeSet::new();
    for step in SCRIPT {
        if life.step(&store, *step).is_err() {
            return (life, false);
        }
        let names = disk.list("journal").expect("listed").into_iter().filter(|name| name.ends_with(".seg"));
        kinds.extend(names.filter_map(|name| Some(disk.content(&format!("journal/{name}"))?[32])));
    }
    if !disk.is_cut() && index.fuse.load(Relaxed) == 0 {
        let stats = store.stats();
        assert!(stats.moved > 0 && stats.checkpoints > 4, "{stats:?}");
        assert_eq!(disk.content("journal/0000000001.seg"), None, "segments were freed");
        assert_eq!(kinds, [0, 1].into(), "segments of blocks that were never written, and of such that were");
    }
    (life, !disk.is_cut())
}

/// Whatever the disk holds now is a queue with what was answered: with the index, without, and again.
fn check_images(life: &Life, disk: &MemoryDisk, index: &CutIndex, what: &str) {
    for variant in 0..6 {
        let mut seeded = fastrand::Rng::with_seed(variant);
        let mut random = || match variant {
            // Nothing that was not synced has landed; everything has.
            0 => 0,
            1 => u64::MAX - 2,
            _ => seeded.u64(..),
        };
        let what = format!("{what}, image {variant}");
        let (image, index) = (disk.crash(&mut random), index.inner.crash(&mut random));
        let copy = image.crash(&mut || 0);
        for (disk, index) in [(image, index), (copy, MemoryIndex::new())] {
            let open =
                || Store::open(Arc::new(disk.clone()), &index, limits(4)).unwrap_or_else(|e| panic!("{what}: {e}"));
            let found = observe(&open().0);
            life.check(&found, &what);
            assert!(observe(&open().0) == found, "{what}: opened twice");
        }
    }
}

#[test]
fn at_every_operation_of_the_disk() {
    for cut in 1.. {
        let (disk, index) = (MemoryDisk::new(), CutIndex::default());
        disk.cut_after(cut);
        let (life, finished) = live(&disk, &index);
        check_images(&life, &disk, &index, &format!("cut at operation {cut}"));
        if finished {
            assert!(cut > 80, "the script is longer than {cut} operations");
            return;
        }
    }
}

#[test]
fn at_every_step_into_the_index() {
    for cut in 1.. {
        let (disk, index) = (MemoryDisk::new(), CutIndex::default());
        index.fuse.store(cut, Relaxed);
        let (life, _) = live(&disk, &index);
        check_images(&life, &disk, &index, &format!("cut at index step {cut}"));
        if index.steps.load(Relaxed) < cut {
            assert!(cut > 20, "the script has more than {cut} steps into the index");
            return;
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for item in fs::read_dir(from).expect("listed") {
        let item = item.expect("listed");
        let target = to.join(item.file_name());
        match item.file_type().expect("known").is_dir() {
            true => copy_dir(&item.path(), &target),
            false => _ = fs::copy(item.path(), target).expect("copied"),
        }
    }
}

fn open_real(dir: &Path) -> Result<Store, QueueError> {
    let home = SledIndex { path: dir.join("index"), cache_bytes: 1 << 20 };
    Store::open(Arc::new(RealDisk::new(dir)), &home, limits(6)).map(|(store, _)| store)
}

/// What of the last write has landed, by sectors: the pages that differ between two copies of the journal.
fn tear(before: &Path, after: &Path, image: &Path, lands: impl Fn(usize) -> bool) {
    let mut sectors = 0;
    for item in fs::read_dir(after.join("journal")).expect("listed") {
        let name = item.expect("listed").file_name();
        let new = fs::read(after.join("journal").join(&name)).expect("read");
        let old = fs::read(before.join("journal").join(&name)).unwrap_or_default();
        let mut torn = old.clone();
        torn.resize(new.len(), 0);
        for (i, sector) in new.chunks(512).enumerate() {
            let at = i * 512..i * 512 + sector.len();
            if torn[at.clone()] != *sector {
                if lands(sectors) {
                    torn[at].copy_from_slice(sector);
                }
                sectors += 1;
            }
        }
        fs::write(image.join("journal").join(&name), torn).expect("written");
    }
    assert!(sectors > 10, "a group that can be torn");
}

#[test]
fn real_files_torn_and_the_real_index_stale_damaged_or_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let live = at("live");
    fs::create_dir(&live).expect("made");
    let store = open_real(&live).expect("opens");
    let mut life = Life::new();
    for (n, step) in SCRIPT.iter().enumerate() {
        life.step(&store, *step).expect("a working disk");
        if n == SCRIPT.len() / 2 {
            copy_dir(&live.join("index"), &at("stale"));
        }
    }
    copy_dir(&live, &at("before"));
    let before = life.model.clone();
    life.step(&store, Step::Accept(9)).expect("a working disk");
    copy_dir(&live, &at("after"));
    drop(store);

    type Tear = fn(usize) -> bool;
    type Spoil<'a> = &'a dyn Fn(&Path);
    let tears: [(&str, Tear); 5] = [
        ("nothing", |_| false),
        ("first", |i| i == 0),
        ("prefix", |i| i < 7),
        ("odd", |i| i % 2 == 1),
        ("all", |_| true),
    ];
    let indexes: [(&str, Spoil<'_>); 5] = [
        ("as it was", &|_| ()),
        ("gone", &|index| fs::remove_dir_all(index).expect("removed")),
        ("stale", &|index| {
            fs::remove_dir_all(index).expect("removed");
            copy_dir(&at("stale"), index);
        }),
        ("cut", &|index| {
            let db = fs::File::options().write(true).open(index.join("db")).expect("opened");
            db.set_len(db.metadata().expect("known").len() / 2).expect("cut");
        }),
        ("garbage", &|index| fs::write(index.join("db"), [0x5a; 100_000]).expect("written")),
    ];
    for (tear_name, lands) in tears {
        for (index_name, spoil) in &indexes {
            let what = format!("{tear_name} of the last write landed, the index is {index_name}");
            let image = at("image");
            copy_dir(&at("after"), &image);
            tear(&at("before"), &at("after"), &image, lands);
            spoil(&image.join("index"));
            let store = open_real(&image).unwrap_or_else(|e| panic!("{what}: {e}"));
            let expected = if tear_name == "all" { &life.model } else { &before };
            let found = observe(&store);
            assert!(found == *expected, "{what}: {:?}", difference(&found, expected));
            drop(store);
            assert!(observe(&open_real(&image).expect("opens again")) == found, "{what}: opened twice");
            fs::remove_dir_all(&image).expect("removed");
        }
    }
}
