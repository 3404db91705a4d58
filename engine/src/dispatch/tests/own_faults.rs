//! Connections that cannot be opened for a reason of our own.

use super::*;
use std::net::IpAddr;

const HOSTS: [&str; 2] = ["mx.x.test", "mx.y.test"];

fn without_descriptors() -> World {
    let mut w = world();
    HOSTS.iter().for_each(|host| _ = w.doors.insert(address_of(host), Door::NoDescriptor));
    for _ in 0..50 {
        w.accept("a@from.test", &["ok@x.test", "ok@y.test"]);
    }
    w
}

#[test]
fn a_fault_of_our_own_is_waited_out_and_held_against_no_host() {
    let mut w = without_descriptors();
    w.run(S(40));
    assert_eq!((w.count(Kind::Delivered), w.count(Kind::Deferred)), (0, 0));
    assert!((10..=2 * 5 * 10).contains(&w.opens.len()), "tried now and then: {}", w.opens.len());
    assert_eq!(w.not_opened.len(), 1, "told once");
    let view = w.dispatch.explain_site("x.test").unwrap();
    assert_eq!(view.binding.to_string(), "backoff");
    assert!(view.last_error.unwrap().text.contains("too many open files"));
    w.doors.clear();
    w.run(bounds::OWN_FAULT.0);
    assert_eq!((w.count(Kind::Delivered), w.count(Kind::Deferred)), (100, 0));
    w.check_ends();
    check_empty(&mut w);
}

/// So that senders hear of it, and memory is for others.
#[test]
fn where_it_lasts_mail_is_deferred_and_no_host_left_alone_for_longer() {
    let mut w = without_descriptors();
    w.run(S(1800));
    assert!(w.count(Kind::Deferred) >= 200, "{}", w.count(Kind::Deferred));
    let told = w.happened[0].reply.as_ref().unwrap();
    assert_eq!((told.code, told.enhanced.map(|e| (e.0, e.1, e.2))), (451, Some((4, 3, 0))));
    assert_eq!(w.not_opened.len(), 1, "told once");
    w.doors.clear();
    w.run(bounds::OWN_FAULT.0);
    w.handle(Input::Reload(w.dispatch.config().clone()));
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    assert_eq!(w.kinds(id, 0), [Kind::Delivered]);
    w.run(S(7200));
    w.check_ends();
    check_empty(&mut w);
}

/// What we cannot open is not what the site does not take.
#[test]
fn it_says_nothing_of_a_sites_capacity() {
    let mut w = world();
    w.manual = true;
    w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    w.answer_all();
    w.doors.insert(address_of("mx.x.test"), Door::NoDescriptor);
    (0..1000).for_each(|_| _ = w.accept("a@from.test", &["ok@x.test"]));
    w.run(S(100));
    assert_eq!((w.peers.len(), w.count(Kind::Deferred)), (1, 0), "that one goes on");
    w.doors.clear();
    w.run(bounds::OWN_FAULT.0);
    assert_eq!(w.peers.len(), 20);
    w.manual = false;
    w.answer_all();
    w.run(S(10));
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn another_source_address_takes_the_place_of_one_that_is_away() {
    let sources: Vec<IpAddr> = ["192.0.2.1", "192.0.2.2"].iter().map(|ip| ip.parse().unwrap()).collect();
    for away in [&sources[..1], &sources[..0]] {
        let mut config = config();
        config.delivery.source_addresses = sources.clone();
        let mut w = World::new(config, 1);
        away.iter().for_each(|away| _ = w.doors.insert(address_of("mx.x.test"), Door::SourceAway(*away)));
        (0..300).for_each(|_| _ = w.accept("a@from.test", &["ok@x.test"]));
        w.settle_down();
        assert_eq!(w.count(Kind::Delivered), 300, "at once");
        let told: Vec<Option<IpAddr>> = w.not_opened.iter().map(|(source, _)| *source).collect();
        assert_eq!(told, away.iter().copied().map(Some).collect::<Vec<_>>());
        let used = |w: &World, ip| w.opens.iter().filter(|(_, open)| open.source == Some(ip)).count();
        let tries = used(&w, sources[0]);
        assert!((1..=10).contains(&tries), "no more than those that were on their way: {tries}");
        // What one site has found out, others need not.
        (0..300).for_each(|_| _ = w.accept("a@from.test", &["ok@y.test"]));
        w.settle_down();
        assert_eq!(used(&w, sources[0]) > tries, away.is_empty());
        check_empty(&mut w);
    }
}

#[test]
fn the_next_address_is_tried_where_one_is_forbidden_to_us() {
    let mut w = world();
    let ips: Vec<IpAddr> = ["10.1.0.1", "10.1.0.2"].iter().map(|ip| ip.parse().unwrap()).collect();
    w.addresses.insert("mx.x.test".into(), ips.clone());
    w.doors.insert(ips[0], Door::NoDescriptor);
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    assert_eq!(w.kinds(id, 0), [Kind::Delivered]);
    check_empty(&mut w);
}
