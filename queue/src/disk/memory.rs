//! A file system in memory that loses power.
//!
//! It keeps what programs see and, beside it, what is durable. A sync makes one file's content durable, a directory sync its
//! names. [`MemoryDisk::crash`] gives a disk as it may be found after a power cut now: all that was synced, of every later write an
//! arbitrary subset of its 512-octet sectors, of later creations, renames and removals a prefix (journaled file systems keep their order).
//! [`MemoryDisk::cut_after`] lets the power go at a chosen operation: a test drives a store until it fails there, then opens the image.

use super::{Disk, File};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;
/// Of the page cache, which takes a write page by page.
const PAGE: usize = 4096;

/// A disk in memory; clones share it.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Path → file number, as programs see it.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: VecDeque<NameChange>,
    files: Vec<Content>,
    writes: u64,
    syncs: u64,
    /// Power goes when so many more writes, syncs and name changes were begun.
    fuse: Option<u64>,
    capacity: Option<u64>,
    fail_writes: Option<io::ErrorKind>,
    fail_syncs: Option<io::ErrorKind>,
}

#[derive(Clone)]
enum NameChange {
    Set(String, usize),
    Unset(String),
    Rename(String, String),
}

#[derive(Default, Clone)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Offset and octets of writes since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
    /// Numbers of pages that cannot be read.
    unreadable: BTreeSet<usize>,
}

fn overlay(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn rename_all(names: &mut BTreeMap<String, usize>, from: &str, to: &str) -> bool {
    let below = format!("{from}/");
    let moved: Vec<String> = names.keys().filter(|n| *n == from || n.starts_with(&below)).cloned().collect();
    for name in &moved {
        if let Some(file) = names.remove(name) {
            names.insert(format!("{to}{}", &name[from.len()..]), file);
        }
    }
    !moved.is_empty()
}

fn change_names(names: &mut BTreeMap<String, usize>, change: &NameChange) {
    match change {
        NameChange::Set(name, file) => _ = names.insert(name.clone(), *file),
        NameChange::Unset(name) => _ = names.remove(name),
        NameChange::Rename(from, to) => _ = rename_all(names, from, to),
    }
}

impl MemoryDisk {
    /// Empty, without limits.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Writes, syncs and name changes begun so far: the points at which [`MemoryDisk::cut_after`] can cut.
    pub fn operations(&self) -> u64 {
        let shared = self.lock();
        shared.writes + shared.syncs
    }

    /// Syncs of files and directories so far.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// The power goes with the `operations`-th write, sync or name change from now: a write may still leave parts of
    /// itself, a sync does not happen; that operation and all later ones fail.
    pub fn cut_after(&self, operations: u64) {
        self.lock().fuse = Some(operations);
    }

    /// Whether the power went.
    pub fn is_cut(&self) -> bool {
        self.lock().fuse == Some(0)
    }

    /// Octets that all files together may have; allocations and writes past it fail as on a full disk.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Writes fail so, with half of their pages written, until told otherwise.
    pub fn fail_writes(&self, error: Option<io::ErrorKind>) {
        self.lock().fail_writes = error;
    }

    /// Syncs fail so, until told otherwise.
    pub fn fail_syncs(&self, error: Option<io::ErrorKind>) {
        self.lock().fail_syncs = error;
    }

    /// A disk as it may be found if the power goes now. `random` gives uniform numbers; the same numbers, the same disk.
    pub fn crash(&self, random: &mut dyn FnMut() -> u64) -> MemoryDisk {
        let shared = self.lock();
        let mut names = shared.durable_names.clone();
        let kept = random() as usize % (shared.pending_names.len() + 1);
        shared.pending_names.iter().take(kept).for_each(|change| change_names(&mut names, change));
        let files = shared.files.iter().map(|file| survive(file, random)).collect();
        let image = Shared { durable_names: names.clone(), names, files, ..Shared::default() };
        MemoryDisk { shared: Arc::new(Mutex::new(image)) }
    }

    /// Changes a file behind everybody's back, as a failing disk does. Nothing when there is no such file.
    pub fn damage(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut shared = self.lock();
        if let Some(file) = shared.names.get(path).copied() {
            let content = &mut shared.files[file];
            change(&mut content.now);
            content.durable = content.now.clone();
            content.unsynced.clear();
        }
    }

    /// The page at that offset of a file cannot be read, until all of it is written again.
    pub fn lose_page(&self, path: &str, offset: u64) {
        let mut shared = self.lock();
        if let Some(file) = shared.names.get(path).copied() {
            shared.files[file].unreadable.insert(offset as usize / PAGE);
        }
    }

    /// A file's content as programs see it.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let shared = self.lock();
        shared.names.get(path).map(|file| shared.files[*file].now.clone())
    }
}

