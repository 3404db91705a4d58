//! `[retry] expire`: what could not be delivered in time is given up, with an event and a notice.

use crate::world::World;

#[test]
fn what_is_too_old_expires_with_a_notice() {
    let retry = "[retry]\nschedule = [\"100ms\"]\nexpire = \"1500ms\"\njitter = 0.0\n";
    let world = World::plan().config(retry).sink(&["rcpt to=*@busy.test reply 450 4.3.2 busy"]).start();
    world.send(&["u@busy.test", "v@d.test"]);
    world.expect_delivered("v@d.test");
    let event = world.expect_event("expired", "u@busy.test");
    assert!(event["attempt"].as_u64() >= Some(2), "{event}");
    let notice = world.expect_notice();
    assert!(notice.contains("Final-Recipient: rfc822; u@busy.test\r\nAction: failed\r\nStatus: 4.3.2\r\n"), "{notice}");
    assert!(notice.contains("not delivered in time"), "{notice}");
    world.expect_empty();
    world.finish();
}

/// A stop is no reason to keep what nobody wants any more; what is not too old goes when it ends.
#[test]
fn what_is_too_old_at_a_suspended_site_expires_with_a_notice() {
    let config = "[retry]\nschedule = [\"100ms\"]\nexpire = \"1500ms\"\n[[site]]\nmatch = { domain = [\"kept.test\"] }\nsuspend = true\n";
    let mut world = World::plan().config(config).start();
    world.send(&["u@kept.test", "v@d.test"]);
    world.expect_delivered("v@d.test");
    world.expect_event("expired", "u@kept.test");
    let notice = world.expect_notice();
    assert!(notice.contains("Final-Recipient: rfc822; u@kept.test\r\nAction: failed\r\nStatus: 4.3.2\r\n"), "{notice}");
    assert!(notice.contains("suspended"), "{notice}");
    world.expect_empty();
    world.reload("1500ms", "3d");
    world.send(&["w@kept.test"]);
    world.reload("suspend = true", "suspend = false");
    world.expect_delivered("w@kept.test");
    world.expect_empty();
    assert_eq!(world.copies("u@kept.test"), 0);
    world.finish();
}
