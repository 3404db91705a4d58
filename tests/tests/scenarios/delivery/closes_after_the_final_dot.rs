//! The final reply never comes: in doubt. Said so, tried again, and the only case in which a second copy is sent.

use crate::world::{RETRY_SOON, World};

fn check(rule: &str, copies: usize) {
    let world = World::plan().sink(&[rule]).config(RETRY_SOON).start();
    world.send(&["u@d.test"]);
    let event = world.expect_event("deferred", "u@d.test");
    assert_eq!(event["in_doubt"], true, "{rule}: {event}");
    assert!(event["reply"]["text"].as_str().unwrap_or_default().contains("may have been taken"), "{rule}: {event}");
    let event = world.expect_event("delivered", "u@d.test");
    assert_eq!((&event["attempt"], &event["in_doubt"]), (&2.into(), &serde_json::Value::Null), "{rule}: {event}");
    world.expect_empty();
    assert_eq!(world.copies("u@d.test"), copies, "{rule}");
    world.finish();
}

#[test]
fn a_close_instead_of_the_final_reply_is_in_doubt_and_retried() {
    check("final first=1 close", 1);
    check("final first=1 keep close", 2);
    check("final first=1 keep reset", 2);
}
