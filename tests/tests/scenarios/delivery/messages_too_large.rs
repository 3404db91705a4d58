//! A message beyond the SIZE that a host announces bounces before anything of it is sent (RFC 1870 §6.1); smaller ones go over
//! the same connection.

use crate::world::{SENDER, World};

#[test]
fn what_is_larger_than_announced_is_not_sent() {
    let world = World::plan().sink_options(|options| options.max_message_bytes = 2_000).start();
    let large = format!("Subject: large\r\n\r\n{}", "a line of it\r\n".repeat(200));
    world.inject(SENDER, &["large@d.test"], &large);
    let event = world.expect_event("bounced", "large@d.test");
    let reply = &event["reply"];
    assert_eq!((&reply["code"], &reply["enhanced"]), (&554.into(), &"5.3.4".into()), "{event}");
    assert!(reply["text"].as_str().is_some_and(|text| text.contains("(2000 bytes)")), "{event}");
    world.send(&["small@d.test"]);
    world.expect_event("delivered", "small@d.test");
    assert_eq!(world.copies("large@d.test"), 0);
}
