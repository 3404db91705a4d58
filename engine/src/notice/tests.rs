//! What notices say.

use super::report::status_code;
use super::*;
use mail_parser::{MessageParser, MimeHeaders};
use smtp::Mailbox;
use smtp::parameters::{DeliverBy, Hold};
use smtp::reply::EnhancedCode;

fn original(sender: &str, recipients: &[&str], body: impl Into<bytes::Bytes>) -> Content {
    let mailbox = |text: &str| Mailbox::parse(text).unwrap();
    let envelope = Envelope {
        reverse_path: ReversePath((!sender.is_empty()).then(|| mailbox(sender))),
        recipients: recipients.iter().map(|r| Recipient::new(mailbox(r))).collect(),
        accepted_us: 1_700_000_000_000_000,
        parameters: MailParameters::default(),
        tenant: Some("t1".into()),
        campaign: Some("c1".into()),
    };
    Content { id: MessageId(77), envelope, body: Body::new(body) }
}

fn failure(recipient: u32, text: &str) -> Status {
    let reply = Reply::new(550, EnhancedCode(5, 1, 1), text.to_owned());
    Status {
        recipient,
        action: Action::Failed(Failure::Refused),
        reply,
        mx: Some("mx.test".into()),
        said: true,
        tried: true,
    }
}

