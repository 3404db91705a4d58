//! A pipelined session means the same however the network cuts it.

use crate::injector::{queued_as, stuffed};
use crate::world::World;

/// Bodies in which every line end and dot is a trap.
const BODIES: [&str; 4] = ["Subject: a\r\n\r\na\r\n", ".\r\n..\r\n.a\r\n", "\r\n\r\n\r\n", "a\r\n.b\r\n\r\n..\r\n"];

fn session(split: usize) -> Vec<u8> {
    let mut session = b"EHLO a\r\nNOOP\r\n".to_vec();
    for (n, body) in BODIES.iter().enumerate() {
        session.extend(format!("MAIL FROM:<s@home.test>\r\nRCPT TO:<u{split}-{n}@d.test>\r\nDATA\r\n").bytes());
        session.extend(stuffed(body.as_bytes()));
        let chunk = format!("MAIL FROM:<>\r\nRCPT TO:<c{split}-{n}@d.test>\r\nBDAT {} LAST\r\n{body}", body.len());
        session.extend(chunk.bytes());
    }
    session.extend(b"RSET\r\nQUIT\r\n");
    session
}

#[test]
fn a_session_means_the_same_however_it_is_cut() {
    let world = World::plan().start();
    let splits = [1, 2, 3, 5, 7, 11, 64, usize::MAX];
    for split in splits {
        let mut injector = world.connect();
        let session = session(split);
        session.chunks(split.min(session.len())).for_each(|piece| injector.say(piece));
        let said = injector.rest();
        let queued: Vec<String> = said.lines().filter(|l| l.contains("queued")).map(queued_as).collect();
        assert_eq!(queued.len(), 2 * BODIES.len(), "cut in pieces of {split}: {said}");
        assert!(said.ends_with("\n221 2.0.0 Bye\n") || said.contains("\n221 "), "{said}");
    }
    for split in splits {
        for (n, body) in BODIES.iter().enumerate() {
            for recipient in [format!("u{split}-{n}@d.test"), format!("c{split}-{n}@d.test")] {
                let received = world.expect_delivered(&recipient);
                let trace_end = received.body.windows(2).position(|two| two == b"\r\n").expect("a Received field");
                assert!(received.body.starts_with(b"Received: from a "), "{recipient}");
                let added = &received.body[trace_end..received.body.len() - body.len()];
                assert!(received.body.ends_with(body.as_bytes()), "{recipient}: {:?}", received.body);
                assert_eq!(added.iter().filter(|octet| **octet == b'\n').count(), 3, "three lines are added");
            }
        }
    }
    world.expect_empty();
    world.finish();
}
