//! `[[route]]` to a smart host: by pattern, no MX question; everything else goes by MX.

use crate::world::World;

#[test]
fn routed_domains_go_to_the_smart_host_in_one_transaction() {
    let route = "[[route]]\ndomain = [\"corp.test\", \"*.corp.test\"]\nvia = \"smtp://127.0.0.2:PORT\"\n";
    let world = World::plan().sink_at([127, 0, 0, 2], |_| ()).config(route).start();
    world.send(&["a@corp.test", "b@x.corp.test", "c@other.test", "d@notcorp.test"]);
    world.expect_all_delivered(&["a@corp.test", "b@x.corp.test", "c@other.test", "d@notcorp.test"]);
    let smart: Vec<_> = world.sinks[1].received().iter().map(|m| m.recipients.clone()).collect();
    assert_eq!(smart, [["a@corp.test", "b@x.corp.test"]], "one transaction for both domains");
    assert_eq!(world.sink().copies("a@corp.test"), 0);
    assert_eq!(world.dns.questions().mx, 2, "only for what is not routed");
    world.expect_empty();
    world.finish();
}

#[test]
fn the_next_smart_host_is_used_while_those_before_it_fail() {
    let route = "[[route]]\ndomain = [\"*.test\"]\n\
                 via = [\"smtp://127.0.0.2:PORT\", \"smtps://127.0.0.4:PORT\", \"smtp://127.0.0.1:PORT\"]\n";
    let mut world = World::plan().config(route).start();
    world.send(&["a@d.test"]);
    world.expect_delivered("a@d.test");
    let event = world.expect_event("delivered", "a@d.test");
    assert_eq!((&event["mx"], &event["attempt"]), (&"127.0.0.1".into(), &1.into()), "{event}");
    assert_eq!(world.count_events("deferred", "a@d.test"), 0);
    world.finish();
    world = World::plan().config(route).sink_at([127, 0, 0, 2], |_| ()).start();
    world.send(&["a@d.test"]);
    world.expect_delivered("a@d.test");
    assert_eq!((world.sinks[1].copies("a@d.test"), world.sink().copies("a@d.test")), (1, 0), "the first one");
    world.finish();
}

#[test]
fn a_smart_host_by_name_is_looked_up_as_an_address() {
    let world = World::plan().config("[[route]]\ndomain = [\"*\"]\nvia = \"smtp://relay.test:PORT\"\n").start();
    world.send(&["a@b.test"]);
    world.expect_delivered("a@b.test");
    assert_eq!(world.dns.questions().mx, 0);
    let event = world.expect_event("delivered", "a@b.test");
    assert_eq!(event["mx"], "relay.test", "{event}");
    world.expect_empty();
    world.finish();
}
