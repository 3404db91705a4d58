//! Hundreds of injectors at once: each acknowledged recipient arrives once, and few syncs served all of them.

use crate::world::World;
use bench::Address;
use bench::load::{Domains, Load, LoadOptions};
use engine::config::SocketName;
use std::time::Duration;

#[test]
fn two_hundred_connections_are_served_and_share_syncs() {
    let world = World::plan().sink_options(|options| options.keep.numbers = true).start();
    let SocketName::Tcp(address) = world.address(0) else { panic!("TCP") };
    let options = LoadOptions {
        to: Address::Tcp(address),
        connections: 200,
        messages: 1000,
        size: 1024,
        domains: Domains::Pattern { pattern: "d%N.test".into(), count: 10 },
        timeout: Some(Duration::from_secs(60)),
        ..LoadOptions::default()
    };
    let report = Load::run(options, |_| ()).expect("a load run");
    assert_eq!((report.messages, report.in_doubt, report.unfinished), (1000, 0, 0), "{report:?}");
    assert!(report.connections_opened >= 200, "{report:?}");
    world.expect_empty();
    let tally = world.sink().handle.tally().expect("asked for");
    assert_eq!(tally.doubled(), 0);
    assert_eq!(world.sink().handle.counters().messages, 1000);
    let commits = world.stats().commits;
    assert!(commits < 1000, "{commits} commits for 1000 messages and as many outcomes");
    world.finish();
}
