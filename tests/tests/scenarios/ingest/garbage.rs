//! What is no SMTP gets an SMTP answer and then the door; mail of others goes on meanwhile.

use crate::world::World;

fn check(world: &World, octets: &[u8], expected: &str) {
    let mut injector = world.connect();
    injector.say(octets);
    injector.half_close();
    let said = injector.rest();
    assert!(said.starts_with("220 "), "{said:?}");
    assert!(said.contains(expected), "{:?} got {said:?}, not {expected:?}", String::from_utf8_lossy(octets));
    assert!(!said.contains("queued as"), "{said:?}");
}

#[test]
fn garbage_is_answered_and_shown_the_door() {
    let world = World::plan().start();
    let noise: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    check(&world, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\n421 4.7.0 This is SMTP, not HTTP");
    check(&world, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", "\n500 5.5");
    check(&world, &noise, "\n500 5.5");
    check(&world, &[b'x'; 100_000], "");
    check(&world, &b"WHAT\r\n".repeat(100), "\n421 4.7.0");
    check(&world, b"MAIL FROM:<a@b.test>\r\n", "\n503 5.5.1");
    check(&world, b"EHLO a\r\nMAIL FROM:<not an address>\r\n", "\n501 5.1.7");
    check(&world, b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<nobody>\r\n", "\n501 5.1.3");
    check(&world, b"EHLO a\r\nMAIL FROM:<>\r\nDATA\r\n", "\n503 5.5.1");
    check(&world, b"\0\0\0\0\0\0\0\0\r\nQUIT\r\n", "\n221 ");
    world.send(&["after@d.test"]);
    world.expect_delivered("after@d.test");
    world.expect_empty();
    world.finish();
}
