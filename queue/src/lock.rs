//! One process a queue: an exclusive lock that the kernel drops with the process, however it ends.

use crate::QueueError;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// Held while the queue is open.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Takes `dir/lock`, or says who has it.
    pub(crate) fn take(dir: &Path) -> Result<Lock, QueueError> {
        let path = dir.join("lock");
        let io = |source| QueueError::Io { action: "locking", path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = file.take(256).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    text => text.to_owned(),
                };
                return Err(QueueError::Locked { dir: dir.to_owned(), holder });
            }
            Err(error) => return Err(io(error.into())),
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        file.set_len(0).map_err(io)?;
        let text = format!("process {} on {}\n", std::process::id(), host.trim());
        file.write_all(text.as_bytes()).map_err(io)?;
        Ok(Lock(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do; this makes it certain even if a descendant inherited the descriptor.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = Lock::take(dir.path()).expect("free");
        let Err(QueueError::Locked { holder, .. }) = Lock::take(dir.path()) else { panic!("locked twice") };
        assert!(holder.starts_with(&format!("process {} on", std::process::id())), "{holder}");
        drop(first);
        Lock::take(dir.path()).expect("free again");
    }
}
