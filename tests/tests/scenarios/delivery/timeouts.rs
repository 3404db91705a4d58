//! A host that says nothing at some stage is given up after that stage's time, and the mail tried again later, with the
//! reason.

use crate::world::World;
use bench::sink::{Certificate, Tls, TlsMode};
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Where the first sink stalls, which key bounds that, what the sender would read, and whether a copy may have been taken.
fn check(rule: &str, key: &str, text: &str, in_doubt: bool) {
    // The others are too long for any patience here: the right one has to be the one that ends it.
    let mut keys = String::new();
    for other in ["greeting_timeout", "command_timeout", "data_timeout", "write_timeout", "final_reply_timeout"] {
        keys += &format!("{other} = \"{}\"\n", if other == key { "200ms" } else { "10m" });
    }
    let world = World::plan().delivery(&keys).sink(&[rule]).sink_options(|options| {
        options.chunking = false;
        if rule.starts_with("tls") || rule.starts_with("starttls") {
            options.tls = Some(Tls { certificate: Certificate::SelfSigned, mode: TlsMode::StartTls });
        }
    });
    let world = world.config("[limits]\ntls = \"required\"\n".replace("required", tls_policy(rule)).as_str()).start();
    // More than what fits into the buffers of a socket, for the stage that writes.
    let line = "a line of a large body, which is to fill every buffer on its way\r\n";
    let body = format!("Subject: large\r\n\r\n{}", line.repeat(if key == "write_timeout" { 300_000 } else { 1 }));
    world.inject(crate::world::SENDER, &["u@d.test"], &body);
    let event = world.expect_event("deferred", "u@d.test");
    let told = event["reply"]["text"].as_str().unwrap_or_default();
    assert!(told.contains(text), "{rule}: {event}");
    assert_eq!(event["reply"]["code"], 451, "{rule}: {event}");
    assert_eq!(event["in_doubt"] == true, in_doubt, "{rule}: {event}");
    assert_eq!(world.stats().recipients, 1, "{rule}");
    world.finish();
}

fn tls_policy(rule: &str) -> &'static str {
    if rule.starts_with("tls") || rule.starts_with("starttls") { "required" } else { "none" }
}

#[test]
fn the_greeting() {
    check("greeting stall", "greeting_timeout", "timed out while awaiting the greeting", false);
}

#[test]
fn every_command() {
    check("hello stall", "command_timeout", "timed out after EHLO", false);
    check("starttls stall", "command_timeout", "timed out after STARTTLS", false);
    check("tls stall", "command_timeout", "timed out in the TLS handshake", false);
    check("mail stall", "command_timeout", "timed out after MAIL", false);
    check("rcpt stall", "command_timeout", "timed out after RCPT", false);
}

#[test]
fn the_go_ahead() {
    check("data stall", "data_timeout", "timed out after DATA", false);
}

#[test]
fn the_content() {
    check("body bytes=1000 stall", "write_timeout", "timed out while sending the content", false);
}

#[test]
fn the_final_reply() {
    check(
        "final stall",
        "final_reply_timeout",
        "timed out while sending the content; the message may have been taken",
        true,
    );
}

#[test]
fn the_connect() {
    // Nobody accepts there, and the few places where callers wait are taken: the kernel lets further ones knock unheard.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    socket.listen(0).expect("a listener");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    let callers: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200))).collect();
    assert!(callers.iter().any(Result::is_err), "the places are taken");
    let route = format!("[[route]]\ndomain = [\"d.test\"]\nvia = \"smtp://{address}\"\n");
    let world = World::plan().delivery("connect_timeout = \"200ms\"").config(&route).start();
    world.send(&["u@d.test"]);
    let event = world.expect_event("deferred", "u@d.test");
    let told = event["reply"]["text"].as_str().unwrap_or_default();
    assert!(told.ends_with("timed out while connecting"), "{event}");
    assert_eq!(event["reply"]["enhanced"], "4.4.1", "{event}");
    world.finish();
}
