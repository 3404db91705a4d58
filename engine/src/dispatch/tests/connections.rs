//! Hosts, connections, and how fast they may be used.

use super::*;

#[test]
fn the_next_host_and_address_are_tried_in_order() {
    let mut w = world();
    w.mx.insert("x.test".into(), Ok(vec![(20, "b.test".into()), (10, "a.test".into())]));
    let ips: Vec<std::net::IpAddr> = ["10.1.0.1", "10.1.0.2"].iter().map(|i| i.parse().unwrap()).collect();
    w.addresses.insert("a.test".into(), ips.clone());
    w.doors.insert(ips[0], Door::Refused);
    w.doors.insert(ips[1], Door::Unwelcome);
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    let peers: Vec<String> = w
        .opens
        .iter()
        .map(|(_, o)| match &o.peer {
            Peer::At(SocketName::Tcp(peer)) => peer.ip().to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(peers, ["10.1.0.1".to_string(), "10.1.0.2".into(), address_of("b.test").to_string()]);
    assert_eq!(w.kinds(id, 0), [Kind::Delivered]);
    // When its time has passed, the better host is preferred again.
    w.doors.clear();
    w.run(S(60));
    w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    assert_eq!(w.hosts_opened().last().map(|h| &**h), Some("a.test"));
    check_empty(&mut w);
}

#[test]
fn when_all_hosts_fail_what_is_ready_is_deferred_at_once() {
    let mut w = world();
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    for _ in 0..500 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.settle_down();
    assert_eq!(w.count(Kind::Deferred), 500);
    assert!(w.opens.len() <= 5, "not hammered: {}", w.opens.len());
    let view = w.dispatch.explain_site("x.test").unwrap();
    assert!(view.backoff.is_some() && view.last_error.unwrap().text.contains("refused"));
    w.doors.clear();
    w.run(S(1200));
    w.check_ends();
    check_empty(&mut w);
}

/// What is due on disk waits no less than what is in memory. The host is tried after 0, 60 and 120 seconds, and then left alone
/// until 240; the second message is due again at 180.
#[test]
fn a_pause_is_named_also_while_all_that_waits_for_it_is_on_disk() {
    let mut config = config();
    config.retry.jitter = 0.0;
    let mut w = World::new(config, 1);
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    w.accept("a@from.test", &["ok@x.test"]);
    w.run(S(61));
    w.accept("a@from.test", &["ok@x.test"]);
    w.run(S(110));
    let view = w.dispatch.explain_site("x.test").unwrap();
    assert!(view.backoff.is_some() && view.binding.is_empty(), "nothing is due: {}", view.binding);
    let waited = w.throttled["backoff"];
    w.run(S(30));
    let view = w.dispatch.explain_site("x.test").unwrap();
    assert_eq!((view.ready, view.is_spilled, view.binding.to_string()), (0, true, "backoff".into()));
    w.doors.clear();
    w.run(S(60));
    assert!(w.dispatch.explain_site("x.test").unwrap().binding.is_empty());
    let waited = w.throttled["backoff"] - waited;
    assert!(waited > S(58) && waited < S(62), "from 180 to 240: {waited:?}");
    w.run(S(600));
    w.check_ends();
    check_empty(&mut w);
}

/// Of many connections one may go wrong: the host is not left alone for that while others work.
#[test]
fn one_failure_beside_connections_that_work_is_no_failure_of_the_host() {
    let mut w = world();
    w.manual = true;
    w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    w.answer_all();
    w.doors.insert(address_of("mx.x.test"), Door::UnwelcomeOnce);
    for _ in 0..100 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.settle_down();
    assert_eq!(w.doors[&address_of("mx.x.test")], Door::Open, "one was shown the door");
    assert!(w.peers.len() > 2, "others are opened all the same: {}", w.peers.len());
    assert!(w.dispatch.explain_site("x.test").unwrap().backoff.is_none());
    w.manual = false;
    w.answer_all();
    w.run(S(1));
    assert_eq!((w.count(Kind::Delivered), w.count(Kind::Deferred)), (101, 0));
    w.check_ends();
    check_empty(&mut w);
}

/// A host that takes three connections gets all its mail over three: those that are full are replaced, and no more than one in a
/// while is tried beside them.
#[test]
fn a_host_that_takes_few_connections_gets_its_mail_over_those() {
    let mut w = world();
    w.doors.insert(address_of("mx.x.test"), Door::Takes(3));
    for _ in 0..2000 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.run(S(20));
    assert_eq!((w.count(Kind::Delivered), w.count(Kind::Deferred)), (2000, 0));
    let refused = w.opens.len() - 20;
    assert!(refused <= 22, "{refused} turned away beside those that carried a hundred each");
    // Then it is down: that it once had room for more is no reason to hammer it.
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    let opens = w.opens.len();
    for _ in 0..500 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.run(S(2));
    assert!(w.opens.len() - opens <= 8, "not hammered: {}", w.opens.len() - opens);
    assert_eq!(w.count(Kind::Deferred), 500);
    w.doors.clear();
    w.run(S(1200));
    w.check_ends();
    check_empty(&mut w);
}

/// Connections that have ended one and all for want of mail are not replaced one by one when their host is down: each try would make
/// its pause longer.
#[test]
fn a_host_that_took_many_connections_is_not_hammered_after_they_have_ended() {
    let mut config = config();
    config.limits = Arc::new(crate::config::Limits { connections: 40, ..limits() });
    let mut w = World::new(config, 1);
    w.manual = true;
    w.doors.insert(address_of("mx.x.test"), Door::Takes(20));
    (0..2000).for_each(|_| _ = w.accept("a@from.test", &["ok@x.test"]));
    w.settle_down();
    assert_eq!(w.peers.len(), 20);
    w.manual = false;
    w.answer_all();
    w.run(S(20));
    assert_eq!((w.count(Kind::Delivered), w.peers.len()), (2000, 0), "all are idle, and end");
    // Down for a moment, while a single message comes.
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    let opens = w.opens.len();
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.run(S(2));
    assert_eq!((w.kinds(id, 0), w.opens.len() - opens), (vec![Kind::Deferred], 2), "once, and once more");
    w.doors.clear();
    w.run(S(100));
    assert_eq!(w.kinds(id, 0), [Kind::Deferred, Kind::Delivered], "nor is it left alone for long");
    w.check_ends();
    check_empty(&mut w);
}

/// A connection that is full is replaced before its host has counted it out: that is no failure of the host. Whether there is
/// much mail or little, and whether the refusal or the end of the full one is heard of first.
#[test]
fn a_host_that_counts_the_full_one_still_is_not_taken_for_down() {
    for (seed, (takes, at_once)) in [(1, 200), (1, 20), (1, 3), (2, 200), (2, 20), (5, 400)].into_iter().enumerate() {
        for (delay_ms, counting_ms) in [(0, 0), (20, 0), (20, 30), (20, 500), (200, 900), (3000, 500)] {
            let mut w = World::new(config(), seed as u64);
            w.doors.insert(address_of("mx.x.test"), Door::Takes(takes));
            (w.delay, w.counting) = (Duration::from_millis(delay_ms), Duration::from_millis(counting_ms));
            for _ in 0..2000 / at_once {
                (0..at_once).for_each(|_| _ = w.accept("a@from.test", &["ok@x.test"]));
                w.run(Duration::from_millis(delay_ms * 2 + 1));
            }
            w.run(S(7200));
            let told = (w.count(Kind::Delivered), w.count(Kind::Deferred));
            let case = format!("takes {takes}, {at_once} at once, {delay_ms} ms away, counts for {counting_ms} ms");
            assert_eq!(told.1, 0, "{case}: {told:?}");
            assert!(w.opens.len() < 80, "{case}: {} opened", w.opens.len());
            w.check_ends();
            check_empty(&mut w);
        }
    }
}

/// A host that worked and then fails is tried once more, over one connection, and then it is down as any other.
#[test]
fn a_host_that_worked_is_tried_once_more_before_its_mail_is_deferred() {
    for takes in [1, 20] {
        let mut config = config();
        config.limits = Arc::new(crate::config::Limits { messages_per_connection: 10, ..limits() });
        let mut w = World::new(config, 1);
        w.manual = true;
        w.doors.insert(address_of("mx.x.test"), Door::Takes(takes));
        (0..1500).for_each(|_| _ = w.accept("a@from.test", &["ok@x.test"]));
        w.settle_down();
        w.doors.insert(address_of("mx.x.test"), Door::Refused);
        w.manual = false;
        w.answer_all();
        w.run(Duration::from_millis(900));
        let opens = w.opens.len();
        assert_eq!((w.count(Kind::Delivered), w.count(Kind::Deferred)), (10 * takes, 0));
        w.run(Duration::from_millis(200));
        assert_eq!((w.opens.len() - opens, w.count(Kind::Deferred)), (1, 1500 - 10 * takes), "takes {takes}");
        w.doors.clear();
        w.run(S(3600));
        w.check_ends();
        check_empty(&mut w);
    }
}

#[test]
fn a_site_whose_hosts_do_not_exist_bounces() {
    let mut w = world();
    w.addresses.insert("mx.x.test".into(), vec![]);
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    assert_eq!(w.kinds(id, 0), [Kind::Bounced]);
    assert_eq!(w.happened[0].reply.as_ref().unwrap().enhanced.map(|e| (e.1, e.2)), Some((4, 4)));
    check_empty(&mut w);
}

#[test]
fn failed_tls_is_followed_by_clear_text_only_when_opportunistic() {
    for (policy, delivered) in
        [(TlsPolicy::Opportunistic, true), (TlsPolicy::Required, false), (TlsPolicy::Verified, false)]
    {
        let mut config = config();
        config.limits = Arc::new(crate::config::Limits { tls: policy, ..limits() });
        let mut w = World::new(config, 1);
        w.doors.insert(address_of("mx.x.test"), Door::BadTls);
        let id = w.accept("a@from.test", &["ok@x.test"]);
        w.settle_down();
        assert_eq!(w.kinds(id, 0), [if delivered { Kind::Delivered } else { Kind::Deferred }], "{policy:?}");
        if delivered {
            assert_eq!(w.opens.iter().map(|(_, o)| o.tls).collect::<Vec<_>>(), [policy, TlsPolicy::Off]);
        }
    }
}

/// Where TLS breaks down, mail goes in clear text for an hour; a host that takes none in clear text must not have that
/// bounce.
#[test]
fn a_host_that_wants_tls_first_is_asked_for_tls_again() {
    let mut w = world();
    w.features = Arc::new(Features { starttls: true, ..Features::default() });
    w.doors.insert(address_of("mx.x.test"), Door::TlsFirst { works: false });
    let id = w.accept("a@from.test", &["ok@x.test", "ok2@x.test"]);
    w.settle_down();
    assert_eq!((w.kinds(id, 0), w.kinds(id, 1)), (vec![Kind::Deferred], vec![Kind::Deferred]));
    assert!(w.opens.len() <= 6, "bounded: {}", w.opens.len());
    w.doors.insert(address_of("mx.x.test"), Door::TlsFirst { works: true });
    w.run(S(120));
    assert_eq!(
        (w.kinds(id, 0), w.kinds(id, 1)),
        (vec![Kind::Deferred, Kind::Delivered], vec![Kind::Deferred, Kind::Delivered])
    );
    check_empty(&mut w);
    w.check_ends();
    // There is nothing to be had where it does not offer what it wants, or where we are told not to use it.
    for (starttls, tls) in [(false, TlsPolicy::Opportunistic), (true, TlsPolicy::Off)] {
        let mut config = config();
        config.limits = Arc::new(crate::config::Limits { tls, ..limits() });
        let mut w = World::new(config, 1);
        w.features = Arc::new(Features { starttls, ..Features::default() });
        w.doors.insert(address_of("mx.x.test"), Door::TlsFirst { works: true });
        let id = w.accept("a@from.test", &["ok@x.test"]);
        w.settle_down();
        assert_eq!(w.kinds(id, 0), [Kind::Bounced], "{starttls} {tls:?}");
    }
}

#[test]
fn a_host_that_slams_the_door_is_not_hammered() {
    let mut w = world();
    w.doors.insert(address_of("mx.x.test"), Door::Slams);
    for _ in 0..100 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.run(S(600));
    assert!(w.opens.len() < 100, "{} connections", w.opens.len());
    w.doors.clear();
    check_empty(&mut w);
    w.check_ends();
}

/// Before the last of them has failed, the first is tried again: its mail must not wait for the end of that.
#[test]
fn mail_for_a_site_of_very_many_dead_hosts_is_deferred_and_expires() {
    let mut w = world();
    let hosts: Vec<(u16, String)> = (0..300).map(|n| (10, format!("mx{n}.x.test"))).collect();
    hosts.iter().for_each(|(_, host)| _ = w.doors.insert(address_of(host), Door::Silent));
    w.mx.insert("x.test".into(), Ok(hosts));
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.run(S(900));
    assert_eq!(w.kinds(id, 0), [Kind::Deferred]);
    w.run(S(7 * 3600));
    assert_eq!(w.kinds(id, 0).last(), Some(&Kind::Expired));
    w.check_ends();
    check_empty(&mut w);
}

/// Such a host answers everything that is asked before mail, and is down all the same.
#[test]
fn a_host_that_hangs_up_after_its_greeting_is_not_hammered() {
    let mut w = world();
    w.delay = Duration::from_millis(20);
    w.doors.insert(address_of("mx.x.test"), Door::Vanishes);
    for _ in 0..100 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.run(S(600));
    assert!(w.opens.len() < 100, "{} connections", w.opens.len());
    assert!(w.count(Kind::Deferred) >= 100, "{} deferred", w.count(Kind::Deferred));
    w.doors.clear();
    w.run(S(7200));
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn connections_are_pooled_within_the_limit_and_closed_when_idle() {
    let mut w = world();
    w.manual = true;
    for _ in 0..1000 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.settle_down();
    assert_eq!(w.opens.len(), 20);
    assert_eq!(w.dispatch.counts().active, 40, "two ahead on each");
    let view = w.dispatch.explain_site("x.test").unwrap();
    assert_eq!(view.binding.to_string(), "connections");
    w.manual = false;
    w.answer_all();
    w.run(S(1));
    assert_eq!(w.count(Kind::Delivered), 1000);
    assert!(w.opens.len() < 40, "{} connections for 1000 messages", w.opens.len());
    assert!(!w.peers.is_empty(), "kept for a while");
    w.run(S(10));
    assert!(w.peers.is_empty(), "closed when idle");
    check_empty(&mut w);
}

#[test]
fn a_connection_carries_no_more_messages_than_allowed() {
    let mut config = config();
    config.limits = Arc::new(crate::config::Limits { messages_per_connection: 7, connections: 2, ..limits() });
    let mut w = World::new(config, 1);
    for _ in 0..100 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.run(S(1));
    assert_eq!(w.count(Kind::Delivered), 100);
    let mut counts = std::collections::BTreeMap::new();
    w.deliveries.iter().for_each(|d| *counts.entry(d.1).or_insert(0) += 1);
    assert!(counts.values().all(|c| *c <= 7), "{counts:?}");
    check_empty(&mut w);
}

#[test]
fn stream_hands_many_ahead_but_not_too_many_bytes() {
    for (body, expected) in [(100, 16), (300 << 10, 4)] {
        let mut config = config();
        config.queue.body_cache_bytes = 1 << 30;
        config.limits = Arc::new(crate::config::Limits { pipelining: Pipelining::Stream, connections: 1, ..limits() });
        let mut w = World::new(config, 1);
        w.manual = true;
        let body = format!("Subject: x\r\n\r\n{}", "0123456789abcde\r\n".repeat(body / 17));
        for _ in 0..50 {
            w.accept_body("a@from.test", &["ok@x.test"], &body);
        }
        w.settle_down();
        assert_eq!(w.deliveries.len(), expected, "{} bytes each", body.len());
    }
}

#[test]
fn rates_are_kept_over_all_connections() {
    let mut config = config();
    let rate = Rate { count: 50, per: S(1) };
    let connection_rate = Rate { count: 3, per: S(1) };
    config.limits =
        Arc::new(crate::config::Limits { rate: Some(rate), connection_rate: Some(connection_rate), ..limits() });
    let mut w = World::new(config, 1);
    w.delay = Duration::from_millis(300);
    for _ in 0..300 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.run(S(10));
    assert_eq!(w.count(Kind::Delivered), 300);
    let messages: Vec<Instant> = w.deliveries.iter().map(|d| d.0).collect();
    let opens: Vec<Instant> = w.opens.iter().map(|o| o.0).collect();
    assert!(fastest_window(&messages, S(1)) <= 50);
    assert!(fastest_window(&opens, S(1)) <= 3);
    assert!(*messages.last().unwrap() - messages[0] < S(8), "the rate is used");
    assert!(w.throttled["rate"] > S(2), "{:?}", w.throttled);
    check_empty(&mut w);
}

#[test]
fn a_connection_does_not_end_while_what_it_was_opened_for_is_being_read() {
    for idle_timeout in [Duration::from_millis(100), Duration::ZERO] {
        let mut config = config();
        config.queue.body_cache_bytes = 0;
        config.limits = Arc::new(crate::config::Limits { idle_timeout, connections: 3, ..limits() });
        let mut w = World::new(config, 1);
        w.reading = S(3);
        for _ in 0..10 {
            w.accept("a@from.test", &["ok@x.test"]);
        }
        w.run(S(60));
        assert_eq!((w.count(Kind::Delivered), w.opens.len()), (10, 3), "{idle_timeout:?}");
        assert!(w.peers.is_empty(), "nor does it stay for ever");
        check_empty(&mut w);
    }
}
