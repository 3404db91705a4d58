//! How long a listener waits, and how many errors it takes, is said in its configuration.

use crate::world::{SENDER, World};
use std::time::Duration;

#[test]
fn who_says_nothing_is_told_and_left() {
    let world = World::plan().listener("idle_timeout = \"500ms\"").start();
    let mut silent = world.connect();
    assert!(silent.hear().starts_with("220 "));
    assert_eq!(silent.rest(), "421 4.4.2 Nothing came for too long; closing the connection\n");
    world.finish();
}

#[test]
fn a_transaction_has_its_time_however_busy_the_client() {
    // From MAIL on, so that it is over before any silence after it.
    let world = World::plan().listener("idle_timeout = \"3s\"\ntransaction_timeout = \"3s\"").start();
    let mut busy = world.connect().greet();
    busy.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    busy.expect("RCPT TO:<u@d.test>", "250 ");
    busy.expect("DATA", "354 ");
    for _ in 0..20 {
        busy.say("a line\r\n");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(busy.rest(), "421 4.4.2 The transaction takes too long; closing the connection\n");
    assert_eq!(world.stats().recipients, 0);
    world.finish();
}

#[test]
fn one_error_too_many_is_the_end() {
    let world = World::plan().listener("max_errors = 2").start();
    let mut confused = world.connect().greet();
    confused.expect("WHAT", "500 5.5.1 ");
    confused.expect("RCPT TO:<u@d.test>", "503 5.5.1 ");
    confused.expect("WHAT", "421 4.7.0 ");
    assert_eq!(confused.rest(), "");
    world.finish();
}
