//! Destinations that cannot be reached at all: nothing listens, or nobody answers.

use crate::world::{World, loopback};
use bench::dns::{Rule, Zone};
use std::net::{SocketAddr, TcpStream};

fn zone() -> Zone {
    let sound = Zone::everything_at(loopback(1));
    sound.with("mx.d.test", Rule::records().address(loopback(9)))
}

#[test]
fn a_refused_connection_defers_and_costs_other_sites_nothing() {
    let world = World::plan().zone(zone()).start();
    world.send(&["u@d.test", "v@e.test"]);
    let event = world.expect_event("deferred", "u@d.test");
    let text = event["reply"]["text"].as_str().unwrap_or_default();
    assert!(text.contains("mx.d.test[127.0.0.9]: connection refused while connecting"), "{event}");
    assert_eq!((&event["reply"]["code"], &event["reply"]["enhanced"]), (&451.into(), &"4.4.1".into()));
    world.expect_delivered("v@e.test");
    world.until("one is left", |world| world.stats().recipients == 1);
    world.finish();
}

#[test]
fn an_operator_retries_a_host_that_is_back() {
    let mut world = World::plan().zone(zone()).start();
    world.send(&["u@d.test"]);
    world.expect_event("deferred", "u@d.test");
    world.open_sink_at(loopback(9));
    world.retry();
    world.expect_delivered("u@d.test");
    world.expect_empty();
    world.finish();
}

#[test]
fn connect_timeout_ends_the_wait_for_a_host_that_does_not_answer() {
    let world = World::plan().zone(zone()).delivery("connect_timeout = \"200ms\"").start();
    let address: SocketAddr = (loopback(9), world.sink().port()).into();
    // A full backlog: the kernel drops what else comes.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&address.into()).expect("a free address");
    socket.listen(0).expect("a listening socket");
    let _fill: Vec<_> =
        (0..3).map(|_| TcpStream::connect_timeout(&address, std::time::Duration::from_millis(50))).collect();
    world.send(&["u@d.test"]);
    let event = world.expect_event("deferred", "u@d.test");
    let text = event["reply"]["text"].as_str().unwrap_or_default();
    assert!(text.contains("timed out while connecting"), "{event}");
    world.finish();
}

/// The second of the addresses is nobody's (TEST-NET-1, RFC 5737); each site begins with that one.
#[test]
fn a_source_address_that_is_away_holds_up_nothing() {
    let world = World::plan().delivery("source_addresses = [\"127.0.0.1\", \"192.0.2.1\"]").start();
    for recipient in ["u@a.test", "u@b.test", "u@c.test"] {
        world.send(&[recipient]);
        let event = world.expect_event("delivered", recipient);
        assert_eq!(event["source_address"], "127.0.0.1", "{event}");
        assert_eq!((world.copies(recipient), world.count_events("deferred", recipient)), (1, 0));
    }
    world.expect_empty();
    world.finish();
}
