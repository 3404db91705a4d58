//! When a host fails, the next one of the site is tried within the same attempt.

use crate::world::{World, loopback};
use bench::dns::{Rule, Zone};

fn zone() -> Zone {
    Zone::default()
        .with("home.test", Rule::records().mx(10, "good.test"))
        .with("d.test", Rule::records().mx(10, "bad.test").mx(20, "good.test"))
        .with("bad.test", Rule::records().address(loopback(2)))
        .with("good.test", Rule::records().address(loopback(1)))
}

fn check(world: World, case: &str) {
    world.send(&["u@d.test"]);
    world.expect_delivered("u@d.test");
    let event = world.expect_event("delivered", "u@d.test");
    assert_eq!((&event["mx"], &event["attempt"]), (&"good.test".into(), &1.into()), "{case}: {event}");
    assert_eq!(world.count_events("deferred", "u@d.test"), 0, "{case}");
    world.expect_empty();
    world.finish();
}

#[test]
fn a_host_that_cannot_be_reached_is_passed_over() {
    check(World::plan().zone(zone()).start(), "refused");
    let nonexistent = zone().with("bad.test", Rule::nxdomain());
    check(World::plan().zone(nonexistent).start(), "no such host");
}

#[test]
fn a_host_that_does_not_want_us_is_passed_over() {
    for rule in [
        "connect close",
        "connect reset",
        "greeting close",
        "greeting reply 554 5.3.2 no mail here",
        "greeting garbage",
        "hello reply 550 5.7.1 not you",
        "mail reply 421 4.3.2 closing",
        "rcpt reset",
        "data close",
    ] {
        let bad = |options: &mut bench::sink::SinkOptions| {
            options.rules = vec![rule.parse().expect("a rule")];
            // Else the content is sent with the commands, and its fate in doubt.
            options.chunking = false;
        };
        check(World::plan().zone(zone()).sink_at([127, 0, 0, 2], bad).start(), rule);
    }
}
