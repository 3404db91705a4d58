//! Whether there is room for another message: asked at MAIL, before its body is sent.

use super::Refusal;
use crate::config::QueueLimits;
use queue::{Queue, QueueError};
use smtp::{EnhancedCode, Reply};
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Octets that a message is taken for whose sender does not declare its SIZE.
const ASSUMED_BYTES: u64 = 64 * 1024;

/// Looks in a row, half a second apart: a queue at its limit has room now and then, and the log is not for that.
const LOOKS_OF_ROOM: u32 = 60;

const QUEUE_FULL: Reply = Reply::fixed(452, EnhancedCode(4, 3, 1), "The queue is full; try again later");
const DISK_FULL: Reply = Reply::fixed(452, EnhancedCode(4, 3, 1), "Too little disk space; try again later");
const TOO_MUCH_AT_ONCE: Reply =
    Reply::fixed(452, EnhancedCode(4, 3, 1), "Too much mail is coming in at once; try again later");
const STALLED: Reply = Reply::fixed(452, EnhancedCode(4, 3, 1), "The queue's index cannot be written; try again later");
const BROKEN: Reply = Reply::fixed(451, EnhancedCode(4, 3, 0), "The queue cannot be written; try again later");

/// For a message that arrived whole and did not become durable.
pub(super) fn refused(error: &QueueError) -> Reply {
    match error {
        QueueError::Stalled(_) => STALLED,
        error if error.is_full() => DISK_FULL,
        _ => BROKEN,
    }
}

/// Why another message has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// The journal failed.
    Failed,
    /// The index is not written.
    Stalled,
    QueueFull,
    DiskFull,
    /// Others take up what memory there is for mail that is coming in.
    TooMuchAtOnce,
}

impl Lack {
    fn refusal(self) -> Refusal {
        match self {
            Lack::Failed => ("queue_failed", BROKEN),
            Lack::Stalled => ("queue_stalled", STALLED),
            Lack::QueueFull => ("queue_full", QUEUE_FULL),
            Lack::DiskFull => ("disk_full", DISK_FULL),
            Lack::TooMuchAtOnce => ("too_much_at_once", TOO_MUCH_AT_ONCE),
        }
    }
}

/// The backlog limits and what counts against them.
pub(crate) struct Permits {
    limits: QueueLimits,
    queue: Queue,
    /// Octets of messages that are not durable yet: announced at MAIL, or come since where those are more.
    arriving_bytes: AtomicU64,
    /// Free octets of the file system when last looked at.
    free_bytes: AtomicU64,
    failed: AtomicBool,
    /// Looks that have to find room before the log says so; 0 when it did, or never had to.
    short_for: AtomicU32,
}

/// Room that one message takes, from MAIL until it is durable; see [`Permits::give_back`].
#[derive(Debug)]
pub(super) struct Permit(u64);

impl Permits {
    pub(crate) fn new(limits: QueueLimits, queue: Queue) -> Permits {
        let permits = Permits {
            limits,
            queue,
            arriving_bytes: AtomicU64::new(0),
            free_bytes: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            short_for: AtomicU32::new(0),
        };
        permits.look();
        permits
    }

    /// Looks at the disk again. Called twice a second: between two looks the queue's own growth is bounded by
    /// `min_free_bytes`, which is far more than a moment's mail.
    pub(crate) fn look(&self) {
        match self.queue.free_bytes() {
            Ok(free) => self.free_bytes.store(free, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "cannot ask for the free disk space"),
        }
        if let Some(why) = self.lacking() {
            self.run_short(why);
        } else if self.short_for.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |looks| looks.checked_sub(1))
            == Ok(1)
        {
            tracing::info!("there is room for new mail again");
        }
    }

    /// Says that there is no room, once until there is again.
    fn run_short(&self, why: impl Display) {
        if self.short_for.swap(LOOKS_OF_ROOM, Ordering::Relaxed) == 0 {
            tracing::warn!("new mail is refused (452 4.3.1): {why}");
        }
    }

    /// Messages did not become durable, and their senders were told so.
    pub(crate) fn handle_refused(&self, error: &QueueError) {
        match error {
            // It lasts, and the queue has said it.
            QueueError::Stalled(_) => {}
            // So does this, and each of the next messages would be a line.
            error if error.is_full() => self.run_short(format_args!("the disk of data_dir is full ({error})")),
            error => tracing::warn!(%error, "messages were refused"),
        }
    }

    /// What there is too little of for another message, and which key of `[queue]` says so.
    pub(crate) fn lacking(&self) -> Option<&'static str> {
        match self.room_for(ASSUMED_BYTES) {
            Err(Lack::QueueFull) => Some("the queue is full, by [queue] max_recipients or max_bytes"),
            Err(Lack::DiskFull) => Some("the disk of data_dir has less free space than [queue] min_free"),
            Err(Lack::TooMuchAtOnce) => Some("more is coming in at once than [queue] max_arriving"),
            Ok(()) | Err(Lack::Failed | Lack::Stalled) => None,
        }
    }

    /// The journal failed: nothing is accepted any more.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self, declared_bytes: Option<u64>) -> Result<Permit, Refusal> {
        let bytes = declared_bytes.unwrap_or(ASSUMED_BYTES);
        self.room_for(bytes).map_err(Lack::refusal)?;
        self.arriving_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Permit(bytes))
    }

    fn room_for(&self, bytes: u64) -> Result<(), Lack> {
        let before = self.arriving_bytes.load(Ordering::Relaxed);
        let arriving = before + bytes;
        let stats = self.queue.stats();
        // The reserve and its like hold no mail: a queue that is allowed little would be full of them.
        let held_bytes = stats.journal_bytes.saturating_sub(stats.spare_bytes);
        if self.has_failed() {
            Err(Lack::Failed)
        } else if self.queue.stalled().is_some() {
            Err(Lack::Stalled)
        } else if stats.recipients >= self.limits.max_recipients || held_bytes + arriving > self.limits.max_bytes {
            Err(Lack::QueueFull)
        } else if self.free_bytes.load(Ordering::Relaxed) < self.limits.min_free_bytes + arriving {
            Err(Lack::DiskFull)
        } else if before > 0 && arriving > self.limits.max_arriving_bytes {
            // One alone is taken however large.
            Err(Lack::TooMuchAtOnce)
        } else {
            Ok(())
        }
    }

    /// More than was declared, or assumed, has come.
    pub(super) fn grow(&self, permit: &mut Permit, bytes: u64) {
        let more = bytes.saturating_sub(permit.0);
        if more > 0 {
            self.arriving_bytes.fetch_add(more, Ordering::Relaxed);
            permit.0 += more;
        }
    }

    pub(super) fn give_back(&self, permit: Permit) {
        self.arriving_bytes.fetch_sub(permit.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let full = QueueError::Io { action: "making room in", path: "journal".into(), source: full };
        for (error, code) in
            [(QueueError::Stalled("late".into()), 452), (full, 452), (QueueError::Failed("".into()), 451)]
        {
            assert_eq!(refused(&error).code, code, "{error}");
        }
    }
}
