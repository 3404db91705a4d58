//! The event log's file.

use super::buffer::LineBuffer;
use super::format::Formatter;
use super::injector::Injector;
use crate::dispatch::Happened;
use crate::now::Now;
use queue::Content;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A flush is due at the latest when so many bytes wait.
const FLUSH_BYTES: usize = 64 << 10;

/// No line is longer than this.
const LONGEST_LINE: u64 = 1 << 20;

/// Appends events to a file. The owner flushes before the queue is asked to forget what a line tells of, and twice a
/// second, so that a line is neither lost with the process nor seen late.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    formatter: Formatter,
    buffer: LineBuffer,
    lost: u64,
    failing: bool,
}

impl EventLog {
    /// Opens the file for appending; creates it (mode 0640: it holds addresses) where it is missing. A last line that a
    /// crash left unfinished is cut off, so that every line can be read.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn open(path: &Path) -> io::Result<EventLog> {
        cut_unfinished_line(path)?;
        Ok(EventLog {
            path: path.to_owned(),
            file: append_to(path)?,
            formatter: Formatter::default(),
            buffer: LineBuffer::default(),
            lost: 0,
            failing: false,
        })
    }

    /// A message became durable; without an injector it is a notice.
    pub fn accepted(&mut self, now: Now, content: &Content, injector: Option<&Injector>) {
        self.formatter.accepted(self.buffer.lines(), now, content, injector);
        self.flush_when_full();
    }

    /// A recipient took a step.
    pub fn happened(&mut self, happened: &Happened) {
        self.formatter.happened(self.buffer.lines(), happened);
        self.flush_when_full();
    }

    /// Writes what waits, with one `write(2)`.
    pub fn flush(&mut self) {
        if self.buffer.pending().is_empty() {
            return;
        }
        match self.file.write(self.buffer.pending()) {
            // Nothing taken and no error: as good as a failure, else the buffer would grow for ever.
            Ok(0) => self.give_up(&io::Error::from(ErrorKind::WriteZero)),
            Ok(bytes) => {
                self.buffer.written(bytes);
                if std::mem::take(&mut self.failing) {
                    tracing::info!(path = %self.path.display(), lost = self.lost, "the event log is written again");
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.give_up(&error),
        }
    }

    /// Writes what waits to the old file and opens the path anew (SIGHUP, after logrotate moved the file). On an error the
    /// old file stays in use.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.flush();
        self.file = append_to(&self.path)?;
        Ok(())
    }

    /// Lines that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn flush_when_full(&mut self) {
        if self.buffer.pending().len() >= FLUSH_BYTES {
            self.flush();
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        self.lost += self.buffer.give_up();
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(path = %self.path.display(), %error, "the event log cannot be written; events are lost, mail is not");
        }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Only a crash in the middle of a write leaves such a line; what follows would be glued to it.
fn cut_unfinished_line(path: &Path) -> io::Result<()> {
    // Not a device or a pipe, nor anything that cannot be read: those are only appended to.
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    if !metadata.is_file() {
        return Ok(());
    }
    let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else { return Ok(()) };
    let start = metadata.len().saturating_sub(LONGEST_LINE);
    let mut tail = vec![0; (metadata.len() - start) as usize];
    file.read_exact_at(&mut tail, start)?;
    match memchr::memrchr(b'\n', &tail) {
        Some(at) if at + 1 == tail.len() => Ok(()),
        Some(at) => file.set_len(start + at as u64 + 1),
        None if start == 0 => file.set_len(0),
        // No log of ours.
        None => Ok(()),
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Kind;
    use queue::MessageId;

    #[allow(clippy::disallowed_methods, reason = "an instant to begin with; nothing is measured")]
    fn happened() -> Happened {
        Happened {
            now: Now { mono: std::time::Instant::now(), wall_us: 0 },
            kind: Kind::Expired,
            content: None,
            envelope: None,
            body_bytes: 18,
            id: MessageId(1),
            recipient: 0,
            site: "s".into(),
            mx: None,
            mx_address: None,
            source_address: None,
            attempt: 1,
            reply: None,
            in_doubt: false,
            attempt_time: None,
            tls: None,
            accepted_us: 0,
        }
    }

    fn lines(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn lines_are_gathered_and_written_by_flush() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, "{}\n").unwrap();
        let mut log = EventLog::open(&path).unwrap();
        log.happened(&happened());
        log.happened(&happened());
        assert_eq!(lines(&path), 1);
        log.flush();
        assert_eq!(lines(&path), 3);
        let many = FLUSH_BYTES / 100;
        (0..many).for_each(|_| log.happened(&happened()));
        assert!(lines(&path) > 3, "a full buffer is written at once");
        drop(log);
        assert_eq!(lines(&path), 3 + many);
    }

    #[test]
    fn a_line_that_a_crash_left_unfinished_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        for (before, after) in [("", ""), ("{}\n", "{}\n"), ("{}\n{\"ev", "{}\n"), ("{\"ev", ""), ("\n\n", "\n\n")] {
            std::fs::write(&path, before).unwrap();
            drop(EventLog::open(&path).unwrap());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after, "{before:?}");
        }
    }

    #[test]
    fn after_rotation_a_new_file_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (path, rotated) = (dir.path().join("events.jsonl"), dir.path().join("events.jsonl.1"));
        let mut log = EventLog::open(&path).unwrap();
        log.happened(&happened());
        std::fs::rename(&path, &rotated).unwrap();
        log.happened(&happened());
        log.reopen().unwrap();
        log.happened(&happened());
        log.flush();
        assert_eq!((lines(&rotated), lines(&path)), (2, 1));
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them() {
        let mut log = EventLog::open("/dev/full".as_ref()).unwrap();
        log.happened(&happened());
        log.happened(&happened());
        log.flush();
        assert_eq!((log.lost(), log.buffer.pending().len(), log.failing), (2, 0, true));
        log.happened(&happened());
        log.flush();
        assert_eq!(log.lost(), 3);
    }
}
