//! Failure notices: `multipart/report` (RFC 6522) with a delivery status (RFC 3464), in answer to a message of which
//! recipients failed for good.
//!
//! The null reverse-path and `Auto-Submitted` (RFC 3834) keep them from being answered in turn; a message that came with
//! the null reverse-path itself gets none. Addresses or headers beyond ASCII make it a notice of RFC 6533. What the peer
//! said is quoted, never trusted: control characters go, lines are bounded and folded.
//!
//! Written by hand rather than with `mail-builder`, which has no part without a transfer encoding of its own choosing and
//! no attributes on a multipart.

use crate::config::Config;
use crate::now::Now;
use jiff::Timestamp;
use queue::{Content, Domain, Envelope, MailParameters, MessageId, NewMessage, Recipient};
use smallvec::smallvec;
use smtp::{Body, Reply, ReversePath};
use std::fmt::Write as _;
use std::sync::Arc;

/// Originals up to this size are returned whole, of larger ones the header only.
pub const RETURN_WHOLE_BYTES: usize = 50 * 1024;
/// So much of a header is returned at most.
pub const RETURN_HEADER_BYTES: usize = 64 * 1024;
/// So much of a peer's text is quoted at most.
pub const QUOTE_BYTES: usize = 1000;
/// Recipients named in the part for people; the part for programs names all.
const NAMED_RECIPIENTS: usize = 100;

/// A recipient that failed for good.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its position in the message.
    pub recipient: u32,
    /// What the peer said, or our own words in the same form.
    pub reply: Reply,
    /// Who said it; `None`: we did.
    pub mx: Option<Arc<str>>,
    /// Not refused, but given up after `[retry] expire`.
    pub expired: bool,
}

/// Writes the notice to the sender of `original`; `None` if it has none (the null reverse-path).
pub fn write(config: &Config, id: MessageId, now: Now, original: &Content, failures: &[Failure]) -> Option<NewMessage> {
    let sender = original.envelope.reverse_path.0.as_ref()?;
    let notice = Notice::new(config, id, now, original, failures);
    let content = Content {
        id,
        envelope: Envelope {
            reverse_path: ReversePath(None),
            recipients: vec![Recipient::new(sender.clone())],
            accepted_us: now.wall_us,
            parameters: MailParameters { smtputf8: notice.international, ..MailParameters::default() },
            tenant: original.envelope.tenant.clone(),
            campaign: None,
        },
        body: Body::new(notice.text(sender.as_str())),
    };
    let domain = Domain::new(&sender.domain_key());
    let domains = smallvec![(domain, [0].into_iter().collect())];
    Some(NewMessage { content: Arc::new(content), domains, due_ms: now.wall_ms() })
}

struct Notice<'a> {
    config: &'a Config,
    id: MessageId,
    now: Now,
    original: &'a Content,
    failures: &'a [Failure],
    /// The part of the original that is returned.
    returned: Vec<u8>,
    whole: bool,
    /// Addresses or the header need SMTPUTF8.
    international: bool,
    boundary: String,
}

