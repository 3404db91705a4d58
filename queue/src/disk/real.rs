//! A directory of the operating system.

use super::{Disk, File};
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use rustix::io::retry_on_intr;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Linux takes so many buffers in one `pwritev`.
const MAX_BUFFERS: usize = 1024;

/// The files under one directory.
#[derive(Clone, Debug)]
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// The directory must exist.
    pub fn new(root: impl Into<PathBuf>) -> RealDisk {
        RealDisk { root: root.into() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        std::fs::create_dir_all(self.path(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(self.path(dir))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(self.path(path))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(self.path(path))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(path))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        sync_dir(&self.path(dir))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// `fsync` of a directory.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// Makes a directory and those above it that are missing, and sees to it with `sync` that each is known to the one that it is in: after
/// a power cut, one that is not would be gone, with all that it holds.
pub(crate) fn make_dirs(path: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dirs(parent, sync)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => return Err(error),
        _ => {}
    }
    sync(parent)
}

struct RealFile(std::fs::File);

impl File for RealFile {
    fn write_at(&self, mut offset: u64, mut buffers: &mut [IoSlice<'_>]) -> io::Result<()> {
        while !buffers.is_empty() {
            let some = &buffers[..buffers.len().min(MAX_BUFFERS)];
            let written = match rustix::io::pwritev(&self.0, some, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            offset += written as u64;
            IoSlice::advance_slices(&mut buffers, written);
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync(&self) -> io::Result<()> {
        // A signal is no failure: nothing was lost, and the next call waits for the same octets.
        Ok(retry_on_intr(|| fdatasync(&self.0))?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match retry_on_intr(|| fallocate(&self.0, FallocateFlags::empty(), 0, bytes)) {
            Ok(()) => Ok(()),
            // Such a file system allocates as it is written, and can still run full under a group.
            Err(rustix::io::Errno::OPNOTSUPP) if self.len()? < bytes => self.0.set_len(bytes),
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_that_are_made_are_known_to_those_that_they_are_in() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (path, mut synced) = (dir.path().join("a/b/c"), Vec::new());
        let mut note = |path: &Path| {
            synced.push(path.strip_prefix(dir.path()).expect("within").to_owned());
            sync_dir(path)
        };
        make_dirs(&path, &mut note).expect("made");
        make_dirs(&path, &mut note).expect("there");
        assert!(path.is_dir());
        assert_eq!(synced, ["", "a", "a/b"].map(PathBuf::from));
        std::fs::write(path.join("file"), "").expect("written");
        let error = make_dirs(&path.join("file/d"), &mut |_| Ok(())).expect_err("it is a file");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn more_buffers_than_one_call_takes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let disk = RealDisk::new(dir.path());
        let file = disk.create("f").expect("created");
        let parts: Vec<[u8; 3]> = (0..2500u32).map(|i| [i as u8, (i >> 8) as u8, 7]).collect();
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|p| IoSlice::new(p)).collect();
        file.write_at(5, &mut slices).expect("written");
        let mut back = vec![0; 7500];
        assert_eq!(file.read_at(5, &mut back).expect("read"), 7500);
        assert_eq!(back, parts.concat());
        file.allocate(100_000).expect("room");
        assert_eq!(file.len().expect("length"), 100_000);
        assert_eq!(disk.list("").expect("listed"), ["f"]);
        assert!(disk.free_bytes().expect("statvfs") > 0);
    }
}
