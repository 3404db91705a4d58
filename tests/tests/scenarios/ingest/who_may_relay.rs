//! Only addresses in `allow` may relay.

use crate::world::World;

#[test]
fn strangers_are_refused_before_they_say_anything() {
    let world =
        World::plan().listener("allow = [\"10.0.0.0/8\", \"::1/128\"]").listener("bind = \"127.0.0.2:0\"").start();
    let mut stranger = world.connect();
    assert!(stranger.hear().starts_with("554 5.7.1 "));
    stranger.say("EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n");
    (0..3).for_each(|_| assert!(stranger.hear().starts_with("503 5.5.1 ")));
    stranger.say("QUIT\r\n");
    assert_eq!(stranger.rest().trim_end(), "221 2.0.0 Bye");
    // The other listener is not concerned.
    world.connect_to(1).greet().expect("MAIL FROM:<>", "250 ");
    world.finish();
}
