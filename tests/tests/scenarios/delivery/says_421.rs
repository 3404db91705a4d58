//! 421 may come at any time; the mail goes over another connection.

use crate::world::World;

#[test]
fn a_421_in_a_transaction_is_tried_again_at_once() {
    for stage in ["mail", "rcpt", "data", "body bytes=10", "final"] {
        let (stage, when) = stage.split_once(' ').unwrap_or((stage, ""));
        let world = World::plan().sink(&[&format!("{stage} {when} first=1 reply 421 4.3.2 restarting")]).start();
        world.send(&["u@d.test"]);
        world.expect_delivered("u@d.test");
        let event = world.expect_event("delivered", "u@d.test");
        assert_eq!(event["attempt"], 1, "{stage}: {event}");
        assert_eq!(world.count_events("deferred", "u@d.test"), 0, "{stage}");
        world.expect_empty();
        world.finish();
    }
}

#[test]
fn a_421_every_time_defers_in_the_end() {
    for stage in ["mail", "rcpt", "data", "final"] {
        let world = World::plan().sink(&[&format!("{stage} reply 421 4.3.2 restarting")]).start();
        world.send(&["u@d.test"]);
        let event = world.expect_event("deferred", "u@d.test");
        assert!(event["reply"]["text"].as_str().unwrap_or_default().contains("restarting"), "{stage}: {event}");
        assert_eq!(world.stats().recipients, 1, "{stage}");
        let tries = world.sink().handle.counters().refused.get(stage).copied();
        assert!(tries <= Some(5), "{stage}: bounded, {tries:?}");
        world.finish();
    }
}
