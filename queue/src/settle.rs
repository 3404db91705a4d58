//! What settles do to entries: worked out before they are written, so that the journal holds results.

use crate::index::IndexError;
use crate::record::{Before, MANY_PARTS};
use crate::{Domain, Entry, EntryKey, Flow, MessageId, RecipientSet, Retry, Settle};
use std::collections::{BTreeMap, HashMap};

/// One key that a group of settles touches.
#[derive(Debug)]
pub(crate) struct Touched {
    /// What it held before the group.
    pub before: Option<Entry>,
    /// What it will hold.
    pub now: Option<Entry>,
    /// Where recipients went from it to another key, or came from there: how many keys change together, itself included.
    pub parts: u8,
}

impl Touched {
    pub(crate) fn is_changed(&self) -> bool {
        self.before != self.now
    }

    pub(crate) fn counted_before(&self) -> Option<Before> {
        self.before.as_ref().map(Before::of)
    }
}

/// The outcome of a group's settles, in key order.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub touched: BTreeMap<EntryKey, Touched>,
}

/// Says what a key holds now.
pub(crate) type Lookup<'a> = dyn Fn(&EntryKey) -> Result<Option<Entry>, IndexError> + 'a;

impl Outcome {
    /// Leaves out what stays as it is, and counts what changes together.
    pub(crate) fn finish(&mut self) {
        self.touched.retain(|_, touched| touched.is_changed());
        let mut counts: HashMap<(Domain, Flow, MessageId), u8> = HashMap::new();
        for pass in 0..2 {
            for (key, touched) in self.touched.iter_mut().filter(|(_, touched)| touched.parts > 0) {
                let count = counts.entry((key.domain.clone(), key.flow, key.id)).or_default();
                match pass {
                    0 => *count = MANY_PARTS.min(*count + 1),
                    _ => touched.parts = *count,
                }
            }
        }
    }

    fn at(&mut self, key: &EntryKey, lookup: &Lookup<'_>) -> Result<&mut Touched, IndexError> {
        if !self.touched.contains_key(key) {
            let before = lookup(key)?;
            self.touched.insert(key.clone(), Touched { now: before.clone(), before, parts: 0 });
        }
        self.touched.get_mut(key).ok_or_else(|| IndexError("a key vanished".into()))
    }

    /// Applies one settle after those before it.
    pub(crate) fn settle(&mut self, settle: &Settle, lookup: &Lookup<'_>) -> Result<(), IndexError> {
        let touched = self.at(&settle.key, lookup)?;
        let Some(entry) = &mut touched.now else { return Ok(()) };
        entry.open.subtract(&settle.done);
        let moving = settle.retry.as_ref().and_then(|retry| take_moving(entry, retry, settle.key.due_ms));
        if moving.is_some() {
            touched.parts = 1;
        }
        if entry.open.is_empty() {
            touched.now = None;
        }
        match moving {
            Some(moving) => self.join(EntryKey { due_ms: moving.0, ..settle.key.clone() }, moving.1, lookup),
            None => Ok(()),
        }
    }

    /// Puts an entry under a key, together with what is there.
    fn join(&mut self, key: EntryKey, moving: Entry, lookup: &Lookup<'_>) -> Result<(), IndexError> {
        let touched = self.at(&key, lookup)?;
        touched.parts = 1;
        match &mut touched.now {
            slot @ None => *slot = Some(moving),
            Some(there) => {
                there.open.union(&moving.open);
                there.attempts = there.attempts.max(moving.attempts);
                there.location = there.location.max(moving.location);
                there.last_error = moving.last_error;
                there.delay_told |= moving.delay_told;
            }
        }
        Ok(())
    }
}

