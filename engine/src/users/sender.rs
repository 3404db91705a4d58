//! Which sender addresses a user may use.

use smtp::Mailbox;
use std::fmt;
use std::str::FromStr;

/// `ann@example.com`, `*@example.com`, `*@*.example.com` (any domain below it), or `*`. Letters of any case are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderPattern {
    /// `None`: any.
    local: Option<Box<str>>,
    domain: crate::config::Pattern,
}

/// It is none of the forms.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no sender: write ann@example.com, *@example.com, *@*.example.com, or *")]
pub struct SenderError(String);

impl FromStr for SenderPattern {
    type Err = SenderError;

    fn from_str(text: &str) -> Result<SenderPattern, SenderError> {
        let error = || SenderError(text.to_owned());
        if text == "*" {
            return Ok(SenderPattern { local: None, domain: crate::config::Pattern("*".into()) });
        }
        let (local, domain) = text.rsplit_once('@').ok_or_else(error)?;
        // What stands for anything is no part of an address.
        let plain = |part: &str, instead: &str| if part == "*" { instead.to_owned() } else { part.to_owned() };
        let name = domain.strip_prefix("*.").unwrap_or(domain);
        let mailbox = Mailbox::parse(&format!("{}@{name}", plain(local, "x"))).map_err(|_| error())?;
        let below = if domain.starts_with("*.") { "*." } else { "" };
        Ok(SenderPattern {
            local: (local != "*").then(|| local.to_lowercase().into()),
            domain: crate::config::Pattern(format!("{below}{}", mailbox.domain_key()).into()),
        })
    }
}

impl SenderPattern {
    /// Whether this address is meant.
    pub fn matches(&self, mailbox: &Mailbox) -> bool {
        self.domain.matches(&mailbox.domain_key())
            && self.local.as_ref().is_none_or(|local| **local == *mailbox.local_part().to_lowercase())
    }
}

impl fmt::Display for SenderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.local, &*self.domain.0) {
            (None, "*") => f.write_str("*"),
            (local, domain) => write!(f, "{}@{domain}", local.as_deref().unwrap_or("*")),
        }
    }
}
