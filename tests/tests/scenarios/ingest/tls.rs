//! Listeners that speak TLS: by STARTTLS and from the first octet, with both versions, and with nothing carried over from
//! clear text.

use crate::certificates::{FILES, Made};
use crate::injector::{Injector, queued_as};
use crate::world::{SENDER, World};
use bench::Address;
use bench::load::{Load, LoadOptions};
use bench::tls::TlsMode;
use engine::config::SocketName;
use std::time::Duration;

const BODY: &[u8] = b"Subject: x\r\n\r\n.x\r\n";

/// A world whose first listener speaks TLS in this mode.
fn world(mode: &str, made: &Made) -> World {
    World::plan()
        .file("chain.pem", &made.chain)
        .file("key.pem", &made.key)
        .listener(&format!("tls = \"{mode}\"\n{FILES}"))
        .start()
}

#[test]
fn mail_comes_in_by_starttls_and_says_so() {
    let made = Made::new();
    for (versions, version) in [(&rustls::version::TLS13, "TLSv1.3"), (&rustls::version::TLS12, "TLSv1.2")] {
        let world = world("starttls", &made);
        let mut injector = world.connect().greet();
        assert!(injector.ask("EHLO app.example").contains("\n250-STARTTLS\n"));
        injector.expect("STARTTLS", "220 2.0.0 ");
        let mut injector = injector.encrypt(made.client_of(&[versions])).expect("a handshake");
        injector.expect("MAIL FROM:<a@b.test>", "503 5.5.1 ");
        let announced = injector.ask("EHLO app.example");
        assert!(!announced.contains("STARTTLS"), "{announced}");
        injector.expect("STARTTLS", "503 5.5.1 ");
        queued_as(&injector.send(SENDER, &["u@d.test"], BODY));
        injector.expect("QUIT", "221 ");
        assert_eq!(injector.rest(), "");
        let received = world.expect_delivered("u@d.test");
        let head = String::from_utf8_lossy(&received.body[..received.body.len() - BODY.len()]).into_owned();
        assert!(head.contains(" with ESMTPS id ") && head.contains("\r\n\ttls TLS_"), "{head}");
        assert!(head.contains(&format!("({version});\r\n")), "{head}");
        assert!(received.body.ends_with(BODY));
        world.expect_empty();
        world.finish();
    }
}

#[test]
fn without_starttls_mail_still_comes_in() {
    let world = world("starttls", &Made::new());
    world.send(&["u@d.test"]);
    let received = world.expect_delivered("u@d.test");
    assert!(String::from_utf8_lossy(&received.body).contains(" with ESMTP id "));
    world.finish();
}

#[test]
fn implicit_tls_begins_with_the_first_octet() {
    let made = Made::new();
    let world = world("implicit", &made);
    let mut injector = world.connect().encrypt(made.client()).expect("a handshake").greet();
    let body = vec![b'x'; 3_000_000].chunks(70).map(|line| [line, b"\r\n"].concat()).collect::<Vec<_>>().concat();
    queued_as(&injector.send(SENDER, &["u@d.test"], &body));
    assert!(world.expect_delivered("u@d.test").body.ends_with(&body));
    // Clear text is no handshake; others are not concerned.
    let mut lost = world.connect();
    lost.say("EHLO app.example\r\nMAIL FROM:<a@b.test>\r\n");
    assert!(!lost.rest().contains("220 "));
    queued_as(&injector.send(SENDER, &["v@d.test"], BODY));
    world.expect_delivered("v@d.test");
    world.finish();
}

#[test]
fn tls_ends_before_the_connection() {
    let made = Made::new();
    let world = world("implicit", &made);
    let mut injector = world.connect().encrypt(made.client()).expect("a handshake").greet();
    injector.say("QUIT\r\n");
    assert!(injector.ends_in_order());
    world.finish();
}

