//! `via = "discard"`: accepted, told as delivered, and thrown away.

use crate::world::World;

const ROUTE: &str = "[[route]]\ndomain = [\"void.test\"]\nvia = \"discard\"\n";

#[test]
fn discarded_mail_leaves_the_queue_and_the_event_log_says_why() {
    let world = World::plan().config(ROUTE).start();
    world.send(&["a@void.test", "b@d.test"]);
    world.expect_delivered("b@d.test");
    let event = world.expect_event("delivered", "a@void.test");
    assert_eq!((&event["site"], &event["reply"]["code"]), (&"discard".into(), &250.into()), "{event}");
    let text = event["reply"]["text"].as_str().unwrap_or_default();
    assert!(text.starts_with("discarded: the [[route]] in test.toml:"), "{event}");
    assert_eq!(event["mx"], serde_json::Value::Null, "{event}");
    world.expect_empty();
    assert_eq!(world.copies("a@void.test"), 0);
}

#[test]
fn what_waits_for_a_host_that_fails_can_be_discarded_by_a_reload() {
    let mut world = World::plan().config("[[route]]\ndomain = [\"x.test\"]\nvia = \"mx\"\n").start();
    world.sink().obey(&["connect close"]);
    for n in 0..20 {
        world.send(&[&format!("u{n}@void.test")]);
    }
    world.expect_event("deferred", "u0@void.test");
    world.reload("[\"x.test\"]\nvia = \"mx\"", "[\"void.test\"]\nvia = \"discard\"");
    world.retry();
    world.expect_empty();
    world.expect_event("delivered", "u19@void.test");
    let discarded = |world: &World| world.events().iter().filter(|event| event["event"] == "delivered").count();
    world.until("all are told", |world| discarded(world) == 20);
}
