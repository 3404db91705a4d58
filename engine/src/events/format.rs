//! A happening as a line of JSON. Written by hand into a buffer that is used again: this runs once per recipient.
//!
//! Fields that are unknown are left out. `latency_ms` has three decimals, so microseconds. `in_doubt` is there when it is
//! true: the final reply never came. `recipient_position` (from 0) stands in for `recipient` where neither the message's
//! content nor its envelope was at hand.

use super::injector::Injector;
use crate::dispatch::{Happened, Kind, TlsState};
use crate::now::Now;
use queue::{Content, Envelope};
use smtp::Reply;
use std::io::Write;

impl Kind {
    /// Its name in the event log and in `posthaste_deliveries_total`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Delivered => "delivered",
            Kind::Deferred => "deferred",
            Kind::Bounced => "bounced",
            Kind::Expired => "expired",
            Kind::Removed => "removed",
        }
    }
}

/// Writes events; remembers the second it last wrote, which is most of a timestamp's cost.
#[derive(Debug, Default)]
pub struct Formatter {
    second: u64,
    /// `2026-11-22T20:25:41`, of `second`.
    second_text: String,
}

impl Formatter {
    /// Appends one `accepted` line for each recipient.
    pub fn accepted(&mut self, out: &mut Vec<u8>, now: Now, content: &Content, injector: Option<&Injector>) {
        for recipient in &content.envelope.recipients {
            self.begin(out, now, "accepted");
            text(out, "id", &content.id.to_string());
            text(out, "recipient", recipient.mailbox.as_str());
            message(out, &content.envelope, content.body.len() as u64);
            if let Some(injector) = injector {
                handed_in(out, injector);
            }
            latency(out, now, content.envelope.accepted_us);
            out.extend_from_slice(b"}\n");
        }
    }

    /// Appends the line of one recipient's step.
    pub fn happened(&mut self, out: &mut Vec<u8>, happened: &Happened) {
        self.begin(out, happened.now, happened.kind.as_str());
        text(out, "id", &happened.id.to_string());
        let of_content = happened.content.as_deref().map(|content| &content.envelope);
        let envelope = of_content.or(happened.envelope.as_deref());
        match envelope.and_then(|envelope| envelope.recipients.get(happened.recipient as usize)) {
            Some(recipient) => text(out, "recipient", recipient.mailbox.as_str()),
            None => number(out, "recipient_position", happened.recipient.into()),
        }
        if let Some(envelope) = envelope {
            message(out, envelope, happened.body_bytes.into());
        }
        text(out, "site", &happened.site);
        if let Some(mx) = &happened.mx {
            text(out, "mx", mx);
        }
        if let Some(address) = &happened.mx_address {
            text(out, "mx_address", address);
        }
        if let Some(address) = happened.source_address {
            key(out, "source_address");
            // Writing to a Vec cannot fail, and an address has nothing to escape.
            let _ = write!(out, "\"{address}\"");
        }
        number(out, "attempt", happened.attempt.into());
        if let Some(said) = &happened.reply {
            reply(out, said);
        }
        if happened.in_doubt {
            key(out, "in_doubt");
            out.extend_from_slice(b"true");
        }
        latency(out, happened.now, happened.accepted_us);
        if let Some(state) = &happened.tls {
            tls(out, state);
        }
        out.extend_from_slice(b"}\n");
    }

    fn begin(&mut self, out: &mut Vec<u8>, now: Now, event: &str) {
        out.extend_from_slice(b"{\"time\":\"");
        self.time(out, now.wall_us);
        out.push(b'"');
        text(out, "event", event);
    }

    /// RFC 3339, UTC, microseconds.
    fn time(&mut self, out: &mut Vec<u8>, unix_us: u64) {
        let second = unix_us / 1_000_000;
        if self.second != second || self.second_text.is_empty() {
            // jiff ends in the year 9999; so does RFC 3339.
            let time = i64::try_from(second).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
            self.second_text = time.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S").to_string();
            self.second = second;
        }
        out.extend_from_slice(self.second_text.as_bytes());
        out.push(b'.');
        padded(out, unix_us % 1_000_000, 6);
        out.push(b'Z');
    }
}

