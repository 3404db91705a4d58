//! The PROXY header: the client is who the proxy says it is, for `allow` and for the trace field.

use crate::certificates::{FILES, Made};
use crate::injector::{Injector, queued_as};
use crate::world::{SENDER, World};

const BODY: &[u8] = b"Subject: x\r\n\r\nx\r\n";
/// The proxy is on loopback, its clients are not.
const BEHIND: &str = "proxy_protocol = [\"127.0.0.0/8\"]\nallow = [\"192.0.2.0/24\", \"2001:db8::/32\"]";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 49152 25\r\n";

/// Version 2: command, family, and what the length counts.
fn v2(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
    let length = (behind.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, behind].concat()
}

/// 2001:db8::7, and a TLV of 1000 octets.
fn v2_over_ipv6() -> Vec<u8> {
    let client = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    v2(0x21, 0x21, &[&client[..], &client, &[0xc0, 0, 0, 25], &[0xe0, 0x03, 0xe8], &[7; 1000]].concat())
}

fn introduced(world: &World, header: &[u8]) -> Injector {
    let mut injector = world.connect();
    injector.say(header);
    injector
}

/// Sends a message to `to`, and returns the first line of its trace field.
#[track_caller]
fn trace(world: &World, injector: Injector, to: &str) -> String {
    let mut injector = injector.greet();
    queued_as(&injector.send(SENDER, &[to], BODY));
    injector.expect("QUIT", "221 ");
    let body = world.expect_delivered(to).body;
    assert!(body.ends_with(BODY));
    String::from_utf8_lossy(&body).lines().next().unwrap_or_default().to_owned()
}

/// Heard, and not served.
#[track_caller]
fn expect_stranger(injector: Injector) {
    let mut stranger = injector.greet();
    stranger.expect("MAIL FROM:<a@b.test>", "250 ");
    stranger.expect("RCPT TO:<c@d.test>", "550 5.7.1 Your address may not relay here");
}

#[test]
fn the_client_is_whom_the_header_names() {
    let world = World::plan().listener(BEHIND).start();
    let received = trace(&world, introduced(&world, V1), "a@d.test");
    assert_eq!(received, "Received: from app.example ([192.0.2.7])");
    let received = trace(&world, introduced(&world, &v2_over_ipv6()), "b@d.test");
    assert_eq!(received, "Received: from app.example ([IPv6:2001:db8::7])");
    // An octet at a time.
    let mut slow = world.connect();
    for octet in v2_over_ipv6() {
        slow.say([octet]);
    }
    assert_eq!(trace(&world, slow, "c@d.test"), "Received: from app.example ([IPv6:2001:db8::7])");
    // With what the client says in the same packet.
    let mut eager = introduced(&world, &[V1, b"EHLO eager.example\r\nNOOP\r\n"].concat());
    assert!(eager.hear().starts_with("220 "));
    assert!(eager.hear().starts_with("250"));
    assert_eq!(eager.hear(), "250 2.0.0 Ok");
    world.expect_empty();
    world.finish();
}

#[test]
fn strangers_behind_the_proxy_are_refused_and_it_speaks_for_itself_when_it_says_so() {
    let world = World::plan().listener(BEHIND).start();
    expect_stranger(introduced(&world, b"PROXY TCP4 198.51.100.7 10.0.0.1 49152 25\r\n"));
    // 127.0.0.1 is not in `allow`.
    for local in [v2(0x20, 0, b""), b"PROXY UNKNOWN\r\n".to_vec(), v2(0x21, 0x31, &[0; 216])] {
        expect_stranger(introduced(&world, &local));
    }
    world.finish();
    let world = World::plan().listener("proxy_protocol = [\"127.0.0.1\"]").start();
    let received = trace(&world, introduced(&world, &v2(0x20, 0x11, &[9; 12])), "a@d.test");
    assert_eq!(received, "Received: from app.example ([127.0.0.1])");
    world.finish();
}

#[test]
fn nothing_is_said_before_the_header_and_something_else_in_its_place_is_refused() {
    let world = World::plan().listener(BEHIND).start();
    let wrong = [
        b"EHLO app.example\r\n".as_slice(),
        b"PROXY TCP4 192.0.2.7\r\n",
        // These could become one: five seconds are all there is.
        b"PROXY TCP4 192.0.2.7",
        b"",
    ];
    let injectors: Vec<Injector> = wrong.iter().map(|octets| introduced(&world, octets)).collect();
    for (mut injector, octets) in injectors.into_iter().zip(wrong) {
        let said = injector.rest();
        assert!(said.starts_with("421 4.3.5 ") && said.lines().count() == 1, "{}: {said}", octets.escape_ascii());
    }
    let mut gone = introduced(&world, &V1[..9]);
    gone.half_close();
    assert!(gone.rest().starts_with("421 4.3.5 "));
    let received = trace(&world, introduced(&world, V1), "a@d.test");
    assert_eq!(received, "Received: from app.example ([192.0.2.7])");
    world.finish();
}

#[test]
fn others_are_served_without_one_and_may_not_send_one() {
    let world = World::plan().listener("proxy_protocol = [\"10.0.0.0/8\"]").start();
    assert_eq!(trace(&world, world.connect(), "a@d.test"), "Received: from app.example ([127.0.0.1])");
    for header in [V1.to_vec(), v2_over_ipv6()] {
        let mut proxy = introduced(&world, &header);
        assert!(proxy.hear().starts_with("220 "));
        proxy.say("EHLO app.example\r\nMAIL FROM:<a@b.test>\r\n");
        let said = proxy.rest();
        assert!(said.contains("421 4.7.0 PROXY headers are taken from") && !said.contains("250"), "{said}");
    }
    world.finish();
}

#[test]
fn the_header_comes_before_the_handshake() {
    let made = Made::new();
    let plan = World::plan().file("chain.pem", &made.chain).file("key.pem", &made.key);
    let world = plan.listener(&format!("tls = \"implicit\"\n{FILES}\n{BEHIND}")).start();
    for (header, to) in [(V1.to_vec(), "a@d.test"), (v2_over_ipv6(), "b@d.test")] {
        let injector = introduced(&world, &header).encrypt(made.client()).expect("a handshake");
        assert!(trace(&world, injector, to).starts_with("Received: from app.example (["));
    }
    let stranger = introduced(&world, b"PROXY TCP4 198.51.100.7 10.0.0.1 49152 465\r\n");
    expect_stranger(stranger.encrypt(made.client()).expect("a handshake"));
    assert!(world.connect().encrypt(made.client()).is_err(), "no header, no handshake");
    world.finish();
}

#[test]
fn an_end_in_the_midst_of_headers_is_not_held_up() {
    let mut world = World::plan().listener(BEHIND).start();
    let mut silent = world.connect();
    let mut half = introduced(&world, &V1[..20]);
    trace(&world, introduced(&world, V1), "a@d.test");
    world.stop_engine();
    assert_eq!((silent.rest(), half.rest()), (String::new(), String::new()));
}
