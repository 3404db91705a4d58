//! What is edited, what is refused, and that whatever is converted reads as before.

use super::*;
use crate::body::Facts;
use mail_parser::{Message, MessageParser, MimeHeaders, PartType};
use proptest::prelude::*;

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// `\n` stands for CRLF.
#[track_caller]
fn check(before: &str, after: &str) {
    check_text(before, after);
    assert_same(&crlf(before), &crlf(after));
}

/// Without the other parser, which has a weakness there.
#[track_caller]
fn check_text(before: &str, after: &str) {
    let converted = Body::new(crlf(before)).seven_bit().unwrap().to_bytes();
    assert_eq!(String::from_utf8_lossy(&converted), String::from_utf8_lossy(&crlf(after)));
}

#[track_caller]
fn check_refused(content: impl Into<Vec<u8>>, refusal: Refusal) {
    let content = content.into();
    assert_eq!(Body::new(content.clone()).seven_bit().err(), Some(refusal), "{}", content.escape_ascii());
}

fn malformed(sentence: &'static str) -> Refusal {
    Refusal::Malformed(sentence)
}

/// Another parser's view: the same parts, of the same types, with the same octets in them.
#[track_caller]
fn assert_same(before: &[u8], after: &[u8]) {
    let facts = Facts::of(after);
    assert!(after.is_ascii() && !facts.binary, "{}", after.escape_ascii());
    let parse = |content| MessageParser::default().parse(content).expect("it can be parsed");
    assert_eq!(view(&parse(before)), view(&parse(after)), "{}\n---\n{}", before.escape_ascii(), after.escape_ascii());
}

fn view(message: &Message<'_>) -> Vec<String> {
    let mut seen = Vec::new();
    for part in &message.parts {
        let content_type = part.content_type().map(|found| format!("{}/{:?}", found.c_type, found.c_subtype));
        let content_type = content_type.unwrap_or_else(|| "text/Some(\"plain\")".into());
        // The line end that a converted body ends with is no part of what it decodes to.
        let text = |octets: &[u8]| octets.strip_suffix(b"\r\n").unwrap_or(octets).escape_ascii().to_string();
        let content = match &part.body {
            PartType::Text(content) | PartType::Html(content) => text(content.as_bytes()),
            PartType::Binary(content) | PartType::InlineBinary(content) => text(content),
            PartType::Message(inner) => view(inner).join("; "),
            PartType::Multipart(parts) => format!("{} parts", parts.len()),
        };
        let name = part.attachment_name().unwrap_or_default();
        seen.push(format!("{content_type} {name:?} {content}"));
    }
    seen
}

#[test]
fn seven_bit_content_stays_as_it_is() {
    let body = Body::new("a: b\r\n\r\ntext\r\n");
    assert_eq!(body.seven_bit().unwrap().segments()[0].as_ptr(), body.segments()[0].as_ptr());
    // Also where it has NULs and long lines.
    let long = Body::new(format!("a: b\r\n\r\n{}\0\r\n", "x".repeat(2000)));
    assert_eq!(long.seven_bit().unwrap().to_bytes(), long.to_bytes());
}

#[test]
fn conversion_is_made_once() {
    let body = Body::new(crlf("a: b\n\nü\n"));
    let first = body.seven_bit().unwrap().to_bytes();
    assert_eq!(body.clone().seven_bit().unwrap().segments()[0].as_ptr(), first[..].as_ptr());
}

#[test]
fn a_message_of_one_part() {
    check(
        "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße aus München\n",
        "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe aus M=C3=BCnchen\n",
    );
    // Odd fields stay; a missing one is put at the end.
    check(
        "mime-version:1.0\nCONTENT-type :\n text/plain\nX:  odd \n\nein langer Text: ü\n",
        "mime-version:1.0\nCONTENT-type :\n text/plain\nX:  odd \nContent-Transfer-Encoding: quoted-printable\n\nein langer Text: =C3=BC\n",
    );
    check(
        "Content-Transfer-Encoding:\n 8bit\nMIME-Version: 1.0\nContent-Type: application/x\n\nü\n",
        "Content-Transfer-Encoding: base64\nMIME-Version: 1.0\nContent-Type: application/x\n\nw7wNCg==\n",
    );
}

#[test]
fn a_message_that_is_no_mime() {
    check(
        "Subject: x\n\nein langer Text: ü\n",
        "Subject: x\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\nMIME-Version: 1.0\n\nein langer Text: =C3=BC\n",
    );
    check(
        "\nein langer Text: ü\n",
        "Content-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\nMIME-Version: 1.0\n\nein langer Text: =C3=BC\n",
    );
}

