//! What is known, for how long, and what serves through an outage. Pure: the time is an argument.
//!
//! An entry is *fresh* until it expires. Then the next question goes out. If that brings no answer, an old positive
//! answer goes on serving, marked stale, for up to `max_stale`; meanwhile one question every `retry_after` goes out
//! behind its back. Failures ("no such domain") never serve past their time: bouncing mail on an old rumour would be
//! worse than waiting. At most `capacity` entries; beyond, the clock algorithm drops one not lately used.

use crate::mx::MxFailure;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An answer that can serve past its time.
pub(crate) trait Answer: Clone {
    /// The same from before an outage, to be used until `expires`.
    fn into_stale(self, expires: Instant) -> Self;
}

/// What the cache knows of a name.
#[derive(Debug, PartialEq)]
pub(crate) enum Known<A> {
    /// Use it.
    Yes(Result<A, MxFailure>),
    /// An outage: use it, and ask again in the background.
    AskAgain(A),
    /// Ask.
    No,
}

pub(crate) struct Cache<A> {
    index: HashMap<Arc<str>, usize>,
    entries: Vec<Entry<A>>,
    /// The clock's hand: where to look for the next entry to drop.
    hand: usize,
    capacity: usize,
    max_stale: Duration,
    retry_after: Duration,
}

struct Entry<A> {
    name: Arc<str>,
    answer: Result<A, MxFailure>,
    expires: Instant,
    /// Set while an outage lasts: when to ask again.
    retry_at: Option<Instant>,
    /// Used since the hand last passed.
    used: bool,
}

impl<A: Answer> Cache<A> {
    pub(crate) fn new(capacity: usize, max_stale: Duration, retry_after: Duration) -> Cache<A> {
        let capacity = capacity.max(1);
        Cache { index: HashMap::new(), entries: Vec::new(), hand: 0, capacity, max_stale, retry_after }
    }

    pub(crate) fn lookup(&mut self, name: &str, now: Instant) -> Known<A> {
        let Some(&at) = self.index.get(name) else { return Known::No };
        let (max_stale, retry_after) = (self.max_stale, self.retry_after);
        let entry = &mut self.entries[at];
        entry.used = true;
        if now < entry.expires {
            return Known::Yes(entry.answer.clone());
        }
        match (&entry.answer, entry.retry_at) {
            (Ok(answer), Some(retry_at)) if now < entry.expires + max_stale => {
                let answer = answer.clone();
                if now < retry_at {
                    Known::Yes(Ok(answer.into_stale(retry_at)))
                } else {
                    Known::AskAgain(answer.into_stale(now + retry_after))
                }
            }
            _ => Known::No,
        }
    }

    /// Takes what a question brought and says what to answer: that, or through an outage what was known before.
    pub(crate) fn settle(
        &mut self,
        name: Arc<str>,
        brought: Result<A, MxFailure>,
        expires: Instant,
        now: Instant,
    ) -> Result<A, MxFailure> {
        let known = self.index.get(&name).copied();
        if let (Err(MxFailure::Temporary(_)), Some(at)) = (&brought, known) {
            let (max_stale, retry_at) = (self.max_stale, now + self.retry_after);
            let entry = &mut self.entries[at];
            if let Ok(answer) = &entry.answer
                && now < entry.expires + max_stale
            {
                if now < entry.expires {
                    return Ok(answer.clone());
                }
                entry.retry_at = Some(retry_at);
                return Ok(answer.clone().into_stale(retry_at));
            }
        }
        let entry = Entry { name, answer: brought.clone(), expires, retry_at: None, used: false };
        match known {
            Some(at) => self.entries[at] = entry,
            None => self.insert(entry),
        }
        brought
    }

    pub(crate) fn clear(&mut self) {
        self.index.clear();
        self.entries.clear();
        self.hand = 0;
    }

    fn insert(&mut self, entry: Entry<A>) {
        if self.entries.len() < self.capacity {
            self.index.insert(entry.name.clone(), self.entries.len());
            self.entries.push(entry);
            return;
        }
        let at = self.victim();
        self.index.remove(&self.entries[at].name);
        self.index.insert(entry.name.clone(), at);
        self.entries[at] = entry;
    }

