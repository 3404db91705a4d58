//! A site's domains with due entries on disk, by flow: each flow gets its turn to be read.

use super::domain::DomainId;
use queue::Flow;
use std::collections::VecDeque;

/// So many flows are looked at for the one with the least in memory.
const LOOK: usize = 8;

/// Domains may be elsewhere by now: look before use. Invariant: no flow is empty.
#[derive(Default)]
pub(super) struct Spilled(VecDeque<(Flow, VecDeque<DomainId>)>);

impl Spilled {
    pub(super) fn push(&mut self, flow: Flow, domain: DomainId) {
        match self.0.iter_mut().find(|(other, _)| *other == flow) {
            Some((_, domains)) => domains.push_back(domain),
            None => self.0.push_back((flow, VecDeque::from([domain]))),
        }
    }

    /// Of those whose turn it could be, the flow of which `ready` says the least; among equals the more urgent one.
    pub(super) fn neediest(&self, ready: impl Fn(Flow) -> usize) -> Option<Flow> {
        let flows = self.0.iter().take(LOOK).map(|(flow, _)| *flow);
        flows.min_by_key(|flow| (ready(*flow), std::cmp::Reverse(flow.priority)))
    }

    /// The flow's next domain. The flow goes behind the others.
    pub(super) fn pop(&mut self, flow: Flow) -> Option<DomainId> {
        let at = self.0.iter().position(|(other, _)| *other == flow)?;
        let (_, mut domains) = self.0.remove(at)?;
        let domain = domains.pop_front();
        if !domains.is_empty() {
            self.0.push_back((flow, domains));
        }
        domain
    }

    pub(super) fn flows(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = DomainId> {
        self.0.iter().flat_map(|(_, domains)| domains.iter().copied())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flow_with_the_least_is_read_and_equals_in_turn() {
        let [a, b] = [1, 2].map(|campaign| Flow { campaign, ..Flow::default() });
        let urgent = Flow { priority: 1, ..Flow::default() };
        let mut spilled = Spilled::default();
        [(a, 1), (a, 2), (b, 3), (a, 4), (b, 5)].into_iter().for_each(|(flow, domain)| spilled.push(flow, domain));
        assert_eq!(spilled.neediest(|flow| if flow == a { 100 } else { 3 }), Some(b));
        assert_eq!(spilled.iter().count(), 5);
        let mut order = Vec::new();
        while let Some(flow) = spilled.neediest(|_| 0) {
            order.extend(spilled.pop(flow));
        }
        assert_eq!(order, [1, 3, 2, 5, 4]);
        assert!(spilled.is_empty());
        [(a, 1), (urgent, 2)].into_iter().for_each(|(flow, domain)| spilled.push(flow, domain));
        assert_eq!(spilled.neediest(|_| 0), Some(urgent));
        assert_eq!((spilled.flows(), spilled.pop(b)), (2, None));
    }
}
