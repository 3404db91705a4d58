//! What a scrape shows after things happened.

use super::*;
use crate::now::Now;
use metrics_exporter_prometheus::PrometheusBuilder;
use queue::MessageId;
use std::time::Instant;

#[allow(clippy::disallowed_methods, reason = "an instant to begin with; nothing is measured")]
fn happened(site: &str, kind: Kind) -> Happened {
    Happened {
        now: Now { mono: Instant::now(), wall_us: 2_500_000 },
        kind,
        content: None,
        envelope: None,
        body_bytes: 18,
        id: MessageId(1),
        recipient: 0,
        site: site.into(),
        mx: None,
        mx_address: None,
        source_address: None,
        attempt: 1,
        reply: None,
        in_doubt: kind == Kind::Deferred,
        attempt_time: Some(Duration::from_millis(250)),
        tls: None,
        accepted_us: 1_000_000,
    }
}

/// Runs `act`, then expects these lines in the scrape.
#[track_caller]
fn check(act: impl FnOnce(&EngineMetrics), expected: &[&str]) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let toml = "hostname = \"a.b\"\n[[site]]\nmatch = { mx = [\"*.big.example\"] }\n";
        act(&EngineMetrics::new(&Config::parse(toml, "t").unwrap()));
    });
    let scrape = handle.render();
    for line in expected {
        assert!(scrape.lines().any(|scraped| scraped == *line), "{line}\nis not in\n{scrape}");
    }
}

#[test]
fn what_listeners_do() {
    let act = |metrics: &EngineMetrics| {
        metrics.listener(0).accepted(3);
        metrics.listener(0).clone().accepted(1);
        (0..3).for_each(|_| metrics.listener(0).connected());
        metrics.listener(0).disconnected();
        metrics.listener(0).rejected("size");
        metrics.listener(0).clone().rejected("size");
        metrics.listener(0).clone().rejected_often("timeout", 5);
        metrics.listener(0).clone().etrn();
        metrics.listener(0).clone().atrn();
        metrics.listener(0).auth_attempt("PLAIN", "refused");
        metrics.listener(0).auth_attempt("PLAIN", "refused");
        metrics.listener(0).certificate_expires(1_927_843_200);
        metrics.commit(3, Duration::from_millis(2));
    };
    let expected = [
        "posthaste_messages_accepted_total{listener=\"127.0.0.1:2525\"} 2",
        "posthaste_recipients_accepted_total{listener=\"127.0.0.1:2525\"} 4",
        "posthaste_listener_connections{listener=\"127.0.0.1:2525\"} 2",
        "posthaste_messages_rejected_total{listener=\"127.0.0.1:2525\",reason=\"size\"} 2",
        "posthaste_messages_rejected_total{listener=\"127.0.0.1:2525\",reason=\"timeout\"} 5",
        "posthaste_auth_attempts_total{listener=\"127.0.0.1:2525\",mechanism=\"PLAIN\",result=\"refused\"} 2",
        "posthaste_tls_certificate_expiry_timestamp_seconds{listener=\"127.0.0.1:2525\"} 1927843200",
        "posthaste_etrn_total{listener=\"127.0.0.1:2525\"} 1",
        "posthaste_atrn_total{listener=\"127.0.0.1:2525\"} 1",
        "posthaste_ingest_commit_seconds_count 3",
        "posthaste_queue_commit_batch_size_sum 3",
    ];
    check(act, &expected);
}

#[test]
fn what_happens_to_recipients() {
    let act = |metrics: &EngineMetrics| {
        metrics.happened(&happened("mx.big.example", Kind::Delivered));
        // Of the same transaction.
        metrics.happened(&Happened { attempt_time: None, ..happened("mx.big.example", Kind::Deferred) });
        metrics.happened(&happened("mx.small.example", Kind::Bounced));
        metrics.happened(&happened("mx.small.example", Kind::Expired));
        metrics.happened(&happened("mx.small.example", Kind::Removed));
    };
    let expected = [
        "posthaste_deliveries_total{site=\"mx.big.example\",outcome=\"delivered\"} 1",
        "posthaste_deliveries_total{site=\"mx.big.example\",outcome=\"deferred\"} 1",
        "posthaste_deliveries_total{site=\"mx.small.example\",outcome=\"bounced\"} 1",
        "posthaste_deliveries_total{site=\"mx.small.example\",outcome=\"expired\"} 1",
        "posthaste_deliveries_in_doubt_total{site=\"mx.big.example\"} 1",
        "posthaste_recipients_removed_total 1",
        "posthaste_delivery_latency_seconds_sum{site=\"mx.big.example\"} 1.5",
        "posthaste_attempt_seconds_sum{site=\"mx.big.example\"} 0.25",
        "posthaste_attempt_seconds_count{site=\"mx.big.example\"} 1",
    ];
    check(act, &expected);
}

