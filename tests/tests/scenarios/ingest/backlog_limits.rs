//! `[queue] max_recipients`, `max_arriving`: a full queue says so at MAIL, before the body, and takes mail again when it has drained.

use crate::world::{PATIENCE, SENDER, World};
use std::time::Instant;

#[test]
fn a_full_queue_says_452_before_the_body_and_recovers() {
    let config = "[queue]\nmax_recipients = 4\n[limits]\nsuspend = true\n";
    let mut world = World::plan().config(config).start();
    world.send(&["a@d.test", "b@d.test"]);
    world.send(&["c@d.test", "d@e.test"]);
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "452 4.3.1 ");
    injector.expect("RCPT TO:<e@d.test>", "503 5.5.1 ");
    injector.expect("DATA", "503 5.5.1 ");
    assert_eq!(world.sink().received().len(), 0, "suspended");
    world.reload("suspend = true", "suspend = false");
    world.expect_all_delivered(&["a@d.test", "b@d.test", "c@d.test", "d@e.test"]);
    let end = Instant::now() + PATIENCE;
    while !injector.ask(&format!("MAIL FROM:<{SENDER}>")).starts_with("250 ") {
        assert!(Instant::now() < end, "still full");
    }
    injector.expect("RSET", "250 ");
    world.expect_empty();
    world.finish();
}

#[test]
fn what_comes_in_at_once_is_bounded_by_what_was_declared_and_by_what_came() {
    let world = World::plan().config("[queue]\nmax_arriving = \"1MiB\"\n").start();
    let mail = |octets: usize| format!("MAIL FROM:<{SENDER}> SIZE={octets}");
    let (mut first, mut second) = (world.connect().greet(), world.connect().greet());
    // However large, one alone is taken.
    first.expect(&mail(20 << 20), "250 ");
    second.expect(&mail(1000), "452 4.3.1 Too much mail is coming in at once");
    first.expect("RSET", "250 ");
    second.expect(&mail(1000), "250 ");

    // Nothing is declared.
    first.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    first.expect("RCPT TO:<u@d.test>", "250 ");
    first.expect("DATA", "354 ");
    let line = [b"x".repeat(78), b"\r\n".to_vec()].concat();
    first.say(line.repeat((1 << 20) / 80 + 1));
    let end = Instant::now() + PATIENCE;
    let mut third = world.connect().greet();
    while !third.ask(&mail(1000)).starts_with("452 ") {
        assert!(Instant::now() < end, "it is not counted");
        third.expect("RSET", "250 ");
    }
    first.say(".\r\n");
    assert!(first.hear().starts_with("250 2.0.0 "));
    third.expect(&mail(1000), "250 ");
    world.expect_delivered("u@d.test");
    world.finish();
}
