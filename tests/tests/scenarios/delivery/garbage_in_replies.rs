//! A server whose replies are no SMTP is left, and the mail kept.

use crate::world::World;

#[test]
fn what_is_no_reply_defers() {
    for stage in ["greeting", "hello", "mail", "rcpt", "data"] {
        // With CHUNKING the content is sent with the commands, and its fate would be in doubt.
        let world = World::plan().sink(&[&format!("{stage} garbage")]).sink_options(|o| o.chunking = false).start();
        world.send(&["u@d.test"]);
        let event = world.expect_event("deferred", "u@d.test");
        let text = event["reply"]["text"].as_str().unwrap_or_default();
        assert!(text.contains("not understood"), "{stage}: {event}");
        assert!(text.is_ascii() && !text.contains('\0'), "{stage}: nothing of it is repeated: {event}");
        assert_eq!(event["in_doubt"], serde_json::Value::Null, "{stage}: {event}");
        assert_eq!(world.stats().recipients, 1);
        world.finish();
    }
}

#[test]
fn garbage_after_the_content_is_in_doubt() {
    let world = World::plan().sink(&["final keep garbage"]).start();
    world.send(&["u@d.test"]);
    let event = world.expect_event("deferred", "u@d.test");
    assert_eq!(event["in_doubt"], true, "{event}");
    assert_eq!(world.copies("u@d.test"), 1);
    world.finish();
}

#[test]
fn a_reply_of_the_wrong_kind_is_no_delivery() {
    // 354 and 250 where they make no sense.
    for rule in ["mail reply 354 go ahead", "data reply 250 2.0.0 fine", "final reply 354 go ahead"] {
        let world = World::plan().sink(&[rule]).sink_options(|o| o.chunking = false).start();
        world.send(&["u@d.test"]);
        world.expect_event("deferred", "u@d.test");
        assert_eq!(world.count_events("delivered", "u@d.test"), 0, "{rule}");
        assert_eq!(world.stats().recipients, 1, "{rule}");
        world.finish();
    }
}
