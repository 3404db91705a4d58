//! `tls = none | opportunistic | required | verified`, against servers with and without TLS, good and bad.

use crate::certificates::authority;
use crate::world::World;
use bench::sink::{Certificate, SinkOptions, Tls, TlsMode};
use std::path::Path;

fn starttls(certificate: Certificate) -> impl FnOnce(&mut SinkOptions) {
    move |options| options.tls = Some(Tls { certificate, mode: TlsMode::StartTls })
}

fn plan(policy: &str) -> crate::world::Plan {
    World::plan().config(&format!("[limits]\ntls = \"{policy}\"\n"))
}

#[test]
fn opportunistic_uses_what_is_offered() {
    let world = plan("opportunistic").sink_options(starttls(Certificate::SelfSigned)).start();
    world.send(&["u@d.test"]);
    assert!(world.expect_delivered("u@d.test").tls.is_some());
    let event = world.expect_event("delivered", "u@d.test");
    assert_eq!((&event["tls"]["version"], &event["tls"]["verified"]), (&"TLSv1.3".into(), &false.into()), "{event}");
    assert!(event["tls"]["cipher"].as_str().is_some_and(|cipher| cipher.starts_with("TLS_")), "{event}");
    world.expect_empty();
    world.finish();
}

#[test]
fn off_never_uses_it() {
    let world = plan("none").sink_options(starttls(Certificate::SelfSigned)).start();
    world.send(&["u@d.test"]);
    assert!(world.expect_delivered("u@d.test").tls.is_none());
    let event = world.expect_event("delivered", "u@d.test");
    assert_eq!(event["tls"], serde_json::Value::Null, "{event}");
    world.finish();
}

#[test]
fn opportunistic_goes_on_in_clear_text_when_the_handshake_breaks() {
    for rule in ["tls close", "tls reset", "tls garbage", "starttls reply 454 4.7.0 not now", "starttls close"] {
        let world = plan("opportunistic").sink(&[rule]).sink_options(starttls(Certificate::SelfSigned)).start();
        world.send(&["u@d.test"]);
        let received = world.expect_delivered("u@d.test");
        assert!(received.tls.is_none(), "{rule}");
        let event = world.expect_event("delivered", "u@d.test");
        assert_eq!((&event["tls"], &event["attempt"]), (&serde_json::Value::Null, &1.into()), "{rule}: {event}");
        assert_eq!(world.count_events("deferred", "u@d.test"), 0, "{rule}");
        world.expect_empty();
        world.finish();
    }
}

#[test]
fn required_waits_for_tls_rather_than_send_in_clear_text() {
    let deferred = |world: World, case: &str| {
        world.send(&["u@d.test"]);
        let event = world.expect_event("deferred", "u@d.test");
        assert_eq!(event["reply"]["code"], 451, "{case}: {event}");
        let text = event["reply"]["text"].as_str().unwrap_or_default();
        assert!(text.to_lowercase().contains("tls"), "{case}: {event}");
        assert_eq!(world.copies("u@d.test"), 0, "{case}");
        assert_eq!(world.stats().recipients, 1, "{case}");
        world.finish();
    };
    deferred(plan("required").start(), "not offered");
    let offered = || plan("required").sink_options(starttls(Certificate::SelfSigned));
    for rule in ["starttls reply 454 4.7.0 not now", "tls close", "tls garbage"] {
        deferred(offered().sink(&[rule]).start(), rule);
    }
    let world = offered().start();
    world.send(&["u@d.test"]);
    assert!(world.expect_delivered("u@d.test").tls.is_some(), "any certificate will do");
    world.expect_empty();
    world.finish();
}

#[test]
fn verified_takes_the_right_certificate_only() {
    let (ours, theirs, elsewhere) = (tempfile::tempdir(), tempfile::tempdir(), tempfile::tempdir());
    let (ours, theirs, elsewhere) = (ours.expect("dir"), theirs.expect("dir"), elsewhere.expect("dir"));
    let right = authority(ours.path(), "mx.d.test");
    authority(theirs.path(), "mx.d.test");
    let other_name = authority(elsewhere.path(), "mx.other.test");
    let verified = |roots: &Path, certificate: Certificate| {
        let ca_file = format!("tls_ca_file = \"{}\"", roots.join("ca.pem").display());
        plan("verified").delivery(&ca_file).sink_options(starttls(certificate)).start()
    };
    let world = verified(ours.path(), right.clone());
    world.send(&["u@d.test"]);
    world.expect_delivered("u@d.test");
    let event = world.expect_event("delivered", "u@d.test");
    assert_eq!(event["tls"]["verified"], true, "{event}");
    world.expect_empty();
    world.finish();
    for (case, world) in [
        ("another authority", verified(theirs.path(), right)),
        ("another name", verified(elsewhere.path(), other_name)),
        ("no authority", verified(ours.path(), Certificate::SelfSigned)),
    ] {
        world.send(&["u@d.test"]);
        let event = world.expect_event("deferred", "u@d.test");
        let text = event["reply"]["text"].as_str().unwrap_or_default();
        assert!(text.contains("TLS failed") && text.contains("certificate"), "{case}: {event}");
        assert_eq!(event["reply"]["enhanced"], "4.7.5", "{case}: {event}");
        assert_eq!(world.copies("u@d.test"), 0, "{case}");
        world.finish();
    }
}
