//! `max_recipients`: one more gets 452 4.5.3, those before it are served.

use crate::injector::{queued_as, stuffed};
use crate::world::{SENDER, World};

#[test]
fn one_recipient_more_gets_452_and_the_others_are_served() {
    let world = World::plan().listener("max_recipients = 5").start();
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    for n in 0..5 {
        injector.expect(&format!("RCPT TO:<u{n}@d.test>"), "250 ");
    }
    for n in 5..8 {
        injector.expect(&format!("RCPT TO:<u{n}@d.test>"), "452 4.5.3 ");
    }
    injector.expect("DATA", "354 ");
    injector.say(stuffed(b"Subject: x\r\n\r\nx\r\n"));
    queued_as(&injector.hear());
    world.expect_all_delivered(&["u0@d.test", "u1@d.test", "u2@d.test", "u3@d.test", "u4@d.test"]);
    world.expect_empty();
    assert_eq!(world.sink().received().len(), 1);
    world.finish();
}
