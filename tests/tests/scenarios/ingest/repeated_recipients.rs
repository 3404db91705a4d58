//! A recipient that is named twice gets one copy, and each RCPT its reply.

use crate::injector::{queued_as, stuffed};
use crate::world::{SENDER, World};

#[test]
fn each_is_answered_and_gets_one_copy() {
    let world = World::plan().start();
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    for to in ["u@d.test", "v@d.test", "u@D.TEST", "U@d.test", "u@d.test", "w@e.test", "v@d.test", "w@e.test"] {
        injector.expect(&format!("RCPT TO:<{to}>"), "250 ");
    }
    injector.expect("DATA", "354 ");
    injector.say(stuffed(b"Subject: x\r\n\r\nx\r\n"));
    queued_as(&injector.hear());
    let once = ["u@d.test", "v@d.test", "U@d.test", "w@e.test"];
    world.expect_all_delivered(&once);
    world.expect_empty();
    for to in once {
        assert_eq!((to, world.copies(to)), (to, 1));
        world.expect_event("delivered", to);
        assert_eq!((to, world.count_events("delivered", to)), (to, 1));
    }
    world.finish();
}

/// RFC 3461: the sender hears of each by itself.
#[test]
fn with_other_parameters_it_is_another_one() {
    let mut world = World::plan().start();
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    for parameters in ["", " NOTIFY=NEVER", " NOTIFY=NEVER", " ORCPT=rfc822;x@y.test", "", " ORCPT=rfc822;x@y.test"] {
        injector.expect(&format!("RCPT TO:<u@d.test>{parameters}"), "250 ");
    }
    injector.expect("DATA", "354 ");
    injector.say(stuffed(b"Subject: x\r\n\r\nx\r\n"));
    queued_as(&injector.hear());
    world.until("three copies", |world| world.copies("u@d.test") >= 3);
    world.expect_empty();
    // Not `finish`, which knows recipients by their addresses.
    world.stop_engine();
    let told = ["accepted", "delivered"].map(|kind| world.count_events(kind, "u@d.test"));
    assert_eq!((world.copies("u@d.test"), told), (3, [3, 3]));
}

/// RFC 2033 §4.2: as many replies as accepted RCPTs.
#[test]
fn over_lmtp_each_has_its_reply_after_the_content_too() {
    let world = World::plan().listener("protocol = \"lmtp\"").start();
    let mut injector = world.connect();
    injector.hear();
    injector.expect("LHLO a", "250");
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    for to in ["u@d.test", "v@d.test", "u@d.test", "u@d.test"] {
        injector.expect(&format!("RCPT TO:<{to}>"), "250 ");
    }
    injector.expect("DATA", "354 ");
    injector.say(stuffed(b"Subject: x\r\n\r\nx\r\n"));
    let ids: Vec<String> = (0..4).map(|_| queued_as(&injector.hear())).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one message: {ids:?}");
    injector.expect("NOOP", "250 2.0.0 ");
    world.expect_all_delivered(&["u@d.test", "v@d.test"]);
    world.expect_empty();
    assert_eq!((world.copies("u@d.test"), world.copies("v@d.test")), (1, 1));
    world.finish();
}
