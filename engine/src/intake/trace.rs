//! The `Received:` field that we put before every message (RFC 5321 §4.4).

use super::client::Client;
use super::submission::Missing;
use crate::now::Now;
use bytes::{BufMut, Bytes, BytesMut};
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use smtp::server::{Protocol, TlsInfo};
use std::fmt::{self, Write};
use std::sync::Arc;

/// Octets of fields that are cut from one buffer, and what one field takes at the most, as a rule.
const CHUNK: usize = 16 * 1024;
const FIELD: usize = 512;

/// Makes trace fields; keeps the date of the current second and a buffer to cut from.
pub(super) struct Trace {
    hostname: Arc<str>,
    second: u64,
    date: String,
    buffer: BytesMut,
}

/// Where a message came from.
pub(super) struct Source<'a> {
    pub hello_name: &'a str,
    pub client: &'a Client,
    pub with: With<'a>,
}

/// How it was spoken.
pub(super) struct With<'a> {
    pub protocol: Protocol,
    /// EHLO or LHLO, not HELO.
    pub extended: bool,
    /// The message needs SMTPUTF8.
    pub smtputf8: bool,
    /// MT-PRIORITY; 0 where nothing was said.
    pub priority: i8,
    pub tls: Option<&'a TlsInfo>,
    /// AUTH has succeeded.
    pub authenticated: bool,
}

impl fmt::Display for With<'_> {
    /// The keyword (RFC 3848, RFC 6531 §4.3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.protocol, self.smtputf8) {
            (Protocol::Lmtp, true) => "UTF8LMTP",
            (Protocol::Lmtp, false) => "LMTP",
            (Protocol::Smtp, true) => "UTF8SMTP",
            // HELO has no extensions, so nothing can have been negotiated by them.
            (Protocol::Smtp, false) if !self.extended => return f.write_str("SMTP"),
            (Protocol::Smtp, false) => "ESMTP",
        };
        let tls = if self.tls.is_some() { "S" } else { "" };
        write!(f, "{name}{tls}{}", if self.authenticated { "A" } else { "" })
    }
}

impl Trace {
    pub(super) fn new(hostname: Arc<str>) -> Trace {
        Trace { hostname, second: u64::MAX, date: String::new(), buffer: BytesMut::new() }
    }

    /// What goes before a message: the trace field, and what a submission lacks.
    pub(super) fn received(&mut self, source: &Source<'_>, missing: Missing, id: queue::MessageId, now: Now) -> Bytes {
        self.refresh_date(now);
        if self.buffer.capacity() < FIELD {
            self.buffer.reserve(CHUNK);
        }
        // Writing to a BytesMut cannot fail.
        let _ = write!(self.buffer, "Received: from {} ({})", sanitised(source.hello_name), source.client);
        let _ = write!(self.buffer, "\r\n\tby {} (Posthaste) with {} id {id}", self.hostname, source.with);
        if let Some(TlsInfo { version, cipher }) = source.with.tls {
            // RFC 8314 §4.3.
            let _ = write!(self.buffer, "\r\n\ttls {cipher} ({version})");
        }
        if source.with.priority != 0 {
            // RFC 6710 §4.1.
            let _ = write!(self.buffer, "\r\n\tPRIORITY {}", source.with.priority);
        }
        self.buffer.put_slice(b";\r\n\t");
        self.buffer.put_slice(self.date.as_bytes());
        self.buffer.put_slice(b"\r\n");
        let _ = missing.write(&mut self.buffer, id, &self.hostname, &self.date);
        self.buffer.split().freeze()
    }

    fn refresh_date(&mut self, now: Now) {
        let second = now.wall_us / 1_000_000;
        if second == self.second {
            return;
        }
        self.second = second;
        let time = jiff::Timestamp::from_second(second as i64).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.date = rfc2822::to_string(&time.to_zoned(TimeZone::UTC)).unwrap_or_default();
    }
}

/// What the client calls itself, cut to what may stand in a field.
fn sanitised(name: &str) -> &str {
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "-._:[]".contains(c))).unwrap_or(name.len());
    match &name[..end.min(255)] {
        "" => "unknown",
        clean => clean,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test starts at some instant")]
mod tests {
    use super::*;
    use crate::intake::client::Address;
    use std::time::Instant;

    const ESMTP: With<'_> = With {
        protocol: Protocol::Smtp,
        extended: true,
        smtputf8: false,
        priority: 0,
        tls: None,
        authenticated: false,
    };

    fn check(name: &str, peer: Option<&str>, with: With<'_>, expected: &str) {
        let mut trace = Trace::new("mta1.example.net".into());
        let client = Client::at(peer.map_or(Address::Local, |p| Address::Ip(p.parse().unwrap())));
        let source = Source { hello_name: name, client: &client, with };
        let now = Now { mono: Instant::now(), wall_us: 1_700_000_000_123_456 };
        let field = trace.received(&source, Missing::default(), queue::MessageId(1), now);
        let text = std::str::from_utf8(&field).unwrap();
        assert!(text.contains(expected), "{text}");
        assert!(text.starts_with("Received: from "), "{text}");
        assert!(text.ends_with(";\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\n"), "{text}");
        assert!(text.split("\r\n").all(|line| line.len() <= 78 && !line.contains('\n')), "{text}");
    }

    #[test]
    fn the_field_names_both_ends_and_nothing_that_was_injected() {
        let app = "from app.example.com ([192.0.2.1])\r\n\tby mta1.example.net (Posthaste) with ESMTP id ";
        check("app.example.com", Some("192.0.2.1"), ESMTP, app);
        check("app", Some("2001:db8::1"), ESMTP, "from app ([IPv6:2001:db8::1])\r\n");
        check("x\r\nBcc: all@example.com", None, ESMTP, "from x (local socket)\r\n");
        check("", None, ESMTP, "from unknown (local socket)\r\n");
    }

    #[test]
    fn the_field_says_how_it_was_spoken() {
        let tls = TlsInfo { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384".into() };
        let tls = Some(&tls);
        let lmtp = Protocol::Lmtp;
        for (with, expected) in [
            (With { extended: false, ..ESMTP }, "with SMTP id "),
            (With { extended: false, tls, ..ESMTP }, "with SMTP id "),
            (With { tls, ..ESMTP }, "with ESMTPS id "),
            (With { tls, ..ESMTP }, "\r\n\ttls TLS_AES_256_GCM_SHA384 (TLSv1.3);\r\n"),
            (With { tls, priority: -3, ..ESMTP }, " (TLSv1.3)\r\n\tPRIORITY -3;\r\n"),
            (With { authenticated: true, ..ESMTP }, "with ESMTPA id "),
            (With { tls, authenticated: true, ..ESMTP }, "with ESMTPSA id "),
            (With { smtputf8: true, tls, authenticated: true, ..ESMTP }, "with UTF8SMTPSA id "),
            (With { protocol: lmtp, tls, authenticated: true, ..ESMTP }, "with LMTPSA id "),
            (With { smtputf8: true, ..ESMTP }, "with UTF8SMTP id "),
            (With { smtputf8: true, tls, ..ESMTP }, "with UTF8SMTPS id "),
            (With { protocol: lmtp, ..ESMTP }, "with LMTP id "),
            (With { protocol: lmtp, tls, ..ESMTP }, "with LMTPS id "),
            (With { protocol: lmtp, smtputf8: true, tls, ..ESMTP }, "with UTF8LMTPS id "),
        ] {
            check("app", None, with, expected);
        }
    }
}
