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
