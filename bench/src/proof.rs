//! Proof by number: every generated recipient is `<prefix><number>@domain`, so that a byte per recipient is enough to
//! say exactly which were lost, which came twice, and which came unasked.

use serde::Serialize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

const CHUNK: usize = 1 << 16;
const CHUNKS: usize = 1 << 14;

/// How often each number was seen, up to 255. Shared by threads without a lock; memory follows the highest number seen
/// (64 KiB a step).
pub struct Tally {
    chunks: Box<[OnceLock<Box<[AtomicU8]>>]>,
    /// Numbers that no chunk covers (1,073,741,824 and more), and recipients without a number.
    strangers: AtomicU64,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(), strangers: AtomicU64::new(0) }
    }
}

impl Tally {
    /// The number at the end of a local part: `Some(42)` for `u42`.
    pub fn number(local_part: &str) -> Option<u64> {
        let bytes = local_part.as_bytes();
        let digits = bytes.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits > 18 {
            return None;
        }
        Some(bytes[bytes.len() - digits..].iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
    }

    /// Counts a recipient.
    pub fn record(&self, local_part: &str) {
        let slot = Tally::number(local_part).and_then(|number| {
            let number = usize::try_from(number).ok()?;
            let chunk = self.chunks.get(number / CHUNK)?;
            Some(&chunk.get_or_init(|| (0..CHUNK).map(|_| AtomicU8::new(0)).collect())[number % CHUNK])
        });
        match slot {
            Some(slot) => {
                // Saturating; a failed update means 255 was reached.
                let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1));
            }
            None => {
                self.strangers.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// How often this number was seen.
    pub fn count(&self, number: u64) -> u8 {
        let number = number as usize;
        let chunk = self.chunks.get(number / CHUNK).and_then(OnceLock::get);
        chunk.map_or(0, |chunk| chunk[number % CHUNK].load(Ordering::Relaxed))
    }

    /// Compares what came with what was promised. `attempted` is how many numbers were in use, from 0.
    pub fn prove(&self, promised: &IdSet, attempted: u64) -> Proof {
        let mut proof = Proof { expected: promised.len(), ..Proof::default() };
        for number in 0..attempted {
            let (count, promised) = (self.count(number), promised.contains(number));
            proof.received += u64::from(count > 0);
            proof.lost += u64::from(promised && count == 0);
            proof.doubled += u64::from(count > 1);
            proof.copies += u64::from(count.saturating_sub(1));
            proof.unpromised += u64::from(!promised && count > 0);
        }
        proof.strangers = self.strangers.load(Ordering::Relaxed) + self.seen_from(attempted);
        proof
    }

    /// Numbers seen at least once.
    pub fn seen(&self) -> u64 {
        self.seen_from(0)
    }

    /// Numbers seen more than once.
    pub fn doubled(&self) -> u64 {
        self.chunks_from(0).map(|n| u64::from(n > 1)).sum()
    }

    fn seen_from(&self, first: u64) -> u64 {
        self.chunks_from(first as usize).map(|n| u64::from(n > 0)).sum()
    }

    fn chunks_from(&self, first: usize) -> impl Iterator<Item = u8> + '_ {
        self.chunks.iter().enumerate().skip(first / CHUNK).flat_map(move |(index, chunk)| {
            let skip = first.saturating_sub(index * CHUNK);
            chunk.get().into_iter().flat_map(move |c| c.iter().skip(skip)).map(|n| n.load(Ordering::Relaxed))
        })
    }
}

/// What both ends together show. Recipients, not messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// Acknowledged to the generator.
    pub expected: u64,
    /// Arrived at the sink at least once.
    pub received: u64,
    /// Acknowledged and never arrived.
    pub lost: u64,
    /// Arrived more than once.
    pub doubled: u64,
    /// Arrivals beyond the first, of all recipients.
    pub copies: u64,
    /// Arrived though never acknowledged: allowed where the acknowledgement was cut off, wrong otherwise.
    pub unpromised: u64,
    /// Arrivals that the generator never sent.
    pub strangers: u64,
}

/// A set of numbers from 0, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdSet {
    words: Vec<u64>,
    len: u64,
}

impl IdSet {
    /// Adds a number.
    pub fn insert(&mut self, number: u64) {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.len += u64::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }
    /// Whether it is there.
    pub fn contains(&self, number: u64) -> bool {
        self.words.get((number / 64) as usize).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
    /// How many.
    pub fn len(&self) -> u64 {
        self.len
    }
    /// None.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Adds all of `other`.
    pub fn union(&mut self, other: &IdSet) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
        self.len = self.words.iter().map(|w| u64::from(w.count_ones())).sum();
    }
    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| index as u64 * 64 + bit)
        })
    }
}

impl FromIterator<u64> for IdSet {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> IdSet {
        let mut set = IdSet::default();
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_local_parts() {
        for (local, number) in [
            ("u42", Some(42)),
            ("7", Some(7)),
            ("a1b007", Some(7)),
            ("postmaster", None),
            ("", None),
            ("u9999999999999999999", None),
        ] {
            assert_eq!(Tally::number(local), number, "{local}");
        }
    }

    #[test]
    fn lost_doubled_and_unpromised_are_told_apart() {
        let tally = Tally::default();
        for local in ["u0", "u2", "u2", "u2", "u70000", "u70001", "x", "u99999999999"] {
            tally.record(local);
        }
        let promised = IdSet::from_iter([0, 1, 2, 70_000]);
        let proof = tally.prove(&promised, 70_001);
        assert_eq!(
            proof,
            Proof { expected: 4, received: 3, lost: 1, doubled: 1, copies: 2, unpromised: 0, strangers: 3 }
        );
        assert_eq!(tally.prove(&promised, 70_002).unpromised, 1);
        assert_eq!((tally.seen(), tally.doubled(), tally.count(2)), (4, 1, 3));
    }

    #[test]
    fn counts_stop_at_255() {
        let tally = Tally::default();
        (0..300).for_each(|_| tally.record("u5"));
        assert_eq!(tally.count(5), 255);
    }

    #[test]
    fn sets_count_iterate_and_unite() {
        let mut set = IdSet::from_iter([3, 64, 3]);
        set.union(&IdSet::from_iter([1, 200]));
        assert_eq!((set.len(), set.iter().collect::<Vec<_>>()), (4, vec![1, 3, 64, 200]));
        assert!(set.contains(200) && !set.contains(201));
    }
}
