//! Deliveries that wait for their turn at a site: by the sender's priority (MT-PRIORITY, RFC 6710), then in order of arrival.
//!
//! Only what is in memory is ordered; what is on disk is read by due time.

use super::message::DeliveryId;
use std::collections::VecDeque;

/// Invariant: priorities never ascend.
#[derive(Default)]
pub(super) struct ReadyList(VecDeque<(i8, DeliveryId)>);

impl ReadyList {
    /// Behind all of the same priority, or, where it had its turn before (`again`), ahead of them.
    pub(super) fn push(&mut self, priority: i8, delivery: DeliveryId, again: bool) {
        let goes_behind = |other: i8| if again { other > priority } else { other >= priority };
        match self.0.back() {
            Some((last, _)) if !goes_behind(*last) => {
                let at = self.0.partition_point(|(other, _)| goes_behind(*other));
                self.0.insert(at, (priority, delivery));
            }
            _ => self.0.push_back((priority, delivery)),
        }
    }

    pub(super) fn front(&self) -> Option<DeliveryId> {
        self.0.front().map(|(_, delivery)| *delivery)
    }

    pub(super) fn pop_front(&mut self) -> Option<DeliveryId> {
        self.0.pop_front().map(|(_, delivery)| delivery)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for ReadyList {
    type Item = (i8, DeliveryId);
    type IntoIter = std::collections::vec_deque::IntoIter<(i8, DeliveryId)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_ones_go_first_and_equals_in_order() {
        let mut list = ReadyList::default();
        for (delivery, priority) in [0, 3, 0, -2, 3, 9, -2, 0].into_iter().enumerate() {
            list.push(priority, delivery as u32, false);
        }
        list.push(0, 10, true);
        list.push(9, 11, true);
        list.push(-9, 12, true);
        let order: Vec<DeliveryId> = std::iter::from_fn(|| list.pop_front()).collect();
        assert_eq!(order, [11, 5, 1, 4, 10, 0, 2, 7, 3, 6, 12]);
        assert!(list.is_empty() && list.front().is_none());
    }
}
