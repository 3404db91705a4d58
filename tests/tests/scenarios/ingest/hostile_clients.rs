//! Clients that hold places, never listen, or never end: they cost themselves, and nobody else. Ten thousand at once are in
//! `cli/tests/idle_connections.rs`, where the daemon is a process of its own.

use crate::world::{PATIENCE, World};
use std::time::Instant;

/// One address that may not relay by itself has so many connections; others are not concerned, nor are those who may.
#[test]
fn an_address_has_its_places_and_no_more() {
    let users = "[auth]\nusers = \"DIR/users.toml\"\n";
    let keys = "auth = \"optional\"\nallow = [\"10.0.0.0/8\"]\nmax_connections_per_address = 2\n";
    let trusting = "bind = \"127.0.0.2:0\"\nmax_connections_per_address = 2\n";
    let world = World::plan().file("users.toml", "").config(users).listener(keys).listener(trusting).start();
    let mut guests: Vec<_> = (0..2).map(|_| world.connect().greet()).collect();
    for _ in 0..3 {
        let mut third = world.connect();
        assert!(third.hear().starts_with("421 4.7.0 "));
        assert_eq!(third.rest(), "");
    }
    let _trusted: Vec<_> = (0..5).map(|_| world.connect_to(1).greet()).collect();
    guests.pop().expect("two").expect("QUIT", "221 ");
    let end = Instant::now() + PATIENCE;
    while !world.connect().hear().starts_with("220 ") {
        assert!(Instant::now() < end, "the place is free when the engine has seen the end of the connection");
    }
    world.finish();
}

/// A line without an end is answered once, and not kept; so are recipients without an end.
#[test]
fn endless_lines_and_endless_recipients() {
    let world = World::plan().listener("max_recipients = 10").start();
    let mut endless = world.connect().greet();
    for _ in 0..200 {
        endless.say(vec![b'x'; 50_000]);
    }
    endless.say("\r\n");
    assert!(endless.hear().starts_with("500 5.5.2 "));
    endless.expect("MAIL FROM:<s@home.test>", "250 ");
    for n in 0..10 {
        endless.expect(&format!("RCPT TO:<u{n}@d.test>"), "250 ");
    }
    for n in 10..500 {
        endless.expect(&format!("RCPT TO:<u{n}@d.test>"), "452 4.5.3 ");
    }
    endless.expect("RSET", "250 ");
    world.send(&["after@d.test"]);
    world.expect_delivered("after@d.test");
    world.finish();
}
