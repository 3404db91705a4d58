//! `via = "smtps://…"`: TLS from the first octet, and never without.

use crate::certificates::authority;
use crate::world::World;
use bench::sink::{Certificate, SinkOptions, Tls, TlsMode};

fn implicit(certificate: Certificate) -> impl FnOnce(&mut SinkOptions) {
    move |options| options.tls = Some(Tls { certificate, mode: TlsMode::Implicit })
}

fn route(keys: &str) -> String {
    format!("[[route]]\ndomain = [\"d.test\"]\nvia = \"smtps://127.0.0.2:PORT\"\n{keys}")
}

#[test]
fn mail_goes_over_tls_without_starttls() {
    // What [limits] says of clear text does not hold here.
    let config = format!("[limits]\ntls = \"none\"\n{}", route(""));
    let world = World::plan().sink_at([127, 0, 0, 2], implicit(Certificate::SelfSigned)).config(&config).start();
    world.send(&["u@d.test"]);
    assert!(world.expect_delivered("u@d.test").tls.is_some());
    let event = world.expect_event("delivered", "u@d.test");
    assert_eq!((&event["tls"]["version"], &event["tls"]["verified"]), (&"TLSv1.3".into(), &false.into()), "{event}");
    world.expect_empty();
    world.finish();
}

#[test]
fn the_certificate_has_to_name_the_host_or_what_the_route_says() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let certificate = authority(dir.path(), "relay.example");
    let ca_file = format!("tls_ca_file = \"{}\"", dir.path().join("ca.pem").display());
    for (keys, delivered) in [
        ("tls = \"verified\"\ntls_server_name = \"relay.example\"\n", true),
        ("tls = \"verified\"\ntls_server_name = \"other.example\"\n", false),
        ("tls = \"verified\"\n", false),
    ] {
        let plan = World::plan().delivery(&ca_file).config(&route(keys));
        let world = plan.sink_at([127, 0, 0, 2], implicit(certificate.clone())).start();
        world.send(&["u@d.test"]);
        let event = world.expect_event(if delivered { "delivered" } else { "deferred" }, "u@d.test");
        if delivered {
            assert_eq!(event["tls"]["verified"], true, "{event}");
        } else {
            let text = event["reply"]["text"].as_str().unwrap_or_default();
            assert!(text.contains("certificate"), "{keys}: {event}");
            assert_eq!(world.copies("u@d.test"), 0, "{keys}");
        }
        world.finish();
    }
}

#[test]
fn a_handshake_that_fails_is_not_followed_by_clear_text() {
    for rule in ["tls close", "tls garbage"] {
        let plan = World::plan().config(&route("tls = \"opportunistic\"\n")).sink_at([127, 0, 0, 2], |options| {
            implicit(Certificate::SelfSigned)(options);
            options.rules = vec![rule.parse().expect("a rule")];
        });
        let world = plan.start();
        world.send(&["u@d.test"]);
        let event = world.expect_event("deferred", "u@d.test");
        assert_eq!(event["reply"]["enhanced"], "4.7.5", "{rule}: {event}");
        assert_eq!(world.copies("u@d.test"), 0, "{rule}");
        world.finish();
    }
}

#[test]
fn a_server_that_speaks_in_clear_text_gets_nothing() {
    let world = World::plan().sink_at([127, 0, 0, 2], |_| ()).config(&route("")).start();
    world.send(&["u@d.test"]);
    let event = world.expect_event("deferred", "u@d.test");
    assert_eq!(event["reply"]["enhanced"], "4.7.5", "{event}");
    assert_eq!(world.copies("u@d.test"), 0);
    world.finish();
}
