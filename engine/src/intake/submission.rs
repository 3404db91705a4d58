//! What a submission server does to a message, and a relay never (RFC 6409): it adds Date and Message-ID where they are
//! missing (§8), and refuses addresses without a full domain (§4.2).
//!
//! What is added goes before the message, as the trace field does: not one octet of what was sent is changed or moved. A
//! message without a header gets an empty line behind what is added, so that its first line stays text.

use super::Refusal;
use crate::beginning::beginning;
use mail_parser::MessageParser;
use smtp::{Body, EnhancedCode, Mailbox, Reply, ReversePath};
use std::fmt::{self, Write};

/// A header section that is larger is refused: it would have to be read to its end.
const MAX_HEADER_BYTES: usize = 256 << 10;

/// The metric's reason.
const UNQUALIFIED: &str = "unqualified_address";
const SENDER_UNQUALIFIED: Reply =
    Reply::fixed(554, EnhancedCode(5, 1, 7), "The sender address needs a full domain, like user@example.com");
const RECIPIENT_UNQUALIFIED: Reply =
    Reply::fixed(554, EnhancedCode(5, 1, 3), "The recipient address needs a full domain, like user@example.com");
const HEADER_TOO_LARGE: Reply =
    Reply::fixed(554, EnhancedCode(5, 6, 0), "The header of the message is larger than 256 KiB");

/// What is to be put before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Missing {
    date: bool,
    message_id: bool,
    /// There is no header, not even the empty line that ends it.
    header: bool,
}

impl Missing {
    /// Looks at what was submitted.
    pub(super) fn of(body: &Body) -> Result<Missing, Refusal> {
        // One octet more shows that it is longer.
        let start = beginning(body, MAX_HEADER_BYTES + 1);
        let (section, missing) = read_header(&start);
        if section.len() > MAX_HEADER_BYTES {
            return Err(("header_size", HEADER_TOO_LARGE));
        }
        match unqualified_address(section) {
            Some(address) => {
                let text = format!("The header holds an address without a full domain: {address}");
                Err((UNQUALIFIED, Reply::new(554, EnhancedCode(5, 6, 0), text)))
            }
            None => Ok(missing),
        }
    }

    /// Writes it, in whole lines.
    pub(super) fn write(self, out: &mut impl Write, id: queue::MessageId, hostname: &str, date: &str) -> fmt::Result {
        if self.date {
            write!(out, "Date: {date}\r\n")?;
        }
        if self.message_id {
            write!(out, "Message-ID: <{id}@{hostname}>\r\n")?;
        }
        if self.header {
            out.write_str("\r\n")?;
        }
        Ok(())
    }
}

/// Why the envelope's sender is refused.
pub(super) fn check_sender(reverse_path: &ReversePath) -> Result<(), Refusal> {
    match &reverse_path.0 {
        Some(mailbox) if !is_qualified(mailbox.domain()) => Err((UNQUALIFIED, SENDER_UNQUALIFIED)),
        _ => Ok(()),
    }
}

/// Why a recipient is refused.
pub(super) fn check_recipient(mailbox: &Mailbox) -> Result<(), Refusal> {
    if is_qualified(mailbox.domain()) { Ok(()) } else { Err((UNQUALIFIED, RECIPIENT_UNQUALIFIED)) }
}

/// RFC 5321 §2.3.5: a domain is fully qualified; an address literal needs no domain.
fn is_qualified(domain: &str) -> bool {
    domain.contains('.') || domain.starts_with('[')
}

