//! Mail that customers come for.

use super::routes::route;
use super::*;

/// Mail for `c.test` and `d.test` waits for carol, that for `e.test` for erin.
fn config() -> Config {
    let route = |domain, user: &str| route(domain, Via::Odmr(user.into()));
    let routes = vec![route("c.test", "carol"), route("d.test", "carol"), route("e.test", "erin")];
    Config { routes, ..world::config() }
}

fn world() -> World {
    World::new(config(), 1)
}

/// The user comes; then what waits for the domains is made due, as the shell has it.
fn call(w: &mut World, user: &str, domains: &[&str]) {
    let domains: Box<[Domain]> = domains.iter().map(|domain| Domain::new(domain)).collect();
    let waiting: Vec<_> = w.disk.iter().filter(|(key, _)| domains.contains(&key.domain)).collect();
    let waiting = waiting.into_iter().map(|(key, entry)| (key.clone(), entry.clone())).collect();
    let address = Some("192.0.2.7".parse().unwrap());
    w.handle(Input::Offered(Offer { id: 7, user: user.into(), domains: Some(domains), address }));
    w.operate(Operation::Retry(waiting));
    w.handle(Input::Collected { user: user.into(), offer: 7 });
}

#[test]
fn mail_waits_for_its_user_and_goes_over_the_users_connection() {
    let mut w = world();
    let id = w.accept("a@from.test", &["ok@c.test", "ok@d.test", "ok@e.test", "ok@x.test"]);
    w.settle_down();
    let deferred = [Kind::Deferred];
    assert_eq!([0, 1, 2, 3].map(|n| w.kinds(id, n)), [&deferred[..], &deferred, &deferred, &[Kind::Delivered]]);
    let reply = w.happened.iter().find(|h| h.recipient == 0).unwrap().reply.clone().unwrap();
    assert_eq!((reply.code, &*reply.text), (450, "waits for ATRN of user carol"));
    assert_eq!((w.opens.len(), w.dispatch.kept), (1, 0), "no connection but the last one's, and nothing is kept");

    call(&mut w, "carol", &["c.test", "d.test"]);
    w.run(S(2));
    assert_eq!([0, 1].map(|n| w.kinds(id, n)), [[Kind::Deferred, Kind::Delivered], [Kind::Deferred, Kind::Delivered]]);
    let open = &w.opens[1].1;
    assert_eq!((&open.peer, &*open.site, &*open.host), (&Peer::Caller(7), "odmr:carol", "carol"));
    assert_eq!((w.opens.len(), w.deliveries[1].3.len()), (2, 2), "one connection, one transaction");
    let h = w.happened.iter().rfind(|h| h.recipient == 0).unwrap();
    assert_eq!(h.mx_address.as_deref(), Some("192.0.2.7"));
    w.run(S(4));
    assert!(w.peers.is_empty(), "QUIT is said when nothing is left");

    call(&mut w, "erin", &["e.test"]);
    check_empty(&mut w);
    w.check_ends();
}

#[test]
fn only_what_is_asked_for_goes() {
    let mut w = world();
    let id = w.accept("a@from.test", &["ok@c.test", "ok@d.test"]);
    w.settle_down();
    call(&mut w, "carol", &["c.test"]);
    // More comes while the customer is there.
    let more = w.accept("a@from.test", &["ok@c.test", "ok@d.test"]);
    w.run(S(2));
    assert_eq!([w.kinds(id, 0).last(), w.kinds(id, 1).last()], [Some(&Kind::Delivered), Some(&Kind::Deferred)]);
    assert_eq!([w.kinds(more, 0), w.kinds(more, 1)], [[Kind::Delivered], [Kind::Deferred]]);
}

