//! `max_connections`: one more gets 421, and a place that becomes free is given away again.

use crate::world::{PATIENCE, World};
use std::time::Instant;

#[test]
fn one_more_than_allowed_gets_421_until_a_place_is_free() {
    let world = World::plan().listener("max_connections = 3").start();
    let mut guests: Vec<_> = (0..3).map(|_| world.connect().greet()).collect();
    for _ in 0..3 {
        let mut fourth = world.connect();
        assert!(fourth.hear().starts_with("421 4.3.2 "));
        assert_eq!(fourth.rest(), "", "and is hung up on");
    }
    guests.pop().expect("three").expect("QUIT", "221 ");
    let end = Instant::now() + PATIENCE;
    loop {
        // The place is free when the engine has seen the end of the connection.
        let greeting = world.connect().hear();
        if greeting.starts_with("220 ") {
            break;
        }
        assert!(greeting.starts_with("421 4.3.2 ") && Instant::now() < end, "{greeting}");
    }
    world.finish();
}