/// What is known of the message itself.
fn message(out: &mut Vec<u8>, envelope: &Envelope, body_bytes: u64) {
    text(out, "sender", envelope.reverse_path.as_str());
    number(out, "size", body_bytes);
    match envelope.parameters.priority {
        0 => {}
        // RFC 6710 §4.1. One digit.
        priority => {
            key(out, "priority");
            out.extend_from_slice(if priority < 0 { b"-" } else { b"" });
            decimal(out, priority.unsigned_abs().into());
        }
    }
    if let Some(campaign) = &envelope.campaign {
        text(out, "campaign", campaign);
    }
    if let Some(tenant) = &envelope.tenant {
        text(out, "tenant", tenant);
    }
}

/// By whom. Nothing else keeps it once the message has gone.
fn handed_in(out: &mut Vec<u8>, injector: &Injector) {
    text(out, "listener", injector.listener.name());
    if let Some(address) = injector.address {
        key(out, "client_address");
        // Writing to a Vec cannot fail, and an address has nothing to escape.
        let _ = write!(out, "\"{address}\"");
    }
    if let Some(user) = &injector.user {
        text(out, "user", user);
    }
}

fn reply(out: &mut Vec<u8>, reply: &Reply) {
    key(out, "reply");
    out.extend_from_slice(b"{\"code\":");
    decimal(out, reply.code.into());
    if let Some(code) = reply.enhanced {
        key(out, "enhanced");
        out.push(b'"');
        for (at, part) in [code.0.into(), code.1, code.2].into_iter().enumerate() {
            if at > 0 {
                out.push(b'.');
            }
            decimal(out, part.into());
        }
        out.push(b'"');
    }
    text(out, "text", &reply.text);
    out.push(b'}');
}

fn tls(out: &mut Vec<u8>, state: &TlsState) {
    key(out, "tls");
    out.extend_from_slice(b"{\"version\":");
    quoted(out, state.info.version);
    text(out, "cipher", &state.info.cipher);
    key(out, "verified");
    out.extend_from_slice(if state.verified { b"true" } else { b"false" });
    key(out, "resumed");
    out.extend_from_slice(if state.resumed { b"true" } else { b"false" });
    out.push(b'}');
}

fn latency(out: &mut Vec<u8>, now: Now, accepted_us: u64) {
    let us = now.wall_us.saturating_sub(accepted_us);
    number(out, "latency_ms", us / 1000);
    out.push(b'.');
    padded(out, us % 1000, 3);
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    quoted(out, value);
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    decimal(out, value);
}