#[test]
fn where_tls_is_required_nothing_comes_in_without_it() {
    let made = Made::new();
    let world = world("required", &made);
    let mut injector = world.connect().greet();
    assert!(injector.ask("EHLO app.example").contains("STARTTLS"));
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "530 5.7.0 Must issue a STARTTLS command first");
    injector.expect("STARTTLS", "220 ");
    let mut injector = injector.encrypt(made.client()).expect("a handshake");
    injector.expect("EHLO app.example", "250");
    queued_as(&injector.send(SENDER, &["u@d.test"], BODY));
    world.expect_delivered("u@d.test");
    world.finish();
}

/// RFC 3207 §6: an attacker's commands, put behind STARTTLS in clear text, must not be taken for the client's.
#[test]
fn what_comes_behind_starttls_in_clear_text_is_never_obeyed() {
    let made = Made::new();
    let world = world("starttls", &made);
    let mut injector = world.connect().greet();
    injector.say("STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@b.test>\r\nRCPT TO:<u@d.test>\r\nDATA\r\nx\r\n.\r\n");
    assert!(injector.hear().starts_with("220 "));
    let mut injector = injector.encrypt(made.client()).expect("a handshake");
    // Had anything survived, its reply would come first, and EHLO would find an open transaction.
    injector.expect("NOOP", "250 2.0.0 ");
    injector.expect("MAIL FROM:<a@b.test>", "503 5.5.1 Send EHLO first");
    assert_eq!(world.copies("u@d.test"), 0);
    world.finish();
}

#[test]
fn one_connection_too_many_hears_so_inside_tls() {
    let made = Made::new();
    let plan = World::plan().file("chain.pem", &made.chain).file("key.pem", &made.key);
    let world = plan.listener(&format!("max_connections = 1\ntls = \"implicit\"\n{FILES}")).start();
    let _guest = world.connect().encrypt(made.client()).expect("a handshake").greet();
    let mut second = world.connect().encrypt(made.client()).expect("a handshake");
    assert!(second.hear().starts_with("421 4.3.2 "));
    assert_eq!(second.rest(), "");
    world.finish();
}

/// An octet at a time, a handshake and a message too.
#[test]
fn records_may_be_cut_anywhere() {
    let made = Made::new();
    let world = world("implicit", &made);
    let mut injector = world.connect().slowly().encrypt(made.client()).expect("a handshake").greet();
    queued_as(&injector.send(SENDER, &["u@d.test"], BODY));
    world.expect_delivered("u@d.test");
    world.finish();
}

#[test]
fn the_load_generator_speaks_tls_both_ways() {
    for (mode, tls) in [("starttls", TlsMode::StartTls), ("implicit", TlsMode::Implicit)] {
        let world = world(mode, &Made::new());
        let SocketName::Tcp(address) = world.address(0) else { panic!("TCP") };
        let options = LoadOptions {
            to: Address::Tcp(address),
            tls: Some(tls),
            connections: 20,
            messages: 300,
            timeout: Some(Duration::from_secs(60)),
            ..LoadOptions::default()
        };
        let report = Load::run(options, |_| ()).expect("a load run");
        assert_eq!((report.messages, report.in_doubt, report.unfinished), (300, 0, 0), "{report:?}");
        world.expect_empty();
        let received = world.sink().received();
        assert!(received.iter().all(|message| String::from_utf8_lossy(&message.body).contains(" with ESMTPS id ")));
        drop(received);
        world.finish();
    }
}

#[test]
fn a_listener_over_lmtp_and_a_unix_socket() {
    let made = Made::new();
    let plan = World::plan().file("chain.pem", &made.chain).file("key.pem", &made.key);
    let keys = format!("bind = \"unix:DIR/lmtp.sock\"\nprotocol = \"lmtp\"\ntls = \"starttls\"\n{FILES}");
    let world = plan.listener(&keys).start();
    let mut injector = Injector::connect(&world.address(0)).expect("bound");
    assert!(injector.hear().starts_with("220 "));
    injector.expect("LHLO app.example", "250");
    injector.expect("STARTTLS", "220 ");
    let mut injector = injector.encrypt(made.client()).expect("a handshake");
    injector.expect("LHLO app.example", "250");
    queued_as(&injector.send(SENDER, &["u@d.test"], BODY));
    let received = world.expect_delivered("u@d.test");
    assert!(String::from_utf8_lossy(&received.body).contains(" with LMTPS id "));
    world.finish();
}