/// The header section, as far as it is one, and what it lacks.
fn read_header(start: &[u8]) -> (&[u8], Missing) {
    let mut missing = Missing { date: true, message_id: true, header: false };
    let mut octets = 0;
    for line in start.split_inclusive(|byte| *byte == b'\n') {
        let first = octets == 0;
        match Line::of(line) {
            Line::Empty => return (&start[..octets], missing),
            Line::Field(name) => {
                missing.date &= !name.eq_ignore_ascii_case(b"Date");
                missing.message_id &= !name.eq_ignore_ascii_case(b"Message-ID");
            }
            Line::Folded if !first => {}
            Line::Mbox if first => {}
            Line::Folded | Line::Mbox | Line::Text => {
                missing.header = first;
                return (&start[..octets], missing);
            }
        }
        octets += line.len();
    }
    missing.header = octets == 0;
    (&start[..octets], missing)
}

/// What a line of a header section can be.
enum Line<'a> {
    Field(&'a [u8]),
    Folded,
    /// `From somebody Mon Jan ...`: not a field, but written before the first one by programs that keep mail in mbox files.
    Mbox,
    Empty,
    /// Whatever follows, the header is over.
    Text,
}

impl Line<'_> {
    fn of(line: &[u8]) -> Line<'_> {
        match line {
            [b'\r', b'\n'] | [b'\n'] => return Line::Empty,
            [b' ' | b'\t', ..] => return Line::Folded,
            _ if line.starts_with(b"From ") || line.starts_with(b">From ") => return Line::Mbox,
            _ => {}
        }
        // RFC 5322 §2.2, and with blanks before the colon, as §4.5.2 wants them to be taken.
        let name = memchr::memchr(b':', line).map(|colon| line[..colon].trim_ascii_end());
        match name {
            Some(name) if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) => Line::Field(name),
            _ => Line::Text,
        }
    }
}

