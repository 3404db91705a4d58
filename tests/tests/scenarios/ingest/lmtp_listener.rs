//! An LMTP listener: one reply a recipient after the content.

use crate::injector::{queued_as, stuffed};
use crate::world::{SENDER, World};

#[test]
fn each_recipient_has_its_reply() {
    let world = World::plan().listener("protocol = \"lmtp\"").start();
    let mut injector = world.connect();
    assert!(injector.hear().starts_with("220 "));
    injector.expect("EHLO a", "500 ");
    injector.expect("LHLO a", "250");
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    for n in 0..3 {
        injector.expect(&format!("RCPT TO:<u{n}@d{n}.test>"), "250 ");
    }
    injector.expect("DATA", "354 ");
    injector.say(stuffed(b"Subject: x\r\n\r\nx\r\n"));
    let ids: Vec<String> = (0..3).map(|_| queued_as(&injector.hear())).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one message: {ids:?}");
    injector.expect("NOOP", "250 ");
    world.expect_all_delivered(&["u0@d0.test", "u1@d1.test", "u2@d2.test"]);
    world.expect_empty();
    world.finish();
}
