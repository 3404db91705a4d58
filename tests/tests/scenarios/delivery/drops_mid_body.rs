//! A connection that breaks while the body is under way: known as not taken, tried again at once, no attempt counted.

use crate::world::{RETRY_SOON, SENDER, World};

/// Larger than what sockets hold, so that it cannot all be sent when the connection breaks.
fn large() -> String {
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n";
    format!("Subject: large\r\n\r\n{}", line.repeat(12 << 14))
}

#[test]
fn a_reset_mid_body_is_tried_again_at_once() {
    let world = World::plan().sink(&["body bytes=5000 first=1 reset"]).start();
    let body = large();
    world.inject(SENDER, &["u@d.test"], &body);
    let received = world.expect_delivered("u@d.test");
    assert!(received.body.ends_with(body.as_bytes()), "whole");
    let event = world.expect_event("delivered", "u@d.test");
    assert_eq!(event["attempt"], 1, "{event}");
    assert_eq!(world.count_events("deferred", "u@d.test"), 0);
    assert_eq!(world.sink().handle.counters().refused.get("body"), Some(&1));
    world.expect_empty();
    world.finish();
}

/// Whoever closes and goes on reading may have been sent everything by then: only in that case is it deferred.
#[test]
fn a_close_mid_body_is_tried_again() {
    let world = World::plan().sink(&["body bytes=5000 first=1 close"]).config(RETRY_SOON).start();
    let body = large();
    world.inject(SENDER, &["u@d.test"], &body);
    let received = world.expect_delivered("u@d.test");
    assert!(received.body.ends_with(body.as_bytes()), "whole");
    world.expect_empty();
    assert_eq!(world.copies("u@d.test"), 1);
    let events = world.events();
    let deferred = events.iter().filter(|event| event["event"] == "deferred");
    deferred.for_each(|event| assert_eq!(event["in_doubt"], true, "{event}"));
    world.finish();
}
