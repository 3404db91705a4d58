//! Hosts without 8BITMIME get 7-bit content; what cannot be converted comes back.

use crate::world::{SENDER, World};
use bench::sink::SinkOptions;
use smtp::server::Protocol;

/// What is announced everywhere here: nothing.
fn plain(options: &mut SinkOptions) {
    options.eight_bit_mime = false;
    options.chunking = false;
    options.smtputf8 = false;
}

const MIXED: &str = "Subject: mixed\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nein langer Text: ü\r\n\
    --b\r\nContent-Type: text/plain\r\n\r\n.a = b\r\n--b--\r\n";

fn converted() -> String {
    MIXED.replace("8bit", "quoted-printable").replace('ü', "=C3=BC")
}

#[test]
fn eight_bit_content_is_converted() {
    let config = "[[route]]\ndomain = [\"local.test\"]\nvia = \"lmtp://127.0.0.2:PORT\"\n";
    let plan = World::plan().config(config).sink_options(plain).sink_at([127, 0, 0, 2], |options| {
        options.protocol = Protocol::Lmtp;
        plain(options);
    });
    let world = plan.start();
    world.inject(SENDER, &["a@d.test", "b@e.test", "c@local.test"], MIXED);
    for recipient in ["a@d.test", "b@e.test", "c@local.test"] {
        let received = world.expect_delivered(recipient);
        let text = String::from_utf8_lossy(&received.body).into_owned();
        assert!(text.ends_with(&converted()), "{recipient}: {text}");
    }
    world.finish();
}

#[test]
fn who_has_no_smtputf8_hears_of_mail_that_needed_it() {
    let world = World::plan().sink_options(plain).start();
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}> SMTPUTF8"), "250 ");
    injector.expect("RCPT TO:<grün@d.test>", "250 ");
    injector.expect("DATA", "354 ");
    injector.expect("Subject: grün\r\n\r\nHello.\r\n.", "250 ");
    let event = world.expect_event("bounced", "grün@d.test");
    assert_eq!(event["reply"]["enhanced"], "5.6.7", "{event}");
    let notice = world.expect_notice();
    assert!(notice.is_ascii() && notice.contains("report-type=global-delivery-status"), "{notice}");
    assert!(notice.contains("Final-Recipient: utf-8; gr=C3=BCn@d.test\r\n"), "{notice}");
    world.expect_empty();
    world.finish();
}

/// Many programs say SMTPUTF8 of all that they hand in.
#[test]
fn what_was_said_to_need_smtputf8_and_does_not_arrives() {
    let world = World::plan().sink_options(plain).start();
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}> SMTPUTF8"), "250 ");
    injector.expect("RCPT TO:<green@d.test>", "250 ");
    injector.expect("DATA", "354 ");
    injector.expect("Subject: green\r\n\r\nHello.\r\n.", "250 ");
    world.expect_delivered("green@d.test");
    world.expect_empty();
    world.finish();
}

#[test]
fn a_host_that_takes_eight_bits_gets_them() {
    let world = World::plan().sink_options(|options| options.chunking = false).start();
    world.inject(SENDER, &["a@d.test"], MIXED);
    assert!(world.expect_delivered("a@d.test").body.ends_with(MIXED.as_bytes()));
    world.finish();
}

#[test]
fn a_signed_message_bounces_and_its_notice_arrives() {
    let signed = "Subject: signed\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=s\r\n\r\n\
        --s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nein langer Text: ü\r\n\
        --s\r\nContent-Type: application/pgp-signature\r\n\r\nabc\r\n--s--\r\n";
    let world = World::plan().sink_options(plain).start();
    world.inject(SENDER, &["a@d.test"], signed);
    let event = world.expect_event("bounced", "a@d.test");
    assert_eq!(event["reply"]["enhanced"], "5.6.3", "{event}");
    let notice = world.expect_notice();
    assert!(notice.contains("Status: 5.6.3\r\n") && notice.contains("signed (multipart/signed)"), "{notice}");
    // The sender's host takes no 8-bit content either: the notice has no more than the header of the original.
    assert!(notice.is_ascii() && notice.contains("Subject: signed\r\n"), "{notice}");
    assert_eq!(world.copies("a@d.test"), 0);
    world.finish();
}

#[test]
fn too_large_once_converted() {
    let world = World::plan()
        .sink_options(|options| {
            plain(options);
            options.max_message_bytes = 15_000;
        })
        .start();
    world.inject(SENDER, &["a@d.test"], &format!("Subject: x\r\n\r\n{}", "üüüüüüüüüü\r\n".repeat(600)));
    let event = world.expect_event("bounced", "a@d.test");
    assert_eq!(event["reply"]["enhanced"], "5.3.4", "{event}");
    assert!(event["size"].as_u64() < Some(15_000), "it would have fitted as it was: {event}");
    world.finish();
}
