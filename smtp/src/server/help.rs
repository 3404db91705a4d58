//! HELP (RFC 5321 §4.1.1.8): what is understood here.

use super::{Config, Protocol};
use crate::Reply;
use crate::reply::EnhancedCode;

/// The commands of this listener, and where to read on.
pub(super) fn help(config: &Config) -> Reply {
    let (hello, lmtp) = match config.protocol {
        Protocol::Smtp => ("EHLO HELO", false),
        Protocol::Lmtp => ("LHLO", true),
    };
    let mut text = format!("Commands: {hello} MAIL RCPT DATA");
    for (verb, taken) in [
        ("BDAT", config.chunking),
        ("RSET", true),
        ("NOOP", true),
        ("VRFY", true),
        ("HELP", true),
        ("STARTTLS", config.starttls),
        ("AUTH", config.auth.is_some()),
        ("ETRN", config.etrn && !lmtp),
        ("ATRN", config.offers_atrn()),
        ("XCLIENT", config.xclient),
        ("QUIT", true),
    ] {
        if taken {
            text.push(' ');
            text.push_str(verb);
        }
    }
    text.push_str("\nExtensions are announced in the reply to ");
    text.push_str(if lmtp { "LHLO; see RFC 2033" } else { "EHLO; see RFC 5321" });
    Reply::new(214, EnhancedCode(2, 0, 0), text)
}
