//! `[queue] min_free`: a full disk says so at MAIL; nothing half-written.

use crate::world::{SENDER, World};

#[test]
fn too_little_disk_space_is_452_before_the_body() {
    let world = World::plan().config("[queue]\nmin_free = \"8000000GiB\"\n").start();
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "452 4.3.1 Too little disk space");
    injector.expect("NOOP", "250 ");
    assert_eq!(world.stats().recipients, 0);
    world.finish();
}

#[test]
fn a_declared_size_that_would_not_fit_is_452_and_a_smaller_one_is_taken() {
    let world = World::plan().config("[queue]\nmax_bytes = \"170MiB\"\n");
    let world = world.listener("max_message_size = \"100MiB\"").start();
    // What another one is sending counts, too.
    let mut other = world.connect().greet();
    other.expect(&format!("MAIL FROM:<{SENDER}> SIZE=104857600"), "250 ");
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}> SIZE=104857600"), "452 4.3.1 The queue is full");
    injector.expect(&format!("MAIL FROM:<{SENDER}> SIZE=1000"), "250 ");
    injector.expect("RSET", "250 ");
    world.finish();
}
