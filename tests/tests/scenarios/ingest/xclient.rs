//! XCLIENT: a proxy that speaks SMTP says for whom. `allow` and the trace field go by what it says.

use crate::injector::queued_as;
use crate::world::{SENDER, World};

const BODY: &[u8] = b"Subject: x\r\n\r\nx\r\n";

#[test]
fn the_client_is_whom_the_proxy_names() {
    let world = World::plan()
        .listener("xclient = [\"127.0.0.0/8\"]\nallow = [\"127.0.0.0/8\", \"192.0.2.0/24\", \"2001:db8::/32\"]")
        .start();
    let mut proxy = world.connect();
    assert!(proxy.hear().starts_with("220 "));
    let announced = proxy.ask("EHLO proxy.example");
    assert!(announced.contains("\n250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\n"), "{announced}");
    for (xclient, hello, received) in [
        (
            "NAME=spike.example ADDR=192.0.2.7 PORT=49152",
            "EHLO a.example",
            "a.example (spike.example [192.0.2.7])|ESMTP",
        ),
        ("NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::7", "HELO b.example", "b.example ([IPv6:2001:db8::7])|SMTP"),
        ("PROTO=ESMTP HELO=c.example ADDR=192.0.2.8", "NOOP", "c.example ([192.0.2.8])|ESMTP"),
        ("PROTO=SMTP HELO=d.example", "NOOP", "d.example ([192.0.2.8])|SMTP"),
        ("DESTADDR=192.0.2.1 DESTPORT=587 LOGIN=ann", "EHLO e+f.example", "e ([192.0.2.8])|ESMTP"),
    ] {
        proxy.expect(&format!("XCLIENT {xclient}"), "220 mta.home.test ");
        proxy.expect(hello, "250");
        queued_as(&proxy.send(SENDER, &[&format!("{}@d.test", &received[..1])], BODY));
        let body = world.expect_delivered(&format!("{}@d.test", &received[..1])).body;
        let head = String::from_utf8_lossy(&body).into_owned();
        let (from, with) = received.split_once('|').expect("two parts");
        assert!(head.starts_with(&format!("Received: from {from}\r\n")), "{head}");
        assert!(head.contains(&format!(" with {with} id ")), "{head}");
    }
    proxy.expect("QUIT", "221 ");
    world.expect_empty();
    world.finish();
}

#[test]
fn a_stranger_hears_what_he_would_hear_himself() {
    let world = World::plan().listener("xclient = [\"127.0.0.1\"]").start();
    for address in ["192.0.2.7", "IPV6:2001:db8::7", "[UNAVAILABLE]"] {
        let mut proxy = world.connect().greet();
        proxy.expect(&format!("XCLIENT ADDR={address}"), "220 mta.home.test ");
        proxy.expect("EHLO stranger.example", "250");
        proxy.expect("MAIL FROM:<a@b.test>", "250 ");
        proxy.expect("RCPT TO:<c@d.test>", "550 5.7.1 Your address may not relay here");
        proxy.expect("RSET", "250 ");
        // The proxy speaks for the next one.
        proxy.expect("XCLIENT ADDR=127.0.0.1 HELO=friend.example", "220 mta.home.test ");
        proxy.expect("MAIL FROM:<a@b.test>", "250 ");
        proxy.expect("RCPT TO:<c@d.test>", "250 ");
    }
    world.finish();
}

#[test]
fn the_places_of_an_address_are_taken_by_the_client_not_by_the_proxy() {
    let listener = "xclient = [\"127.0.0.1\"]\nauth = \"required\"\n\
                    max_connections_per_address = 2";
    let world =
        World::plan().listener(listener).config("[auth]\nusers = \"DIR/users.toml\"\n").file("users.toml", "").start();
    let mut proxies: Vec<_> = (0..6).map(|_| world.connect().greet()).collect();
    for (n, proxy) in proxies.iter_mut().enumerate() {
        proxy.expect(&format!("XCLIENT ADDR=192.0.2.{}", n / 2), "220 ");
    }
    let mut one_more = world.connect().greet();
    one_more.expect("XCLIENT ADDR=192.0.2.1", "421 4.7.0 Too many connections from your address");
    assert_eq!(one_more.rest(), "");
    // The same connection for another client: its place is free again.
    proxies[3].expect("XCLIENT ADDR=192.0.2.9", "220 ");
    world.connect().greet().expect("XCLIENT ADDR=192.0.2.1", "220 ");
    world.finish();
}

#[test]
fn who_is_not_trusted_may_not_say_who_he_is() {
    let world = World::plan().listener("xclient = [\"10.0.0.0/8\"]").start();
    let mut injector = world.connect();
    injector.hear();
    assert!(!injector.ask("EHLO a.example").contains("XCLIENT"));
    injector.expect("XCLIENT ADDR=10.0.0.1", "550 5.7.1 Your address may not use XCLIENT");
    queued_as(&injector.send(SENDER, &["u@d.test"], BODY));
    let body = world.expect_delivered("u@d.test").body;
    assert!(body.starts_with(b"Received: from a.example ([127.0.0.1])\r\n"));
    world.finish();
}

/// A proxy of TCP before a proxy of SMTP: the second one's trust goes by the address that the first one tells.
#[test]
fn both_kinds_of_proxy_together() {
    let world = World::plan()
        .listener(
            "proxy_protocol = [\"127.0.0.0/8\"]\nxclient = [\"10.0.0.7\"]\nallow = [\"10.0.0.0/8\", \"192.0.2.7\"]",
        )
        .start();
    for (address, reply) in [("10.0.0.7", "220 "), ("10.0.0.8", "550 5.7.1 Your address may not use XCLIENT")] {
        let mut proxy = world.connect();
        proxy.say(format!("PROXY TCP4 {address} 127.0.0.1 49152 25\r\n"));
        proxy.greet().expect("XCLIENT ADDR=192.0.2.7", reply);
    }
    world.finish();
}
