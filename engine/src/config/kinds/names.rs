//! Names: of hosts, domains, mailboxes, users, files.

use super::text;
use crate::config::raw::{Kind, found};
use crate::config::{Pattern, a_labels};
use smtp::Mailbox;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use toml::de::DeValue;

pub(in crate::config) const HOST_NAME: Kind<Arc<str>> = Kind {
    what: "a fully qualified host name",
    allowed: "the name that this machine's address resolves to and back, with at least one dot, like \"mta1.example.net\"",
    read: |value| {
        let name = text(value)?.to_ascii_lowercase();
        if !name.contains('.') {
            return Err("there is no dot in it".into());
        }
        domain_name(&name)?;
        if name.contains('_') {
            // RFC 952 and RFC 1123 §2.1; names of other things may have it.
            return Err("`_` cannot stand in a host's name, and many servers refuse one that says it in EHLO".into());
        }
        if !name.is_ascii() {
            // RFC 6531 §3.7.1: it is said before anybody knows who can take anything else.
            return Err("write it as the DNS has it, in ASCII (xn--...)".into());
        }
        Ok(name.into())
    },
};

pub(in crate::config) const MAILBOX: Kind<Mailbox> = Kind {
    what: "a mail address",
    allowed: "local-part@domain, like \"postmaster@example.net\"",
    read: |value| Mailbox::parse(text(value)?).map_err(|error| error.to_string()),
};

pub(in crate::config) const PATTERN: Kind<Pattern> = Kind {
    what: "a domain pattern",
    allowed: "\"example.com\", \"*.example.com\" (anything below it, not itself), or \"*\"",
    read: |value| {
        let name = text(value)?.to_lowercase();
        if name == "*" {
            return Ok(Pattern(name.into()));
        }
        let (wild, rest) = name.strip_prefix("*.").map_or(("", &*name), |rest| ("*.", rest));
        domain_name(rest)?;
        Ok(Pattern(format!("{wild}{}", a_labels(rest)).into()))
    },
};

pub(in crate::config) const USER: Kind<Arc<str>> = Kind {
    what: "a user's name",
    allowed: "what the server knows the user as, up to 255 characters, like \"alice\" or \"alice@example.net\"",
    read: |value| match text(value)? {
        "" => Err("it is empty".into()),
        name if name.len() > 255 => Err("it is longer than 255 octets".into()),
        name if name.chars().any(char::is_control) => Err("there are control characters in it".into()),
        name => Ok(name.into()),
    },
};

/// A name, or an address: certificates may name either.
pub(in crate::config) const TLS_SERVER_NAME: Kind<Arc<str>> = Kind {
    what: "a name that a certificate can have",
    allowed: "\"mail.example.com\", or an IP address",
    read: |value| {
        let name = text(value)?.to_ascii_lowercase();
        if name.parse::<IpAddr>().is_err() {
            domain_name(&name)?;
        }
        Ok(name.into())
    },
};

pub(in crate::config) const PATH: Kind<PathBuf> = Kind {
    what: "a path",
    allowed: "a string, like \"/var/lib/posthaste\"",
    read: |value| match text(value)? {
        "" => Err("it is empty".into()),
        path => Ok(path.into()),
    },
};

/// `None`: switched off.
pub(in crate::config) const EVENTS: Kind<Option<PathBuf>> = Kind {
    what: "a file name",
    allowed: "a path, relative to data_dir, like \"events.jsonl\"; false or \"\" switches the event log off",
    read: |value| match value {
        DeValue::Boolean(false) => Ok(None),
        DeValue::String(path) => Ok((!path.is_empty()).then(|| PathBuf::from(&**path))),
        _ => Err(found(value)),
    },
};

/// RFC 1035 §2.3.1 with RFC 1123 §2.1; letters beyond ASCII as RFC 6531 has them.
pub(super) fn domain_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > 253 {
        return Err("a name has 1 to 253 characters".into());
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err("this is an address, not a name".into());
    }
    if name.ends_with('.') {
        return Err("leave out the final dot".into());
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("the parts between the dots have 1 to 63 characters".into());
        }
        if let Some(odd) = label.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '-' | '_'))) {
            return Err(format!("`{odd}` cannot stand in a name"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a part neither begins nor ends with a hyphen".into());
        }
    }
    Ok(())
}
