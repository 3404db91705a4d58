//! A connection that breaks in the middle of a body leaves no message behind, and no room taken.

use crate::world::World;
use std::io::Write;
use std::net::TcpStream;

#[test]
fn nothing_is_accepted_from_connections_that_break() {
    let world = World::plan().start();
    let engine::config::SocketName::Tcp(address) = world.address(0) else { panic!("TCP") };
    for n in 0..50 {
        let mut socket = TcpStream::connect(address).expect("the listener is bound");
        let text = format!("EHLO a\r\nMAIL FROM:<s@home.test>\r\nRCPT TO:<u{n}@d.test>\r\nDATA\r\n");
        socket.write_all(text.as_bytes()).expect("room to write");
        socket.write_all(&b"a line of a body that has no end\r\n".repeat(n * 40)).expect("room to write");
        // Replies are there unread: the kernel closes with a reset.
        drop(socket);
    }
    world.send(&["after@d.test"]);
    world.expect_delivered("after@d.test");
    world.expect_empty();
    let strangers = world.events().iter().filter(|event| event["recipient"] != "after@d.test").count();
    assert_eq!(strangers, 0);
    assert_eq!(world.sink().received().len(), 1);
    world.finish();
}
