//! A connection that breaks while the body is under way: known as not taken, tried again at once, no attempt counted.

use crate::world::{SENDER, World};

#[test]
fn a_break_mid_body_is_tried_again_at_once() {
    for action in ["reset", "close"] {
        let world = World::plan().sink(&[&format!("body bytes=5000 first=1 {action}")]).start();
        // Larger than what sockets hold, so that it cannot all be sent when the connection breaks.
        let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n";
        let body = format!("Subject: large\r\n\r\n{}", line.repeat(12 << 14));
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
}
