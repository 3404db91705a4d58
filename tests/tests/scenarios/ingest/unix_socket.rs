//! Ingest over a Unix socket; its file is replaced when it is a leftover, and never when somebody listens.

use crate::world::World;
use engine::shell::StartError;
use std::os::unix::net::UnixListener;

#[test]
fn mail_comes_in_over_a_unix_socket() {
    let world = World::plan().listener("bind = \"unix:DIR/ingest.sock\"").start();
    world.send(&["u@d.test"]);
    let received = world.expect_delivered("u@d.test");
    assert!(received.body.starts_with(b"Received: from app.example (local socket)\r\n"));
    world.expect_empty();
    let path = world.dir().join("ingest.sock");
    assert!(path.exists());
    let dir = world.dir().to_owned();
    world.finish();
    assert!(!dir.join("ingest.sock").exists(), "the name goes away with the engine");
}

#[test]
fn a_leftover_socket_is_replaced_and_one_in_use_is_not() {
    let mut world = World::plan().listener("bind = \"unix:DIR/ingest.sock\"").start();
    let path = world.dir().join("ingest.sock");
    world.stop_engine();
    drop(UnixListener::bind(&path).expect("the name is free"));
    assert!(path.exists(), "a leftover, as after a crash");
    world.start_engine();
    world.send(&["u@d.test"]);
    world.expect_delivered("u@d.test");
    world.expect_empty();
    world.stop_engine();
    let _somebody = UnixListener::bind(&path).expect("the name is free");
    let Err(error @ StartError::Listen { .. }) = world.try_start_engine() else { panic!("started") };
    let text = error.to_string();
    assert!(text.contains("ingest.sock") && text.contains("another process listens"), "{text}");
}
