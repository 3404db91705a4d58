//! REQUIRETLS (RFC 8689): such a message goes only to a host that announces it too, over TLS with a certificate that names the
//! host; else it comes back.

use crate::certificates::{FILES, Made, authority};
use crate::injector::queued_as;
use crate::world::{SENDER, World};
use bench::sink::{Certificate, SinkOptions, Tls, TlsMode};

/// The sink's certificate, whether its authority is ours, whether it announces REQUIRETLS, the policy; and whether the mail
/// arrives.
fn check(certificate: Option<&str>, known: bool, announced: bool, policy: &str, arrives: bool) {
    let case = format!("{certificate:?} {known} {announced} {policy}");
    let (ours, others) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let theirs = authority(ours.path(), certificate.unwrap_or("mx.d.test"));
    authority(others.path(), "mx.d.test");
    let roots = if known { ours.path() } else { others.path() };
    let tls = |certificate: Certificate| Tls { certificate, mode: TlsMode::StartTls };
    let made = Made::new();
    let world = World::plan()
        .file("chain.pem", &made.chain)
        .file("key.pem", &made.key)
        .listener(&format!("tls = \"implicit\"\n{FILES}"))
        .delivery(&format!("tls_ca_file = \"{}\"", roots.join("ca.pem").display()))
        .config(&format!("[limits]\ntls = \"{policy}\"\n"))
        .sink_options(|options: &mut SinkOptions| {
            options.tls = certificate.map(|_| tls(theirs));
            options.require_tls = announced;
        })
        .start();
    let mut injector = world.connect().encrypt(made.client()).expect("a handshake").greet();
    assert!(injector.ask("EHLO app.example").contains("REQUIRETLS"), "{case}");
    injector.expect(&format!("MAIL FROM:<{SENDER}> REQUIRETLS"), "250 ");
    injector.expect("RCPT TO:<u@d.test>", "250 ");
    injector.expect("DATA", "354 ");
    injector.say("Subject: secret\r\n\r\nSecret.\r\n.\r\n");
    queued_as(&injector.hear());
    if arrives {
        world.expect_event("delivered", "u@d.test");
        assert_eq!(world.copies("u@d.test"), 1, "{case}");
    } else {
        let event = world.expect_event("bounced", "u@d.test");
        assert_eq!(event["reply"]["enhanced"], "5.7.30", "{case}: {event}");
        assert_eq!(world.copies("u@d.test"), 0, "{case}");
    }
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
