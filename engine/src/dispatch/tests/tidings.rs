//! Which senders are told what, and when.

use super::*;
use queue::{MailParameters, Recipient};
use smtp::Mailbox;
use smtp::parameters::{DeliverBy, Notify};

const BODY: &str = "Subject: hello\r\n\r\nHi.\r\n";

fn recipient(address: &str, notify: &str) -> Recipient {
    let notify = Notify::parse(notify).unwrap_or_default();
    Recipient { notify, ..Recipient::new(Mailbox::parse(address).unwrap()) }
}

fn accept(w: &mut World, to: &[(&str, &str)], by: &str) -> queue::MessageId {
    let recipients = to.iter().map(|(address, notify)| recipient(address, notify)).collect();
    let parameters = MailParameters { deliver_by: DeliverBy::parse(by), ..MailParameters::default() };
    w.accept_envelope("a@from.test", recipients, parameters, BODY)
}

/// What each notice says of each recipient.
fn told(w: &World) -> Vec<String> {
    let lines = |text: &str, field: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(field)).map(str::to_owned).collect()
    };
    let story = |text: &str| {
        let names = lines(text, "Final-Recipient: rfc822; ");
        let actions = lines(text, "Action: ");
        names.iter().zip(&actions).map(|(name, action)| format!("{name} {action}")).collect::<Vec<_>>().join(", ")
    };
    w.notices.iter().map(|notice| story(&String::from_utf8_lossy(&notice.body.to_bytes()))).collect()
}

#[test]
fn a_delay_is_told_to_who_asked() {
    let mut w = world();
    accept(&mut w, &[("full1@x.test", ""), ("full2@x.test", "DELAY"), ("full3@x.test", "FAILURE,DELAY")], "");
    w.run(S(3 * 3600));
    assert!(w.notices.is_empty(), "{:?}", told(&w));
    w.run(S(2 * 3600));
    assert_eq!(told(&w), ["full2@x.test delayed, full3@x.test delayed"]);
    w.run(S(2 * 3600));
    assert_eq!(told(&w).last().unwrap(), "full1@x.test failed, full3@x.test failed");
    assert_eq!(w.notices.len(), 2);
    check_empty(&mut w);
}

#[test]
fn with_notify_delay_everybody_is_told_unless_they_refuse() {
    let mut config = config();
    config.retry.notify_delay = Some(S(600));
    let mut w = World::new(config, 1);
    accept(&mut w, &[("full1@x.test", ""), ("full2@x.test", "NEVER"), ("full3@x.test", "FAILURE")], "");
    w.run(S(3600));
    assert_eq!(told(&w), ["full1@x.test delayed"]);
    // Once, also after a crash.
    w.restart(7);
    w.run(S(3600));
    assert_eq!(w.notices.len(), 1);
    w.run(S(5 * 3600));
    assert_eq!(told(&w)[1..], ["full1@x.test failed, full3@x.test failed"]);
    check_empty(&mut w);
}

#[test]
fn a_delay_of_what_is_only_on_disk_is_told_after_reading_it() {
    let mut config = config();
    config.retry.notify_delay = Some(S(600));
    let mut w = World::new(config, 1);
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    accept(&mut w, &[("ok@x.test", "")], "");
    w.restart(3);
    w.run(S(3600));
    assert_eq!(told(&w), ["ok@x.test delayed"]);
    w.doors.remove(&address_of("mx.x.test"));
    w.run(S(2 * 3600));
    assert_eq!(w.notices.len(), 1);
    check_empty(&mut w);
}

#[test]
fn success_is_told_where_the_host_will_not() {
    for knows_dsn in [false, true] {
        let mut w = world();
        Arc::make_mut(&mut w.features).dsn = knows_dsn;
        accept(&mut w, &[("ok1@x.test", "SUCCESS"), ("ok2@x.test", ""), ("ok3@y.test", "SUCCESS,FAILURE")], "");
        w.settle_down();
        let expected: &[&str] = if knows_dsn { &[] } else { &["ok1@x.test relayed", "ok3@y.test relayed"] };
        let mut told = told(&w);
        told.sort();
        assert_eq!(told, expected);
        check_empty(&mut w);
    }
}

