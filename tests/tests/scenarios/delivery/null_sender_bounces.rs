//! A message with the null reverse-path that bounces makes no notice: there is nobody to tell, and no loop.

use crate::world::{SENDER, World};

#[test]
fn a_bounce_that_bounces_ends_there() {
    let world = World::plan().sink(&["rcpt to=*@bad.test reply 550 5.1.1 no such user"]).start();
    world.inject("", &["u@bad.test", "v@good.test"], "Subject: notice\r\n\r\nx\r\n");
    world.expect_event("bounced", "u@bad.test");
    world.expect_delivered("v@good.test");
    world.expect_empty();
    assert_eq!(world.sink().received().len(), 1);
    world.finish();
}

#[test]
fn a_notice_that_cannot_be_delivered_ends_there() {
    let world = World::plan().sink(&["rcpt reply 550 5.1.1 no such user"]).start();
    world.send(&["u@d.test"]);
    world.expect_event("bounced", "u@d.test");
    world.expect_event("bounced", SENDER);
    world.expect_empty();
    assert_eq!(world.sink().received().len(), 0);
    world.finish();
}
