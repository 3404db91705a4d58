//! A restart goes on with what was queued; each recipient gets one copy.

use crate::world::World;
use bench::Address;
use bench::load::{Domains, Load, LoadOptions};
use engine::config::SocketName;
use std::time::Duration;

#[test]
fn a_restart_in_the_middle_loses_and_doubles_nothing() {
    let plan = World::plan().sink(&["final delay=10ms ok"]).config("[limits]\nconnections = 2\n");
    let mut world = plan.sink_options(|options| options.keep.numbers = true).start();
    let SocketName::Tcp(address) = world.address(0) else { panic!("TCP") };
    let options = LoadOptions {
        to: Address::Tcp(address),
        messages: 300,
        size: 2000,
        domains: Domains::List(vec!["a.test".into(), "b.test".into()]),
        timeout: Some(Duration::from_secs(60)),
        ..LoadOptions::default()
    };
    let report = Load::run(options, |_| ()).expect("a load run");
    assert_eq!((report.messages, report.in_doubt), (300, 0), "{report:?}");
    for _ in 0..3 {
        let before = world.sink().handle.counters().messages;
        world.until("it works", |world| world.sink().handle.counters().messages > before + 20);
        world.stop_engine();
        world.start_engine();
    }
    world.expect_empty();
    let proof = world.sink().handle.tally().expect("asked for").prove(&report.acknowledged, 300);
    assert_eq!((proof.lost, proof.doubled), (0, 0), "{proof:?}");
    world.finish();
}

#[test]
fn deferred_mail_keeps_its_attempts_over_a_restart() {
    let mut world = World::plan().sink(&["rcpt first=1 reply 450 4.2.1 later"]).start();
    world.send(&["u@d.test"]);
    world.expect_event("deferred", "u@d.test");
    world.stop_engine();
    world.start_engine();
    world.retry();
    world.expect_delivered("u@d.test");
    let event = world.expect_event("delivered", "u@d.test");
    assert_eq!(event["attempt"], 2, "{event}");
    world.expect_empty();
    world.finish();
}
