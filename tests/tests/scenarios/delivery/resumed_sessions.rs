//! A host that was shaken hands with is spoken to by the same session on the next connection: no certificate crosses the wire,
//! and nothing is signed. Sessions that were not verified never serve where verification is asked for.

use crate::certificates::authority;
use crate::world::World;
use bench::sink::{Certificate, SinkOptions, Tls, TlsMode};

fn starttls(certificate: Certificate) -> impl FnOnce(&mut SinkOptions) {
    move |options| options.tls = Some(Tls { certificate, mode: TlsMode::StartTls })
}

#[test]
fn the_second_connection_resumes_the_first_one_s_session() {
    let plan = World::plan().config("[limits]\nmessages_per_connection = 1\n");
    let world = plan.sink_options(starttls(Certificate::SelfSigned)).start();
    for (n, resumed) in [false, true, true].into_iter().enumerate() {
        let recipient = format!("u{n}@d.test");
        world.send(&[&recipient]);
        let event = world.expect_event("delivered", &recipient);
        assert_eq!(event["tls"]["resumed"], resumed, "{event}");
    }
    world.finish();
}

#[test]
fn a_session_without_verification_is_no_way_around_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let certificate = authority(dir.path(), "mx.d.test");
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    authority(elsewhere.path(), "mx.d.test");
    let config = "[limits]\nmessages_per_connection = 1\ntls = \"opportunistic\"\n";
    let ca_file = format!("tls_ca_file = \"{}\"", elsewhere.path().join("ca.pem").display());
    let plan = World::plan().config(config).delivery(&ca_file);
    let mut world = plan.sink_options(starttls(certificate)).start();
    world.send(&["a@d.test"]);
    world.expect_event("delivered", "a@d.test");
    world.reload("tls = \"opportunistic\"", "tls = \"verified\"");
    world.send(&["b@d.test"]);
    let event = world.expect_event("deferred", "b@d.test");
    assert_eq!(event["reply"]["enhanced"], "4.7.5", "{event}");
    assert_eq!(world.copies("b@d.test"), 0);
    world.finish();
}
