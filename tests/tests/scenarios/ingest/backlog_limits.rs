//! `[queue] max_recipients`: a full queue says so at MAIL, before the body, and takes mail again when it has drained.

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
    world.expect_empty();
    world.finish();
}
