//! Hosts that often refuse every recipient of a message. With CHUNKING the content leaves in one flight with the recipients,
//! and has crossed the wire in vain where none of them is accepted: towards such a host it waits for their replies, for a
//! round trip more.

/// How much one transaction counts.
const WEIGHT: f32 = 1.0 / 16.0;
/// From which share on content waits; below half of it, it goes at once again.
const FREQUENT: f32 = 0.25;

/// A host's share of transactions in which nobody was accepted, the newest counting most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusals {
    share: f32,
    frequent: bool,
}

impl Refusals {
    /// A transaction came as far as its recipients.
    pub(super) fn note(&mut self, all_refused: bool) {
        self.share += (f32::from(u8::from(all_refused)) - self.share) * WEIGHT;
        self.frequent = self.share >= if self.frequent { FREQUENT / 2.0 } else { FREQUENT };
    }
    /// Content had better wait.
    pub(super) fn are_frequent(&self) -> bool {
        self.frequent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many transactions of this kind the answer changes.
    fn turns(refusals: &mut Refusals, all_refused: bool) -> usize {
        let before = refusals.are_frequent();
        (1..100)
            .find(|_| {
                refusals.note(all_refused);
                refusals.are_frequent() != before
            })
            .expect("it changes in the end")
    }

    #[test]
    fn a_few_in_a_row_are_frequent_and_it_takes_longer_to_be_trusted_again() {
        let mut refusals = Refusals::default();
        assert_eq!(turns(&mut refusals, true), 5);
        assert_eq!(turns(&mut refusals, false), 13);
    }

    #[test]
    fn one_in_ten_is_not() {
        let mut refusals = Refusals::default();
        (0..1000).for_each(|n| refusals.note(n % 10 == 0));
        assert!(!refusals.are_frequent());
    }
}
