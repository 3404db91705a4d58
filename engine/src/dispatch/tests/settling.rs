//! Outcomes that cannot be written for a while.

use super::*;

/// What is decided and not written is repeated if the engine is killed, and takes memory: it is bounded.
#[test]
fn deliveries_wait_while_outcomes_cannot_be_written() {
    let mut config = config();
    config.limits = Arc::new(crate::config::Limits { connections: 2, ..limits() });
    let mut w = World::new(config, 1);
    let id = w.accept("a@from.test", &["later@due.test"]);
    w.mx.insert("astray.test".into(), Err(MxFailure::Temporary("no answer".into())));
    let astray = w.accept("a@from.test", &["ok@astray.test"]);
    w.settle_down();
    assert_eq!((w.kinds(id, 0), w.kinds(astray, 0)), (vec![Kind::Deferred], vec![Kind::Deferred]));
    w.stalled = Some(Vec::new());
    let accept = |w: &mut World, site: &str| {
        let to: Vec<String> = (0..100).map(|n| format!("ok{n}@{site}")).collect();
        w.accept("a@from.test", &to.iter().map(|to| &**to).collect::<Vec<_>>());
    };
    let messages = 2 * bounds::SETTLING / 100;
    for n in 0..messages {
        accept(&mut w, ["a.test", "b.test", "c.test"][n % 3]);
    }
    w.run(S(300));
    // Three sites' connections have two transactions each.
    let (decided, ahead) = (w.count(Kind::Delivered), 3 * 2 * 2 * 100);
    assert!((bounds::SETTLING..=bounds::SETTLING + ahead).contains(&decided), "{decided} decided");
    assert_eq!(w.dispatch.explain_site("b.test").unwrap().binding.to_string(), "settling");
    assert!(w.throttled["settling"] > S(800), "three sites: {:?}", w.throttled);
    // Neither is anything fetched, though it is due, nor handed over for a site that had nothing to do before.
    accept(&mut w, "new.test");
    w.run(S(300));
    assert_eq!((w.count(Kind::Delivered), w.fetches), (decided, 0));
    assert_eq!(w.dispatch.explain_site("due.test").unwrap().binding.to_string(), "settling");

    w.go_on_writing();
    w.run(S(10));
    assert_eq!(w.count(Kind::Delivered), messages * 100 + 100 + 1);
    assert!(w.dispatch.explain_site("b.test").unwrap().binding.is_empty());
    w.mx.clear();
    w.run(S(3600));
    w.check_ends();
    check_empty(&mut w);
}
