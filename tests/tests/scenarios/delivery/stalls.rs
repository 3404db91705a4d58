//! A destination that says nothing any more holds up its own mail only, and the engine's end not at all.

use crate::world::World;
use std::time::Duration;

#[test]
fn stalled_sites_cost_the_others_nothing() {
    let world = World::plan()
        .sink(&["rcpt to=*@slow.test stall", "final to=*@dead.test stall", "body to=*@stuck.test stall"])
        .start();
    for n in 0..10 {
        world.send(&[&format!("u{n}@slow.test"), &format!("u{n}@dead.test"), &format!("u{n}@stuck.test")]);
    }
    for n in 0..10 {
        world.send(&[&format!("u{n}@d.test")]);
    }
    for n in 0..10 {
        world.expect_delivered(&format!("u{n}@d.test"));
    }
    world.until("the others wait", |world| world.stats().recipients == 30);
}

#[test]
fn an_end_does_not_wait_for_a_stalled_destination_and_the_mail_is_delivered_later() {
    let mut world = World::plan().sink(&["rcpt to=*@slow.test stall"]).start();
    world.send(&["u@slow.test"]);
    world.until("it stalls", |world| world.sink().handle.counters().refused.get("rcpt") == Some(&1));
    world.take_engine().shut_down(Duration::from_millis(50)).expect("an end all the same");
    world.sink().obey(&[]);
    world.start_engine();
    world.expect_delivered("u@slow.test");
    world.expect_empty();
    assert_eq!(world.copies("u@slow.test"), 1);
    world.finish();
}
