//! `[limits]` and `[[site]]`: connections at once, messages on each, messages per time. Counted at the destination.

use crate::world::World;
use bench::Address;
use bench::load::{Domains, Load, LoadOptions};
use engine::config::SocketName;
use std::time::Duration;

/// Puts so many messages into the world, over 4 connections, all for limited.test.
fn load(world: &World, messages: u64) {
    let SocketName::Tcp(address) = world.address(0) else { panic!("TCP") };
    let options = LoadOptions {
        to: Address::Tcp(address),
        connections: 4,
        messages,
        size: 500,
        domains: Domains::List(vec!["limited.test".into()]),
        timeout: Some(Duration::from_secs(60)),
        ..LoadOptions::default()
    };
    let report = Load::run(options, |_| ()).expect("a load run");
    assert_eq!(report.messages, messages, "{report:?}");
    world.expect_empty();
}

#[test]
fn never_more_connections_than_allowed() {
    let world = World::plan().config("[limits]\nconnections = 3\n").sink(&["final delay=2ms ok"]).start();
    load(&world, 200);
    let counters = world.sink().handle.counters();
    assert_eq!((counters.messages, counters.connections_peak), (200, 3), "{counters:?}");
    assert!(counters.connections_opened <= 9, "they are used again: {counters:?}");
    world.finish();
}

#[test]
fn a_connection_ends_after_messages_per_connection() {
    let world = World::plan().config("[limits]\nconnections = 2\nmessages_per_connection = 5\n").start();
    load(&world, 100);
    let counters = world.sink().handle.counters();
    assert!(counters.connections_opened >= 20, "{counters:?}");
    assert!(counters.connections_peak <= 2, "{counters:?}");
    world.finish();
}

#[test]
fn a_site_of_its_own_has_its_own_limits() {
    let site = "[[site]]\nmatch = { domain = [\"limited.test\"] }\nconnections = 1\n";
    let world = World::plan().config(site).sink(&["final delay=1ms ok"]).start();
    load(&world, 100);
    assert_eq!(world.sink().handle.counters().connections_peak, 1);
    world.finish();
}

#[test]
fn never_more_messages_in_a_second_than_the_rate() {
    let world = World::plan().config("[limits]\nrate = \"10/s\"\n").start();
    load(&world, 25);
    let mut times: Vec<_> = world.sink().received().iter().map(|message| message.at).collect();
    times.sort_unstable();
    // Begun within the rate, they may arrive a little closer: the last of a window late, the first of the next on time.
    for window in times.windows(13) {
        let took = window[12].duration_since(window[0]).expect("sorted");
        assert!(took >= Duration::from_millis(900), "13 messages in {took:?}");
    }
    world.finish();
}