/// As many as have a label, and one more.
#[test]
fn the_rest_is_other() {
    let act = |metrics: &EngineMetrics| {
        for n in 0..=labels::MAX_BUSIEST {
            metrics.opened(&format!("s{n}").into());
            metrics.happened(&happened(&format!("s{n}"), Kind::Delivered));
        }
        metrics.throttled(&"late".into(), "suspend", Duration::from_secs(2));
        metrics.throttled(&"late.big.example".into(), "suspend", Duration::from_secs(2));
    };
    let expected = [
        "posthaste_deliveries_total{site=\"s49\",outcome=\"delivered\"} 1",
        "posthaste_connections_opened_total{site=\"s49\"} 1",
        "posthaste_deliveries_total{site=\"other\",outcome=\"delivered\"} 1",
        "posthaste_connections_opened_total{site=\"other\"} 1",
        "posthaste_throttled_seconds_total{site=\"other\",limit=\"suspend\"} 2",
        "posthaste_throttled_seconds_total{site=\"late.big.example\",limit=\"suspend\"} 2",
    ];
    check(act, &expected);
}

#[test]
fn what_connections_do() {
    let act = |metrics: &EngineMetrics| {
        metrics.happened(&happened("mx.big.example", Kind::Delivered));
        metrics.opened(&"mx.big.example".into());
        metrics.opened(&"mx.small.example".into());
        metrics.closed("mx.small.example", Stage::Connect, &Cause::Eof);
        metrics.closed("mx.small.example", Stage::Idle, &Cause::Eof);
        for _ in 0..3 {
            metrics.throttled(&"mx.big.example".into(), "rate", Duration::from_millis(700));
        }
        let open = OpenConnections { connecting: 1, idle: 2, busy: 3 };
        metrics.set_connections([("mx.big.example", open), ("x", open), ("y", open)]);
        metrics.set_connections([("x", open), ("y", open)]);
    };
    let expected = [
        "posthaste_connections_opened_total{site=\"mx.big.example\"} 1",
        "posthaste_connections_opened_total{site=\"mx.small.example\"} 1",
        "posthaste_connection_failures_total{site=\"mx.small.example\",reason=\"connect\"} 1",
        "posthaste_throttled_seconds_total{site=\"mx.big.example\",limit=\"rate\"} 2",
        "posthaste_connections{site=\"mx.big.example\",state=\"busy\"} 0",
        "posthaste_connections{site=\"other\",state=\"busy\"} 6",
    ];
    check(act, &expected);
}

#[test]
fn what_is_queued_and_asked() {
    let act = |metrics: &EngineMetrics| {
        let counts = Counts { ready: 3, active: 2, ..Counts::default() };
        let stats = Stats { recipients: 10, held_recipients: 1, commits: 7, syncs: 9, ..Stats::default() };
        metrics.set_queue(&counts, &stats);
        for _ in 0..2 {
            metrics.dns(Lookup { kind: "mx", result: "ok", took: Duration::from_millis(500) });
        }
    };
    let expected = [
        "posthaste_queue_recipients{state=\"ready\"} 3",
        "posthaste_queue_recipients{state=\"active\"} 2",
        "posthaste_queue_recipients{state=\"deferred\"} 4",
        "posthaste_queue_recipients{state=\"held\"} 1",
        "posthaste_queue_commits_total 7",
        "posthaste_queue_syncs_total 9",
        "posthaste_dns_lookups_total{kind=\"mx\",result=\"ok\"} 2",
        "posthaste_dns_lookup_seconds_sum{kind=\"mx\",result=\"ok\"} 1",
    ];
    check(act, &expected);
}