#[test]
fn one_connection_at_a_time_serves_a_user() {
    let mut w = world();
    w.accept("a@from.test", &["ok@c.test"]);
    w.settle_down();
    call(&mut w, "carol", &["c.test"]);
    let other = [Domain::new("d.test")];
    assert!(w.dispatch.is_served(&"carol".into(), Some(&other)) && !w.dispatch.is_served(&"erin".into(), None));
    call(&mut w, "carol", &["d.test"]);
    assert_eq!(w.opens.len(), 1, "one for other domains is not taken");
    w.run(S(5));
    assert!(!w.dispatch.is_served(&"carol".into(), Some(&other)));
    check_empty(&mut w);
}

#[test]
fn a_customer_that_comes_again_is_not_kept_waiting_for_its_dead_connection() {
    let mut w = world();
    w.manual = true;
    w.accept("a@from.test", &["ok1@c.test"]);
    w.settle_down();
    call(&mut w, "carol", &["c.test"]);
    w.run(S(1));
    assert_eq!(w.deliveries.len(), 1, "in flight, and never answered");
    w.accept("a@from.test", &["ok2@c.test"]);
    w.accept("a@from.test", &["ok3@c.test"]);
    w.accept("a@from.test", &["ok4@d.test"]);
    w.run(S(1));
    w.manual = false;
    call(&mut w, "carol", &["c.test", "d.test"]);
    w.run(S(2));
    let (first, second) = (w.opens[0].1.connection, w.opens[1].1.connection);
    assert!(first != second && w.opens.len() == 2);
    assert!(w.deliveries.iter().any(|delivery| delivery.1 == second), "over the new one");
    let reply = smtp::client::Outcome::Lost {
        stage: smtp::client::Stage::Data,
        cause: smtp::client::Cause::Timeout,
        in_doubt: false,
    };
    let lost = w.peers.remove(&first).map(|peer| peer.in_flight).unwrap_or_default();
    for deliver in lost {
        let report = smtp::client::Report { id: deliver.transaction, outcome: reply.clone(), exceptions: Vec::new() };
        w.handle(Input::Report(first, report));
    }
    w.handle(Input::Closed(first, smtp::client::Stage::Data, smtp::client::Cause::Timeout));
    w.settle_down();
    assert!(w.peers.is_empty(), "what was in flight there is not waited for");
    call(&mut w, "carol", &["c.test", "d.test"]);
    w.run(S(10));
    assert_eq!(w.count(Kind::Delivered), 4, "{:?}", w.disk.keys());
    check_empty(&mut w);
    w.check_ends();
}

#[test]
fn what_a_customer_that_breaks_off_did_not_take_waits_for_the_next_time() {
    let mut w = world();
    w.manual = true;
    let ids: Vec<_> = (0..10).map(|_| w.accept("a@from.test", &["ok@c.test"])).collect();
    w.settle_down();
    call(&mut w, "carol", &["c.test"]);
    w.run(S(1));
    let connection = *w.peers.keys().next().unwrap();
    let given = w.deliveries.len();
    assert!((1..10).contains(&given), "some are in flight: {given}");
    for deliver in std::mem::take(&mut w.peers.get_mut(&connection).unwrap().in_flight) {
        let outcome = smtp::client::Outcome::Lost {
            stage: smtp::client::Stage::Data,
            cause: smtp::client::Cause::Eof,
            in_doubt: false,
        };
        let report = smtp::client::Report { id: deliver.transaction, outcome, exceptions: Vec::new() };
        w.handle(Input::Report(connection, report));
    }
    w.peers.remove(&connection);
    w.handle(Input::Closed(connection, smtp::client::Stage::Data, smtp::client::Cause::Eof));
    w.run(S(2));
    assert_eq!((w.count(Kind::Delivered), w.disk.len(), w.dispatch.kept), (0, 10, 0));
    w.manual = false;
    call(&mut w, "carol", &["c.test"]);
    check_empty(&mut w);
    assert!(ids.iter().all(|id| w.kinds(*id, 0).last() == Some(&Kind::Delivered)));
    w.check_ends();
}

