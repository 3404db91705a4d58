//! `suspend`: nothing is delivered, everything kept; a reload lets it go.

use crate::world::World;

#[test]
fn a_suspended_site_keeps_its_mail_until_a_reload_lets_it_go() {
    let site = "[[site]]\nmatch = { domain = [\"kept.test\"] }\nsuspend = true\n";
    let mut world = World::plan().config(site).start();
    for n in 0..10 {
        world.send(&[&format!("u{n}@kept.test"), &format!("u{n}@free.test")]);
    }
    for n in 0..10 {
        world.expect_delivered(&format!("u{n}@free.test"));
    }
    world.until("only those are left", |world| world.stats().recipients == 10);
    assert!((0..10).all(|n| world.copies(&format!("u{n}@kept.test")) == 0));
    assert!(world.events().iter().all(|event| event["event"] != "deferred"), "a stop is no attempt");
    world.reload("suspend = true", "suspend = false");
    for n in 0..10 {
        world.expect_delivered(&format!("u{n}@kept.test"));
    }
    world.expect_empty();
    world.finish();
}

#[test]
fn what_was_suspended_over_a_restart_goes_after_it() {
    let mut world = World::plan().config("[limits]\nsuspend = true\n").start();
    world.send(&["u@d.test"]);
    world.stop_engine();
    world.start_engine();
    assert_eq!(world.stats().recipients, 1);
    world.reload("suspend = true", "suspend = false");
    world.expect_delivered("u@d.test");
    world.expect_empty();
    world.finish();
}
