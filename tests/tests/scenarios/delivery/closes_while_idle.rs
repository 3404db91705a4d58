//! Servers close connections between messages: nothing is lost, and nothing doubled. Deferred at most is a message that was
//! sent in one flight when the end came, since nobody knows what became of it.

use crate::world::{RETRY_SOON, World};

#[test]
fn the_next_message_takes_another_connection() {
    for rule in ["idle close", "idle reply 421 4.4.2 idle too long", "idle reset", "idle delay=20ms close"] {
        let config = format!("[limits]\nconnections = 1\n{RETRY_SOON}");
        let world = World::plan().sink(&[rule]).config(&config).start();
        for n in 0..5 {
            world.send(&[&format!("u{n}@d.test")]);
        }
        world.expect_empty();
        for n in 0..5 {
            let recipient = format!("u{n}@d.test");
            world.expect_event("delivered", &recipient);
            assert_eq!(world.copies(&recipient), 1, "{rule}");
        }
        let events = world.events();
        let deferred = events.iter().filter(|event| event["event"] == "deferred");
        deferred.for_each(|event| assert_eq!(event["in_doubt"], true, "{rule}: {event}"));
        world.finish();
    }
}

#[test]
fn without_chunking_there_is_no_doubt() {
    for rule in ["idle close", "idle reset"] {
        let config = format!("[limits]\nconnections = 1\n{RETRY_SOON}");
        let plan = World::plan().sink(&[rule]).config(&config);
        let world = plan.sink_options(|options| options.chunking = false).start();
        for n in 0..5 {
            world.send(&[&format!("u{n}@d.test")]);
        }
        world.expect_empty();
        for n in 0..5 {
            let recipient = format!("u{n}@d.test");
            world.expect_event("delivered", &recipient);
            assert_eq!(world.copies(&recipient), 1, "{rule}");
        }
        // Who meets three ends in a row waits for its turn, like any other loss; but there was no doubt.
        world.events().iter().for_each(|event| assert!(event["in_doubt"].is_null(), "{rule}: {event}"));
        world.finish();
    }
}
