//! The seam to the disk: what the journal needs of a file system, and no more.
//!
//! [`RealDisk`] is a directory. [`MemoryDisk`] is a file system in memory that knows what was synced, loses power at a
//! chosen operation, and shows what a disk may then hold: simulation and crash tests run on it.

mod memory;
mod real;

pub use memory::MemoryDisk;
pub use real::RealDisk;
pub(crate) use real::{make_dirs, sync_dir};

use std::io::{self, IoSlice};
use std::sync::Arc;

/// A directory with files; paths are relative to it, with `/`.
pub trait Disk: Send + Sync {
    /// Makes a directory (and those above it) where there is none.
    fn create_dir(&self, path: &str) -> io::Result<()>;
    /// Names in a directory, unsorted.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Makes an empty file, in place of any that was there.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;
    /// Renames a file or directory; replaces a file.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable. Counts as a sync.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Octets free for us.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file, usable from several threads.
pub trait File: Send + Sync {
    /// Writes all of the buffers, one after the other, from `offset` on.
    fn write_at(&self, offset: u64, buffers: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// Reads until the buffer is full or the file ends; says how much.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Makes the content durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Octets.
    fn len(&self) -> io::Result<u64>;
    /// No octets.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reserves blocks so that the file has at least so many octets, or fails without room for them.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
}

/// Whether the disk has lost what is there.
pub(crate) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Reads exactly `len` octets.
pub(crate) fn read_exactly(file: &dyn File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    if file.read_at(offset, &mut buffer)? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(buffer)
}

/// The content of a small file; `None` when there is none.
pub(crate) fn read_small(disk: &dyn Disk, path: &str) -> io::Result<Option<Vec<u8>>> {
    match disk.open(path) {
        Ok(file) => {
            let len = file.len()?.min(1 << 16) as usize;
            read_exactly(&*file, 0, len).map(Some)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a small file durable, whole or not at all.
pub(crate) fn write_small(disk: &dyn Disk, path: &str, content: &[u8]) -> io::Result<()> {
    let temporary = format!("{path}.new");
    let file = disk.create(&temporary)?;
    file.write_at(0, &mut [IoSlice::new(content)])?;
    file.sync()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.rsplit_once('/').map_or("", |(dir, _)| dir))
}