fn notice(original: &Content, list: &[Status]) -> Option<String> {
    let mut config = Config::clone(&crate::dispatch::test_config());
    config.hostname = "mta.test".into();
    let now = Now { mono: std::time::Instant::now(), wall_us: 1_700_000_100_000_000 };
    let message = write(&config, MessageId(99), now, original, list)?;
    assert!(message.content.envelope.reverse_path.is_null());
    assert_eq!(message.content.envelope.recipients.len(), 1);
    assert_eq!(message.domains.len(), 1);
    let bytes = message.content.body.to_bytes();
    assert!(!message.content.body.facts().binary, "whole CRLF lines");
    assert!(message.content.body.facts().ends_with_crlf);
    assert!(message.content.body.facts().longest_line <= 998);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn what_we_say_of_a_host_is_not_put_into_its_mouth() {
    let original = original("me@from.test", &["a@x.test"], "Subject: hi\r\n\r\nBody\r\n");
    let text = notice(&original, &[Status { said: false, ..failure(0, "it lacks something") }]).unwrap();
    for line in [
        "at mx.test: 550 5.1.1 it lacks",
        "Remote-MTA: dns; mx.test\r\nDiagnostic-Code: X-Posthaste; 550 5.1.1 it lacks",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    assert!(!text.contains("said"), "{text}");
    let text = notice(&original, &[Status { mx: None, said: false, ..failure(0, "no such domain") }]).unwrap();
    assert!(text.contains("Diagnostic-Code: X-Posthaste; 550") && !text.contains("Remote-MTA"), "{text}");
}

#[test]
fn it_is_a_report_of_three_parts() {
    let original = original("me@from.test", &["a@x.test", "b@x.test"], "Subject: hi\r\n\r\nBody\r\n");
    let text = notice(&original, &[failure(1, "no such user")]).unwrap();
    let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
    let kind = parsed.content_type().unwrap();
    assert_eq!((kind.ctype(), kind.subtype()), ("multipart", Some("report")));
    assert_eq!(kind.attribute("report-type"), Some("delivery-status"));
    assert_eq!(parsed.header_raw("Auto-Submitted").map(str::trim), Some("auto-replied"));
    assert_eq!(parsed.from().unwrap().first().unwrap().address(), Some("postmaster@mta.test"));
    assert_eq!(parsed.to().unwrap().first().unwrap().address(), Some("me@from.test"));
    assert_eq!(parsed.date().unwrap().to_timestamp(), 1_700_000_100);
    assert!(parsed.message_id().unwrap().ends_with("@mta.test"));
    let kinds: Vec<String> = parsed.parts[1..]
        .iter()
        .take(3)
        .filter_map(|p| p.content_type().map(|c| format!("{}/{}", c.ctype(), c.subtype().unwrap())))
        .collect();
    assert_eq!(kinds, ["text/plain", "message/delivery-status", "message/rfc822"]);
    for line in [
        "Reporting-MTA: dns; mta.test\r\n",
        "Final-Recipient: rfc822; b@x.test\r\n",
        "Action: failed\r\n",
        "Status: 5.1.1\r\n",
        "Remote-MTA: dns; mx.test\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "Subject: hi\r\n\r\nBody\r\n",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    assert!(!text.contains("a@x.test"));
}

#[test]
fn the_null_reverse_path_gets_none() {
    assert!(notice(&original("", &["a@x.test"], "Subject: hi\r\n\r\n"), &[failure(0, "no")]).is_none());
}

#[test]
fn of_large_or_binary_messages_the_header_is_returned() {
    let large = format!("Subject: hi\r\nX: y\r\n\r\n{}", "secret words\r\n".repeat(10_000));
    for body in [large.into_bytes(), b"Subject: hi\r\nX: y\r\n\r\nsecret\nwords\r\n".to_vec()] {
        let text = notice(&original("me@from.test", &["a@x.test"], body), &[failure(0, "no")]).unwrap();
        assert!(text.contains("Content-Type: text/rfc822-headers\r\n") && text.contains("Subject: hi\r\nX: y\r\n"));
        assert!(!text.contains("secret"));
    }
}

#[test]
fn a_header_that_is_too_long_ends_with_a_whole_line() {
    let line = |n: usize| format!("X-Line: {n:0width$}!\r\n", width = 20 + n % 50);
    let header: String = (0..2_000).map(line).collect();
    assert!(header.len() > RETURN_HEADER_BYTES);
    let whole = format!("{header}\r\nsecret\r\n");
    let mut original = original("me@from.test", &["a@x.test"], "");
    // In one piece, and as it comes from a socket.
    let pieces = whole.as_bytes().chunks(1000).map(bytes::Bytes::copy_from_slice);
    for body in [Body::new(whole.clone()), Body::from_segments(pieces)] {
        original.body = body;
        let text = notice(&original, &[failure(0, "no")]).unwrap();
        let (_, returned) = text.split_once("Content-Type: text/rfc822-headers\r\n").unwrap();
        let lines: Vec<&str> = returned.split("\r\n").filter(|line| line.starts_with("X-")).collect();
        let expected: String = (0..lines.len()).map(line).collect();
        assert!(lines.join("\r\n") + "\r\n" == expected, "the last line: {:?}", lines.last());
        let next = line(lines.len()).len();
        assert!(expected.len() <= RETURN_HEADER_BYTES && expected.len() + next > RETURN_HEADER_BYTES, "as many as go");
    }
}

#[test]
fn a_hostile_reply_stays_inside_its_field() {
    let evil = format!("bad\r\nStatus: 2.0.0\n\u{0}\u{1b}[31mé {}", "x".repeat(5000));
    let original = original("me@from.test", &["a@x.test"], "Subject: hi\r\n\r\nBody\r\n");
    let text = notice(&original, &[failure(0, &evil)]).unwrap();
    assert_eq!(text.matches("\r\nStatus: ").count(), 1);
    assert!(text.is_ascii() && !text.contains(['\u{0}', '\u{1b}']));
}

#[test]
fn the_boundary_is_never_part_of_the_original() {
    let body = "Subject: hi\r\n\r\n--=99/mta.test--\r\n--=99/mta.test=\r\n";
    let text = notice(&original("me@from.test", &["a@x.test"], body), &[failure(0, "no")]).unwrap();
    let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
    let boundary = parsed.content_type().unwrap().attribute("boundary").unwrap().to_owned();
    assert!(!body.contains(&boundary));
}

#[test]
fn eight_bit_and_international_originals_are_declared() {
    let original_8bit = original("me@from.test", &["a@x.test"], "Subject: hi\r\n\r\nGr\u{fc}n\r\n");
    let text = notice(&original_8bit, &[failure(0, "no")]).unwrap();
    assert!(text.contains("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n"));
    let utf8 = original("me@from.test", &["gr\u{fc}n@x.test"], "Subject: hi\r\n\r\n");
    let text = notice(&utf8, &[failure(0, "no")]).unwrap();
    assert!(text.contains("report-type=global-delivery-status"));
    assert!(text.contains("Final-Recipient: utf-8; gr\u{fc}n@x.test\r\n"));
    // What the original cannot be converted to by itself, it can be encoded as.
    let mut global = original("me@from.test", &["gr\u{fc}n@x.test"], "Subject: gr\u{fc}n\r\n\r\nBody\r\n");
    global.envelope.recipients[0].orcpt = Some("utf-8;gr\\x{FC}n@x.test".into());
    let text = notice(&global, &[failure(0, "no")]).unwrap();
    assert!(text.contains("Original-Recipient: utf-8; gr\u{fc}n@x.test\r\n"), "{text}");
    assert!(text.contains("Content-Type: message/global\r\n") && text.contains("\r\nBody\r\n"), "{text}");
    let encoded =
        Body::new(text).seven_bit().map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap();
    assert!(encoded.contains("Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n"), "{encoded}");
    assert!(encoded.contains("Final-Recipient: utf-8; gr=C3=BCn@x.test\r\n"), "{encoded}");
}

#[test]
fn statuses_fit_what_happened() {
    let [failed, expired, late] = [Failure::Refused, Failure::Expired, Failure::TooLate].map(Action::Failed);
    let [delayed, behind] = [false, true].map(|late| Action::Delayed { until_ms: 0, late });
    for (action, enhanced, expected) in [
        (failed, Some(EnhancedCode(5, 1, 1)), "5.1.1"),
        (failed, Some(EnhancedCode(4, 2, 2)), "5.0.0"),
        (failed, None, "5.0.0"),
        (expired, Some(EnhancedCode(4, 2, 2)), "4.2.2"),
        (late, Some(EnhancedCode(4, 2, 2)), "5.4.7"),
        (expired, None, "4.4.7"),
        (delayed, Some(EnhancedCode(4, 2, 2)), "4.2.2"),
        (delayed, Some(EnhancedCode(5, 2, 2)), "4.0.0"),
        (behind, Some(EnhancedCode(4, 2, 2)), "4.4.7"),
        (Action::Relayed, Some(EnhancedCode(2, 1, 5)), "2.1.5"),
        (Action::Delivered, None, "2.0.0"),
    ] {
        let reply = Reply { code: 450, enhanced, text: "".into() };
        assert_eq!(status_code(&Status { recipient: 0, action, reply, mx: None, said: false, tried: true }), expected);
    }
}

#[test]
fn what_the_sender_called_things_comes_back() {
    let mut original = original("me@from.test", &["a@x.test", "b@x.test"], "Subject: hi\r\n\r\nBody\r\n");
    original.envelope.parameters.envid = Some("QQ+2B1".into());
    original.envelope.recipients[0].orcpt = Some("rfc822;Ann+2Bnews@x.test".into());
    original.envelope.recipients[1].orcpt = Some("utf-8;b+C3+A4@x.test".into());
    let text = notice(&original, &[failure(0, "no"), failure(1, "no")]).unwrap();
    assert!(text.contains("Original-Envelope-Id: QQ+1\r\nReporting-MTA: "), "{text}");
    assert!(text.contains("Original-Recipient: rfc822; Ann+news@x.test\r\nFinal-Recipient: rfc822; a@x.test\r\n"));
    // What ASCII has no way to say stays in its code.
    assert!(text.contains("Original-Recipient: utf-8; b+C3+A4@x.test\r\n"), "{text}");
}

#[test]
fn the_sender_says_how_much_comes_back() {
    let body = |lines| format!("Subject: hi\r\n\r\n{}", "secret words\r\n".repeat(lines));
    for (ret, lines, whole) in [
        (None, 10, true),
        (None, 10_000, false),
        (Some(Return::Headers), 10, false),
        (Some(Return::Full), 10_000, true),
    ] {
        let mut original = original("me@from.test", &["a@x.test"], body(lines));
        original.envelope.parameters.ret = ret;
        let text = notice(&original, &[failure(0, "no")]).unwrap();
        assert_eq!(text.matches("secret").count(), if whole { lines } else { 0 }, "{ret:?}");
    }
}

#[test]
fn delay_and_success_return_the_header() {
    let mut original = original("me@from.test", &["a@x.test"], "Subject: hi\r\n\r\nsecret\r\n");
    original.envelope.parameters.ret = Some(Return::Full);
    let status = |action, code, text: &'static str| {
        let reply = Reply::fixed(code, EnhancedCode((code / 100) as u8, 0, 0), text);
        Status { recipient: 0, action, reply, mx: Some("mx.test".into()), said: true, tried: true }
    };
    let delayed = status(Action::Delayed { until_ms: 1_700_000_200_000, late: false }, 450, "later");
    for (status, expected) in [
        (
            delayed,
            &[
                "Subject: Delayed mail",
                "Action: delayed\r\n",
                "Status: 4.0.0\r\n",
                "last mx.test said: 450 4.0.0 later",
                "Will-Retry-Until: Tue, 14 Nov 2023 22:16:40 +0000\r\n",
            ][..],
        ),
        (status(Action::Relayed, 250, "Ok"), &["Subject: Successful", "Action: relayed\r\n", "Status: 2.0.0\r\n"]),
        (status(Action::Delivered, 250, "Ok"), &["Subject: Successful", "Action: delivered\r\n"]),
    ] {
        let text = notice(&original, &[status]).unwrap();
        for line in expected {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
        assert!(text.contains("text/rfc822-headers\r\n") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn what_the_sender_said_of_time_comes_back() {
    let mut original = original("me@from.test", &["a@x.test"], "Subject: hi\r\n\r\n");
    original.envelope.parameters.deliver_by = DeliverBy::parse("-60;N");
    original.envelope.parameters.hold = Some(Hold::For(std::time::Duration::from_secs(60)));
    let text = notice(&original, &[failure(0, "no")]).unwrap();
    let fields = "Arrival-Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n\
        Deliver-By-Date: Tue, 14 Nov 2023 22:12:20 +0000\r\n\
        Future-Release-Request: for;60\r\n\r\n";
    assert!(text.contains(fields), "{text}");
}

#[test]
fn a_notice_is_as_urgent_as_what_it_is_about() {
    let mut original = original("me@from.test", &["a@x.test"], "Subject: hi\r\n\r\n");
    original.envelope.parameters.priority = -4;
    let now = Now { mono: std::time::Instant::now(), wall_us: 0 };
    let notice = write(&crate::dispatch::test_config(), MessageId(1), now, &original, &[failure(0, "no")]).unwrap();
    assert_eq!(notice.content.envelope.parameters.priority, -4);
}

#[test]
fn a_notice_of_mail_that_requires_tls_requires_it_too() {
    let mut original = original("me@from.test", &["a@x.test"], "Subject: hi\r\n\r\n");
    original.envelope.parameters.require_tls = true;
    let config = crate::dispatch::test_config();
    let now = Now { mono: std::time::Instant::now(), wall_us: 0 };
    let notice = write(&config, MessageId(1), now, &original, &[failure(0, "no")]).unwrap();
    assert!(notice.content.envelope.parameters.require_tls);
}