/// What of a file is there after a power cut.
fn survive(file: &Content, random: &mut dyn FnMut() -> u64) -> Content {
    let mut durable = file.durable.clone();
    for (offset, bytes) in &file.unsynced {
        // Nothing, all, a prefix, or any sectors.
        let mode = random() % 4;
        let prefix = random() as usize % (bytes.len() + 1);
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
            let lands = match mode {
                0 => false,
                1 => true,
                2 => end <= prefix,
                _ => random().is_multiple_of(2),
            };
            if lands {
                overlay(&mut durable, offset + at, &bytes[at..end]);
            }
            at = end;
        }
    }
    Content { now: durable.clone(), durable, unsynced: Vec::new(), unreadable: file.unreadable.clone() }
}

fn power_is_off() -> io::Error {
    io::Error::other("the power is off")
}

impl Shared {
    /// True when this operation is the one in which the power goes.
    fn begin(&mut self) -> io::Result<bool> {
        match &mut self.fuse {
            None => Ok(false),
            Some(0) => Err(power_is_off()),
            Some(left) => {
                *left -= 1;
                Ok(*left == 0)
            }
        }
    }

    fn change(&mut self, change: NameChange) -> io::Result<()> {
        self.writes += 1;
        let cut = self.begin()?;
        change_names(&mut self.names, &change);
        self.pending_names.push_back(change);
        if cut { Err(power_is_off()) } else { Ok(()) }
    }

    fn room_for(&self, file: usize, len: usize) -> io::Result<()> {
        let used: usize = self.names.values().filter(|f| **f != file).map(|f| self.files[*f].now.len()).sum();
        match self.capacity {
            Some(capacity) if (used + len) as u64 > capacity && len > self.files[file].now.len() => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

impl Disk for MemoryDisk {
    fn create_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let below = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let shared = self.lock();
        let names = shared.names.keys().filter_map(|name| name.strip_prefix(&below));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = *self.lock().names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), file }))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut shared = self.lock();
        let file = shared.files.len();
        shared.files.push(Content::default());
        shared.change(NameChange::Set(path.to_owned(), file))?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut shared = self.lock();
        let below = format!("{from}/");
        if !shared.names.keys().any(|name| name == from || name.starts_with(&below)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        shared.change(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut shared = self.lock();
        if !shared.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        shared.change(NameChange::Unset(path.to_owned()))
    }

    /// All directories at once: one journal commit.
    fn sync_dir(&self, _: &str) -> io::Result<()> {
        let mut shared = self.lock();
        shared.syncs += 1;
        if shared.begin()? {
            return Err(power_is_off());
        }
        let pending = std::mem::take(&mut shared.pending_names);
        pending.iter().for_each(|change| change_names(&mut shared.durable_names, change));
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let shared = self.lock();
        let used: usize = shared.names.values().map(|file| shared.files[*file].now.len()).sum();
        Ok(shared.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used as u64)))
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
}

