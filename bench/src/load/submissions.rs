//! When each message was submitted, for content that bears no stamp: it is known where it arrives by the number of its
//! recipient.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

const CHUNK: u64 = 1 << 16;
const CHUNKS: u64 = 1 << 14;

/// Times by message, of the first 1,073,741,824. Shared by threads without a lock; memory follows what was submitted
/// (512 KiB a step).
#[derive(Debug)]
pub struct Submissions(Box<[OnceLock<Box<[AtomicU64]>>]>);

impl Default for Submissions {
    fn default() -> Submissions {
        Submissions((0..CHUNKS).map(|_| OnceLock::new()).collect())
    }
}

impl Submissions {
    /// Of a message that is submitted again the last time counts, as it does in a stamp. Unix microseconds.
    pub(super) fn record(&self, message: u64, at_us: u64) {
        if let Some(chunk) = self.0.get((message / CHUNK) as usize) {
            let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| AtomicU64::new(0)).collect());
            chunk[(message % CHUNK) as usize].store(at_us, Ordering::Relaxed);
        }
    }

    /// When this message was submitted, Unix microseconds; `None`: not yet.
    pub fn at_us(&self, message: u64) -> Option<u64> {
        let chunk = self.0.get((message / CHUNK) as usize)?.get()?;
        Some(chunk[(message % CHUNK) as usize].load(Ordering::Relaxed)).filter(|at_us| *at_us > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_its_time() {
        let times = Submissions::default();
        for (message, at_us) in [(0, 7), (CHUNK - 1, 8), (CHUNK, 9), (0, 10), (CHUNK * CHUNKS, 11)] {
            times.record(message, at_us);
        }
        let found = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * CHUNKS].map(|message| times.at_us(message));
        assert_eq!(found, [Some(10), None, Some(8), Some(9), None, None]);
    }
}
