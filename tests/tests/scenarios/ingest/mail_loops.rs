//! `[delivery] max_hops`: a message with so many Received fields goes round in circles.

use crate::injector::queued_as;
use crate::world::{SENDER, World};

#[test]
fn too_many_hops_are_refused_with_5_4_6() {
    let world = World::plan().delivery("max_hops = 10").start();
    let mut injector = world.connect().greet();
    let body = |hops: usize| {
        let hop = "Received: from a.test\r\n\tby b.test; Tue, 14 Nov 2023 22:13:20 +0000\r\n";
        format!("{}Subject: x\r\n\r\nReceived: in the body does not count\r\n", hop.repeat(hops))
    };
    let reply = injector.send(SENDER, &["round@d.test"], body(10).as_bytes());
    assert!(reply.starts_with("554 5.4.6 "), "{reply}");
    queued_as(&injector.send(SENDER, &["straight@d.test"], body(9).as_bytes()));
    world.expect_delivered("straight@d.test");
    world.expect_empty();
    assert_eq!(world.copies("round@d.test"), 0);
    world.finish();
}