const MIXED: &str =
    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b 1\"\nContent-Transfer-Encoding: 8bit\n\n";

#[test]
fn parts_that_are_seven_bit_stay() {
    let kept = "--b 1\nContent-Type: text/html\nContent-Transfer-Encoding: 8bit\n\n<p>a = b \n\n--b 1\t\n\n-- \nno header\n--b 1\n\n";
    check(
        &format!("{MIXED}  preamble\n{kept}ein langer Text: ü--b 1\n--b 1--  \nepilogue \n--b 1\n"),
        &format!("{MIXED}  preamble\n{kept}ein langer Text: =C3=BC--b 1\n--b 1--  \nepilogue \n--b 1\n")
            .replace("Encoding: 8bit\n\n  preamble", "Encoding: 7bit\n\n  preamble")
            .replace("--b 1\n\nein", "--b 1\nContent-Transfer-Encoding: quoted-printable\n\nein"),
    );
}

#[test]
fn nested_parts_and_messages() {
    let inner = "--in\nContent-Type: text/plain; charset=utf-8\n\nein langer Text: ü\n--in\nContent-Type: application/octet-stream\n\nü\n--in--\n\n";
    let message = "--b 1\nContent-Type: message/rfc822\nContent-Transfer-Encoding: binary\n\nSubject: within\n\nüüü\n";
    let before = format!("{MIXED}--b 1\nContent-Type: multipart/alternative; boundary=in\n\n{inner}{message}--b 1--\n");
    let after = before
        .replacen("8bit", "7bit", 1)
        .replace("charset=utf-8\n", "charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n")
        .replace("ein langer Text: ü", "ein langer Text: =C3=BC")
        .replace("octet-stream\n\nü", "octet-stream\nContent-Transfer-Encoding: base64\n\nw7w=")
        .replace("Encoding: binary", "Encoding: 7bit")
        .replace("within\n\nüüü", "within\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: base64\nMIME-Version: 1.0\n\nw7zDvMO8");
    check(&before, &after);
}

#[test]
fn digests_hold_messages() {
    let digest = "MIME-Version: 1.0\nContent-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: one\nContent-Type: text/plain\nMIME-Version: 1.0\n\nein langer Text: ü\n--b--\n";
    let after = digest
        .replace("MIME-Version: 1.0\n\nein", "MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nein")
        .replace('ü', "=C3=BC");
    check(digest, &after);
}

#[test]
fn multiparts_that_end_early() {
    // Nothing closes the inner one, nothing the outer one.
    let before = format!(
        "{MIXED}--b 1\nContent-Type: multipart/mixed; boundary=in\n\n--in\n\nein langer Text: ü\n--b 1\n\nnoch ein Text: ü\n"
    );
    let after = before
        .replacen("8bit", "7bit", 1)
        .replace("\n\nein", "\nContent-Transfer-Encoding: quoted-printable\n\nein")
        .replace("\n\nnoch", "\nContent-Transfer-Encoding: quoted-printable\n\nnoch")
        .replace('ü', "=C3=BC");
    check_text(&before, &after);
    // A part ends within its header.
    check(
        &format!("{MIXED}--b 1\nContent-Type: text/plain\n--b 1\n\nü\n--b 1--\n"),
        &format!("{MIXED}--b 1\nContent-Type: text/plain\n--b 1\nContent-Transfer-Encoding: base64\n\nw7w=\n--b 1--\n")
            .replacen("8bit", "7bit", 1),
    );
}

#[test]
fn what_nobody_reads_loses_its_umlauts() {
    let before = format!("{MIXED}für alte Programme\n--b 1\n\nü\n--b 1--\ndas wär's\n");
    let converted = Body::new(crlf(&before)).seven_bit().unwrap().to_bytes();
    let text = String::from_utf8_lossy(&converted).into_owned();
    assert!(text.contains("\r\n\r\nf??r alte Programme\r\n--b 1\r\n"), "{text}");
    assert!(text.ends_with("--b 1--\r\ndas w??r's\r\n"), "{text}");
}

