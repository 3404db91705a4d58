//! Deliveries that wait for their turn at a site: the sender's priority first (MT-PRIORITY, RFC 6710), then tenants in turn, and
//! in a tenant's turn its campaigns in turn, each in order of arrival.
//!
//! A turn lasts until octets are used up (deficit round robin: Shreedhar and Varghese, 1995, with the overdraft on the next
//! turn), so whoever sends large messages gets as much of a site as whoever sends small ones, not more.
//!
//! Only what is in memory is ordered here; [`super::spilled`] sees to it that something of each flow is.

use super::bounds::{TRANSACTION_COST, TURN_OCTETS};
use super::message::DeliveryId;
use queue::Flow;
use std::collections::VecDeque;

/// Invariants: priorities descend; nothing in it is empty, unless all is, and then what it was is kept for the next one.
#[derive(Default)]
pub(super) struct ReadyList {
    classes: Vec<Class>,
    len: usize,
}

struct Class {
    priority: i8,
    tenants: VecDeque<Tenant>,
}

struct Tenant {
    number: u8,
    /// Octets left of its turn.
    left: i64,
    campaigns: VecDeque<Campaign>,
}

struct Campaign {
    number: u8,
    left: i64,
    deliveries: VecDeque<DeliveryId>,
}

/// One of those that take turns.
trait InTurn {
    fn left(&mut self) -> &mut i64;
}

impl InTurn for Tenant {
    fn left(&mut self) -> &mut i64 {
        &mut self.left
    }
}

impl InTurn for Campaign {
    fn left(&mut self) -> &mut i64 {
        &mut self.left
    }
}

/// The turn passes on for as long as the first has nothing left of it.
fn pass_on<T: InTurn>(ring: &mut VecDeque<T>) {
    let is_alone = ring.len() == 1;
    while let Some(left) = ring.front_mut().map(T::left)
        && *left <= 0
    {
        if is_alone {
            *left = TURN_OCTETS;
        } else {
            *left += TURN_OCTETS;
            ring.rotate_left(1);
        }
    }
}

impl ReadyList {
    /// Behind all of the same flow, or, where it had its turn before (`again`), ahead of them.
    pub(super) fn push(&mut self, flow: Flow, delivery: DeliveryId, again: bool) {
        if self.len == 0 && self.deliveries(flow).is_none() {
            self.classes.clear();
        }
        self.len += 1;
        let deliveries = self.deliveries_or_insert(flow);
        if again {
            deliveries.push_front(delivery);
        } else {
            deliveries.push_back(delivery);
        }
    }

    fn deliveries(&self, flow: Flow) -> Option<&VecDeque<DeliveryId>> {
        let class = self.classes.iter().find(|class| class.priority == flow.priority)?;
        let tenant = class.tenants.iter().find(|tenant| tenant.number == flow.tenant)?;
        tenant.campaigns.iter().find(|campaign| campaign.number == flow.campaign).map(|campaign| &campaign.deliveries)
    }

    fn deliveries_or_insert(&mut self, flow: Flow) -> &mut VecDeque<DeliveryId> {
        let Flow { priority, tenant: tenant_number, campaign: campaign_number } = flow;
        let class = self.classes.partition_point(|class| class.priority > priority);
        if self.classes.get(class).is_none_or(|class| class.priority != priority) {
            self.classes.insert(class, Class { priority, tenants: VecDeque::new() });
        }
        let tenants = &mut self.classes[class].tenants;
        let tenant = tenants.iter().position(|tenant| tenant.number == tenant_number).unwrap_or_else(|| {
            tenants.push_back(Tenant { number: tenant_number, left: TURN_OCTETS, campaigns: VecDeque::new() });
            tenants.len() - 1
        });
        let campaigns = &mut tenants[tenant].campaigns;
        let campaign = campaigns.iter().position(|campaign| campaign.number == campaign_number).unwrap_or_else(|| {
            campaigns.push_back(Campaign { number: campaign_number, left: TURN_OCTETS, deliveries: VecDeque::new() });
            campaigns.len() - 1
        });
        &mut campaigns[campaign].deliveries
    }

    /// Whose turn it is.
    pub(super) fn front(&self) -> Option<DeliveryId> {
        let tenant = self.classes.first()?.tenants.front()?;
        tenant.campaigns.front()?.deliveries.front().copied()
    }

    /// Takes out the one whose turn it is, without using the turn up.
    pub(super) fn pop_front(&mut self) -> Option<DeliveryId> {
        let class = self.classes.first_mut()?;
        let tenant = class.tenants.front_mut()?;
        let campaign = tenant.campaigns.front_mut()?;
        let delivery = campaign.deliveries.pop_front()?;
        self.len -= 1;
        if self.len > 0 && campaign.deliveries.is_empty() {
            tenant.campaigns.pop_front();
            if tenant.campaigns.is_empty() {
                class.tenants.pop_front();
                if class.tenants.is_empty() {
                    self.classes.remove(0);
                }
            }
        }
        Some(delivery)
    }

