//! What is stored once per message.

use smtp::{Body, Mailbox, ReversePath};
use std::fmt;
use std::sync::Arc;

/// A message's id: unix milliseconds at acceptance << 20, plus a counter; strictly increasing, also across restarts.
/// Shown and parsed as 13 characters of Crockford's base 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u64);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::str::FromStr for MessageId {
    type Err = BadMessageId;
    fn from_str(text: &str) -> Result<MessageId, BadMessageId> {
        text.parse().map(MessageId).map_err(|_| BadMessageId)
    }
}

/// The text is no message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message id is 13 letters and digits, as in \"queued as 01HZX5W3K9QRT\"")]
pub struct BadMessageId;

/// A domain in lower case; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(pub Arc<str>);

impl Domain {
    /// Lower-cases where needed.
    pub fn new(text: &str) -> Domain {
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            Domain(text.to_ascii_lowercase().into())
        } else {
            Domain(text.into())
        }
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// One RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The address.
    pub mailbox: Mailbox,
}

/// The envelope of a message, stored once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// In RCPT order; a recipient's position is its name within the message.
    pub recipients: Vec<Recipient>,
    /// Unix time of acceptance, microseconds.
    pub accepted_us: u64,
    /// SMTPUTF8 was declared.
    pub smtputf8: bool,
    /// Whom to charge for fairness; from configuration or `X-Posthaste-Tenant`.
    pub tenant: Option<Box<str>>,
    /// The sender's campaign; from `X-Posthaste-Campaign`.
    pub campaign: Option<Box<str>>,
}

/// Envelope and body of one message, shared by all its deliveries.
#[derive(Clone, Debug)]
pub struct Content {
    /// The id.
    pub id: MessageId,
    /// The envelope.
    pub envelope: Envelope,
    /// The content with our `Received:` field before it.
    pub body: Body,
}