#[test]
fn binary_content() {
    let part = |kind: &str, content: &str| {
        [
            crlf(&format!("MIME-Version: 1.0\nContent-Type: {kind}\nContent-Transfer-Encoding: binary\n\n")),
            content.into(),
        ]
        .concat()
    };
    for content in ["a\nb\rc", "one\0two\r\n\n", "\r\r\n\n", "\n"] {
        for kind in ["application/octet-stream", "text/plain"] {
            let before = part(kind, content);
            let after = Body::new(before.clone()).seven_bit().unwrap().to_bytes();
            assert_same(&before, &after);
        }
    }
    let long = part("text/plain", &format!("ü {}\r\n", "x".repeat(5000)));
    let after = Body::new(long.clone()).seven_bit().unwrap().clone();
    assert_same(&long, &after.to_bytes());
    assert!(after.facts().longest_line <= 76, "{:?}", after.facts());
}

#[test]
fn a_soft_line_break_makes_no_delimiter() {
    let text = format!("{}--b 1", "x".repeat(75));
    check_text(
        &format!("{MIXED}--b 1\nContent-Type: text/plain\n\nein Text: ü\n{text}\n--b 1--\n"),
        &format!(
            "{MIXED}--b 1\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nein Text: =C3=BC\n{}=\n=2D-b 1\n--b 1--\n",
            "x".repeat(75)
        )
        .replacen("8bit", "7bit", 1),
    );
}

#[test]
fn signed_parts_are_not_touched() {
    let signed = |part: &str| {
        let head = "MIME-Version: 1.0\nContent-Type: multipart/signed; micalg=x; protocol=\"application/pgp-signature\"; boundary=s\n\n";
        format!(
            "{head}--s\nContent-Type: text/plain\n\n{part}\n--s\nContent-Type: application/pgp-signature\n\nabc\n--s--\n"
        )
    };
    check_refused(crlf(&signed("ü")), Refusal::Signed);
    let nested = |signed: &str, other: &str| {
        format!("{MIXED}--b 1\n{signed}--b 1\nContent-Type: text/plain\n\n{other}\n--b 1--\n")
    };
    check_refused(crlf(&nested(&signed("ü"), "x")), Refusal::Signed);
    // Beside it, something may be. And within it, nothing is done that need not be.
    let beside = nested(&signed(&"x".repeat(2000)), "ein langer Text: ü");
    let after = beside
        .replacen("8bit", "7bit", 1)
        .replace("\n\nein", "\nContent-Transfer-Encoding: quoted-printable\n\nein")
        .replace('ü', "=C3=BC");
    check(&beside, &after);
}

#[test]
fn what_would_be_a_guess_is_refused() {
    check_refused(crlf("Subject: ü\n\nü\n"), Refusal::Header);
    check_refused(crlf("ü\n"), Refusal::Header);
    check_refused(
        crlf(&format!("{MIXED}--b 1\nContent-Disposition: attachment; filename=ü\n\nx\n--b 1--\n")),
        Refusal::Header,
    );
    let refused = |text: &str, sentence| check_refused(crlf(text), malformed(sentence));
    let head = "MIME-Version: 1.0\nContent-Type: text/plain\n";
    refused(
        &format!("{head}Content-Transfer-Encoding: base64\n\nü\n"),
        "a part is not in the transfer encoding that it claims",
    );
    refused(&format!("{head}Content-Transfer-Encoding: x-uuencode\n\nü\n"), "a part has an unknown transfer encoding");
    refused(&format!("{head}Content-Type: text/html\n\nü\n"), "a header can be read in more than one way");
    refused(&format!("{head}what is this\n\nü\n"), "a header can be read in more than one way");
    refused("Content-Type: multipart/mixed\n\nü\n", "a multipart has no boundary that can be read");
    refused("Content-Type: multipart/mixed; boundary=b\n\nü\n", "a multipart has no parts");
    refused("Content-Type: multipart/mixed; boundary=b\n\nü\n--b--\n", "a multipart has no parts");
    refused("Content-Type: message/partial; id=1\n\nü\n", "a part is of a type that allows no transfer encoding");
    refused(&format!("{MIXED}--b 1\n\nü\n--b 11\n"), "a line begins like a boundary and is none");
    refused(
        &format!("{}--b 1\n\nü\n--b 1--\n", MIXED.replace("8bit", "base64")),
        "a multipart or message claims to be encoded as a whole",
    );
    refused(
        &format!("{MIXED}--b 1\nContent-Type: multipart/mixed; boundary=\"b 1\"\n\n--b 1\n\nü\n"),
        "two multiparts within each other have the same boundary",
    );
    let deep: String =
        (0..101).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}z\n\n--b{n}z\n")).collect();
    refused(&format!("{deep}\nü\n"), "its parts are nested too deeply");
    check_refused("a: b\nc: d\r\n\r\nx\r\n", malformed("a header has a bare CR or LF"));
    let outside = [&crlf(MIXED)[..], b"pre\namble\r\n--b 1\r\n\r\nx\r\n--b 1--\r\n"].concat();
    check_refused(outside, malformed("a bare CR or LF stands outside of all parts"));
}

