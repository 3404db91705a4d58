//! What walks that retry remember: entries that they made due. An attempt may fail before the walk is over, and the entry
//! comes back with a later due time, ahead of it.

use queue::{Domain, Entry, EntryKey, MessageId};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A walk whose next step nobody asks for is forgotten after this time.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Of all walks under way.
#[derive(Default)]
pub(super) struct Walks {
    last_id: AtomicU64,
    retried: Mutex<HashMap<u64, Retried>>,
}

/// Of one: what it retried of the domain that it is at.
struct Retried {
    last_step: Instant,
    domain: Option<Domain>,
    /// By the first recipient, which no other entry of the message has.
    entries: HashSet<(MessageId, Option<u32>)>,
}

impl Walks {
    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Keeps what this walk has not retried yet.
    pub(super) fn keep_new(&self, walk: u64, page: &mut Vec<(EntryKey, Entry)>, now: Instant) {
        let mut retried = self.retried.lock().unwrap_or_else(PoisonError::into_inner);
        retried.retain(|_, other| now.saturating_duration_since(other.last_step) < FORGOTTEN_AFTER);
        let fresh = || Retried { last_step: now, domain: None, entries: HashSet::new() };
        let mine = retried.entry(walk).or_insert_with(fresh);
        mine.last_step = now;
        page.retain(|(key, entry)| mine.is_first(key, entry));
    }

    pub(super) fn end(&self, walk: u64) {
        self.retried.lock().unwrap_or_else(PoisonError::into_inner).remove(&walk);
    }
}

impl Retried {
    fn is_first(&mut self, key: &EntryKey, entry: &Entry) -> bool {
        if self.domain.as_ref() != Some(&key.domain) {
            self.domain = Some(key.domain.clone());
            self.entries.clear();
        }
        self.entries.insert((key.id, entry.open.iter().next()))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test starts at some instant")]
mod tests {
    use super::*;

    fn entry(domain: &str, due_ms: u64, id: u64, first: u32) -> (EntryKey, Entry) {
        let key = EntryKey { domain: Domain::new(domain), flow: queue::Flow::default(), due_ms, id: MessageId(id) };
        let entry = Entry {
            location: queue::Location { segment: 1, offset: 0, len: 0 },
            open: [first, first + 1].into_iter().collect(),
            attempts: 1,
            accepted_ms: 0,
            body_bytes: 0,
            last_error: "".into(),
            terms: queue::Terms::default(),
            delay_told: false,
        };
        (key, entry)
    }

    #[track_caller]
    fn check(walks: &Walks, walk: u64, entry: (EntryKey, Entry), now: Instant, is_new: bool) {
        let mut page = vec![entry.clone()];
        walks.keep_new(walk, &mut page, now);
        assert_eq!(page.len(), usize::from(is_new), "{entry:?}");
    }

    #[test]
    fn an_entry_that_comes_back_in_the_same_walk_is_not_retried_again() {
        let (walks, now) = (Walks::default(), Instant::now());
        for (domain, due_ms, id, first, is_new) in [
            ("a.test", 10, 1, 0, true),
            ("a.test", 11, 1, 5, true),
            ("a.test", 12, 2, 0, true),
            ("a.test", 90, 1, 0, false),
            ("b.test", 10, 1, 0, true),
        ] {
            check(&walks, 1, entry(domain, due_ms, id, first), now, is_new);
        }
        check(&walks, 2, entry("b.test", 10, 1, 0), now, true);
        walks.end(1);
        check(&walks, 1, entry("b.test", 10, 1, 0), now, true);
    }

    #[test]
    fn a_walk_that_was_given_up_is_forgotten() {
        let (walks, now) = (Walks::default(), Instant::now());
        check(&walks, 1, entry("a.test", 10, 1, 0), now, true);
        check(&walks, 2, entry("a.test", 10, 1, 0), now + FORGOTTEN_AFTER, true);
        assert_eq!(walks.retried.lock().unwrap().len(), 1);
    }
}
