//! FUTURERELEASE: a message is taken now and goes later.

use crate::injector::queued_as;
use crate::world::{SENDER, World};
use engine::shell::{Bounds, Selection, Wish};
use queue::{Domain, MessageId};
use std::time::{Duration, SystemTime};

#[test]
fn a_message_waits_for_its_time() {
    let mut world = World::plan().listener("mode = \"submission\"").start();
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}> HOLDFOR=2"), "250 ");
    injector.expect("RCPT TO:<later@d.test>", "250 ");
    injector.expect("DATA", "354 ");
    let asked = SystemTime::now();
    injector.say("Subject: later\r\n\r\nx\r\n.\r\n");
    queued_as(&injector.hear());
    world.send(&["now@d.test"]);
    world.expect_delivered("now@d.test");
    assert_eq!(world.copies("later@d.test"), 0, "it is not due");
    // The time is on disk.
    world.stop_engine();
    world.start_engine();
    let received = world.expect_delivered("later@d.test");
    let waited = received.at.duration_since(asked).expect("the clock runs forward");
    assert!(waited > Duration::from_millis(1900), "{waited:?}");
    world.expect_empty();
    world.finish();
}

/// Neither a host that asks for its mail, nor an operator who means other mail of the same domain, is ahead of the sender.
/// Who names the message means it.
#[test]
fn a_message_waits_for_its_time_whoever_starts_what_is_queued() {
    let world = World::plan().listener("mode = \"submission\"").listener("").start();
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}> HOLDFOR=3600"), "250 ");
    injector.expect("RCPT TO:<later@d.test>", "250 ");
    injector.expect("DATA", "354 ");
    injector.say("Subject: later\r\n\r\nx\r\n.\r\n");
    let id = queued_as(&injector.hear());
    world.connect_to(1).greet().expect("ETRN d.test", "251 ");
    let domain = Domain::new("d.test");
    let operate = |wish| world.engine().handle().operate(wish, Some(&domain), |_, _| true).expect("it can be read");
    assert_eq!(operate(Wish::Retry).entries, 0);
    assert_eq!(operate(Wish::Hold).entries, 1);
    assert_eq!(operate(Wish::Release).entries, 1);
    world.send(&["now@d.test"]);
    world.expect_delivered("now@d.test");
    assert_eq!(world.copies("later@d.test"), 0, "it is not due");
    let handle = world.engine().handle();
    let (id, unknown) = (id.parse().expect("an id"), MessageId(1));
    let named = Selection { ids: [unknown, id].into(), ..Selection::default() };
    let bounds = Bounds { entries: usize::MAX, time: Duration::MAX };
    let step = handle.operate_step(Wish::Retry, &named, handle.start_walk(), bounds, |_, _| Ok(true));
    let step = step.expect("a queue that works");
    assert_eq!((step.operated.entries, step.met), (1, [id].into()));
    world.expect_delivered("later@d.test");
    world.finish();
}

#[test]
fn not_beyond_the_limit() {
    let world = World::plan().listener("max_hold = \"1h\"").listener("").start();
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}> HOLDFOR=3601"), "501 5.5.4");
    injector.expect(&format!("MAIL FROM:<{SENDER}> HOLDUNTIL=9999-12-30T00:00:00Z"), "501 5.5.4");
    // What has passed is due at once (RFC 4865 §4.2.2 leaves it to us).
    injector.expect(&format!("MAIL FROM:<{SENDER}> HOLDUNTIL=2020-01-01T00:00:00Z"), "250 ");
    injector.expect("RCPT TO:<a@d.test>", "250 ");
    injector.expect("DATA", "354 ");
    injector.say("\r\n.\r\n");
    queued_as(&injector.hear());
    world.expect_delivered("a@d.test");
    // Neither beyond the time in which it is to be delivered (§5.2.2).
    injector.expect(&format!("MAIL FROM:<{SENDER}> HOLDFOR=601 BY=600;R"), "501 5.5.4");
    injector.expect(&format!("MAIL FROM:<{SENDER}> HOLDFOR=1 BY=-1;N"), "501 5.5.4");
    injector.expect(&format!("MAIL FROM:<{SENDER}> HOLDFOR=599 BY=600;R"), "250 ");
    injector.expect("RSET", "250 ");
    // Who relays is not offered it (§4.2).
    let mut without = world.connect_to(1).greet();
    assert!(!without.ask("EHLO a.example").contains("FUTURERELEASE"));
    without.expect(&format!("MAIL FROM:<{SENDER}> HOLDFOR=1"), "555 5.5.4");
    world.finish();
}
