//! Dispatch against a played world.

mod on_demand;
mod routes;
mod tidings;
mod world;

use super::*;
use crate::config::{Pattern, Rate, RouteRule, SiteRule, SocketName, TlsPolicy, Via};
use dns::MxFailure;
use queue::{Domain, EntryKey};
use smtp::client::{Pipelining, Protocol};
use std::time::Duration;
use world::{Door, World, address_of, config, limits};

const S: fn(u64) -> Duration = Duration::from_secs;

/// A configuration for the tests of neighbours.
pub(crate) fn test_config() -> Arc<Config> {
    Arc::new(config())
}

fn world() -> World {
    World::new(config(), 1)
}

/// Everything in memory is gone, and after a while the domains and sites, too.
fn check_empty(world: &mut World) {
    world.run(S(4 * 3600));
    assert!(world.disk.is_empty(), "left on disk: {:?}", world.disk.keys().next());
    let d = &world.dispatch;
    assert_eq!(d.counts(), Counts::default());
    assert_eq!((d.kept, d.messages.held.len(), d.messages.slab.len(), d.messages.deliveries.len()), (0, 0, 0, 0));
    assert_eq!((d.messages.body_bytes, d.messages.loading_bytes), (0, 0));
    assert_eq!((d.fetching, d.asked, d.transactions.len(), d.connections.len()), (0, 0, 0, 0));
    assert_eq!(d.known(), (0, 0), "domains and sites are forgotten");
    assert!(d.poll_timeout().is_none(), "nothing left to wait for");
    assert!(d.is_quiet());
}

#[test]
fn a_message_is_delivered_and_forgotten() {
    let mut w = world();
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    assert_eq!(w.kinds(id, 0), [Kind::Delivered]);
    let h = &w.happened[0];
    assert_eq!((&*h.site, h.attempt, h.mx.as_deref()), ("mx.x.test", 1, Some("mx.x.test")));
    check_empty(&mut w);
    assert_eq!(w.loads + w.fetches, 0, "what is in memory is not read again");
}

#[test]
fn recipients_of_one_site_share_a_transaction_also_across_domains() {
    let mut w = world();
    for domain in ["x.test", "y.test"] {
        w.mx.insert(domain.into(), Ok(vec![(10, "mx.big.test".into())]));
    }
    w.accept("a@from.test", &["ok1@x.test", "ok2@y.test", "ok3@x.test", "ok@z.test"]);
    w.settle_down();
    let mut sizes: Vec<usize> = w.deliveries.iter().map(|d| d.3.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 3]);
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn more_than_a_hundred_recipients_take_several_transactions() {
    let mut w = world();
    let names: Vec<String> = (0..250).map(|i| format!("{}{i}@x.test", ["ok", "bounce", "later"][i % 3])).collect();
    w.accept("a@from.test", &names.iter().map(|n| &**n).collect::<Vec<_>>());
    w.settle_down();
    assert_eq!(w.deliveries.iter().take(3).map(|d| d.3.len()).collect::<Vec<_>>(), [100, 100, 50]);
    w.run(S(3600));
    w.check_ends();
    check_empty(&mut w);
    let ends = [Kind::Delivered, Kind::Bounced, Kind::Deferred].map(|k| w.count(k));
    // 84 ok, 83 bounces, 83 later delivered; the notices are delivered besides.
    assert_eq!((ends[0] - w.notices.len(), ends[1], ends[2]), (84 + 83, 83, 83));
}

#[test]
fn outcomes_by_script() {
    use Kind::*;
    for (local, expected, attempts_of_last) in [
        ("ok", vec![Delivered], 1),
        ("bounce", vec![Bounced], 1),
        ("later", vec![Deferred, Delivered], 2),
        ("spam", vec![Bounced], 1),
        ("grey", vec![Deferred, Delivered], 2),
        ("big", vec![Bounced], 1),
        ("lost", vec![Delivered], 1),
        ("close", vec![Delivered], 1),
        ("doubt", vec![Deferred, Delivered], 2),
    ] {
        let mut w = world();
        let id = w.accept("a@from.test", &[&format!("{local}@x.test")]);
        w.run(S(600));
        assert_eq!(w.kinds(id, 0), expected, "{local}");
        let last = w.happened.iter().rfind(|h| h.id == id).unwrap();
        assert_eq!(last.attempt, attempts_of_last, "{local}");
        let doubts = w.happened.iter().filter(|h| h.in_doubt).count();
        assert_eq!(doubts, usize::from(local == "doubt"));
        w.check_ends();
        check_empty(&mut w);
    }
}

