//! Mail that requires TLS (RFC 8689) among hosts of which not all promise it.

use super::*;
use queue::{MailParameters, Recipient};
use smtp::Mailbox;
use smtp::reply::EnhancedCode;

/// `x.test` has three hosts; these promise TLS.
fn world(promising: &[&'static str]) -> World {
    let mut w = super::world();
    let hosts = [(10, "a.test".into()), (20, "b.test".into()), (30, "c.test".into())];
    w.mx.insert("x.test".into(), Ok(hosts.to_vec()));
    w.promising = Some(promising.to_vec());
    w
}

fn accept(w: &mut World, sender: &str, to: &str) -> MessageId {
    let recipients = vec![Recipient::new(Mailbox::parse(to).unwrap())];
    let parameters = MailParameters { require_tls: true, ..MailParameters::default() };
    w.accept_envelope(sender, recipients, parameters, "Subject: secret\r\n\r\nSecret.\r\n")
}

/// The hosts of `x.test` that deliveries were handed to.
fn tried(w: &World) -> Vec<&str> {
    let host = |id: &ConnectionId| w.opens.iter().find(|(_, open)| open.connection == *id).map(|(_, open)| &*open.host);
    w.deliveries
        .iter()
        .filter_map(|(_, connection, ..)| host(connection))
        .filter(|host| *host != "mx.from.test")
        .collect()
}

#[test]
fn hosts_that_do_not_promise_tls_are_passed_over_in_order() {
    let mut w = world(&["c.test"]);
    let id = accept(&mut w, "a@from.test", "ok@x.test");
    w.settle_down();
    assert_eq!((w.kinds(id, 0), tried(&w)), (vec![Kind::Delivered], vec!["a.test", "b.test", "c.test"]));
    // What is known is not tried again at once; other mail goes where it always goes.
    let other = w.accept("a@from.test", &["ok@x.test"]);
    let again = accept(&mut w, "a@from.test", "ok@x.test");
    w.settle_down();
    assert_eq!([w.kinds(other, 0), w.kinds(again, 0)], [[Kind::Delivered], [Kind::Delivered]]);
    let mut last = tried(&w)[3..].to_vec();
    last.sort_unstable();
    assert_eq!(last, ["a.test", "c.test"]);
    w.run(S(300));
    accept(&mut w, "a@from.test", "ok@x.test");
    w.settle_down();
    assert_eq!(tried(&w)[5..], ["a.test", "b.test", "c.test"], "after a while they are asked again");
    check_empty(&mut w);
    w.check_ends();
}

#[test]
fn connections_past_preferred_hosts_take_nothing_else() {
    let mut w = world(&["b.test"]);
    accept(&mut w, "a@from.test", "ok@x.test");
    w.settle_down();
    w.manual = true;
    let ids: Vec<_> = (0..50).map(|_| w.accept("a@from.test", &["ok@x.test"])).collect();
    w.settle_down();
    while w.deliveries.len() < 52 {
        w.answer_all();
        w.settle_down();
    }
    w.manual = false;
    w.answer_all();
    w.settle_down();
    assert!(tried(&w)[2..].iter().all(|host| *host == "a.test"), "{:?}", tried(&w));
    assert!(ids.iter().all(|id| w.kinds(*id, 0) == [Kind::Delivered]));
    check_empty(&mut w);
}

#[test]
fn it_bounces_when_no_host_is_left() {
    for hosts in [3, 1] {
        let mut w = world(&[]);
        w.mx.get_mut("x.test").unwrap().as_mut().unwrap().truncate(hosts);
        let id = accept(&mut w, "a@from.test", "ok@x.test");
        w.settle_down();
        assert_eq!((w.kinds(id, 0), tried(&w).len()), (vec![Kind::Bounced], hosts));
        let code = w.happened[0].reply.as_ref().unwrap().enhanced;
        assert_eq!(code, Some(EnhancedCode(5, 7, 30)));
        // Known by now, it bounces all the same, and its sender is told.
        let again = accept(&mut w, "a@from.test", "ok@x.test");
        w.settle_down();
        assert_eq!((w.kinds(again, 0), w.notices.len()), (vec![Kind::Bounced], 2));
        // The notices have gone, though nothing was promised for them.
        assert_eq!(w.count(Kind::Delivered), 2);
        check_empty(&mut w);
    }
}

#[test]
fn it_waits_for_hosts_that_cannot_be_reached() {
    let mut w = world(&["c.test"]);
    w.doors.insert(address_of("c.test"), Door::Refused);
    let id = accept(&mut w, "a@from.test", "ok@x.test");
    w.settle_down();
    assert_eq!((w.kinds(id, 0), tried(&w)), (vec![Kind::Deferred], vec!["a.test", "b.test"]));
    assert!(w.happened[0].reply.as_ref().unwrap().text.contains("refused"), "{:?}", w.happened[0].reply);
    w.doors.clear();
    w.run(S(600));
    assert_eq!(w.kinds(id, 0), [Kind::Deferred, Kind::Delivered]);
    check_empty(&mut w);
    w.check_ends();
}

#[test]
fn one_connection_at_a_time_is_enough() {
    let mut config = config();
    config.limits = Arc::new(crate::config::Limits { connections: 1, ..limits() });
    let mut w = World::new(config, 1);
    w.mx.insert("x.test".into(), Ok(vec![(10, "a.test".into()), (20, "b.test".into())]));
    w.promising = Some(vec!["b.test"]);
    let id = accept(&mut w, "a@from.test", "ok@x.test");
    w.run(S(10));
    assert_eq!((w.kinds(id, 0), tried(&w)), (vec![Kind::Delivered], vec!["a.test", "b.test"]));
    check_empty(&mut w);
}

#[test]
fn chance_changes_nothing() {
    for seed in 0..50 {
        let mut w = World::new(config(), seed);
        let hosts = [(10, "a.test".into()), (10, "b.test".into()), (20, "c.test".into())];
        w.mx.insert("x.test".into(), Ok(hosts.to_vec()));
        w.promising = Some(vec!["b.test"]);
        w.delay = Duration::from_millis(100);
        if seed % 3 == 0 {
            w.doors.insert(address_of("b.test"), Door::Refused);
        }
        for n in 0..20 {
            match n % 2 {
                0 => accept(&mut w, "a@from.test", "ok@x.test"),
                _ => w.accept("a@from.test", &["ok@x.test", "later@x.test"]),
            };
            w.run(Duration::from_millis(20));
        }
        w.run(S(1));
        w.doors.clear();
        check_empty(&mut w);
        w.check_ends();
        assert_eq!(w.count(Kind::Bounced), 0, "seed {seed}");
    }
}