    /// A message of so many octets goes out of the one whose turn it is; with `last` nothing is left of it, and it is
    /// taken out. The turn passes on when that used it up.
    pub(super) fn serve(&mut self, octets: usize, last: bool) {
        let cost = octets as i64 + TRANSACTION_COST;
        let Some(class) = self.classes.first_mut() else { return };
        if let Some(tenant) = class.tenants.front_mut() {
            tenant.left -= cost;
            if let Some(campaign) = tenant.campaigns.front_mut() {
                campaign.left -= cost;
            }
        }
        if last {
            self.pop_front();
        }
        // If one of them was dropped with its last delivery, the turn is another's already.
        let Some(class) = self.classes.first_mut() else { return };
        if let Some(tenant) = class.tenants.front_mut() {
            pass_on(&mut tenant.campaigns);
        }
        pass_on(&mut class.tenants);
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn len_of(&self, flow: Flow) -> usize {
        self.deliveries(flow).map_or(0, VecDeque::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, each flow's in order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = DeliveryId> + use<> {
        let tenants = std::mem::take(self).classes.into_iter().flat_map(|class| class.tenants);
        tenants.flat_map(|tenant| tenant.campaigns).flat_map(|campaign| campaign.deliveries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(priority: i8, tenant: u8, campaign: u8) -> Flow {
        Flow { priority, tenant, campaign }
    }

    /// Serves all that is there, each of so many octets.
    fn order(list: &mut ReadyList, octets: impl Fn(DeliveryId) -> usize) -> Vec<DeliveryId> {
        let mut order = Vec::new();
        while let Some(delivery) = list.front() {
            order.push(delivery);
            list.serve(octets(delivery), true);
        }
        assert_eq!((list.len(), list.pop_front()), (0, None));
        order
    }

    #[test]
    fn urgent_ones_go_first_and_equals_in_order() {
        let mut list = ReadyList::default();
        for (delivery, priority) in [0, 3, 0, -2, 3, 9, -2, 0].into_iter().enumerate() {
            list.push(flow(priority, 0, 0), delivery as u32, false);
        }
        list.push(flow(0, 0, 0), 10, true);
        list.push(flow(9, 0, 0), 11, true);
        list.push(flow(-9, 0, 0), 12, true);
        assert_eq!((list.len(), list.len_of(flow(0, 0, 0)), list.len_of(flow(1, 0, 0))), (11, 4, 0));
        assert_eq!(order(&mut list, |_| 100_000), [11, 5, 1, 4, 10, 0, 2, 7, 3, 6, 12]);
    }

    #[test]
    fn tenants_take_turns_and_then_their_campaigns() {
        let mut list = ReadyList::default();
        for n in 0..40 {
            list.push(flow(0, 1, (n % 2) as u8), n, false);
        }
        for n in 100..120 {
            list.push(flow(0, 2, 0), n, false);
        }
        let order = order(&mut list, |_| TURN_OCTETS as usize);
        let first = &order[..20];
        assert_eq!(
            first.iter().filter(|n| **n >= 100).count(),
            10,
            "a tenant with two campaigns gets no more: {first:?}"
        );
        let of_one: Vec<u32> = first.iter().copied().filter(|n| *n < 100).collect();
        assert_eq!(of_one, (0..10).collect::<Vec<_>>(), "and its campaigns get the same");
    }

    #[test]
    fn turns_are_of_octets() {
        let mut list = ReadyList::default();
        for n in 0..10 {
            list.push(flow(0, 0, 1), n, false);
        }
        for n in 100..1000 {
            list.push(flow(0, 0, 2), n, false);
        }
        let (large, small) = (1 << 20, 1 << 10);
        let order = order(&mut list, |n| if n < 100 { large } else { small });
        let before_the_third = order.iter().take_while(|n| **n != 2).filter(|n| **n >= 100).count();
        let expected = 2 * (large as i64 + TRANSACTION_COST) / (small as i64 + TRANSACTION_COST);
        assert!(before_the_third.abs_diff(expected as usize) < 20, "{before_the_third} small ones for two large ones");
    }

    #[test]
    fn what_is_served_in_parts_keeps_its_place_until_its_turn_is_over() {
        let mut list = ReadyList::default();
        list.push(flow(0, 0, 1), 1, false);
        list.push(flow(0, 0, 2), 2, false);
        list.serve(100, false);
        assert_eq!(list.front(), Some(1));
        list.serve(TURN_OCTETS as usize, false);
        assert_eq!(list.front(), Some(2));
        list.serve(100, true);
        assert_eq!(list.front(), Some(1));
    }

    #[test]
    fn it_can_be_emptied_and_filled_again() {
        let mut list = ReadyList::default();
        for n in 0..3 {
            for delivery in 0..5 {
                list.push(flow(0, n, delivery as u8 % 2), delivery, false);
            }
            let all: Vec<_> = list.drain().collect();
            assert!(list.is_empty() && list.front().is_none());
            assert_eq!(all, [0, 2, 4, 1, 3], "all, and each flow's in order");
            list.push(flow(n as i8, 7, 7), 9, false);
            assert_eq!(order(&mut list, |_| 1), [9]);
        }
    }
}
