//! Flows: what shares a destination fairly with the rest of the mail for it.

use crate::Envelope;
use crate::codec::{Malformed, Reader};

/// One tenant's mail of one campaign and one priority. Each domain's queue is kept apart by flow, so that little of one
/// need not wait behind much of another.
///
/// Tenants and campaigns are told apart by a number that comes from their name: what is kept of a domain is then
/// bounded, whatever names senders invent. Of any two names the chance is 1 in 255 that they share a number, and then a
/// flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// MT-PRIORITY (RFC 6710).
    pub priority: i8,
    /// 0: none is named.
    pub tenant: u8,
    /// 0: none is named.
    pub campaign: u8,
}

impl Flow {
    /// Before all others, and after them.
    pub(crate) const FIRST: Flow = Flow { priority: i8::MIN, tenant: 0, campaign: 0 };
    pub(crate) const LAST: Flow = Flow { priority: i8::MAX, tenant: u8::MAX, campaign: u8::MAX };
    /// Octets that it is stored in.
    pub(crate) const BYTES: usize = 3;

    /// Of a message.
    pub fn of(envelope: &Envelope) -> Flow {
        Flow {
            priority: envelope.parameters.priority,
            tenant: number(envelope.tenant.as_deref()),
            campaign: number(envelope.campaign.as_deref()),
        }
    }

    /// Whether mail of this tenant, and of this campaign, may be of the flow; `None`: of any. Most that is not is told
    /// without reading an envelope.
    pub fn may_be_of(self, tenant: Option<&str>, campaign: Option<&str>) -> bool {
        tenant.is_none_or(|_| self.tenant == number(tenant))
            && campaign.is_none_or(|_| self.campaign == number(campaign))
    }

    /// In the order of flows.
    pub(crate) fn encode(self) -> [u8; Flow::BYTES] {
        [self.priority.cast_unsigned() ^ 0x80, self.tenant, self.campaign]
    }

    pub(crate) fn decode([priority, tenant, campaign]: [u8; Flow::BYTES]) -> Flow {
        Flow { priority: (priority ^ 0x80).cast_signed(), tenant, campaign }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Flow, Malformed> {
        Ok(Flow::decode([reader.u8()?, reader.u8()?, reader.u8()?]))
    }
}

/// The same on every machine and in every version: it is on disk.
fn number(name: Option<&str>) -> u8 {
    name.map_or(0, |name| (crc32fast::hash(name.as_bytes()) % 255) as u8 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_have_the_order_of_flows() {
        let urgent = Flow { priority: 9, ..Flow::default() };
        let bulk = Flow { priority: -3, tenant: 200, campaign: 7 };
        let mut flows =
            [urgent, Flow::LAST, Flow::default(), bulk, Flow::FIRST, Flow { campaign: 1, ..Flow::default() }];
        flows.sort();
        let encoded = flows.map(Flow::encode);
        assert!(encoded.is_sorted());
        assert_eq!(encoded.map(Flow::decode), flows);
        assert_eq!((flows[1], flows[2], flows[4]), (bulk, Flow::default(), urgent));
    }

    #[test]
    fn a_flow_tells_most_of_what_is_not_in_it() {
        let flow = Flow { priority: 3, tenant: number(Some("acme")), campaign: 0 };
        assert!(flow.may_be_of(None, None) && flow.may_be_of(Some("acme"), None));
        assert!(!flow.may_be_of(Some("spring"), None) && !flow.may_be_of(Some("acme"), Some("spring")));
    }

    #[test]
    fn names_have_their_numbers_for_good() {
        assert_eq!((number(None), number(Some("spring")), number(Some("acme"))), (0, 40, 195));
    }
}
