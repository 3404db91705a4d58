//! How files looked when they were last read: enough to see that one was written or replaced.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// mtime in seconds and nanoseconds, inode, octets; `None`: it could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look(Vec<Option<(i64, i64, u64, u64)>>);

impl Look {
    pub(crate) fn at(paths: &[&Path]) -> Look {
        let one = |path: &&Path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.mtime(), meta.mtime_nsec(), meta.ino(), meta.len()))
        };
        Look(paths.iter().map(one).collect())
    }
}
