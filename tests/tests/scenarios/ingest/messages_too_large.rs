//! `max_message_size`: refused at MAIL when declared, else after the body; the connection goes on.

use crate::injector::queued_as;
use crate::world::{SENDER, World};

#[test]
fn too_large_is_552_and_the_session_goes_on() {
    let world = World::plan().listener("max_message_size = \"10KiB\"").start();
    let mut injector = world.connect();
    injector.hear();
    let hello = injector.ask("EHLO a");
    assert!(hello.contains("\n250-SIZE 10240\n"), "{hello}");
    injector.expect(&format!("MAIL FROM:<{SENDER}> SIZE=10241"), "552 5.3.4 ");
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n";
    assert_eq!(line.len(), 64);
    let body = |octets: usize| line.repeat(octets / 64).into_bytes();
    for octets in [10_240 + 64, 200_000] {
        let reply = injector.send(SENDER, &["large@d.test"], &body(octets));
        assert!(reply.starts_with("552 5.3.4 "), "{octets}: {reply}");
    }
    queued_as(&injector.send(SENDER, &["fits@d.test"], &body(10_240)));
    let received = world.expect_delivered("fits@d.test");
    assert!(received.body.ends_with(&body(10_240)));
    world.expect_empty();
    assert_eq!(world.copies("large@d.test"), 0);
    world.finish();
}
