//! The text of a notice: its header, the part for people, the part for programs, and what is returned of the original.

use super::text::{date, fold, header_of};
use super::{Action, Failure, Kind, NAMED_RECIPIENTS, QUOTE_BYTES, Status, return_bytes};
use crate::config::Config;
use crate::now::Now;
use bytes::Bytes;
use queue::{Content, MessageId, Recipient};
use smtp::Reply;
use smtp::parameters::{decode_utf8_address, decode_xtext};
use std::fmt::Write as _;

pub(super) struct Report<'a> {
    config: &'a Config,
    id: MessageId,
    now: Now,
    original: &'a Content,
    kind: Kind,
    list: &'a [Status],
    /// The part of the original that is returned.
    returned: Bytes,
    whole: bool,
    /// Addresses or the header need SMTPUTF8.
    international: bool,
    boundary: String,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        config: &'a Config,
        id: MessageId,
        now: Now,
        original: &'a Content,
        kind: Kind,
        list: &'a [Status],
    ) -> Report<'a> {
        let envelope = &original.envelope;
        let mut addresses = envelope.recipients.iter().map(|r| r.mailbox.is_ascii());
        let international = original.envelope.parameters.smtputf8
            || !envelope.reverse_path.as_str().is_ascii()
            || !config.postmaster.is_ascii()
            || !addresses.all(|ascii| ascii);
        // What lines cannot carry would not survive the way back; nor would the notice itself, at a host without 8BITMIME,
        // with an original in it that cannot be converted. `message/global` is encoded as a whole (RFC 6532 §3.7).
        let whole = original.body.len() <= return_bytes(kind, original)
            && !original.body.facts().binary
            && (international || original.body.seven_bit().is_ok());
        let returned = if whole { original.body.to_bytes() } else { header_of(&original.body).into() };
        // Not to be found inside: a longer one each time until it is not.
        let mut boundary = format!("={id}/{}", config.hostname);
        while memchr::memmem::find(&returned, boundary.as_bytes()).is_some() {
            boundary.push('=');
        }
        Report { config, id, now, original, kind, list, returned, whole, international, boundary }
    }

    pub(super) fn is_international(&self) -> bool {
        self.international
    }

    pub(super) fn text(&self, sender: &str) -> Vec<u8> {
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
        let subject = match self.kind {
            Kind::Failure => "Undelivered mail returned to sender",
            Kind::Delay => "Delayed mail (still being retried)",
            Kind::Success => "Successful mail delivery report",
        };
        let _ = write!(
            out,
            "Date: {date}\r\n\
             From: Mail Delivery System <{postmaster}>\r\n\
             To: <{sender}>\r\n\
             Subject: {subject}\r\n\
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
        let introduction = match self.kind {
            Kind::Failure => {
                "Your message could not be delivered to the recipients below. It is returned\r\n\
                 with this notice. No further attempts will be made.\r\n"
            }
            Kind::Delay => {
                "Your message could not be delivered to the recipients below so far. This is a\r\n\
                 warning only: you need not send it again, it will be tried on.\r\n"
            }
            Kind::Success => {
                "Your message went on its way as is said below. Where it was relayed, the next\r\n\
                 host does not tell you of its arrival.\r\n"
            }
        };
        let _ = write!(
            out,
            "--{}\r\nContent-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {}\r\n\r\n\
             This is the mail system at {}.\r\n\r\n{introduction}\r\n",
            self.boundary,
            self.encoding(),
            self.config.hostname,
        );
        for status in self.list.iter().take(NAMED_RECIPIENTS) {
            let Some(recipient) = self.recipient(status) else { continue };
            let _ = write!(out, "<{}>:\r\n", recipient.mailbox.as_str());
            fold(out, "    ", "    ", &self.words(status));
            out.push_str("\r\n");
        }
        if self.list.len() > NAMED_RECIPIENTS {
            let _ = write!(
                out,
                "... and {} more, named in the attached report.\r\n\r\n",
                self.list.len() - NAMED_RECIPIENTS
            );
        }
    }

    /// What became of a recipient, in a sentence.
    fn words(&self, status: &Status) -> String {
        let mut words = String::from(match status.action {
            Action::Failed(Failure::Refused) => "",
            Action::Failed(Failure::Expired) => "not delivered in time; last ",
            Action::Failed(Failure::TooLate) => "not delivered within the time that you set; last ",
            Action::Delayed { .. } => "not delivered yet; last ",
            Action::Delivered => "delivered; ",
            Action::Relayed => "relayed; ",
        });
        match &status.mx {
            Some(mx) if status.said => {
                let _ = write!(words, "{mx} said: ");
            }
            Some(mx) => {
                let _ = write!(words, "{}at {mx}: ", if words.ends_with("last ") { "problem " } else { "" });
            }
            None if words.ends_with("last ") => words.push_str("problem: "),
            None => {}
        }
        words.push_str(&self.quote(&status.reply));
        words
    }

    fn for_programs(&self, out: &mut String) {
        let kind = if self.international { "message/global-delivery-status" } else { "message/delivery-status" };
        let _ = write!(
            out,
            "--{}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {}\r\n\r\n",
            self.boundary,
            self.encoding(),
        );
        if let Some(envid) = &self.original.envelope.parameters.envid {
            let _ = write!(out, "Original-Envelope-Id: {}\r\n", self.decoded(envid));
        }
        let accepted_us = self.original.envelope.accepted_us;
        let _ = write!(
            out,
            "Reporting-MTA: dns; {}\r\nX-Posthaste-Queue-ID: {}\r\nArrival-Date: {}\r\n",
            self.config.hostname,
            self.original.id,
            date(accepted_us),
        );
        if let Some(by) = self.original.envelope.parameters.deliver_by {
            // RFC 2852 §5.
            let at = accepted_us.saturating_add_signed(i64::from(by.seconds) * 1_000_000);
            let _ = write!(out, "Deliver-By-Date: {}\r\n", date(at));
        }
        if let Some(hold) = self.original.envelope.parameters.hold {
            // RFC 4865 §5.1.2.
            let _ = write!(out, "Future-Release-Request: {}\r\n", hold.field());
        }
        out.push_str("\r\n");
        for status in self.list {
            self.recipient_fields(out, status);
        }
    }

    /// RFC 3464 §2.3.
    fn recipient_fields(&self, out: &mut String, status: &Status) {
        let Some(recipient) = self.recipient(status) else { return };
        if let Some((kind, address)) = recipient.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';')) {
            let _ = write!(out, "Original-Recipient: {kind}; {}\r\n", self.original_address(kind, address));
        }
        let address_type = if recipient.mailbox.is_ascii() { "rfc822" } else { "utf-8" };
        let action = match status.action {
            Action::Failed(_) => "failed",
            Action::Delayed { .. } => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
        };
        let _ = write!(out, "Final-Recipient: {address_type}; {}\r\nAction: {action}\r\n", recipient.mailbox.as_str());
        let _ = write!(out, "Status: {}\r\n", status_code(status));
        if let Some(mx) = &status.mx {
            let _ = write!(out, "Remote-MTA: dns; {mx}\r\n");
        }
        let whose = if status.said { "Diagnostic-Code: smtp; " } else { "Diagnostic-Code: X-Posthaste; " };
        fold(out, whose, "    ", &self.quote(&status.reply));
        if status.tried {
            let _ = write!(out, "Last-Attempt-Date: {}\r\n", date(self.now.wall_us));
        }
        if let Action::Delayed { until_ms, .. } = status.action {
            let _ = write!(out, "Will-Retry-Until: {}\r\n", date(until_ms.saturating_mul(1000)));
        }
        out.push_str("\r\n");
    }

    fn recipient(&self, status: &Status) -> Option<&Recipient> {
        self.original.envelope.recipients.get(status.recipient as usize)
    }

    fn encoding(&self) -> &'static str {
        if self.international { "8bit" } else { "7bit" }
    }

    /// As the sender named the recipient, as far as the notice can say it (RFC 6533 §3).
    fn original_address(&self, kind: &str, address: &str) -> String {
        if self.international && kind.eq_ignore_ascii_case("utf-8") {
            decode_utf8_address(address)
        } else {
            self.decoded(address)
        }
    }

    /// Decoded xtext (RFC 3461 §4), unless it holds what a notice in ASCII cannot: then as it came.
    fn decoded(&self, text: &str) -> String {
        let decoded = decode_xtext(text);
        if decoded.is_ascii() || self.international { decoded } else { text.to_owned() }
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

/// The status of RFC 3463: the peer's own where its class fits what happened.
pub(super) fn status_code(status: &Status) -> String {
    let (classes, otherwise): (&[u8], &str) = match status.action {
        Action::Failed(Failure::Refused) => (&[5], "5.0.0"),
        Action::Failed(Failure::Expired) => (&[4], "4.4.7"),
        // RFC 2852 §4.1.3, whatever the last problem was.
        Action::Failed(Failure::TooLate) => (&[], "5.4.7"),
        Action::Delayed { late: true, .. } => (&[], "4.4.7"),
        Action::Delayed { .. } => (&[4], "4.0.0"),
        Action::Delivered | Action::Relayed => (&[2], "2.0.0"),
    };
    match status.reply.enhanced {
        Some(code) if classes.contains(&code.0) => format!("{}.{}.{}", code.0, code.1, code.2),
        _ => otherwise.into(),
    }
}
