//! An LMTP listener: one reply a recipient after the content.

use crate::injector::{queued_as, stuffed};
use crate::world::{SENDER, World};

#[test]
fn each_recipient_has_its_reply() {
    let world = World::plan().listener("protocol = \"lmtp\"").start();
    let mut injector = world.connect();
    assert!(injector.hear().starts_with("220 "));
    injector.expect("EHLO a", "500 ");
    injector.expect("LHLO a", "250");
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    for n in 0..3 {
        injector.expect(&format!("RCPT TO:<u{n}@d{n}.test>"), "250 ");
    }
    injector.expect("DATA", "354 ");
    injector.say(stuffed(b"Subject: x\r\n\r\nx\r\n"));
    let ids: Vec<String> = (0..3).map(|_| queued_as(&injector.hear())).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one message: {ids:?}");
    injector.expect("NOOP", "250 ");
    world.expect_all_delivered(&["u0@d0.test", "u1@d1.test", "u2@d2.test"]);
    world.expect_empty();
    world.finish();
}

/// One flight over a Unix socket; some recipients are refused, and one message as a whole: for each of its recipients.
#[test]
fn each_recipient_of_many_messages_in_one_flight_has_its_reply() {
    let keys = "bind = \"unix:DIR/lmtp.sock\"\nprotocol = \"lmtp\"\nmax_recipients = 2";
    let world = World::plan().listener(keys).start();
    let flight = [
        (&["u0@d.test", "u1@d.test", "u2@d.test"][..], "Subject: x\r\n\r\nx\r\n"),
        (&["no address", "v@d.test"], "Subject: x\r\n\r\n.\r\n"),
        (&["w0@d.test", "w1@d.test"], "Subject: x\r\n\r\na\nb\r\n"),
        (&["x@d.test"], "Subject: x\r\n\r\nx\r\n"),
    ];
    let mut injector = world.connect();
    let mut octets = b"LHLO a\r\n".to_vec();
    for (recipients, body) in flight {
        octets.extend(format!("MAIL FROM:<{SENDER}>\r\n").bytes());
        recipients.iter().for_each(|to| octets.extend(format!("RCPT TO:<{to}>\r\n").bytes()));
        octets.extend([b"DATA\r\n".to_vec(), stuffed(body.as_bytes())].concat());
    }
    octets.extend(b"QUIT\r\n");
    injector.say(octets);
    let replies = "220 250 \
                   250 250 250 452 4.5.3 354 250 2.0.0 250 2.0.0 \
                   250 501 5.1.3 250 354 250 2.0.0 \
                   250 250 250 354 550 5.6.11 550 5.6.11 \
                   250 250 354 250 2.0.0 221";
    let mut heard = Vec::new();
    for _ in replies.split(' ').filter(|word| word.len() == 3) {
        heard.push(injector.hear());
    }
    let mut expected = replies.split(' ').peekable();
    for reply in &heard {
        let code = expected.next().expect("one for each");
        let enhanced = expected.next_if(|word| word.contains('.')).unwrap_or_default();
        assert!(
            reply.starts_with(code) && reply[4..].starts_with(enhanced),
            "{reply:?}, not {code} {enhanced}: {heard:#?}"
        );
    }
    assert_eq!(injector.rest(), "");
    world.expect_all_delivered(&["u0@d.test", "u1@d.test", "v@d.test", "x@d.test"]);
    world.expect_empty();
    assert_eq!(["u2", "w0", "w1"].map(|name| world.copies(&format!("{name}@d.test"))), [0; 3]);
    world.finish();
}
