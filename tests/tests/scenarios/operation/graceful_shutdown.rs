//! SIGTERM: what is in flight is finished, in as well as out, new mail gets 421, nothing is lost, doubled or cut.

use crate::injector::{Injector, queued_as};
use crate::world::{PATIENCE, SENDER, World};
use std::time::Instant;

const LAST_WORDS: &str = "421 4.3.2 Shutting down; try again later\n";

/// A transaction with this recipient, up to the content.
#[track_caller]
fn open(world: &World, recipient: &str) -> Injector {
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    injector.expect(&format!("RCPT TO:<{recipient}>"), "250 ");
    injector
}

#[test]
fn what_is_in_flight_is_finished_and_new_mail_gets_421() {
    let mut world = World::plan().sink(&["final delay=300ms ok"]).start();
    let mut idle = world.connect().greet();
    for n in 0..5 {
        world.send(&[&format!("u{n}@d.test")]);
    }
    world.until("all are in flight", |world| {
        let active = world.engine().handle().ask(|dispatch, _| dispatch.counts().active);
        active == Some(5)
    });
    world.stop_engine();
    assert_eq!(idle.rest(), LAST_WORDS);
    world.sink().obey(&[]);
    for n in 0..5 {
        assert_eq!(world.count_events("delivered", &format!("u{n}@d.test")), 1, "finished before the end");
    }
    world.start_engine();
    world.expect_empty();
    world.finish();
}

#[test]
fn a_transaction_that_is_open_comes_to_its_end() {
    let mut world = World::plan().config("[limits]\nsuspend = true\n").start();
    let mut idle = world.connect().greet();
    let mut begun = open(&world, "begun@d.test");
    let mut half = open(&world, "half@d.test");
    half.expect("DATA", "354 ");
    half.say("Subject: half\r\n\r\nhal");
    let mut chunked = open(&world, "chunked@d.test");
    chunked.expect("BDAT 14\r\nSubject: x\r\n", "250 ");
    let mut regretted = open(&world, "regretted@d.test");
    let (address, queue) = (world.address(0), world.engine().handle().queue().clone());
    let engine = world.take_engine();
    let end = std::thread::spawn(move || engine.shut_down(PATIENCE));
    assert_eq!(idle.rest(), LAST_WORDS, "it has nothing to finish");
    let until = Instant::now() + PATIENCE;
    while Injector::connect(&address).is_ok() {
        assert!(Instant::now() < until, "nobody is let in");
    }
    begun.expect("RCPT TO:<more@d.test>", "250 ");
    begun.expect("DATA", "354 ");
    begun.say("Subject: begun\r\n\r\n.\r\n");
    half.say("f\r\n.\r\n");
    for injector in [&mut begun, &mut half] {
        queued_as(&injector.hear());
        assert_eq!(injector.rest(), LAST_WORDS);
    }
    // The next one is not taken, however early it was sent.
    chunked.say(format!("BDAT 2 LAST\r\n\r\nMAIL FROM:<{SENDER}>\r\nRCPT TO:<late@d.test>\r\nBDAT 2 LAST\r\n\r\n"));
    queued_as(&chunked.hear());
    assert_eq!(chunked.rest(), LAST_WORDS);
    regretted.expect("RSET", "250 ");
    assert_eq!(regretted.rest(), LAST_WORDS);
    end.join().expect("no panic").expect("an orderly end");
    assert_eq!(queue.stats().recipients, 4);
    drop(queue);
    world.start_engine();
    world.reload("suspend = true", "suspend = false");
    world.expect_all_delivered(&["begun@d.test", "more@d.test", "half@d.test", "chunked@d.test"]);
    world.expect_empty();
    for recipient in ["late@d.test", "regretted@d.test"] {
        assert_eq!(world.copies(recipient), 0);
    }
    world.finish();
}

#[test]
fn whoever_is_silent_within_one_does_not_hold_up_the_end() {
    let mut world = World::plan().start();
    let mut begun = open(&world, "begun@d.test");
    let mut half = open(&world, "half@d.test");
    half.expect("DATA", "354 ");
    half.say("Subject: half\r\n\r\nhal");
    world.stop_engine();
    for injector in [&mut begun, &mut half] {
        assert_eq!(injector.rest(), LAST_WORDS, "said before patience has ended");
    }
    world.start_engine();
    world.expect_empty();
    assert_eq!(world.copies("half@d.test"), 0);
    world.finish();
}

/// A connection that is still on its way to the loop that is to make it keeps nobody waiting. One round in some hundreds meets that
/// moment.
#[test]
fn an_end_while_connections_are_begun_is_prompt() {
    let mut world = World::plan().start();
    let recipients: Vec<String> = (0..50).map(|n| format!("u@d{n}.test")).collect();
    let recipients: Vec<&str> = recipients.iter().map(|recipient| &**recipient).collect();
    for round in 0..60 {
        world.send(&recipients);
        std::thread::sleep(std::time::Duration::from_micros(round * 50));
        let begun = Instant::now();
        world.stop_engine();
        assert!(begun.elapsed() < PATIENCE / 2, "round {round}: {:?}", begun.elapsed());
        world.start_engine();
    }
    world.finish();
}

#[test]
fn a_message_that_is_being_committed_is_answered() {
    for round in 0..10 {
        let mut world = World::plan().config("[limits]\nsuspend = true\n").start();
        let mut injector = open(&world, "u@d.test");
        injector.expect("DATA", "354 ");
        injector.say("Subject: x\r\n\r\nx\r\n.\r\n");
        // The end comes at any moment of the commit.
        std::thread::sleep(std::time::Duration::from_micros(round * 150));
        let queue = world.engine().handle().queue().clone();
        world.stop_engine();
        queued_as(&injector.hear());
        assert_eq!(injector.rest(), LAST_WORDS);
        assert_eq!(queue.stats().recipients, 1);
        assert_eq!(world.count_events("accepted", "u@d.test"), 1, "and told");
    }
}