#[test]
fn one_refused_recipient_does_not_hurt_the_others() {
    let mut w = world();
    let id = w.accept("a@from.test", &["ok1@x.test", "bounce@x.test", "later@x.test", "ok2@x.test"]);
    w.settle_down();
    let first: Vec<Kind> = (0..4).map(|i| w.kinds(id, i)[0]).collect();
    assert_eq!(first, [Kind::Delivered, Kind::Bounced, Kind::Deferred, Kind::Delivered]);
    w.run(S(600));
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn a_full_mailbox_is_tried_until_it_expires() {
    let mut w = world();
    let id = w.accept("a@from.test", &["full@x.test"]);
    w.run(S(7 * 3600));
    let kinds = w.kinds(id, 0);
    assert_eq!(kinds.last(), Some(&Kind::Expired));
    let gaps: Vec<u64> = w.deliveries.windows(2).map(|d| (d[1].0 - d[0].0).as_secs()).collect();
    for (gap, base) in gaps.iter().zip([60, 300, 900, 3600, 3600]) {
        let base = base as f64;
        assert!((base * 0.79..base * 1.21 + 2.0).contains(&(*gap as f64)), "{gaps:?}");
    }
    assert_eq!(w.notices.len(), 1);
    check_empty(&mut w);
}

#[test]
fn recipients_that_fail_together_share_one_notice() {
    let mut w = world();
    w.accept("a@from.test", &["bounce1@x.test", "bounce2@x.test", "ok@x.test"]);
    w.settle_down();
    let notice = &w.notices[0];
    assert_eq!(w.notices.len(), 1);
    assert!(notice.envelope.reverse_path.is_null());
    let text = String::from_utf8(notice.body.to_bytes().to_vec()).unwrap();
    assert!(text.contains("bounce1@x.test") && text.contains("bounce2@x.test") && !text.contains("<ok@x.test>"));
    check_empty(&mut w);
}

#[test]
fn a_notice_is_never_answered_by_a_notice() {
    let mut w = world();
    w.accept("", &["bounce@x.test"]);
    w.accept("bounce@y.test", &["bounce@x.test"]);
    w.run(S(60));
    assert_eq!(w.notices.len(), 1);
    assert_eq!(w.count(Kind::Bounced), 3);
    check_empty(&mut w);
}

#[test]
fn domains_without_a_way_bounce_or_wait() {
    for (failure, kind, code) in [
        (MxFailure::NoSuchDomain, Kind::Bounced, (5, 1, 2)),
        (MxFailure::NullMx, Kind::Bounced, (5, 1, 10)),
        (MxFailure::Loop, Kind::Bounced, (5, 4, 6)),
        (MxFailure::Temporary("SERVFAIL".into()), Kind::Deferred, (4, 4, 3)),
    ] {
        let mut w = world();
        w.mx.insert("x.test".into(), Err(failure));
        for _ in 0..10 {
            w.accept("a@from.test", &["ok@x.test"]);
        }
        w.settle_down();
        assert_eq!(w.count(kind), 10, "{code:?}");
        let enhanced = w.happened[0].reply.as_ref().unwrap().enhanced.unwrap();
        assert_eq!((enhanced.0, enhanced.1, enhanced.2), code);
        assert_eq!(w.questions, if kind == Kind::Bounced { 2 } else { 1 }, "one question, and one for the notices");
        w.mx.remove("x.test");
        check_empty(&mut w);
        w.check_ends();
    }
}

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

fn fastest_window(times: &[Instant], per: Duration) -> usize {
    let inside = |i: usize| times[i..].iter().take_while(|t| **t < times[i] + per).count();
    (0..times.len()).map(inside).max().unwrap_or(0)
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
fn what_has_no_room_stays_on_disk_and_comes_later() {
    let mut w = world();
    w.manual = true;
    for i in 0..5000 {
        w.accept("a@from.test", &["ok@x.test"]);
        if i % 1000 == 0 {
            w.settle_down();
        }
    }
    w.settle_down();
    assert!(w.dispatch.counts().ready <= bounds::READY_PER_SITE as u64);
    w.manual = false;
    w.answer_all();
    w.run(S(5));
    assert_eq!(w.count(Kind::Delivered), 5000);
    assert!(w.fetches >= 4);
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn bodies_beyond_the_budget_are_read_back() {
    let mut config = config();
    config.queue.body_cache_bytes = 4000;
    let mut w = World::new(config, 1);
    w.delay = Duration::from_millis(5);
    let body = format!("Subject: x\r\n\r\n{}", "0123456789abcde\r\n".repeat(60));
    for _ in 0..200 {
        w.accept_body("a@from.test", &["ok@x.test"], &body);
        assert!(w.dispatch.messages.body_bytes <= 4000);
    }
    w.run(S(10));
    assert!(w.loads >= 190, "{}", w.loads);
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn slow_sites_do_not_shut_others_out() {
    let mut w = world();
    w.manual = true;
    for site in 0..60 {
        let to = format!("ok@slow{site}.test");
        for _ in 0..1100 {
            w.accept("a@from.test", &[&to]);
        }
        w.settle_down();
    }
    assert!(w.dispatch.kept <= bounds::READY_TOTAL);
    w.manual = false;
    let id = w.accept("a@from.test", &["ok@quick.test"]);
    w.settle_down();
    assert_eq!(w.kinds(id, 0), [Kind::Delivered]);
    w.answer_all();
    w.run(S(60));
    w.check_ends();
}

#[test]
fn the_backlog_is_taken_up_at_start() {
    let mut w = world();
    w.manual = true;
    for i in 0..300 {
        w.accept("a@from.test", &[&format!("ok@d{i}.test"), "later@common.test"]);
    }
    w.settle_down();
    w.manual = false;
    w.happened.clear();
    w.restart(2);
    w.run(S(3600));
    w.check_ends();
    check_empty(&mut w);
}

fn rule(domains: &[&str], mx: &[&str], limits: crate::config::Limits) -> SiteRule {
    let patterns = |list: &[&str]| list.iter().map(|p| Pattern((*p).into())).collect();
    SiteRule { domains: patterns(domains), mx: patterns(mx), limits: Arc::new(limits) }
}

#[test]
fn site_rules_match_by_host_or_set_a_domain_apart() {
    let mut config = config();
    let with = |connections| crate::config::Limits { connections, ..limits() };
    config.sites = vec![rule(&["vip.test"], &[], with(3)), rule(&[], &["*.big.test"], with(2))];
    let mut w = World::new(config, 1);
    w.manual = true;
    for domain in ["vip.test", "x.test", "y.test"] {
        w.mx.insert(domain.into(), Ok(vec![(10, "mx.big.test".into())]));
        for _ in 0..50 {
            w.accept("a@from.test", &[&format!("ok@{domain}")]);
        }
    }
    w.settle_down();
    let site = |domain: &str| w.dispatch.explain_site(domain).unwrap();
    assert_eq!((&*site("vip.test").site, site("vip.test").busy), ("vip.test", 3));
    assert_eq!((&*site("x.test").site, site("x.test").busy), ("mx.big.test", 2));
    assert_eq!(site("y.test").site, site("x.test").site);
    assert_eq!(w.opens.len(), 5);
    for domain in ["vip.test", "x.test", "y.test"] {
        let answer = w.mx_answer(domain).unwrap();
        let (name, limits) = explain::expected_site(w.dispatch.config(), domain, Some(&answer));
        assert_eq!((name, limits), (site(domain).site, site(domain).limits), "{domain}: expected is what happens");
    }
}

#[test]
fn source_addresses_take_turns() {
    let mut config = config();
    config.delivery.source_addresses = ["10.9.0.1", "10.9.0.2", "2001:db8::1"].map(|a| a.parse().unwrap()).to_vec();
    let mut w = World::new(config, 1);
    w.manual = true;
    for _ in 0..100 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.settle_down();
    let of = |a: &str| w.opens.iter().filter(|(_, o)| o.source == Some(a.parse().unwrap())).count();
    assert_eq!((of("10.9.0.1"), of("10.9.0.2"), of("2001:db8::1")), (10, 10, 0));
}

#[test]
fn suspended_sites_keep_nothing_in_memory_and_resume_by_reload() {
    let mut config = config();
    config.sites = vec![rule(&["x.test"], &[], crate::config::Limits { suspend: true, ..limits() })];
    let mut w = World::new(config, 1);
    for _ in 0..100 {
        w.accept("a@from.test", &["ok@x.test", "ok@y.test"]);
    }
    w.run(S(60));
    assert_eq!((w.count(Kind::Delivered), w.opens.len()), (100, 1.max(w.opens.len())));
    assert_eq!((w.dispatch.counts().ready, w.dispatch.messages.held.len(), w.dispatch.kept), (0, 0, 0));
    assert_eq!(w.dispatch.explain_site("x.test").unwrap().binding.to_string(), "suspend");
    w.config.sites.clear();
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.run(S(60));
    w.check_ends();
    check_empty(&mut w);
}

/// What was due on disk is due in an hour when the clock is set back by one: nothing but a timer remembers it then.
#[test]
fn a_clock_that_is_set_back_forgets_nothing_on_disk() {
    let mut config = config();
    config.sites = vec![rule(&["x.test"], &[], crate::config::Limits { suspend: true, ..limits() })];
    let mut w = World::new(config, 1);
    for _ in 0..10 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.run(S(60));
    w.now.wall_us -= 3600 * 1_000_000;
    w.config.sites.clear();
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.run(S(2 * 3600));
    assert_eq!(w.count(Kind::Delivered), 10);
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn a_reload_changes_routes_of_what_is_ready() {
    let mut w = world();
    w.manual = true;
    w.config.limits = Arc::new(crate::config::Limits { connections: 1, ..limits() });
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    for _ in 0..50 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.settle_down();
    w.config.routes = vec![routes::route("*", routes::smart_host("relay.test", 2526))];
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.manual = false;
    w.answer_all();
    w.run(S(1));
    w.check_ends();
    let by = |site: &str| w.happened.iter().filter(|h| &*h.site == site).count();
    assert_eq!((by("mx.x.test"), by("relay.test:2526")), (2, 48));
    check_empty(&mut w);
}

#[test]
fn operators_hold_release_hurry_and_remove() {
    let mut w = world();
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    let ids: Vec<MessageId> = (0..4).map(|_| w.accept("a@from.test", &["ok@x.test"])).collect();
    w.settle_down();
    w.doors.clear();
    let entries = |w: &World, id| {
        w.disk.iter().filter(|(k, _)| k.id == id).map(|(k, e)| (k.clone(), e.clone())).collect::<Vec<_>>()
    };
    w.operate(Operation::Hold(entries(&w, ids[0])));
    w.operate(Operation::Remove(entries(&w, ids[1])));
    w.operate(Operation::Retry(entries(&w, ids[2])));
    w.settle_down();
    assert_eq!(w.kinds(ids[1], 0), [Kind::Deferred, Kind::Removed]);
    assert_eq!(w.kinds(ids[2], 0), [Kind::Deferred, Kind::Delivered], "at once, through the backoff");
    assert_eq!(w.kinds(ids[3], 0), [Kind::Deferred]);
    w.run(S(3600));
    assert_eq!(w.kinds(ids[3], 0), [Kind::Deferred, Kind::Delivered]);
    assert_eq!(w.disk.keys().map(|k| k.due_ms).collect::<Vec<_>>(), [EntryKey::HELD]);
    // Held again by somebody who did not know: that changes nothing.
    w.operate(Operation::Hold(entries(&w, ids[0])));
    w.operate(Operation::Release(entries(&w, ids[0])));
    w.settle_down();
    assert_eq!(w.kinds(ids[0], 0), [Kind::Deferred, Kind::Delivered]);
    assert!(w.notices.is_empty());
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn operators_act_on_what_is_ready_but_not_on_what_is_in_flight() {
    let mut w = world();
    w.config.limits = Arc::new(crate::config::Limits { connections: 1, ..limits() });
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.manual = true;
    for _ in 0..10 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.settle_down();
    let all: Vec<_> = w.disk.iter().map(|(k, e)| (k.clone(), e.clone())).collect();
    let states = all.iter().map(|(k, e)| w.dispatch.entry_state(k, e));
    assert_eq!(states.fold((0, 0), |sum, state| (sum.0 + state.0, sum.1 + state.1)), (8, 2), "waiting, in flight");
    w.operate(Operation::Remove(all.clone()));
    assert!(all.iter().all(|(k, e)| w.dispatch.entry_state(k, e).0 == 0), "removed, though not yet durably");
    w.manual = false;
    w.answer_all();
    w.run(S(1));
    assert_eq!((w.count(Kind::Delivered), w.count(Kind::Removed)), (2, 8));
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn a_drain_finishes_what_is_in_flight_and_starts_nothing() {
    let mut w = world();
    w.manual = true;
    for _ in 0..100 {
        w.accept("a@from.test", &["later@x.test"]);
    }
    w.settle_down();
    let in_flight = w.deliveries.len();
    w.handle(Input::Drain);
    assert!(!w.dispatch.is_quiet());
    w.accept("a@from.test", &["ok@x.test"]);
    w.answer_all();
    w.run(S(600));
    assert!(w.dispatch.is_quiet() && w.peers.is_empty());
    assert_eq!((w.deliveries.len(), w.count(Kind::Deferred)), (in_flight, in_flight));
    assert_eq!(w.disk.len(), 101, "the rest is in the queue");
    // A drain while connecting.
    let mut w = world();
    w.accept("a@from.test", &["ok@x.test"]);
    w.delay = S(1);
    w.run(Duration::from_millis(1));
    w.handle(Input::Drain);
    w.run(S(10));
    assert!(w.dispatch.is_quiet());
}

#[test]
fn many_domains_leave_nothing_behind() {
    let mut w = world();
    w.delay = Duration::from_millis(50);
    for i in 0..3000 {
        w.accept("", &[&format!("{}@d{i}.test", ["ok", "later"][i % 2])]);
    }
    w.run(S(600));
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn a_notice_for_what_is_only_on_disk_is_written_after_reading_it() {
    let mut w = world();
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.run(S(7 * 3600));
    assert_eq!(w.kinds(id, 0).last(), Some(&Kind::Expired));
    assert!(w.loads > 0);
    assert_eq!(w.notices.len(), 1);
    check_empty(&mut w);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| {
        let mut w = random_world(seed);
        w.run(S(3600));
        let name = |h: &Happened| format!("{:?} {} {} {}", h.kind, h.id, h.recipient, h.now.wall_us);
        w.happened.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(story(5), story(5));
}

/// A world with random limits, delays, failing hosts and scripted recipients.
fn random_world(seed: u64) -> World {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut config = config();
    config.limits = Arc::new(crate::config::Limits {
        connections: rng.u32(1..6),
        messages_per_connection: rng.u32(1..30),
        recipients_per_message: rng.u32(1..8),
        pipelining: *rng.choice([Pipelining::Off, Pipelining::Transaction, Pipelining::Stream].iter()).unwrap(),
        rate: rng.bool().then(|| Rate { count: rng.u32(1..200), per: S(1) }),
        connection_rate: rng.bool().then(|| Rate { count: rng.u32(1..20), per: S(1) }),
        ..limits()
    });
    config.queue.body_cache_bytes = rng.usize(..5000);
    let mut w = World::new(config, seed);
    w.delay = Duration::from_millis(rng.u64(..200));
    let words = ["ok", "ok", "ok", "bounce", "later", "spam", "grey", "doubt", "lost", "close", "big", "full"];
    for i in 0..12 {
        let hosts = (0..rng.u16(1..4)).map(|h| (h / 2, format!("mx{h}.p{}.test", i % 5))).collect();
        let answer = match rng.u8(..20) {
            0 => Err(MxFailure::NoSuchDomain),
            1 => Err(MxFailure::Temporary("timeout".into())),
            _ => Ok(hosts),
        };
        w.mx.insert(format!("d{i}.test"), answer);
        for h in 0..3 {
            let door =
                [Door::Open, Door::Open, Door::Open, Door::Refused, Door::Unwelcome, Door::BadTls][rng.usize(..6)];
            w.doors.insert(address_of(&format!("mx{h}.p{}.test", i % 5)), door);
        }
    }
    for n in 0..150 {
        let count = if rng.u8(..5) == 0 { rng.usize(1..40) } else { 1 };
        let to: Vec<String> =
            (0..count).map(|i| format!("{}{i}@d{}.test", words[rng.usize(..words.len())], rng.u8(..12))).collect();
        let from = if rng.u8(..4) == 0 { "" } else { "ok@d0.test" };
        w.accept(from, &to.iter().map(|t| &**t).collect::<Vec<_>>());
        if n % 10 == 0 {
            w.run(Duration::from_millis(rng.u64(..300)));
        }
        if n == 70 && seed.is_multiple_of(3) {
            w.handle(Input::Reload(Arc::new(w.config.clone())));
        }
        if n == 80 && seed.is_multiple_of(4) {
            let some: Vec<_> = w.disk.iter().step_by(7).map(|(k, e)| (k.clone(), e.clone())).collect();
            w.operate(if seed.is_multiple_of(8) { Operation::Retry(some) } else { Operation::Remove(some) });
        }
    }
    w
}

#[test]
fn whatever_happens_every_recipient_ends_once() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut w = random_world(seed);
        w.run(S(600));
        // The world heals.
        w.doors.clear();
        w.run(S(10 * 3600));
        w.check_ends();
        let rate = w.config.limits.rate.map_or(u32::MAX, |r| r.count) as usize;
        let mut by_site: std::collections::BTreeMap<Arc<str>, Vec<Instant>> = Default::default();
        let sites: std::collections::BTreeMap<ConnectionId, Arc<str>> =
            w.opens.iter().map(|(_, o)| (o.connection, o.site.clone())).collect();
        for (at, connection, ..) in &w.deliveries {
            by_site.entry(sites[connection].clone()).or_default().push(*at);
        }
        for (site, times) in by_site {
            // A message that was not sent after all gives its place back: those do not count at the peer.
            let most = fastest_window(&times, S(1));
            assert!(most <= rate.saturating_add(64), "{site}: {most} of {rate}");
        }
        check_empty(&mut w);
    }
}

#[test]
fn unreadable_mail_is_deferred_and_given_up_without_a_notice() {
    let mut config = config();
    config.queue.body_cache_bytes = 0;
    let mut w = World::new(config, 1);
    w.delay = S(1);
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.run(Duration::from_micros(1));
    for _ in 0..600 {
        // The answer to a load is an error, whatever the world had in mind.
        w.handle(Input::Loaded(id, Err("damaged".into())));
        w.run(Duration::from_millis(100));
        if w.count(Kind::Deferred) > 0 {
            break;
        }
    }
    assert_eq!(w.kinds(id, 0), [Kind::Deferred]);
    assert!(w.happened[0].reply.as_ref().unwrap().text.contains("damaged"));
    let due = w.disk.keys().next().unwrap();
    assert_eq!(due.domain, Domain::new("x.test"));
}
