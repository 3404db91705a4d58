//! REQUIRETLS (RFC 8689): such a message goes only to a host that announces it too, over TLS with a certificate that names the
//! host; else it comes back.

use crate::certificates::{FILES, Made, authority};
use crate::injector::queued_as;
use crate::world::{Plan, SENDER, World, loopback};
use bench::dns::{Rule, Zone};
use bench::sink::{Certificate, SinkOptions, Tls, TlsMode};
use std::path::Path;

/// A listener that takes REQUIRETLS, and the authority that is trusted.
fn plan(made: &Made, roots: &Path) -> Plan {
    World::plan()
        .file("chain.pem", &made.chain)
        .file("key.pem", &made.key)
        .listener(&format!("tls = \"implicit\"\n{FILES}"))
        .delivery(&format!("tls_ca_file = \"{}\"", roots.join("ca.pem").display()))
}

fn starttls(certificate: Certificate) -> Tls {
    Tls { certificate, mode: TlsMode::StartTls }
}

/// Sends a message that requires TLS.
fn send(world: &World, made: &Made, to: &str) {
    let mut injector = world.connect().encrypt(made.client()).expect("a handshake").greet();
    assert!(injector.ask("EHLO app.example").contains("REQUIRETLS"));
    injector.expect(&format!("MAIL FROM:<{SENDER}> REQUIRETLS"), "250 ");
    injector.expect(&format!("RCPT TO:<{to}>"), "250 ");
    injector.expect("DATA", "354 ");
    injector.say("Subject: secret\r\n\r\nSecret.\r\n.\r\n");
    queued_as(&injector.hear());
}

/// The sink's certificate, whether its authority is ours, whether it announces REQUIRETLS, the policy; and whether the mail
/// arrives.
fn check(certificate: Option<&str>, known: bool, announced: bool, policy: &str, arrives: bool) {
    let case = format!("{certificate:?} {known} {announced} {policy}");
    let (ours, others) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let theirs = authority(ours.path(), certificate.unwrap_or("mx.d.test"));
    authority(others.path(), "mx.d.test");
    let roots = if known { ours.path() } else { others.path() };
    let made = Made::new();
    let world = plan(&made, roots)
        .config(&format!("[limits]\ntls = \"{policy}\"\n"))
        .sink_options(|options: &mut SinkOptions| {
            options.tls = certificate.map(|_| starttls(theirs));
            options.require_tls = announced;
        })
        .start();
    send(&world, &made, "u@d.test");
    if arrives {
        world.expect_event("delivered", "u@d.test");
        assert_eq!(world.copies("u@d.test"), 1, "{case}");
    } else {
        let event = world.expect_event("bounced", "u@d.test");
        assert_eq!(event["reply"]["enhanced"], "5.7.30", "{case}: {event}");
        assert_eq!(world.copies("u@d.test"), 0, "{case}");
        // Where nobody can promise anything, the notice arrives all the same (§5), without what was said in the message.
        if policy != "verified" {
            let notice = world.expect_notice();
            assert!(notice.contains("5.7.30") && !notice.contains("Secret."), "{case}: {notice}");
        }
    }
}

#[test]
fn less_preferred_hosts_are_tried_before_it_comes_back() {
    let (ours, made) = (tempfile::tempdir().expect("a directory"), Made::new());
    let theirs = authority(ours.path(), "good.test");
    let zone = Zone::default()
        .with("home.test", Rule::records().mx(10, "clear.test"))
        .with("d.test", Rule::records().mx(10, "clear.test").mx(20, "silent.test").mx(30, "good.test"))
        .with("e.test", Rule::records().mx(10, "clear.test").mx(20, "silent.test"))
        .with("clear.test", Rule::records().address(loopback(1)))
        .with("silent.test", Rule::records().address(loopback(2)))
        .with("good.test", Rule::records().address(loopback(3)));
    let world = plan(&made, ours.path())
        .zone(zone)
        .sink_at([127, 0, 0, 2], |options| {
            options.tls = Some(starttls(Certificate::SelfSigned));
            options.require_tls = false;
        })
        .sink_at([127, 0, 0, 3], |options| options.tls = Some(starttls(theirs)))
        .start();
    send(&world, &made, "u@d.test");
    let event = world.expect_event("delivered", "u@d.test");
    assert_eq!((&event["mx"], &event["attempt"]), (&"good.test".into(), &1.into()), "{event}");
    assert_eq!(world.sinks[2].copies("u@d.test"), 1);
    send(&world, &made, "u@e.test");
    assert_eq!(world.expect_event("bounced", "u@e.test")["reply"]["enhanced"], "5.7.30");
    world.send_with_tls(&made, &["v@d.test"]);
    assert_eq!(world.expect_event("delivered", "v@d.test")["mx"], "clear.test");
    world.expect_notice();
    world.expect_empty();
    world.finish();
}

#[test]
fn it_goes_to_a_host_that_promises_it_and_proves_who_it_is() {
    check(Some("mx.d.test"), true, true, "verified", true);
    check(Some("mx.d.test"), true, true, "opportunistic", true);
}

#[test]
fn it_comes_back_from_everywhere_else() {
    check(None, true, true, "opportunistic", false);
    check(Some("mx.d.test"), true, false, "verified", false);
    check(Some("mx.d.test"), false, true, "opportunistic", false);
    check(Some("mx.other.test"), true, true, "required", false);
}

#[test]
fn clear_text_listeners_do_not_offer_it() {
    let world = World::plan().start();
    let mut injector = world.connect().greet();
    assert!(!injector.ask("EHLO app.example").contains("REQUIRETLS"));
    let reply = injector.ask(&format!("MAIL FROM:<{SENDER}> REQUIRETLS"));
    assert!(reply.starts_with("555 "), "{reply}");
}
