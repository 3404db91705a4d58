//! A host that was shaken hands with is spoken to by the same session on the next connection: no certificate crosses the wire,
//! and nothing is signed. Sessions that were not verified never serve where verification is asked for.

use crate::certificates::authority;
use crate::world::{Plan, World};
use bench::sink::{Certificate, SinkOptions, Tls, TlsMode};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Starts a world, and counts what it counts.
fn start_counted(plan: Plan) -> (World, PrometheusHandle) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    (metrics::with_local_recorder(&recorder, || plan.start()), handle)
}

#[track_caller]
fn expect_handshakes(scrape: &str, full: u64, resumed: u64, failed: u64) {
    for (result, count) in [("full", full), ("resumed", resumed), ("failed", failed)] {
        let line = format!("posthaste_tls_handshakes_total{{result=\"{result}\"}} {count}");
        assert!(scrape.lines().any(|scraped| scraped == line), "{line} is not in\n{scrape}");
    }
}

fn starttls(certificate: Certificate) -> impl FnOnce(&mut SinkOptions) {
    move |options| options.tls = Some(Tls { certificate, mode: TlsMode::StartTls })
}

#[test]
fn the_second_connection_resumes_the_first_one_s_session() {
    let plan = World::plan().config("[limits]\nmessages_per_connection = 1\n");
    let (world, counted) = start_counted(plan.sink_options(starttls(Certificate::SelfSigned)));
    for (n, resumed) in [false, true, true].into_iter().enumerate() {
        let recipient = format!("u{n}@d.test");
        world.send(&[&recipient]);
        let event = world.expect_event("delivered", &recipient);
        assert_eq!(event["tls"]["resumed"], resumed, "{event}");
    }
    expect_handshakes(&counted.render(), 1, 2, 0);
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
    let (mut world, counted) = start_counted(plan.sink_options(starttls(certificate)));
    world.send(&["a@d.test"]);
    world.expect_event("delivered", "a@d.test");
    world.reload("tls = \"opportunistic\"", "tls = \"verified\"");
    world.send(&["b@d.test"]);
    let event = world.expect_event("deferred", "b@d.test");
    assert_eq!(event["reply"]["enhanced"], "4.7.5", "{event}");
    assert_eq!(world.copies("b@d.test"), 0);
    expect_handshakes(&counted.render(), 1, 0, 1);
    world.finish();
}