impl File for MemoryFile {
    fn write_at(&self, offset: u64, buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut bytes = buffers.iter().map(|buffer| &**buffer).collect::<Vec<&[u8]>>().concat();
        let mut shared = self.disk.lock();
        shared.writes += 1;
        let failure = shared.fail_writes;
        if failure.is_some() {
            let pages = bytes.len() / PAGE / 2;
            bytes.truncate(pages * PAGE);
        }
        shared.room_for(self.file, offset as usize + bytes.len())?;
        let cut = shared.begin()?;
        let content = &mut shared.files[self.file];
        let whole = (offset as usize).div_ceil(PAGE)..(offset as usize + bytes.len()) / PAGE;
        content.unreadable.retain(|page| !whole.contains(page));
        overlay(&mut content.now, offset as usize, &bytes);
        content.unsynced.push((offset as usize, bytes));
        match failure {
            _ if cut => Err(power_is_off()),
            Some(kind) => Err(kind.into()),
            None => Ok(()),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let shared = self.disk.lock();
        let Content { now: content, unreadable, .. } = &shared.files[self.file];
        let from = content.len().min(offset as usize);
        let len = buffer.len().min(content.len() - from);
        if unreadable.range(from / PAGE..(from + len).div_ceil(PAGE)).next().is_some() {
            return Err(rustix::io::Errno::IO.into());
        }
        buffer[..len].copy_from_slice(&content[from..from + len]);
        Ok(len)
    }

    fn sync(&self) -> io::Result<()> {
        let mut shared = self.disk.lock();
        shared.syncs += 1;
        if let Some(kind) = shared.fail_syncs {
            return Err(kind.into());
        }
        if shared.begin()? {
            return Err(power_is_off());
        }
        let content = &mut shared.files[self.file];
        for (offset, bytes) in std::mem::take(&mut content.unsynced) {
            overlay(&mut content.durable, offset, &bytes);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.file].now.len() as u64)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut shared = self.disk.lock();
        shared.room_for(self.file, bytes as usize)?;
        let content = &mut shared.files[self.file];
        let len = content.now.len().max(bytes as usize);
        content.now.resize(len, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &dyn File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_at(offset, &mut [IoSlice::new(bytes)])
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let disk = MemoryDisk::new();
        let file = disk.create("a/f").expect("created");
        write(&*file, 0, &[1; 2048]).expect("written");
        file.sync().expect("synced");
        disk.sync_dir("a").expect("synced");
        write(&*file, 512, &[2; 1024]).expect("written");
        disk.rename("a/f", "a/g").expect("renamed");
        let mut seen = std::collections::BTreeSet::new();
        let mut seed = fastrand::Rng::with_seed(1);
        for _ in 0..200 {
            let image = disk.crash(&mut || seed.u64(..));
            let name = if image.content("a/f").is_some() { "a/f" } else { "a/g" };
            let content = image.content(name).expect("under one of its names");
            assert_eq!((content[0], content[1536]), (1, 1));
            seen.insert((name, content[512], content[1024]));
        }
        assert_eq!(seen.len(), 8, "both names, each sector old or new: {seen:?}");
    }

    #[test]
    fn the_power_goes_at_the_chosen_operation() {
        let disk = MemoryDisk::new();
        let file = disk.create("f").expect("created");
        disk.cut_after(2);
        write(&*file, 0, b"one").expect("still on");
        assert!(file.sync().is_err() && disk.is_cut() && write(&*file, 0, b"two").is_err());
        assert_eq!(disk.crash(&mut || 0).content("f"), None, "its name was never synced");
    }

    #[test]
    fn a_full_disk() {
        let disk = MemoryDisk::new();
        disk.set_capacity(Some(1000));
        let file = disk.create("f").expect("created");
        file.allocate(1000).expect("fits");
        assert_eq!(disk.free_bytes().expect("known"), 0);
        assert!(file.allocate(1001).is_err() && write(&*file, 999, b"xx").is_err());
    }
}