impl<'a> Notice<'a> {
    fn new(config: &'a Config, id: MessageId, now: Now, original: &'a Content, failures: &'a [Failure]) -> Notice<'a> {
        // What lines cannot carry would not survive the way back; nor would the notice itself, at a host without 8BITMIME,
        // with an original in it that cannot be converted.
        let whole = original.body.len() <= RETURN_WHOLE_BYTES
            && !original.body.facts().binary
            && original.body.seven_bit().is_ok();
        let bytes = original.body.to_bytes();
        let header = header_of(&bytes);
        let returned = if whole { bytes.to_vec() } else { clean_header(header) };
        let envelope = &original.envelope;
        let mut addresses = envelope.recipients.iter().map(|r| r.mailbox.is_ascii());
        let international = original.envelope.parameters.smtputf8
            || !envelope.reverse_path.as_str().is_ascii()
            || !config.postmaster.is_ascii()
            || !addresses.all(|ascii| ascii);
        // Not to be found inside: a longer one each time until it is not.
        let mut boundary = format!("={id}/{}", config.hostname);
        while memchr::memmem::find(&returned, boundary.as_bytes()).is_some() {
            boundary.push('=');
        }
        Notice { config, id, now, original, failures, returned, whole, international, boundary }
    }

    fn text(&self, sender: &str) -> Vec<u8> {
        let mut out = String::with_capacity(2048);
        self.header(&mut out, sender);
        self.for_people(&mut out);
        self.for_programs(&mut out);
        let _ = write!(out, "--{}\r\n", self.boundary);
        let kind = match (self.whole, self.international) {
            (true, false) => "message/rfc822",
            (false, false) => "text/rfc822-headers",
            (true, true) => "message/global",
            (false, true) => "message/global-headers",
        };
        let encoding = if self.returned.is_ascii() { "7bit" } else { "8bit" };
        let _ = write!(out, "Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
        let mut bytes = out.into_bytes();
        bytes.extend_from_slice(&self.returned);
        if !bytes.ends_with(b"\r\n") {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("\r\n--{}--\r\n", self.boundary).as_bytes());
        bytes
    }

    fn header(&self, out: &mut String, sender: &str) {
        let encoding = if self.returned.is_ascii() && !self.international { "7bit" } else { "8bit" };
        let _ = write!(
            out,
            "Date: {date}\r\n\
             From: Mail Delivery System <{postmaster}>\r\n\
             To: <{sender}>\r\n\
             Subject: Undelivered mail returned to sender\r\n\
             Message-ID: <{id}@{host}>\r\n\
             Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type={report};\r\n\tboundary=\"{boundary}\"\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\r\n",
            date = date(self.now.wall_us),
            postmaster = self.config.postmaster.as_str(),
            id = self.id,
            host = self.config.hostname,
            report = if self.international { "global-delivery-status" } else { "delivery-status" },
            boundary = self.boundary,
        );
    }

    fn for_people(&self, out: &mut String) {
        let charset = if self.international { "utf-8" } else { "us-ascii" };
        let _ = write!(
            out,
            "--{}\r\nContent-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {}\r\n\r\n\
             This is the mail system at {}.\r\n\r\n\
             Your message could not be delivered to the recipients below. It is returned\r\n\
             with this notice. No further attempts will be made.\r\n\r\n",
            self.boundary,
            if self.international { "8bit" } else { "7bit" },
            self.config.hostname,
        );
        for failure in self.failures.iter().take(NAMED_RECIPIENTS) {
            let Some(recipient) = self.recipient(failure) else { continue };
            let _ = write!(out, "<{recipient}>:\r\n");
            let mut words = String::new();
            if failure.expired {
                words.push_str("not delivered in time; last ");
            }
            match &failure.mx {
                Some(mx) => {
                    let _ = write!(words, "{mx} said: ");
                }
                None if failure.expired => words.push_str("problem: "),
                None => {}
            }
            words.push_str(&self.quote(&failure.reply));
            fold(out, "    ", "    ", &words);
            out.push_str("\r\n");
        }
        if self.failures.len() > NAMED_RECIPIENTS {
            let _ = write!(
                out,
                "... and {} more, named in the attached report.\r\n\r\n",
                self.failures.len() - NAMED_RECIPIENTS
            );
        }
    }

    fn for_programs(&self, out: &mut String) {
        let kind = if self.international { "message/global-delivery-status" } else { "message/delivery-status" };
        let _ = write!(
            out,
            "--{}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {}\r\n\r\n\
             Reporting-MTA: dns; {}\r\nX-Posthaste-Queue-ID: {}\r\nArrival-Date: {}\r\n\r\n",
            self.boundary,
            if self.international { "8bit" } else { "7bit" },
            self.config.hostname,
            self.original.id,
            date(self.original.envelope.accepted_us),
        );
        for failure in self.failures {
            let Some(recipient) = self.recipient(failure) else { continue };
            let address_type = if recipient.is_ascii() { "rfc822" } else { "utf-8" };
            let _ = write!(out, "Final-Recipient: {address_type}; {recipient}\r\nAction: failed\r\n");
            let _ = write!(out, "Status: {}\r\n", status(failure));
            if let Some(mx) = &failure.mx {
                let _ = write!(out, "Remote-MTA: dns; {mx}\r\n");
                fold(out, "Diagnostic-Code: smtp; ", "    ", &self.quote(&failure.reply));
            } else {
                fold(out, "Diagnostic-Code: X-Posthaste; ", "    ", &self.quote(&failure.reply));
            }
            let _ = write!(out, "Last-Attempt-Date: {}\r\n\r\n", date(self.now.wall_us));
        }
    }

    fn recipient(&self, failure: &Failure) -> Option<&str> {
        self.original.envelope.recipients.get(failure.recipient as usize).map(|r| r.mailbox.as_str())
    }

    /// A reply in one line of harmless characters.
    fn quote(&self, reply: &Reply) -> String {
        let mut text = reply.code.to_string();
        if let Some(code) = reply.enhanced {
            let _ = write!(text, " {}.{}.{}", code.0, code.1, code.2);
        }
        text.push(' ');
        for c in reply.text.chars().take(QUOTE_BYTES) {
            text.push(match c {
                c if c.is_control() => ' ',
                c if c.is_ascii() || self.international => c,
                _ => '?',
            });
        }
        text.truncate(text.floor_char_boundary(QUOTE_BYTES));
        text
    }
}

/// The status of RFC 3463: the peer's own where its class fits a failure.
fn status(failure: &Failure) -> String {
    match failure.reply.enhanced {
        Some(code) if code.0 == 5 || (failure.expired && code.0 == 4) => format!("{}.{}.{}", code.0, code.1, code.2),
        _ if failure.expired => "4.4.7".into(),
        _ => "5.0.0".into(),
    }
}

/// Writes a line of words, folded to 78 columns, and broken where a word is longer than a line may be.
fn fold(out: &mut String, first: &str, next: &str, words: &str) {
    let mut column = first.len();
    out.push_str(first);
    let mut fresh = true;
    for word in words.split(' ').filter(|w| !w.is_empty()) {
        for piece in pieces(word, 900) {
            if !fresh && column + 1 + piece.len() > 78 {
                out.push_str("\r\n");
                out.push_str(next);
                (column, fresh) = (next.len(), true);
            }
            if !fresh {
                out.push(' ');
                column += 1;
            }
            out.push_str(piece);
            column += piece.len();
            fresh = false;
        }
    }
    out.push_str("\r\n");
}

/// A word in pieces of at most `most` octets.
fn pieces(word: &str, most: usize) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(most));
        rest = after;
        Some(piece)
    })
}

