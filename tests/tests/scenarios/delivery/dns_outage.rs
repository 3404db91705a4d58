//! DNS fails: mail waits, and goes when DNS answers again. "No answer" is never "no".

use crate::world::{World, loopback};
use bench::dns::{Rule, Zone};

#[test]
fn mail_waits_for_dns_to_come_back() {
    for broken in [Rule::servfail(), Rule::refused(), Rule::silence()] {
        let zone = Zone::default().with("*", broken);
        let mut world = World::plan().zone(zone).dns("timeout = \"500ms\"").start();
        world.send(&["u@d.test", "v@e.test"]);
        for recipient in ["u@d.test", "v@e.test"] {
            let event = world.expect_event("deferred", recipient);
            let reply = &event["reply"];
            assert_eq!((&reply["code"], &reply["enhanced"]), (&451.into(), &"4.4.3".into()), "{event}");
        }
        assert_eq!(world.stats().recipients, 2);
        world.dns.set("*", Rule::records().mx(10, "mx.{}").address(loopback(1)));
        // What an operator does after an outage; by itself it takes a minute.
        world.reload("[admin]", "[admin]");
        world.retry();
        world.expect_all_delivered(&["u@d.test", "v@e.test"]);
        world.expect_empty();
        world.finish();
    }
}