/// A part of a made-up message.
#[derive(Clone, Debug)]
enum Made {
    Leaf { header: &'static str, content: Vec<u8> },
    Multipart { preamble: &'static str, parts: Vec<Made> },
    Message(Box<Made>),
}

fn made() -> impl Strategy<Value = Made> {
    let header = prop::sample::select(vec![
        "",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
        "content-transfer-encoding:\r\n BINARY\r\nContent-Type: text/html\r\n",
        "Content-Type: application/octet-stream; name=x\r\nContent-Transfer-Encoding: 8bit\r\n",
        "Content-Type: image/png\r\n",
    ]);
    let line = prop_oneof![
        "[ -~]{0,100}".prop_map(String::into_bytes),
        "[a-zäöü .=-]{0,90}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>().prop_filter("no line end", |byte| !b"\r\n".contains(byte)), 0..120),
    ];
    let content = prop::collection::vec(line, 0..6).prop_map(|lines| lines.join(&b"\r\n"[..]));
    let leaf = (header, content).prop_map(|(header, content)| Made::Leaf { header, content });
    leaf.prop_recursive(4, 20, 4, |inner| {
        let preamble = prop::sample::select(vec!["", "preamble\r\n", "\r\n"]);
        prop_oneof![
            3 => (preamble, prop::collection::vec(inner.clone(), 1..4))
                .prop_map(|(preamble, parts)| Made::Multipart { preamble, parts }),
            // (The other parser panics over a message that is nothing but a message.)
            1 => inner.prop_map(|inner| match inner {
                message @ Made::Message(_) => message,
                other => Made::Message(Box::new(other)),
            }),
        ]
    })
}

impl Made {
    fn write(&self, counter: &mut u32, out: &mut Vec<u8>) {
        match self {
            Made::Leaf { header, content } => {
                out.extend([header.as_bytes(), b"\r\n", content].concat());
            }
            Made::Message(inner) => {
                out.extend(b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n");
                inner.write(counter, out);
            }
            Made::Multipart { preamble, parts } => {
                *counter += 1;
                let boundary = format!("=_b{counter}_");
                out.extend(format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n{preamble}").bytes());
                for part in parts {
                    out.extend(format!("--{boundary}\r\n").bytes());
                    part.write(counter, out);
                    out.extend(b"\r\n");
                }
                // (The other parser leaves base64 as it is in a multipart that nothing closes.)
                out.extend(format!("--{boundary}--\r\n").bytes());
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_converted_reads_as_before(made in made()) {
        let mut content = b"Subject: x\r\nMIME-Version: 1.0\r\n".to_vec();
        made.write(&mut 0, &mut content);
        content.extend(b"\r\n");
        let body = Body::new(content.clone());
        let converted = body.seven_bit().unwrap();
        if body.facts().eight_bit {
            assert_same(&content, &converted.to_bytes());
        }
    }

    #[test]
    fn nothing_panics(text in "([ -~ü]{0,9}|--b|--b--|Content-Type: (multipart/(mixed|signed)|message/rfc822|text/plain)(; boundary=b)?|Content-Transfer-Encoding: (8bit|base64)|\r|\n|\r\n){0,40}") {
        let body = Body::new(text.replace('|', "\r\n"));
        if let Ok(converted) = body.seven_bit() {
            prop_assert!(!converted.facts().eight_bit && !converted.facts().binary);
        }
    }
}

/// `shared/corpus` beside the repository.
#[test]
fn real_mail_reads_as_before() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus");
    let Ok(entries) = std::fs::read_dir(directory) else {
        return eprintln!("skipped: no corpus at {directory}");
    };
    let (mut converted, mut refused) = (0, 0);
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "eml"))
    {
        let text: Vec<u8> = std::fs::read(&path).unwrap();
        let content = bytes_with_crlf(&text);
        let body = Body::new(content.clone());
        if !body.facts().eight_bit {
            continue;
        }
        match body.seven_bit() {
            Ok(after) => {
                assert_same(&content, &after.to_bytes());
                converted += 1;
            }
            Err(refusal) => {
                eprintln!("{}: {refusal}", path.display());
                refused += 1;
            }
        }
    }
    eprintln!("{converted} converted, {refused} refused");
    assert!(converted > 0);
}

fn bytes_with_crlf(text: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    lines.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect::<Vec<_>>().join(&b"\r\n"[..])
}