/// An address in an address field whose domain is not fully qualified (RFC 6409 §4.2: who adds fields must look).
fn unqualified_address(section: &[u8]) -> Option<String> {
    let parser = MessageParser::new().with_address_headers().default_header_ignore();
    let message = parser.parse_headers(section)?;
    let addresses =
        message.headers().iter().filter_map(|header| header.value().as_address()).flat_map(|list| list.iter());
    let found = addresses.filter_map(|address| address.address()).find(|address| {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        !is_qualified(domain.trim_ascii())
    });
    found.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use smtp::body::Facts;

    const ID: queue::MessageId = queue::MessageId(7);
    const DATE: &str = "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n";

    fn message_id() -> String {
        format!("Message-ID: <{ID}@mta1.example.net>\r\n")
    }

    /// What is put before this content, wherever its buffers end; or the reply.
    #[track_caller]
    fn check(content: impl AsRef<[u8]>, expected: Result<&str, &str>) {
        let content = content.as_ref();
        let text = content.escape_ascii().to_string();
        let splits = if content.len() < 200 { (0..=content.len()).collect() } else { vec![0, 1, content.len() / 2] };
        for split in splits {
            let parts = [&content[..split], &content[split..]].map(Bytes::copy_from_slice);
            let body = Body::from_parts(parts, Facts::of(content));
            let fields = |missing: Missing| {
                let mut fields = String::new();
                missing.write(&mut fields, ID, "mta1.example.net", &DATE[6..DATE.len() - 2]).unwrap();
                fields
            };
            let got = Missing::of(&body).map(fields).map_err(|(_, reply)| reply.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{text} split at {split}");
        }
    }

    #[test]
    fn what_is_there_is_not_added() {
        let (id, both) = (message_id(), DATE.to_owned() + &message_id());
        check("Date: x\r\nMessage-ID: <a@b>\r\n\r\nDate\r\n", Ok(""));
        check("date : x\r\nMESSAGE-id:\r\n <a@b>\r\n\r\n", Ok(""));
        check("Subject: x\r\n\r\nDate: y\r\n", Ok(&both));
        check("Date: x\r\n\r\n", Ok(&id));
        check("Message-Id: <a@b>\r\nSubject: x\r\n", Ok(DATE));
        check("X-Date: x\r\nDated: y\r\nMessage-ID-X: z\r\n Date: folded\r\n\r\n", Ok(&both));
    }

    #[test]
    fn without_a_header_an_empty_line_keeps_the_text_apart() {
        let both = DATE.to_owned() + &message_id();
        let apart = both.clone() + "\r\n";
        check("\r\nText\r\n", Ok(&both));
        check("\r\n", Ok(&both));
        check("", Ok(&apart));
        check("Text\r\nDate: x\r\n\r\n", Ok(&apart));
        check("Text: with\r\nText\r\nDate: x\r\n\r\n", Ok(&both));
        check(" folded\r\n folded: too\r\n\r\nText\r\n", Ok(&apart));
        check(": x\r\n\r\n", Ok(&apart));
        check("Two words: x\r\n\r\n", Ok(&apart));
        check("From ann@a.example Mon Jan  1 00:00:00 2024\r\nDate: x\r\n\r\n", Ok(&message_id()));
    }

    #[test]
    fn eight_bit_headers_and_texts_are_read_as_octets() {
        let both = DATE.to_owned() + &message_id();
        check(b"Subject: \xe4\xff\r\nX-\xe4: y\r\nDate: x\r\n\r\n", Ok(&both));
        check(b"Subject: \xe4\xff\r\nDate: x\r\n\r\n\xff", Ok(&message_id()));
        check(b"\xff\r\n\r\n", Ok(&(both + "\r\n")));
    }

    #[test]
    fn addresses_in_the_header_have_full_domains() {
        for field in [
            "From: a@b.example",
            "From: \"Ann @ home\" <a@b.example>, (c@d) e@f.example",
            "From: a@b.example <a@b.example>",
            "To: undisclosed-recipients:;",
            "To: Friends: a@b.example, \"c d\"@e.example;, f@[192.0.2.1]",
            "Cc: =?utf-8?q?J=C3=B6rg=40home?= <j@b.example>,\r\n\tk@b.example",
            "Reply-To:",
            "To: <>",
            "To: j\u{f6}rg@m\u{fc}ller.example",
            "Subject: a@b",
            "References: <a@b>",
        ] {
            check(format!("Date: x\r\nMessage-ID: <a@b>\r\n{field}\r\n\r\nTo: a@b\r\n"), Ok(""));
        }
        for (field, address) in [
            ("From: root@localhost", "root@localhost"),
            ("To: a@b.example, Bob <bob@sales>", "bob@sales"),
            ("Cc: Friends: a@b.example, c@d;", "c@d"),
            ("Bcc: a@b.example,\r\n e@f", "e@f"),
            ("Resent-From: g@h", "g@h"),
            ("Sender: <operator>", "operator"),
        ] {
            let reply = format!("554 5.6.0 The header holds an address without a full domain: {address}");
            check(format!("{field}\r\n\r\n"), Err(&reply));
        }
    }

    #[test]
    fn a_header_without_end_is_refused() {
        let line = format!("X-Long: {}\r\n", "x".repeat(90));
        let reply = HEADER_TOO_LARGE.to_string();
        check(line.repeat(MAX_HEADER_BYTES / 100 + 1), Err(&reply));
        check(line.repeat(MAX_HEADER_BYTES / 100) + "Date: x\r\nMessage-ID: <a@b>\r\n\r\nText", Ok(""));
        let text = format!("Date: x\r\n\r\n{}", line.repeat(MAX_HEADER_BYTES / 50));
        check(text, Ok(&message_id()));
    }

    #[test]
    fn envelope_addresses_have_full_domains() {
        for (address, qualified) in
            [("a@b.example", true), ("a@[192.0.2.1]", true), ("a@localhost", false), ("\"a.b\"@c", false)]
        {
            let mailbox = Mailbox::parse(address).unwrap();
            assert_eq!(check_recipient(&mailbox).is_ok(), qualified, "{address}");
            assert_eq!(check_sender(&ReversePath(Some(mailbox))).is_ok(), qualified, "{address}");
        }
        assert_eq!(check_sender(&ReversePath(None)), Ok(()));
    }
}
