//! `mode = "submission"`: new mail gets what its header lacks, and nothing else of it changes; relayed mail never does.

use crate::injector::queued_as;
use crate::world::{SENDER, World};

/// The content as it arrived, without the trace field (its continuation lines begin with a tab).
fn without_trace(body: &[u8]) -> Vec<u8> {
    let lines = body.split_inclusive(|byte| *byte == b'\n');
    let mut in_trace = true;
    let kept = lines.filter(|line| {
        in_trace = in_trace && (line.starts_with(b"Received:") || line.starts_with(b"\t"));
        !in_trace
    });
    kept.collect::<Vec<_>>().concat()
}

/// Sends this content over a submission listener; returns the message's id and what was put before it.
#[track_caller]
fn added(world: &World, n: usize, content: &[u8]) -> (String, String) {
    let to = format!("u{n}@d.test");
    let id = queued_as(&world.connect().greet().send(SENDER, &[&to], content));
    let arrived = without_trace(&world.expect_delivered(&to).body);
    assert!(arrived.ends_with(content), "{} became {}", content.escape_ascii(), arrived.escape_ascii());
    let added = &arrived[..arrived.len() - content.len()];
    (id, String::from_utf8(added.to_vec()).expect("ASCII"))
}

#[test]
fn what_is_missing_is_added_and_all_else_stays_octet_for_octet() {
    let world = World::plan().listener("mode = \"submission\"").start();
    let id_field = |id: &str| format!("Message-ID: <{id}@mta.home.test>\r\n");
    for (n, (content, date, message_id, empty_line)) in [
        (b"Date: x\r\nMessage-ID: <a@b>\r\n\r\nx\r\n".as_slice(), false, false, false),
        (b"Message-Id: <a@b>\r\n\r\nDate: x\r\n", true, false, false),
        (b"date: x\r\nSubject: \xe4\xff\r\n\r\n.\xff\r\n", false, true, false),
        (b"Subject: x\r\n\r\nx\r\n", true, true, false),
        (b"\r\nno header\r\n", true, true, false),
        (b"no header, only text\r\n.\r\n", true, true, true),
        (b" folded\r\n\tonly\r\n\r\nx\r\n", true, true, true),
        (b"", true, true, true),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, added) = added(&world, n, content);
        let rest = match date {
            true => {
                let rest = added.strip_prefix("Date: ").expect("a Date");
                rest.split_once("\r\n").expect("a line").1
            }
            false => &added,
        };
        let expected = if message_id { id_field(&id) } else { String::new() } + if empty_line { "\r\n" } else { "" };
        assert_eq!(rest, expected, "{}", content.escape_ascii());
    }
    world.expect_empty();
    world.finish();
}

/// 25 MiB, whose header lies in many reads.
#[test]
fn a_large_message_and_a_header_in_pieces() {
    let world = World::plan().listener("mode = \"submission\"").start();
    let body = vec![b'x'; 25 << 20].chunks(900).map(|line| [line, b"\r\n"].concat()).collect::<Vec<_>>().concat();
    let content = [b"Subject: x\r\nDate: x\r\n\r\n".as_slice(), &body[..(25 << 20) - 100]].concat();
    let content = [&content[..content.len() - 2], b"\r\n"].concat();
    let (id, first) = added(&world, 0, &content);
    assert_eq!(first, format!("Message-ID: <{id}@mta.home.test>\r\n"));
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    injector.expect("RCPT TO:<v@d.test>", "250 ");
    injector.expect("DATA", "354 ");
    for octet in b"Subject: x\r\nmessage-id: <a@b>\r\n\r\nDate: x\r\n.\r\n" {
        injector.say([*octet]);
    }
    queued_as(&injector.hear());
    let arrived = without_trace(&world.expect_delivered("v@d.test").body);
    let text = String::from_utf8(arrived).expect("ASCII");
    assert!(text.starts_with("Date: ") && text.ends_with("\r\nSubject: x\r\nmessage-id: <a@b>\r\n\r\nDate: x\r\n"));
    assert_eq!(text.lines().count(), 5, "{text}");
    world.finish();
}

#[test]
fn addresses_need_full_domains() {
    let world = World::plan().listener("mode = \"submission\"").start();
    let mut injector = world.connect().greet();
    injector.expect("MAIL FROM:<ann@localhost>", "554 5.1.7 The sender address needs a full domain");
    injector.expect("MAIL FROM:<ann>", "501 5.1.7 ");
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    injector.expect("RCPT TO:<bob@sales>", "554 5.1.3 The recipient address needs a full domain");
    injector.expect("RCPT TO:<bob>", "501 5.1.3 ");
    injector.expect("RCPT TO:<bob@sales.test>", "250 ");
    injector.expect("DATA", "354 ");
    injector.say("From: ann@localhost\r\n\r\nx\r\n.\r\n");
    assert_eq!(injector.hear(), "554 5.6.0 The header holds an address without a full domain: ann@localhost");
    queued_as(&injector.send(SENDER, &["bob@sales.test"], b"From: ann@home.test\r\n\r\nx\r\n"));
    world.expect_delivered("bob@sales.test");
    world.expect_empty();
    assert_eq!(world.sink().received().len(), 1);
    world.finish();
}

/// RFC 6409 §7: what it has to do with, and what not.
#[test]
fn extensions_are_those_of_submission() {
    let world = World::plan().listener("mode = \"submission\"").start();
    let mut injector = world.connect().greet();
    let announced = injector.ask("EHLO app.example");
    for extension in ["PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME"] {
        assert!(announced.contains(&format!("250-{extension}\n")), "{announced}");
    }
    assert!(!announced.contains("ETRN"), "{announced}");
    injector.expect("ETRN d.test", "502 5.5.1 ");
    world.finish();
}

#[test]
fn relayed_mail_is_never_touched() {
    let world = World::plan().start();
    for (n, content) in
        [b"Subject: x\r\n\r\nx\r\n".as_slice(), b"no header\r\n", b"From: ann@localhost\r\n\r\n"].iter().enumerate()
    {
        assert_eq!(added(&world, n, content).1, "");
    }
    world.finish();
}
