//! Greylisting: refused for now, taken when it comes again.

use crate::world::{RETRY_SOON, World};

#[test]
fn a_greylisted_recipient_is_delivered_by_the_retry() {
    let rule = "rcpt to=new@* first=1 reply 451 4.7.1 greylisted, try again";
    let world = World::plan().sink(&[rule]).config(RETRY_SOON).start();
    world.send(&["known@d.test", "new@d.test"]);
    world.expect_delivered("known@d.test");
    let event = world.expect_event("deferred", "new@d.test");
    assert_eq!((&event["reply"]["code"], &event["reply"]["enhanced"]), (&451.into(), &"4.7.1".into()));
    let event = world.expect_event("delivered", "new@d.test");
    assert_eq!(event["attempt"], 2, "{event}");
    assert_eq!(world.copies("known@d.test"), 1);
    world.expect_empty();
    world.finish();
}
