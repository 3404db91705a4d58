//! Ranges of the journal, to be asked for every entry there is.

use crate::Location;
use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of segments that do not overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(BTreeMap<(u64, u64), u64>);

impl Places {
    pub(crate) fn add(&mut self, segment: u64, range: Range<u64>) {
        let end = self.0.entry((segment, range.start)).or_default();
        *end = range.end.max(*end);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a record begins there.
    pub(crate) fn hold(&self, location: &Location) -> bool {
        let offset = u64::from(location.offset);
        let before = self.0.range(..=(location.segment, offset)).next_back();
        before.is_some_and(|((segment, _), end)| *segment == location.segment && offset < *end)
    }

    /// Whether one of them ends after that segment and offset.
    pub(crate) fn reach_beyond(&self, place: (u64, u64)) -> bool {
        self.0.last_key_value().is_some_and(|((segment, _), end)| (*segment, *end) > place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_there() {
        let mut places = Places::default();
        assert!(places.is_empty() && !places.reach_beyond((0, 0)));
        places.add(2, 100..200);
        places.add(2, 300..301);
        places.add(4, 0..50);
        let held = |segment, offset| places.hold(&Location { segment, offset, len: 1000 });
        for (segment, offset) in [(2, 100), (2, 199), (2, 300), (4, 0), (4, 49)] {
            assert!(held(segment, offset), "{segment} {offset}");
        }
        for (segment, offset) in [(1, 100), (2, 99), (2, 200), (2, 301), (3, 10), (4, 50), (5, 0)] {
            assert!(!held(segment, offset), "{segment} {offset}");
        }
        assert!(places.reach_beyond((4, 49)) && !places.reach_beyond((4, 50)));
    }
}
