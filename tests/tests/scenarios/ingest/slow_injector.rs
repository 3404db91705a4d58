//! An injector that sends an octet at a time is served like any other, and keeps nobody waiting.

use crate::injector::{queued_as, stuffed};
use crate::world::{SENDER, World};

#[test]
fn an_octet_at_a_time_is_a_message_too() {
    let world = World::plan().start();
    let mut slow = world.connect().greet();
    let mut say = |text: &[u8]| text.iter().for_each(|octet| slow.say([*octet]));
    say(format!("MAIL FROM:<{SENDER}>\r\nRCPT TO:<slow@d.test>\r\nDATA\r\n").as_bytes());
    let body = b"Subject: slow\r\n\r\n.one\r\n..two\r\n \r\n.\r\nend\r\n";
    let content = stuffed(body);
    let (head, tail) = content.split_at(content.len() / 2);
    say(head);
    world.send(&["quick@d.test"]);
    world.expect_delivered("quick@d.test");
    say(tail);
    let replies = [slow.hear(), slow.hear(), slow.hear(), slow.hear()];
    queued_as(&replies[3]);
    let received = world.expect_delivered("slow@d.test");
    assert!(received.body.ends_with(body));
    world.expect_empty();
    world.finish();
}
