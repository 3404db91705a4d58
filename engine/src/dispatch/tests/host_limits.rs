//! Limits that hosts set for us: announced (RFC 9422), or said in a reply.

use super::*;
use std::collections::BTreeMap;

/// How many transactions each connection got.
fn by_connection(w: &World) -> Vec<usize> {
    let mut counts = BTreeMap::new();
    w.deliveries.iter().for_each(|(_, connection, ..)| *counts.entry(*connection).or_insert(0) += 1);
    counts.into_values().collect()
}

#[test]
fn announced_mails_per_connection_hold_beyond_a_reload() {
    let mut config = config();
    config.limits = Arc::new(crate::config::Limits { connections: 1, ..limits() });
    let mut w = World::new(config, 1);
    let announced = smtp::client::Limits { mails: Some(3), ..Default::default() };
    w.features = Arc::new(Features { limits: announced, ..Features::default() });
    w.manual = true;
    (0..10).for_each(|_| _ = w.accept("a@from.test", &["ok@x.test"]));
    w.settle_down();
    assert_eq!(by_connection(&w), [2], "as many as are handed ahead");
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.manual = false;
    w.answer_all();
    w.run(S(1));
    assert_eq!(by_connection(&w), [3, 3, 3, 1]);
    // Fewer of our own hold all the same.
    w.config.limits = Arc::new(crate::config::Limits { messages_per_connection: 2, ..(*w.config.limits).clone() });
    w.handle(Input::Reload(Arc::new(w.config.clone())));
    w.deliveries.clear();
    (0..4).for_each(|_| _ = w.accept("a@from.test", &["ok@x.test"]));
    w.run(S(1));
    assert!(by_connection(&w).iter().all(|count| *count <= 2), "{:?}", by_connection(&w));
    w.check_ends();
    check_empty(&mut w);
}

/// A host that once had room for one recipient more is not sent one at a time for ever.
#[test]
fn too_many_recipients_is_believed_for_a_while() {
    let mut w = world();
    let many: Vec<String> = (0..10).map(|n| format!("ok{n}@x.test")).collect();
    let many: Vec<&str> = many.iter().map(|to| &**to).collect();
    let transactions = |w: &mut World| {
        w.deliveries.clear();
        w.accept("a@from.test", &many);
        w.run(S(30));
        w.deliveries.len()
    };
    w.accept("a@from.test", &["ok@x.test", "crowd@x.test"]);
    w.settle_down();
    assert_eq!(w.count(Kind::Delivered), 2);
    let believed = bounds::CROWDED.as_secs() / 30;
    for n in 0..believed {
        assert_eq!(transactions(&mut w), 10, "{n}");
    }
    assert_eq!(transactions(&mut w), 1);
    w.check_ends();
    check_empty(&mut w);
}
