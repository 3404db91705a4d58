//! What a listener allows and announces.

use super::{Auth, FutureRelease, xclient};
use crate::Reply;
use std::time::{Duration, Instant};

/// SMTP or its local cousin (RFC 2033).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Protocol {
    /// RFC 5321.
    #[default]
    Smtp,
    /// RFC 2033: LHLO, one reply per accepted recipient after the data.
    Lmtp,
}

/// What one listener allows and announces. Shared by its connections.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name in the greeting and in the EHLO reply.
    pub hostname: String,
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// Octets; announced as SIZE (RFC 1870). 552 5.3.4 beyond.
    pub max_message_bytes: usize,
    /// Per message; 452 4.5.3 beyond (RFC 5321 §4.5.3.1.10).
    pub max_recipients: usize,
    /// Errors (5xx to commands) since the last whole message before 421 4.7.0 and close.
    pub max_errors: u32,
    /// Messages whose `complete` is outstanding before parsing pauses (back-pressure on a pipelining client).
    pub max_pending_messages: usize,
    /// Silence before 421 4.4.2 (RFC 5321 §4.5.3.2.7: at least 5 minutes). Between commands half a line is silence, too.
    pub idle_timeout: Duration,
    /// From MAIL to the end of the content before 421 4.4.2, however busy the client seems.
    pub transaction_timeout: Duration,
    /// Announce STARTTLS. The shell gets `Event::StartTls` and later calls `handle_tls`.
    pub starttls: bool,
    /// Refuse all but EHLO, NOOP, STARTTLS and QUIT (530 5.7.0) until TLS is up.
    pub tls_first: bool,
    /// Announce PIPELINING.
    pub pipelining: bool,
    /// Announce CHUNKING (RFC 3030).
    pub chunking: bool,
    /// Announce 8BITMIME.
    pub eight_bit_mime: bool,
    /// Announce BINARYMIME (RFC 3030); of use only with CHUNKING and 8BITMIME, and not announced without them.
    pub binary_mime: bool,
    /// Announce SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// Announce ETRN (RFC 1985).
    pub etrn: bool,
    /// Announce ATRN (RFC 2645), where AUTH may be used.
    pub atrn: bool,
    /// Announce DSN (RFC 3461).
    pub dsn: bool,
    /// Announce REQUIRETLS (RFC 8689) once TLS is up.
    pub require_tls: bool,
    /// Announce MT-PRIORITY (RFC 6710).
    pub mt_priority: bool,
    /// Announce DELIVERBY (RFC 2852).
    pub deliver_by: bool,
    /// Announce FUTURERELEASE (RFC 4865).
    pub future_release: Option<FutureRelease>,
    /// Announce LIMITS (RFC 9422) with RCPTMAX.
    pub limits: bool,
    /// Announce XCLIENT: the client is trusted to speak for others. It goes by where the connection comes from.
    pub xclient: bool,
    /// Announce AUTH (RFC 4954), where it may be used.
    pub auth: Option<Auth>,
    /// Announce ENHANCEDSTATUSCODES; without it replies carry none.
    pub enhanced_status_codes: bool,
    /// What to do with a CR or LF outside CRLF in content.
    pub bare_newline: BareNewline,
    /// Count and scan content but do not keep it: `Message::body` is empty, `Message::body_bytes` is right. For sinks.
    pub discard_content: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            hostname: "localhost".into(),
            protocol: Protocol::Smtp,
            max_message_bytes: 25 << 20,
            max_recipients: 1000,
            max_errors: 20,
            max_pending_messages: 64,
            idle_timeout: Duration::from_secs(300),
            transaction_timeout: Duration::from_secs(3600),
            starttls: false,
            tls_first: false,
            pipelining: true,
            chunking: true,
            eight_bit_mime: true,
            binary_mime: false,
            smtputf8: true,
            etrn: false,
            atrn: false,
            dsn: false,
            require_tls: false,
            mt_priority: false,
            deliver_by: false,
            future_release: None,
            limits: false,
            xclient: false,
            auth: None,
            enhanced_status_codes: true,
            bare_newline: BareNewline::Reject,
            discard_content: false,
        }
    }
}

impl Config {
    /// 220, with the name first (RFC 5321 §4.2).
    pub(super) fn greeting(&self) -> Reply {
        let kind = match self.protocol {
            Protocol::Smtp => "ESMTP",
            Protocol::Lmtp => "LMTP",
        };
        Reply { code: 220, enhanced: None, text: format!("{} {kind}", self.hostname).into() }
    }
    /// The text of the 250 to EHLO or LHLO: the name, then a keyword a line (RFC 5321 §4.1.1.1).
    pub(super) fn announcement(&self, tls_is_up: bool, now: Instant) -> String {
        let mut text = self.hostname.clone();
        text.push_str("\nSIZE ");
        text.push_str(&self.max_message_bytes.to_string());
        for (keyword, announced) in [
            ("PIPELINING", self.pipelining),
            ("8BITMIME", self.eight_bit_mime),
            ("SMTPUTF8", self.smtputf8),
            ("CHUNKING", self.chunking),
            ("BINARYMIME", self.announces_binary_mime()),
            ("DSN", self.dsn),
            ("ENHANCEDSTATUSCODES", self.enhanced_status_codes),
            ("STARTTLS", self.starttls && !tls_is_up),
            ("ETRN", self.etrn && self.protocol == Protocol::Smtp),
            // Before AUTH, too, as RFC 2645 §6 has it: clients look for it there.
            ("ATRN", self.offers_atrn() && self.auth.as_ref().is_some_and(|auth| auth.is_offered(tls_is_up))),
            ("REQUIRETLS", self.require_tls && tls_is_up),
            ("MT-PRIORITY", self.mt_priority),
            ("DELIVERBY", self.deliver_by),
            (xclient::KEYWORD, self.xclient),
            ("HELP", true),
        ] {
            if announced {
                text.push('\n');
                text.push_str(keyword);
            }
        }
        if let Some(auth) = self.auth.as_ref().filter(|auth| auth.is_offered(tls_is_up)) {
            text.push('\n');
            text.push_str(&auth.announcement());
        }
        if let Some(future) = &self.future_release {
            text.push('\n');
            text.push_str(&future.announcement(now));
        }
        if self.limits {
            text.push_str("\nLIMITS RCPTMAX=");
            text.push_str(&self.max_recipients.to_string());
        }
        text
    }

    /// Who asks for it has to log in.
    pub(super) fn offers_atrn(&self) -> bool {
        self.atrn && self.auth.is_some() && self.protocol == Protocol::Smtp
    }

    /// BDAT alone can carry it, and BODY alone can name it.
    pub(super) fn announces_binary_mime(&self) -> bool {
        self.binary_mime && self.chunking && self.eight_bit_mime
    }
}

/// A CR or LF that is not part of CRLF: what smuggling is made of. Only CRLF.CRLF ever ends DATA, whatever is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// Take the rest of the message, then 550 5.6.11.
    #[default]
    Reject,
    /// Make CRLF of it (RFC 5321 §2.3.8). The message is no longer as it was sent.
    Normalize,
    /// Keep the octets as they are.
    Keep,
}
