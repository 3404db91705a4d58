//! LIMITS (RFC 9422): what a host sets for itself is kept without trying.

use crate::world::World;

#[test]
fn no_more_recipients_than_the_host_takes() {
    let world = World::plan().sink_options(|options| options.max_recipients = 2).start();
    let recipients: Vec<String> = (0..5).map(|n| format!("u{n}@d.test")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    world.send(&recipients);
    world.expect_all_delivered(&recipients);
    world.expect_empty();
    let counters = world.sink().handle.counters();
    assert_eq!((counters.messages, counters.refused.len()), (3, 0), "{counters:?}");
    world.finish();
}
