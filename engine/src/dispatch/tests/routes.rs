//! Routes: named hosts by preference, nowhere, and ways that lead back.

use super::*;
use crate::config::{NextHop, RoutePolicy};

fn tcp(protocol: Protocol, host: &str, port: u16) -> NextHop {
    NextHop::Tcp { protocol, implicit_tls: false, host: host.into(), port }
}

pub(super) fn route(domain: &str, via: Via) -> RouteRule {
    RouteRule { domains: vec![Pattern(domain.into())], via, policy: None, origin: "here".into() }
}

pub(super) fn smart_host(host: &str, port: u16) -> Via {
    Via::Hops([tcp(Protocol::Smtp, host, port)].into())
}

fn world_with(routes: Vec<RouteRule>) -> World {
    World::new(Config { routes, ..config() }, 1)
}

#[test]
fn routes_lead_to_smart_hosts_and_sockets() {
    let mut w = world_with(vec![
        route("smart.test", smart_host("relay.test", 2526)),
        route("local.test", Via::Hops([NextHop::Unix("/run/lmtp".into())].into())),
        route("*.lmtp.test", Via::Hops([tcp(Protocol::Lmtp, "10.2.3.4", 24)].into())),
    ]);
    w.accept("a@from.test", &["ok@smart.test", "ok@local.test", "ok@a.lmtp.test", "ok@b.lmtp.test"]);
    w.settle_down();
    assert_eq!(w.count(Kind::Delivered), 4);
    assert_eq!(w.questions, 0, "no MX is asked for");
    let mut opened: Vec<_> = w.opens.iter().map(|(_, o)| (o.site.to_string(), o.protocol, o.tls)).collect();
    opened.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("/run/lmtp", Protocol::Lmtp, TlsPolicy::Off),
        ("10.2.3.4:24", Protocol::Lmtp, TlsPolicy::Opportunistic),
        ("relay.test:2526", Protocol::Smtp, TlsPolicy::Opportunistic),
    ];
    assert_eq!(opened, expected.map(|(s, p, t)| (s.to_string(), p, t)));
    check_empty(&mut w);
}

#[test]
fn the_next_host_of_a_list_is_used_only_while_those_before_it_fail() {
    // The first two are one host with two ports.
    let hops = [("a.test", 25), ("a.test", 26), ("b.test", 27)].map(|(host, port)| tcp(Protocol::Smtp, host, port));
    let mut w = world_with(vec![route("*", Via::Hops(hops.into()))]);
    w.doors.insert(address_of("a.test"), Door::Refused);
    w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    let port = |open: &Open| match &open.peer {
        Peer::At(SocketName::Tcp(address)) => address.port(),
        _ => 0,
    };
    assert_eq!(w.opens.iter().map(|(_, o)| port(o)).collect::<Vec<_>>(), [25, 26, 27]);
    assert_eq!(w.count(Kind::Delivered), 1);
    assert_eq!(w.count(Kind::Deferred), 0);
    w.doors.clear();
    w.run(S(60));
    w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    assert_eq!(w.opens.last().map(|(_, o)| port(o)), Some(25), "the preferred one again");
    check_empty(&mut w);
}

#[test]
fn a_route_s_word_on_tls_goes_before_the_site_s_and_its_mail_has_connections_of_its_own() {
    let policy = RoutePolicy { tls: Some(TlsPolicy::Verified), ..RoutePolicy::default() };
    let careful = RouteRule { policy: Some(Arc::new(policy)), ..route("careful.test", Via::Mx) };
    let mut w = world_with(vec![careful]);
    for domain in ["careful.test", "plain.test"] {
        w.mx.insert(domain.into(), Ok(vec![(10, "mx.big.test".into())]));
    }
    w.accept("a@from.test", &["ok@careful.test", "ok@plain.test"]);
    w.settle_down();
    let mut policies: Vec<_> = w.opens.iter().map(|(_, o)| (o.site.to_string(), o.tls.as_str())).collect();
    policies.sort();
    assert_eq!(policies, [("mx.big.test".into(), "opportunistic"), ("mx.big.test".into(), "verified")]);
    check_empty(&mut w);
}

#[test]
fn where_tls_comes_first_there_is_no_going_without() {
    let hop = NextHop::Tcp { protocol: Protocol::Smtp, implicit_tls: true, host: "a.test".into(), port: 465 };
    let mut w = world_with(vec![route("*", Via::Hops([hop].into()))]);
    w.doors.insert(address_of("a.test"), Door::BadTls);
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    assert_eq!(w.kinds(id, 0), [Kind::Deferred]);
    assert!(w.opens.iter().all(|(_, o)| o.tls == TlsPolicy::Required && o.implicit_tls));
    w.doors.clear();
    w.run(S(600));
    assert_eq!(w.kinds(id, 0), [Kind::Deferred, Kind::Delivered]);
    check_empty(&mut w);
}