#[test]
fn what_nobody_comes_for_expires_and_its_sender_hears_of_it() {
    let mut w = world();
    let id = w.accept("a@from.test", &["ok@c.test"]);
    w.run(w.config.retry.expire + S(4000));
    assert_eq!(w.kinds(id, 0).last(), Some(&Kind::Expired));
    assert_eq!(w.notices.len(), 1);
    assert!(w.opens.iter().all(|(_, open)| *open.site != *"odmr:carol"));
    check_empty(&mut w);
}

#[test]
fn a_customer_without_mail_is_said_goodbye_to() {
    let mut w = world();
    call(&mut w, "carol", &["c.test"]);
    assert_eq!(w.opens.len(), 1);
    w.run(S(5));
    assert!(w.peers.is_empty());
    check_empty(&mut w);
}

#[test]
fn goodbye_is_said_when_the_last_message_was_taken_and_not_before() {
    let mut w = world();
    w.delay = Duration::from_millis(50);
    for n in 0..20 {
        w.accept("a@from.test", &[["ok@c.test", "ok@d.test"][n % 2]]);
    }
    w.run(S(1));
    assert_eq!(w.count(Kind::Deferred), 20);
    call(&mut w, "carol", &["c.test", "d.test"]);
    while w.count(Kind::Delivered) < 20 {
        assert_eq!(w.opens.len(), 1);
        w.run(Duration::from_millis(1));
    }
    // The outcome of the last one is on its way to disk; QUIT, and what the peer says to it.
    w.run(Duration::from_millis(100));
    assert!(w.peers.is_empty());
    check_empty(&mut w);
}

#[test]
fn a_customer_waits_for_as_long_as_its_queue_is_looked_through() {
    let mut w = world();
    w.accept("a@from.test", &["ok@c.test"]);
    w.settle_down();
    let domains: Box<[Domain]> = [Domain::new("c.test")].into();
    w.handle(Input::Offered(Offer { id: 7, user: "carol".into(), domains: Some(domains), address: None }));
    w.run(S(10));
    assert_eq!((w.peers.len(), w.count(Kind::Delivered)), (1, 0));
    // Another offer's end is not this one's.
    w.handle(Input::Collected { user: "carol".into(), offer: 6 });
    w.run(S(10));
    assert_eq!(w.peers.len(), 1);
    call(&mut w, "carol", &["c.test"]);
    w.settle_down();
    assert_eq!((w.peers.len(), w.count(Kind::Delivered)), (0, 1));
    check_empty(&mut w);
}

/// Its line is cut, and it comes again before the deferral of what it did not take is on disk.
#[test]
fn a_customer_that_comes_again_at_once_gets_what_is_just_being_deferred() {
    let mut w = world();
    w.manual = true;
    w.accept("a@from.test", &["ok@c.test"]);
    w.settle_down();
    call(&mut w, "carol", &["c.test"]);
    w.settle_down();
    w.delay = S(1);
    let connection = *w.peers.keys().next().unwrap();
    let lost = smtp::client::Outcome::Lost {
        stage: smtp::client::Stage::Data,
        cause: smtp::client::Cause::Eof,
        in_doubt: false,
    };
    for deliver in std::mem::take(&mut w.peers.get_mut(&connection).unwrap().in_flight) {
        let report = smtp::client::Report { id: deliver.transaction, outcome: lost.clone(), exceptions: Vec::new() };
        w.handle(Input::Report(connection, report));
    }
    w.peers.remove(&connection);
    w.handle(Input::Closed(connection, smtp::client::Stage::Data, smtp::client::Cause::Eof));
    w.manual = false;
    call(&mut w, "carol", &["c.test"]);
    w.run(S(10));
    assert_eq!((w.count(Kind::Delivered), w.peers.len()), (1, 0));
    check_empty(&mut w);
    w.check_ends();
}

#[test]
fn nobody_is_served_while_the_engine_ends() {
    let mut w = world();
    w.handle(Input::Drain);
    call(&mut w, "carol", &["c.test"]);
    assert!(w.opens.is_empty());
}