/// Splits off what a retry moves to another due time; changes the entry in place when the time is the same.
fn take_moving(entry: &mut Entry, retry: &Retry, due_ms: u64) -> Option<(u64, Entry)> {
    let mut moving: RecipientSet = retry.recipients.clone();
    moving.intersect(&entry.open);
    if moving.is_empty() {
        return None;
    }
    let last_error = match Entry::clip(&retry.last_error) {
        clipped if clipped.len() < retry.last_error.len() => clipped.into(),
        _ => retry.last_error.clone(),
    };
    if retry.due_ms == due_ms {
        entry.attempts = retry.attempts;
        entry.last_error = last_error;
        entry.delay_told |= retry.delay_told;
        return None;
    }
    entry.open.subtract(&moving);
    let (attempts, delay_told) = (retry.attempts, retry.delay_told || entry.delay_told);
    Some((retry.due_ms, Entry { open: moving, attempts, last_error, delay_told, ..*entry }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Location, Terms};

    fn key(due_ms: u64) -> EntryKey {
        EntryKey { domain: Domain::new("a.example"), flow: Flow::default(), due_ms, id: MessageId(1) }
    }

    fn set(list: &[u32]) -> RecipientSet {
        list.iter().copied().collect()
    }

    fn entry(open: &[u32]) -> Entry {
        Entry {
            location: Location { segment: 1, offset: 4096, len: 100 },
            open: set(open),
            attempts: 0,
            accepted_ms: 5,
            body_bytes: 10,
            last_error: "".into(),
            terms: Terms::default(),
            delay_told: false,
        }
    }

    fn retry(due_ms: u64, who: &[u32], attempts: u16) -> Option<Retry> {
        Some(Retry { recipients: set(who), due_ms, attempts, last_error: "later".into(), delay_told: false })
    }

    /// Settles against one entry `1 2 3` due at 10, and another `4` due at 20, given as (due, done, retry).
    /// Expects (due, open, attempts) afterwards; applies everything twice.
    fn check(settles: &[(u64, &[u32], Option<Retry>)], expected: &[(u64, &[u32], u16)]) {
        let mut queue: BTreeMap<EntryKey, Entry> = [(key(10), entry(&[1, 2, 3])), (key(20), entry(&[4]))].into();
        for _ in 0..2 {
            let mut outcome = Outcome::default();
            for (due_ms, done, retry) in settles {
                let settle = Settle { key: key(*due_ms), done: set(done), retry: retry.clone() };
                outcome.settle(&settle, &|key| Ok(queue.get(key).cloned())).expect("no index to fail");
            }
            for (key, touched) in outcome.touched {
                assert_eq!(touched.before, queue.get(&key).cloned());
                match touched.now {
                    Some(entry) => queue.insert(key, entry),
                    None => queue.remove(&key),
                };
            }
            let found: Vec<_> = queue.iter().map(|(k, e)| (k.due_ms, e.open.clone(), e.attempts)).collect();
            let expected: Vec<_> = expected.iter().map(|(due, open, attempts)| (*due, set(open), *attempts)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn settles() {
        check(&[(10, &[1, 2, 3], None)], &[(20, &[4], 0)]);
        check(&[(10, &[2], None)], &[(10, &[1, 3], 0), (20, &[4], 0)]);
        check(&[(10, &[1], None), (10, &[2, 3], None)], &[(20, &[4], 0)]);
        check(&[(11, &[1], retry(30, &[2], 1)), (10, &[9], None)], &[(10, &[1, 2, 3], 0), (20, &[4], 0)]);
        check(&[(10, &[1], retry(30, &[2, 3], 1))], &[(20, &[4], 0), (30, &[2, 3], 1)]);
        check(&[(10, &[1], retry(30, &[1, 2], 1))], &[(10, &[3], 0), (20, &[4], 0), (30, &[2], 1)]);
        check(&[(10, &[], retry(20, &[1, 2, 3], 2))], &[(20, &[1, 2, 3, 4], 2)]);
        check(
            &[(10, &[], retry(EntryKey::HELD, &[3], 0))],
            &[(10, &[1, 2], 0), (20, &[4], 0), (EntryKey::HELD, &[3], 0)],
        );
        check(&[(10, &[], retry(10, &[3], 7))], &[(10, &[1, 2, 3], 7), (20, &[4], 0)]);
        check(&[(10, &[], retry(30, &[1, 2, 3], 1)), (30, &[1, 2, 3], None)], &[(20, &[4], 0)]);
    }

    #[test]
    fn keys_between_which_recipients_went_know_how_many_they_are() {
        let queue: BTreeMap<EntryKey, Entry> = [(key(10), entry(&[1, 2, 3])), (key(20), entry(&[4]))].into();
        let count = |settles: &[(u64, &[u32], Option<Retry>)]| {
            let mut outcome = Outcome::default();
            for (due_ms, done, retry) in settles {
                let settle = Settle { key: key(*due_ms), done: set(done), retry: retry.clone() };
                outcome.settle(&settle, &|key| Ok(queue.get(key).cloned())).expect("no index to fail");
            }
            outcome.finish();
            outcome.touched.iter().map(|(key, touched)| (key.due_ms, touched.parts)).collect::<Vec<_>>()
        };
        assert_eq!(count(&[(10, &[1, 2, 3], None), (20, &[9], None)]), [(10, 0)]);
        assert_eq!(count(&[(10, &[1], retry(10, &[2], 1))]), [(10, 0)], "under its own key");
        assert_eq!(count(&[(10, &[1], retry(30, &[2, 3], 1)), (20, &[4], None)]), [(10, 2), (20, 0), (30, 2)]);
        assert_eq!(count(&[(10, &[], retry(30, &[2], 1)), (10, &[], retry(20, &[1], 1))]), [(10, 3), (20, 3), (30, 3)]);
    }
}
