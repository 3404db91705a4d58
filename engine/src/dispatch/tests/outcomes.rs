//! What becomes of recipients.

use super::*;

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
fn a_transaction_is_timed_once_however_many_recipients_it_has() {
    let mut w = world();
    w.delay = Duration::from_millis(100);
    w.accept("", &["ok1@x.test", "bounce2@x.test", "later3@x.test", "ok4@x.test"]);
    w.run(S(1));
    assert_eq!(w.deliveries.len(), 1);
    let timed = w.happened.iter().filter(|h| h.attempt_time.is_some_and(|took| !took.is_zero())).count();
    assert_eq!((w.happened.len(), timed), (4, 1));
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