    /// The first entry from the hand on that nobody used since it last came by. Ends within two rounds, for it clears
    /// the mark of those it passes.
    fn victim(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.entries.len();
            if !std::mem::take(&mut self.entries[at].used) {
                return at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Word(&'static str, bool);

    impl Answer for Word {
        fn into_stale(self, _: Instant) -> Self {
            Word(self.0, true)
        }
    }

    const MAX_STALE: Duration = Duration::from_secs(100);
    const RETRY: Duration = Duration::from_secs(5);

    /// Seconds after `start`, TTL 10 unless said otherwise.
    struct Story {
        cache: Cache<Word>,
        start: Instant,
    }

    impl Story {
        fn new(capacity: usize) -> Story {
            Story { cache: Cache::new(capacity, MAX_STALE, RETRY), start: Instant::now() }
        }
        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }
        fn settle(
            &mut self,
            seconds: u64,
            name: &str,
            brought: Result<&'static str, MxFailure>,
        ) -> Result<Word, MxFailure> {
            let (expires, now) = (self.at(seconds + 10), self.at(seconds));
            self.cache.settle(name.into(), brought.map(|word| Word(word, false)), expires, now)
        }
        fn lookup(&mut self, seconds: u64, name: &str) -> Known<Word> {
            let now = self.at(seconds);
            self.cache.lookup(name, now)
        }
    }

    fn outage() -> Result<&'static str, MxFailure> {
        Err(MxFailure::Temporary("timeout".into()))
    }

    #[test]
    fn answers_serve_until_they_expire() {
        let mut story = Story::new(10);
        assert_eq!(story.lookup(0, "a"), Known::No);
        assert_eq!(story.settle(0, "a", Ok("one")), Ok(Word("one", false)));
        assert_eq!(story.settle(0, "b", Err(MxFailure::NoSuchDomain)), Err(MxFailure::NoSuchDomain));
        assert_eq!(story.lookup(9, "a"), Known::Yes(Ok(Word("one", false))));
        assert_eq!(story.lookup(9, "b"), Known::Yes(Err(MxFailure::NoSuchDomain)));
        assert_eq!(story.lookup(10, "a"), Known::No);
        assert_eq!(story.lookup(10, "b"), Known::No);
        assert_eq!(story.settle(11, "a", Ok("two")), Ok(Word("two", false)));
        assert_eq!(story.lookup(20, "a"), Known::Yes(Ok(Word("two", false))));
    }

    #[test]
    fn an_old_answer_serves_through_an_outage() {
        let mut story = Story::new(10);
        story.settle(0, "a", Ok("one")).unwrap();
        let stale = Word("one", true);
        assert_eq!(story.settle(12, "a", outage()), Ok(stale.clone()));
        assert_eq!(story.lookup(16, "a"), Known::Yes(Ok(stale.clone())));
        assert_eq!(story.lookup(17, "a"), Known::AskAgain(stale.clone()));
        assert_eq!(story.settle(18, "a", outage()), Ok(stale.clone()));
        assert_eq!(story.lookup(22, "a"), Known::Yes(Ok(stale.clone())));
        assert_eq!(story.lookup(109, "a"), Known::AskAgain(stale));
        assert_eq!(story.lookup(110, "a"), Known::No, "past max_stale");
        assert_eq!(story.settle(110, "a", outage()), Err(MxFailure::Temporary("timeout".into())));
        assert_eq!(story.settle(111, "a", Ok("two")), Ok(Word("two", false)));
        assert_eq!(story.lookup(112, "a"), Known::Yes(Ok(Word("two", false))));
    }

    #[test]
    fn an_outage_does_not_replace_what_is_fresh_but_a_no_does() {
        let mut story = Story::new(10);
        story.settle(0, "a", Ok("one")).unwrap();
        assert_eq!(story.settle(1, "a", outage()), Ok(Word("one", false)));
        assert_eq!(story.settle(2, "a", Err(MxFailure::NoSuchDomain)), Err(MxFailure::NoSuchDomain));
        assert_eq!(story.lookup(3, "a"), Known::Yes(Err(MxFailure::NoSuchDomain)));
    }

    #[test]
    fn a_failure_never_serves_stale() {
        let mut story = Story::new(10);
        story.settle(0, "a", Err(MxFailure::NoSuchDomain)).unwrap_err();
        assert_eq!(story.settle(12, "a", outage()), Err(MxFailure::Temporary("timeout".into())));
        assert_eq!(story.lookup(13, "a"), Known::Yes(Err(MxFailure::Temporary("timeout".into()))));
    }

    #[test]
    fn the_least_used_go_first_and_the_bound_holds() {
        let mut story = Story::new(4);
        for name in ["a", "b", "c", "d"] {
            story.settle(0, name, Ok("x")).unwrap();
        }
        story.lookup(1, "a");
        story.lookup(1, "c");
        story.settle(1, "e", Ok("x")).unwrap();
        story.settle(1, "f", Ok("x")).unwrap();
        let known = |story: &mut Story, name| story.lookup(2, name) != Known::No;
        let names = ["a", "b", "c", "d", "e", "f"];
        assert_eq!(names.map(|name| known(&mut story, name)), [true, false, true, false, true, true]);
        assert_eq!((story.cache.entries.len(), story.cache.index.len()), (4, 4));
        story.cache.clear();
        assert_eq!(names.map(|name| known(&mut story, name)), [false; 6]);
        story.settle(3, "a", Ok("x")).unwrap();
        assert!(known(&mut story, "a"));
    }
}
