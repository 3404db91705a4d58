//! Mail that would come back: the best exchanger is this server, by its socket or by its name.

use crate::world::{World, loopback};
use bench::dns::{Rule, Zone};

/// The engine listens where the hosts of loop.test and backup.test are looked for.
fn plan() -> crate::world::Plan {
    let zone = Zone::everything_at(loopback(1))
        .with("loop.test", Rule::records().mx(10, "other-name.test").mx(20, "mx.d.test"))
        .with("backup.test", Rule::records().mx(10, "mx.d.test").mx(20, "other-name.test"))
        .with("other-name.test", Rule::records().address(loopback(3)));
    World::plan().zone(zone).listener("bind = \"127.0.0.3:PORT\"")
}

#[test]
fn an_exchanger_at_a_listener_of_ours_bounces() {
    let world = plan().start();
    world.send(&["u@loop.test"]);
    let event = world.expect_event("bounced", "u@loop.test");
    let reply = &event["reply"];
    assert_eq!((&reply["code"], &reply["enhanced"]), (&554.into(), &"5.4.6".into()), "{event}");
    let notice = world.expect_notice();
    assert!(notice.contains("Status: 5.4.6"), "{notice}");
    assert_eq!(world.count_events("accepted", "u@loop.test"), 1, "it never came back");
    world.expect_empty();
    world.finish();
}

#[test]
fn a_preferred_exchanger_is_used_and_a_backup_that_is_ourselves_never() {
    let world = plan().config("[limits]\nmessages_per_connection = 1\n").start();
    world.send(&["u@backup.test"]);
    world.expect_delivered("u@backup.test");
    world.expect_event("delivered", "u@backup.test");
    world.sink().obey(&["connect close"]);
    world.send(&["v@backup.test"]);
    world.expect_event("deferred", "v@backup.test");
    assert_eq!(world.count_events("accepted", "v@backup.test"), 1, "it never came back");
    world.finish();
}

#[test]
fn an_exchanger_with_our_name_bounces_and_a_host_that_a_route_names_may_have_it() {
    // The second one is a proxy that passes on what the server behind it says.
    let route = "[[route]]\ndomain = [\"proxied.test\"]\nvia = \"smtp://127.0.0.2:PORT\"\n";
    let world = World::plan().sink_options(|options| options.hostname = "MTA.home.test".into()).config(route);
    let world = world.sink_at([127, 0, 0, 2], |options| options.hostname = "mta.home.test".into()).start();
    world.send(&["u@d.test", "u@proxied.test"]);
    world.expect_delivered("u@proxied.test");
    let event = world.expect_event("bounced", "u@d.test");
    assert_eq!(event["reply"]["enhanced"], "5.4.6", "{event}");
    assert_eq!(world.copies("u@d.test"), 0);
}
