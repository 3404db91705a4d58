//! Mail whose time ends while its site stands still.

use super::*;
use queue::{MailParameters, MessageId, Recipient};
use smtp::Mailbox;
use smtp::parameters::{ByMode, DeliverBy};

const HOUR: u64 = 3600;

fn suspended(suspend: bool) -> Config {
    let limits = Arc::new(crate::config::Limits { suspend, ..limits() });
    Config { sites: vec![SiteRule { domains: vec![Pattern("x.test".into())], mx: Vec::new(), limits }], ..config() }
}

/// A message that is to be delivered within this time.
fn accept_by(w: &mut World, to: &str, seconds: i32, mode: ByMode) -> MessageId {
    let deliver_by = Some(DeliverBy { seconds, mode, trace: false });
    let recipient = Recipient::new(Mailbox::parse(to).unwrap());
    let parameters = MailParameters { deliver_by, ..MailParameters::default() };
    w.accept_envelope("a@from.test", vec![recipient], parameters, "Subject: x\r\n\r\n")
}

/// Whether each has ended, and how; nothing else may have been told of it.
#[track_caller]
fn check(w: &mut World, expected: &[(MessageId, Option<Kind>)]) {
    w.look_for_expired();
    for (id, kind) in expected {
        assert_eq!(w.kinds(*id, 0), kind.iter().copied().collect::<Vec<_>>(), "{id}");
    }
}

#[test]
fn what_is_over_expires_at_a_suspended_site_and_the_rest_goes_when_it_resumes() {
    let mut w = World::new(suspended(true), 1);
    let old = w.accept("a@from.test", &["ok@x.test"]);
    let urgent = accept_by(&mut w, "ok1@x.test", 100, ByMode::Return);
    let patient = accept_by(&mut w, "ok2@x.test", 100, ByMode::Notify);
    let kept = w.accept("a@from.test", &["ok3@x.test"]);
    let entries: Vec<_> =
        w.disk.iter().filter(|(key, _)| key.id == kept).map(|(k, e)| (k.clone(), e.clone())).collect();
    w.operate(Operation::Hold(entries));
    w.run(S(99));
    check(&mut w, &[(old, None), (urgent, None), (patient, None)]);
    w.run(S(1));
    check(&mut w, &[(old, None), (urgent, Some(Kind::Expired)), (patient, None)]);
    w.run(S(6 * HOUR - 200));
    let young = w.accept("a@from.test", &["ok4@x.test"]);
    check(&mut w, &[(old, None), (young, None)]);
    w.run(S(101));
    for _ in 0..2 {
        check(&mut w, &[(old, Some(Kind::Expired)), (patient, Some(Kind::Expired)), (young, None), (kept, None)]);
    }
    let texts: Vec<String> =
        w.notices.iter().map(|notice| String::from_utf8(notice.body.to_bytes().to_vec()).unwrap()).collect();
    assert_eq!(texts.len(), 3, "a notice each");
    assert!(texts.iter().all(|text| text.contains("suspended") && text.contains("Action: failed")), "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains("Last-Attempt-Date")), "there was none: {texts:?}");
    assert!(w.happened.iter().all(|happened| happened.kind != Kind::Expired || happened.attempt == 0));
    assert!(w.opens.iter().all(|(_, open)| &*open.host != "mx.x.test"), "nothing was tried there");
    w.config = suspended(false);
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.run(S(60));
    assert_eq!(w.kinds(young, 0), [Kind::Delivered]);
    let held = w.disk.iter().map(|(k, e)| (k.clone(), e.clone())).collect();
    w.operate(Operation::Release(held));
    w.run(S(60));
    assert_eq!(w.kinds(kept, 0), [Kind::Delivered], "what operators hold does not end");
    w.check_ends();
    check_empty(&mut w);
}

/// Attempts fail after 0, 60 and 360 seconds; then the host is left alone until 480.
#[test]
fn the_senders_time_is_kept_while_a_host_is_left_alone() {
    let mut config = config();
    config.retry.jitter = 0.0;
    let mut w = World::new(config, 1);
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    let urgent = accept_by(&mut w, "ok@x.test", 440, ByMode::Return);
    let other = w.accept("a@from.test", &["ok@x.test"]);
    w.run(S(439));
    w.look_for_expired();
    assert_eq!(w.kinds(urgent, 0), [Kind::Deferred; 3]);
    w.run(S(2));
    assert!(w.dispatch.explain_site("x.test").unwrap().backoff.is_some(), "or it would be tried once more");
    assert_eq!(w.kinds(urgent, 0), [Kind::Deferred; 3]);
    w.look_for_expired();
    assert_eq!(w.kinds(urgent, 0), [Kind::Deferred, Kind::Deferred, Kind::Deferred, Kind::Expired]);
    assert_eq!(w.kinds(other, 0).last(), Some(&Kind::Deferred));
    let told = w.happened.iter().find(|h| h.kind == Kind::Expired).unwrap();
    assert_eq!(told.attempt, 3, "no attempt was made");
    let reply = told.reply.as_ref().unwrap();
    assert!(reply.text.contains("refused"), "the sender hears why: {reply}");
    w.doors.clear();
    w.run(S(HOUR));
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn what_waits_for_its_turn_is_tried_however_late() {
    let mut config = config();
    config.limits = Arc::new(crate::config::Limits { rate: Some(Rate { count: 1, per: S(60) }), ..limits() });
    let mut w = World::new(config, 1);
    for _ in 0..2100 {
        w.accept("a@from.test", &["ok@x.test"]);
    }
    w.run(S(7 * HOUR));
    w.look_for_expired();
    assert!(w.disk.len() > 1000);
    assert_eq!(w.count(Kind::Expired), 0);
}

/// A connection was busy with it when the site was suspended: its outcome counts.
#[test]
fn what_is_in_a_transaction_is_left_alone() {
    let mut w = World::new(suspended(false), 1);
    w.manual = true;
    let busy = w.accept("a@from.test", &["ok@x.test"]);
    w.settle_down();
    w.config = suspended(true);
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.run(S(7 * HOUR));
    check(&mut w, &[(busy, None)]);
    w.answer_all();
    check(&mut w, &[(busy, Some(Kind::Delivered))]);
    w.check_ends();
    check_empty(&mut w);
}

/// Its content has to be read for the notice: a second look meanwhile, or a resumed site, finds it taken.
#[test]
fn it_is_given_up_once_however_often_it_is_found() {
    let mut config = suspended(true);
    config.queue.body_cache_bytes = 0;
    let mut w = World::new(config, 1);
    (w.delay, w.reading) = (Duration::from_millis(20), S(2));
    for _ in 0..20 {
        w.accept("a@from.test", &["ok@x.test", "ok@y.test"]);
    }
    w.run(S(6 * HOUR));
    w.look_for_expired();
    assert_eq!(w.count(Kind::Expired), 0, "contents are being read");
    w.look_for_expired();
    w.config.sites.clear();
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.look_for_expired();
    w.run(S(60));
    assert_eq!((w.count(Kind::Expired), w.notices.len()), (20, 20));
    w.check_ends();
    check_empty(&mut w);
}