/// The header with its final CRLF, without the empty line.
fn header_of(bytes: &[u8]) -> &[u8] {
    memchr::memmem::find(bytes, b"\r\n\r\n").map_or(bytes, |end| &bytes[..end + 2])
}

/// Whole lines of a header, bounded, without octets that a line cannot carry.
fn clean_header(header: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len().min(RETURN_HEADER_BYTES));
    for line in header.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if out.len() + line.len() > RETURN_HEADER_BYTES || line.is_empty() {
            break;
        }
        out.extend(line.iter().take(998).map(|b| if matches!(b, 0 | b'\r') { b' ' } else { *b }));
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// RFC 5322 §3.3, in UTC.
fn date(unix_us: u64) -> String {
    let time = Timestamp::from_microsecond(unix_us as i64).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test starts at some instant")]
mod tests {
    use super::*;
    use mail_parser::{MessageParser, MimeHeaders};
    use smtp::Mailbox;
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

    fn failure(recipient: u32, text: &str) -> Failure {
        let reply = Reply::new(550, EnhancedCode(5, 1, 1), text.to_owned());
        Failure { recipient, reply, mx: Some("mx.test".into()), expired: false }
    }

    fn notice(original: &Content, failures: &[Failure]) -> Option<String> {
        let mut config = Config::clone(&crate::dispatch::test_config());
        config.hostname = "mta.test".into();
        let now = Now { mono: std::time::Instant::now(), wall_us: 1_700_000_100_000_000 };
        let message = write(&config, MessageId(99), now, original, failures)?;
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
    }

    #[test]
    fn statuses_say_failed_for_good_or_given_up() {
        let mut f = failure(0, "later");
        f.reply = Reply::fixed(450, EnhancedCode(4, 2, 2), "full");
        f.expired = true;
        assert_eq!(status(&f), "4.2.2");
        f.reply.enhanced = None;
        assert_eq!(status(&f), "4.4.7");
        f.expired = false;
        assert_eq!(status(&f), "5.0.0");
    }
}
