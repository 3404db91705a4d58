//! A FIN from the injector: what was whole before it is taken and answered, what was not is forgotten.

use crate::injector::queued_as;
use crate::world::World;

#[test]
fn a_whole_message_before_the_fin_is_answered_and_delivered() {
    let world = World::plan().start();
    let mut injector = world.connect();
    injector.say("EHLO a\r\nMAIL FROM:<s@home.test>\r\nRCPT TO:<u@d.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n");
    injector.half_close();
    let said = injector.rest();
    queued_as(said.lines().last().expect("replies"));
    world.expect_delivered("u@d.test");
    world.expect_empty();
    world.finish();
}

#[test]
fn half_a_message_before_the_fin_is_none() {
    let world = World::plan().start();
    for half in ["", "Subject: x", "Subject: x\r\n\r\nx\r\n", "x\r\n.", "x\r\n.\r"] {
        let mut injector = world.connect();
        injector.say(format!("EHLO a\r\nMAIL FROM:<s@home.test>\r\nRCPT TO:<u@d.test>\r\nDATA\r\n{half}"));
        injector.half_close();
        let said = injector.rest();
        assert!(said.contains("\n354 ") && !said.contains("queued as"), "{half:?}: {said:?}");
    }
    world.send(&["after@d.test"]);
    world.expect_delivered("after@d.test");
    assert_eq!(world.copies("u@d.test"), 0);
    world.expect_empty();
    world.finish();
}