/// Never the first of its object.
fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// RFC 8259 §7. What peers say stands in here.
fn quoted(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\' | 0x7f)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                // Writing to a Vec cannot fail.
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn decimal(out: &mut Vec<u8>, value: u64) {
    padded(out, value, 1);
}

/// At least `width` digits; at most 20.
fn padded(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while value > 0 || first > digits.len() - width {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue::{Envelope, MailParameters, MessageId, Recipient};
    use smtp::server::TlsInfo;
    use smtp::{Body, EnhancedCode, Mailbox, ReversePath};
    use std::sync::Arc;
    use std::time::Instant;

    const ACCEPTED_US: u64 = 1_795_379_141_000_007;

    fn content() -> Arc<Content> {
        let mailbox = |text| Mailbox::parse(text).unwrap();
        let envelope = Envelope {
            reverse_path: ReversePath(Some(mailbox("a@example.net"))),
            recipients: ["b@example.com", "\"c d\"@example.com"].map(|text| Recipient::new(mailbox(text))).into(),
            accepted_us: ACCEPTED_US,
            parameters: MailParameters::default(),
            tenant: None,
            campaign: Some("spring \"26\"".into()),
        };
        Arc::new(Content { id: MessageId(7), envelope, body: Body::new("Subject: x\r\n\r\nHi\r\n") })
    }

    #[allow(clippy::disallowed_methods, reason = "an instant to begin with; nothing is measured")]
    fn now(after_us: u64) -> Now {
        Now { mono: Instant::now(), wall_us: ACCEPTED_US + after_us }
    }

    fn happened(kind: Kind) -> Happened {
        Happened {
            now: now(1_234_567),
            kind,
            content: Some(content()),
            envelope: None,
            body_bytes: 18,
            id: MessageId(7),
            recipient: 1,
            site: "mx.example.com".into(),
            mx: Some("mx.example.com".into()),
            mx_address: Some("192.0.2.1".into()),
            source_address: Some("192.0.2.9".parse().unwrap()),
            attempt: 2,
            reply: Some(Reply::fixed(250, EnhancedCode(2, 0, 0), "Ok")),
            in_doubt: false,
            attempt_time: None,
            tls: None,
            accepted_us: ACCEPTED_US,
        }
    }

    fn line(happened: &Happened) -> serde_json::Value {
        let mut out = Vec::new();
        Formatter::default().happened(&mut out, happened);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
    }

    #[test]
    fn a_delivery_has_every_field() {
        let mut delivered = happened(Kind::Delivered);
        let info = TlsInfo { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384".into() };
        delivered.tls = Some(Arc::new(TlsState { info, verified: true, resumed: false }));
        let expected = serde_json::json!({
            "time": "2026-11-22T20:25:42.234574Z", "event": "delivered", "id": MessageId(7).to_string(),
            "recipient": "\"c d\"@example.com", "sender": "a@example.net", "site": "mx.example.com",
            "mx": "mx.example.com", "mx_address": "192.0.2.1", "source_address": "192.0.2.9", "attempt": 2,
            "reply": { "code": 250, "enhanced": "2.0.0", "text": "Ok" }, "latency_ms": 1234.567, "size": 18,
            "tls": { "version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "verified": true, "resumed": false },
            "campaign": "spring \"26\"",
        });
        assert_eq!(line(&delivered), expected);
    }

    #[test]
    fn a_priority_that_was_said_is_told() {
        let mut delivered = happened(Kind::Delivered);
        assert_eq!(line(&delivered).get("priority"), None);
        let mut content = Content::clone(&content());
        content.envelope.parameters.priority = -4;
        delivered.content = Some(Arc::new(content));
        assert_eq!(line(&delivered)["priority"], -4);
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let mut removed = happened(Kind::Removed);
        (removed.content, removed.mx, removed.mx_address) = (None, None, None);
        (removed.source_address, removed.reply, removed.in_doubt) = (None, None, true);
        let expected = serde_json::json!({
            "time": "2026-11-22T20:25:42.234574Z", "event": "removed", "id": MessageId(7).to_string(),
            "recipient_position": 1, "site": "mx.example.com", "attempt": 2, "in_doubt": true, "latency_ms": 1234.567,
        });
        assert_eq!(line(&removed), expected);
    }

    /// What an operator removes is mostly on disk, and read without its body.
    #[test]
    fn an_envelope_will_do() {
        let mut removed = happened(Kind::Removed);
        let whole = line(&removed);
        removed.envelope = removed.content.take().map(|content| Arc::new(content.envelope.clone()));
        assert_eq!(line(&removed), whole);
    }

    #[test]
    fn nothing_that_a_peer_says_breaks_the_line() {
        for said in ["two\nlines", "\"quotes\\", "\u{0}\u{1b}[31m\u{7f}\r", "ünïcode \u{2028}", ""] {
            let mut deferred = happened(Kind::Deferred);
            deferred.reply = Some(Reply { code: 451, enhanced: None, text: said.to_string().into() });
            assert_eq!(line(&deferred)["reply"], serde_json::json!({ "code": 451, "text": said }));
        }
    }

    #[test]
    fn acceptance_is_a_line_for_each_recipient() {
        let mut out = Vec::new();
        Formatter::default().accepted(&mut out, now(2_500), &content(), None);
        let text = String::from_utf8(out).unwrap();
        let recipients: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["recipient"].clone())
            .collect();
        assert_eq!(recipients, ["b@example.com", "\"c d\"@example.com"]);
        assert!(text.contains("\"event\":\"accepted\"") && text.contains("\"latency_ms\":2.500}"), "{text}");
    }

    #[test]
    fn times_keep_pace() {
        let mut formatter = Formatter::default();
        for (us, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (999_999, "1970-01-01T00:00:00.999999Z"),
            (1_000_000, "1970-01-01T00:00:01.000000Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (5, "1970-01-01T00:00:00.000005Z"),
            (u64::MAX, "9999-12-30T22:00:00.551615Z"),
        ] {
            let mut out = Vec::new();
            formatter.time(&mut out, us);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
