//! Rules, reloads, and what operators do.

use super::*;

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
    assert_eq!((&*site("vip.test").site, site("vip.test").connections.busy), ("vip.test", 3));
    assert_eq!((&*site("x.test").site, site("x.test").connections.busy), ("mx.big.test", 2));
    let mut busy: Vec<_> = w.dispatch.open_by_site().map(|(site, open)| (site, open.busy, open.total())).collect();
    busy.sort_unstable();
    assert_eq!(busy, [("mx.big.test", 2, 2), ("vip.test", 3, 3)]);
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

/// What is being read back may have been read before a part of it was delivered: what goes back to disk meanwhile would be taken from
/// that anew, as a whole.
#[test]
fn what_goes_back_to_disk_while_it_is_read_is_not_delivered_again() {
    let mut config = config();
    let connection_rate = Some(Rate { count: 1, per: S(60) });
    let each = crate::config::Limits { messages_per_connection: 1, recipients_per_message: 1, ..limits() };
    config.limits = Arc::new(crate::config::Limits { connections: 1, connection_rate, ..each });
    let mut w = World::new(config.clone(), 1);
    w.accept("a@from.test", &["ok1@x.test", "ok2@x.test"]);
    let read: Vec<_> = w.disk.iter().map(|(key, entry)| (key.clone(), entry.clone())).collect();
    let (domain, flow) = (read[0].0.domain.clone(), read[0].0.flow);
    w.settle_down();
    assert_eq!((w.count(Kind::Delivered), w.disk.len()), (1, 1), "the other waits for another connection");
    w.handle(Input::Backlog(vec![(domain.clone(), flow, 0)]));
    assert_eq!(w.fetches, 1, "a read is under way");
    let suspended = Arc::new(crate::config::Limits { suspend: true, ..(*config.limits).clone() });
    w.handle(Input::Reload(Arc::new(Config { limits: suspended, ..config.clone() })));
    w.handle(Input::Fetched { domain, flow, entries: read, more: false, next_due_ms: None });
    assert!(w.disk.values().all(|entry| entry.open.len() == 1));
    w.handle(Input::Reload(Arc::new(config)));
    w.run(S(600));
    w.check_ends();
    check_empty(&mut w);
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

/// A machine without a clock of its own starts in 1970, and takes the time from the network a little later.
#[test]
fn a_clock_that_is_set_forward_keeps_nothing_waiting() {
    let mut w = World::new(config(), 1);
    let id = w.accept("a@from.test", &["later@a.test"]);
    w.run(S(1));
    assert_eq!(w.kinds(id, 0), [Kind::Deferred]);
    let wall_us = std::mem::take(&mut w.now.wall_us);
    w.restart(2);
    w.run(S(60));
    assert_eq!(w.kinds(id, 0), [Kind::Deferred]);
    w.now.wall_us = wall_us + 3600 * 1_000_000;
    w.run(2 * crate::dispatch::bounds::DUE_LOOK);
    assert_eq!(w.kinds(id, 0), [Kind::Deferred, Kind::Delivered]);
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

/// The site of their hosts was made for the first of two domains; what holds for that one alone from now on is no business of
/// the other.
#[test]
fn a_domain_that_a_reload_sets_apart_takes_its_limits_with_it() {
    let mut w = World::new(config(), 1);
    w.manual = true;
    for domain in ["x.test", "y.test"] {
        w.mx.insert(domain.into(), Ok(vec![(10, "mx.big.test".into())]));
        for _ in 0..50 {
            w.accept("a@from.test", &[&format!("ok@{domain}")]);
        }
        w.settle_down();
    }
    w.config.sites = vec![rule(&["x.test"], &[], crate::config::Limits { suspend: true, ..limits() })];
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    let in_flight = w.deliveries.len();
    w.manual = false;
    w.answer_all();
    w.run(S(60));
    assert_eq!(w.count(Kind::Delivered), in_flight + 50, "of the first what was in flight, and all of the other");
    w.config.sites.clear();
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.run(S(60));
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn after_a_reload_mail_leaves_from_the_addresses_that_are_configured_now() {
    let mut w = world();
    let [first, second] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
    let mut opens = 0;
    for sources in [vec![], vec![first], vec![second], vec![second], vec![]] {
        w.config.delivery.source_addresses = sources.clone();
        w.handle(Input::Reload(Arc::new(w.config.clone())));
        let id = w.accept("a@from.test", &["ok@x.test"]);
        w.run(S(1));
        let happened = w.happened.iter().find(|h| h.id == id).unwrap();
        assert_eq!((happened.kind, happened.source_address), (Kind::Delivered, sources.first().copied()));
        opens += 1;
    }
    assert_eq!(w.opens.len(), opens - 1, "a connection that suits is kept");
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
    w.operate(Operation::Remove(entries(&w, ids[1]), HashMap::new()));
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

/// FUTURERELEASE: an operator's hold ends, the sender's goes on.
#[test]
fn a_release_is_not_ahead_of_the_sender() {
    let mut w = world();
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    let entries = |w: &World| w.disk.iter().map(|(k, e)| (k.clone(), e.clone())).collect::<Vec<_>>();
    let all = entries(&w);
    w.operate(Operation::Hold(all));
    w.settle_down();
    let later = w.now.wall_ms() + 3_600_000;
    let untried = |(key, entry)| (key, Entry { attempts: 0, accepted_ms: later, ..entry });
    let held = entries(&w).into_iter().map(untried).collect();
    w.operate(Operation::Release(held));
    w.settle_down();
    assert_eq!(w.disk.keys().map(|k| k.due_ms).collect::<Vec<_>>(), [later]);
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
    w.operate(Operation::Remove(all.clone(), HashMap::new()));
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
fn a_drain_after_the_queue_has_failed_waits_for_connections_only() {
    let mut w = world();
    w.manual = true;
    w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    w.is_broken = true;
    w.handle(Input::Drain);
    assert!(!w.dispatch.is_hung_up(), "a transaction is in flight");
    w.answer_all();
    w.run(S(600));
    assert!(w.peers.is_empty() && w.count(Kind::Delivered) == 1);
    assert!(!w.dispatch.is_quiet() && w.dispatch.is_hung_up());
}

/// The deferral is not on disk yet when the operator's walk comes by.
#[test]
fn a_retry_of_what_is_just_being_deferred_is_not_lost() {
    let mut w = World::new(config(), 1);
    w.accept("a@from.test", &["later1@x.test", "later2@x.test"]);
    w.delay = S(1);
    while w.count(Kind::Deferred) == 0 {
        w.run(Duration::from_millis(1));
    }
    let before: Vec<_> = w.disk.iter().map(|(key, entry)| (key.clone(), entry.clone())).collect();
    assert!(before.iter().all(|(key, _)| key.due_ms <= w.now.wall_ms()), "{before:?}");
    w.operate(Operation::Retry(before));
    w.run(S(20));
    assert_eq!(w.count(Kind::Delivered), 2, "before the minute of [retry] is over: {:?}", w.disk.keys());
    check_empty(&mut w);
    w.check_ends();
}

#[test]
fn what_was_let_go_of_since_it_was_read_has_to_be_read_again() {
    let mut w = world();
    w.manual = true;
    let since = w.dispatch.begin_look();
    w.accept("a@from.test", &["ok@x.test", "ok@y.test"]);
    let read: Vec<EntryKey> = w.disk.keys().cloned().collect();
    w.settle_down();
    let stale = |w: &World, since| read.iter().filter(|key| w.dispatch.was_let_go(key, since)).count();
    assert_eq!(stale(&w, since), 0, "in flight: dispatch knows better than the disk");
    w.manual = false;
    w.answer_all();
    w.run(S(1));
    assert_eq!(stale(&w, since), 2);
    assert_eq!(stale(&w, w.dispatch.look_serial()), 0, "read again since");
    w.dispatch.end_look();
    let since = w.dispatch.begin_look();
    assert_eq!(stale(&w, since), 0);
    w.dispatch.end_look();
    w.check_ends();
    check_empty(&mut w);
}
