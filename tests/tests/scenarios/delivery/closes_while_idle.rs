//! Servers close connections between messages: nothing is lost, nothing deferred, nothing doubled.

use crate::world::World;

#[test]
fn the_next_message_takes_another_connection() {
    for rule in ["idle close", "idle reply 421 4.4.2 idle too long", "idle reset", "idle delay=20ms close"] {
        let world = World::plan().sink(&[rule]).config("[limits]\nconnections = 1\n").start();
        for n in 0..5 {
            world.send(&[&format!("u{n}@d.test")]);
        }
        for n in 0..5 {
            let recipient = format!("u{n}@d.test");
            world.expect_delivered(&recipient);
            let event = world.expect_event("delivered", &recipient);
            assert_eq!(event["attempt"], 1, "{rule}: {event}");
        }
        world.expect_empty();
        assert!(world.events().iter().all(|event| event["event"] != "deferred"), "{rule}");
        world.finish();
    }
}
