//! SIGTERM: what is in flight is finished, new mail gets 421, nothing is lost, doubled or cut.

use crate::world::{PATIENCE, SENDER, World};

#[test]
fn what_is_in_flight_is_finished_and_new_mail_gets_421() {
    let mut world = World::plan().sink(&["final delay=300ms ok"]).start();
    let mut idle = world.connect().greet();
    let mut open = world.connect().greet();
    open.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    open.expect("RCPT TO:<half@d.test>", "250 ");
    open.expect("DATA", "354 ");
    open.say("Subject: half\r\n\r\nhal");
    for n in 0..5 {
        world.send(&[&format!("u{n}@d.test")]);
    }
    world.until("all are in flight", |world| {
        let active = world.engine().handle().ask(|dispatch, _| dispatch.counts().active);
        active == Some(5)
    });
    let address = world.address(0);
    let engine = world.take_engine();
    let end = std::thread::spawn(move || engine.shut_down(PATIENCE));
    for injector in [&mut idle, &mut open] {
        let said = injector.rest();
        assert!(said.starts_with("421 4.3.2 Shutting down"), "{said:?}");
    }
    end.join().expect("no panic").expect("an orderly end");
    assert!(crate::injector::Injector::connect(&address).is_err(), "nobody listens any more");
    world.sink().obey(&[]);
    for n in 0..5 {
        assert_eq!(world.count_events("delivered", &format!("u{n}@d.test")), 1, "finished before the end");
    }
    world.start_engine();
    world.expect_empty();
    assert_eq!(world.copies("half@d.test"), 0);
    world.finish();
}

#[test]
fn a_message_that_is_being_committed_is_answered() {
    for round in 0..10 {
        let mut world = World::plan().config("[limits]\nsuspend = true\n").start();
        let mut injector = world.connect().greet();
        injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
        injector.expect("RCPT TO:<u@d.test>", "250 ");
        injector.expect("DATA", "354 ");
        injector.say("Subject: x\r\n\r\nx\r\n.\r\n");
        // The end comes at any moment of the commit.
        std::thread::sleep(std::time::Duration::from_micros(round * 150));
        let queue = world.engine().handle().queue().clone();
        world.stop_engine();
        let said = injector.rest();
        let queued = u64::from(said.contains("queued as"));
        assert_eq!(queued, queue.stats().recipients, "{said}");
        assert!(said.contains("421 4.3.2 "), "{said}");
        assert_eq!(world.count_events("accepted", "u@d.test") as u64, queued, "and told");
    }
}
