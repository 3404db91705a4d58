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
