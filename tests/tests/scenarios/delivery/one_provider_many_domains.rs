//! Domains with the same MX hosts are one site: one transaction for all of them, one connection.

use crate::world::{World, loopback};
use bench::dns::Zone;
use std::collections::BTreeSet;

#[test]
fn domains_of_one_provider_share_a_transaction() {
    let zone = Zone::one_provider(&[("mx1.provider.test", loopback(1)), ("mx2.provider.test", loopback(1))]);
    let world = World::plan().zone(zone).start();
    // Known routes, so that no question comes between.
    let to: Vec<String> = (0..20).map(|n| format!("u{n}@d{n}.test")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    world.send(&to);
    world.expect_all_delivered(&to);
    world.expect_empty();
    let before = world.sink().received().len();
    world.send(&to);
    world.expect_empty();
    let received: Vec<usize> =
        world.sink().received()[before..].iter().map(|message| message.recipients.len()).collect();
    assert_eq!(received, [20], "one transaction for 20 domains");
    world.until("40 deliveries are told", |w| w.events().iter().filter(|e| e["event"] == "delivered").count() == 40);
    let sites: BTreeSet<String> =
        world.events().iter().filter_map(|event| Some(event["site"].as_str()?.into())).collect();
    assert_eq!(sites.len(), 1, "{sites:?}");
    world.finish();
}
