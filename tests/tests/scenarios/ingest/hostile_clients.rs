//! Clients that hold places, never listen, or never end: they cost themselves, and nobody else.

use crate::injector::{Injector, queued_as};
use crate::world::{PATIENCE, World};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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

/// Octets of this process in memory.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).expect("a field").parse().expect("a number");
    pages * rustix::param::page_size()
}

/// Both ends of each are in this process.
fn idle_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    10_000.min(most.saturating_sub(2000) as usize / 2)
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_keep_nobody_waiting() {
    let count = idle_connections();
    if count < 10_000 {
        eprintln!("only {count} connections: no more descriptors may be open here");
    }
    let world = World::plan().listener("max_connections = 20000").start();
    let before = resident_bytes();
    let mut idle: Vec<Injector> = (0..count).map(|_| world.connect()).collect();
    idle.iter_mut().for_each(|injector| assert!(injector.hear().starts_with("220 ")));
    let grown = resident_bytes().saturating_sub(before);
    eprintln!("{} octets for each of {count} connections, both ends", grown / count);
    assert!(grown < count * 16 * 1024 + (64 << 20), "{grown} octets for {count} connections");
    for n in 0..20 {
        world.send(&[&format!("u{n}@d.test")]);
    }
    world.expect_empty();
    // They are served still, when they wake up.
    let mut last = idle.pop().expect("one");
    last.expect("EHLO app.example", "250");
    queued_as(&last.send("s@home.test", &["last@d.test"], b"Subject: x\r\n\r\nx\r\n"));
    drop(idle);
    world.expect_delivered("last@d.test");
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