/// RFC 2852 §4.1.4: whoever traces, or relays to one who does not watch the time, tells how far it went.
#[test]
fn who_waits_for_a_time_hears_how_far_it_was_watched() {
    for (by, watches, expected) in [
        ("1000;RT", true, &["ok1@x.test relayed"][..]),
        ("1000;R", true, &[]),
        ("1000;N", true, &[]),
        ("1000;NT", true, &["ok1@x.test relayed"]),
        ("1000;N", false, &["ok1@x.test relayed"]),
    ] {
        let mut w = world();
        let features = Arc::make_mut(&mut w.features);
        (features.dsn, features.deliver_by) = (true, watches.then_some(0));
        accept(&mut w, &[("ok1@x.test", ""), ("ok2@x.test", "NEVER")], by);
        w.settle_down();
        assert_eq!(told(&w), expected, "{by} {watches}");
        check_empty(&mut w);
    }
}

#[test]
fn what_is_too_late_is_given_up_on_time() {
    let mut w = world();
    let id = accept(&mut w, &[("full@x.test", "")], "1000;R");
    w.run(S(1100));
    assert_eq!(w.kinds(id, 0).last(), Some(&Kind::Expired));
    let text = String::from_utf8_lossy(&w.notices[0].body.to_bytes()).into_owned();
    assert!(text.contains("Status: 5.4.7\r\n"), "{text}");
    check_empty(&mut w);
}

#[test]
fn what_is_late_is_told_on_time_and_goes_on() {
    let mut w = world();
    accept(&mut w, &[("full1@x.test", ""), ("full2@x.test", "NEVER")], "1000;N");
    w.run(S(990));
    assert!(w.notices.is_empty());
    w.run(S(30));
    assert_eq!(told(&w), ["full1@x.test delayed"]);
    w.run(S(6 * 3600));
    assert_eq!(told(&w)[1..], ["full1@x.test failed"]);
    check_empty(&mut w);
}

#[test]
fn no_connection_sees_more_domains_than_its_host_allows() {
    let mut w = world();
    Arc::make_mut(&mut w.features).limits.recipient_domains = Some(2);
    let domains: Vec<String> = (0..5).map(|n| format!("d{n}.test")).collect();
    for domain in &domains {
        w.mx.insert(domain.clone(), Ok(vec![(10, "mx.test".into())]));
    }
    let all: Vec<String> = domains.iter().map(|domain| format!("ok@{domain}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for n in 0..5 {
        w.accept("a@from.test", &all);
        w.accept("a@from.test", &[all[n], all[(n + 1) % 5]]);
        w.accept("a@from.test", &[all[n]]);
    }
    w.run(S(10));
    let mut seen = std::collections::BTreeMap::<_, std::collections::BTreeSet<String>>::new();
    for (_, connection, id, recipients) in &w.deliveries {
        let envelope = &w.content(*id).envelope;
        let names = recipients.iter().map(|n| envelope.recipients[n as usize].mailbox.domain().to_owned());
        seen.entry(*connection).or_default().extend(names);
    }
    assert!(seen.values().all(|domains| domains.len() <= 2), "{seen:?}");
    assert_eq!(w.count(Kind::Delivered), 5 * 8);
    check_empty(&mut w);
    w.check_ends();
}

#[test]
fn hosts_set_limits_for_themselves() {
    let mut w = world();
    let limits = smtp::client::Limits { mails: Some(2), recipients: Some(3), recipient_domains: Some(1) };
    Arc::make_mut(&mut w.features).limits = limits;
    let names: Vec<String> = (0..10).map(|n| format!("ok{n}@x.test")).collect();
    w.accept("", &names.iter().map(String::as_str).collect::<Vec<_>>());
    w.settle_down();
    let counts: Vec<usize> = w.deliveries.iter().map(|(.., recipients)| recipients.len()).collect();
    assert_eq!((counts.iter().max(), counts.iter().sum::<usize>()), (Some(&3), 10));
    let mut per_connection = std::collections::BTreeMap::new();
    w.deliveries.iter().for_each(|(_, connection, ..)| *per_connection.entry(*connection).or_insert(0) += 1);
    assert_eq!(per_connection.values().max(), Some(&2), "{per_connection:?}");
    check_empty(&mut w);
}