#[test]
fn discarded_mail_is_settled_as_delivered_and_says_so() {
    let mut w = world_with(vec![route("sink.test", Via::Discard)]);
    let id = w.accept("a@from.test", &["one@sink.test", "two@sink.test", "ok@x.test"]);
    w.settle_down();
    assert_eq!([0, 1, 2].map(|n| w.kinds(id, n)), [[Kind::Delivered], [Kind::Delivered], [Kind::Delivered]]);
    let thrown: Vec<_> = w.happened.iter().filter(|h| h.mx.is_none()).collect();
    assert_eq!(thrown.len(), 2);
    let reply = thrown[0].reply.as_ref().unwrap();
    assert_eq!((&*reply.text, &*thrown[0].site), ("discarded: the [[route]] in here says so", "discard"));
    assert_eq!(w.opens.len(), 1, "for the third");
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn what_is_on_disk_is_discarded_too_without_filling_the_memory() {
    let mut w = world();
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    for _ in 0..6_000 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.settle_down();
    w.config.routes = vec![route("x.test", Via::Discard)];
    w.config.queue.body_cache_bytes = 4096;
    w.restart(2);
    w.run(S(600));
    w.check_ends();
    assert_eq!(w.count(Kind::Delivered), 6_000);
    check_empty(&mut w);
}

#[test]
fn a_suspended_route_to_nowhere_keeps_its_mail() {
    let mut w = world_with(vec![route("*", Via::Discard)]);
    w.config.limits = Arc::new(crate::config::Limits { suspend: true, ..limits() });
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.accept("a@from.test", &["ok@x.test"]);
    w.run(S(600));
    assert_eq!((w.happened.len(), w.disk.len()), (0, 1));
}

/// Exchangers, which of them are ourselves, where the connections went, and how it ended.
fn loops(exchangers: &[(u16, &str)], ours: &[&str], opened: &[&str], end: Kind) {
    let mut w = world();
    w.mx.insert("x.test".into(), Ok(exchangers.iter().map(|(p, h)| (*p, (*h).to_owned())).collect()));
    w.doors.extend(ours.iter().map(|host| (address_of(host), Door::Ourselves)));
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    assert_eq!(w.kinds(id, 0), [end], "{exchangers:?} {ours:?}");
    let hosts: Vec<String> =
        w.opens.iter().filter(|(_, o)| *o.site != *"mx.from.test").map(|(_, o)| o.host.to_string()).collect();
    assert_eq!(hosts, opened, "{exchangers:?} {ours:?}");
    if end == Kind::Bounced {
        let reply = w.happened[0].reply.as_ref().unwrap();
        assert_eq!((reply.code, reply.enhanced), (554, Some(smtp::EnhancedCode(5, 4, 6))));
    }
    check_empty(&mut w);
}

#[test]
fn a_host_that_is_this_server_is_dropped_with_all_that_are_not_preferred_to_it() {
    loops(&[(10, "a.test")], &["a.test"], &["a.test"], Kind::Bounced);
    loops(&[(10, "a.test"), (20, "b.test")], &["a.test"], &["a.test"], Kind::Bounced);
    // The preferred one is used; the backup, which is ourselves, not even asked.
    loops(&[(10, "a.test"), (20, "b.test")], &["b.test"], &["a.test"], Kind::Delivered);
}

#[test]
fn while_the_preferred_host_fails_a_backup_that_is_this_server_means_waiting() {
    let mut w = world();
    w.mx.insert("x.test".into(), Ok(vec![(10, "a.test".into()), (20, "b.test".into()), (30, "c.test".into())]));
    w.doors.insert(address_of("a.test"), Door::Refused);
    w.doors.insert(address_of("b.test"), Door::Ourselves);
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    assert_eq!(w.kinds(id, 0), [Kind::Deferred]);
    assert_eq!(w.hosts_opened(), ["a.test", "b.test"], "c.test would only hand it to b.test");
    w.doors.remove(&address_of("a.test"));
    w.run(S(600));
    assert_eq!(w.kinds(id, 0), [Kind::Deferred, Kind::Delivered]);
    check_empty(&mut w);
}

#[test]
fn a_loop_that_was_put_right_is_forgotten() {
    let mut w = world();
    w.doors.insert(address_of("mx.x.test"), Door::Ourselves);
    let first = w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    w.doors.clear();
    let second = w.accept("a@from.test", &["ok@x.test"]);
    w.run(S(120));
    assert_eq!((w.kinds(first, 0), w.kinds(second, 0)), (vec![Kind::Bounced], vec![Kind::Delivered]));
    check_empty(&mut w);
}
