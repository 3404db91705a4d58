//! What is stored once per message, and how its envelope is written.

use crate::MessageId;
use crate::codec::{Malformed, Reader, put_text, put_varint};
use smtp::{Body, Mailbox, ReversePath};
use std::sync::Arc;

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
    /// In RCPT order; a recipient's position is its name within the message. At most [`Envelope::MAX_RECIPIENTS`].
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

const SMTPUTF8: u8 = 1;
const TENANT: u8 = 2;
const CAMPAIGN: u8 = 4;

impl Envelope {
    /// A set of so many positions, however scattered, still fits an index value under 1 KiB.
    pub const MAX_RECIPIENTS: usize = 6000;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.accepted_us);
        let flag = |on, bit| if on { bit } else { 0 };
        out.push(
            flag(self.smtputf8, SMTPUTF8)
                | flag(self.tenant.is_some(), TENANT)
                | flag(self.campaign.is_some(), CAMPAIGN),
        );
        put_text(out, self.reverse_path.as_str());
        put_varint(out, self.recipients.len() as u64);
        for recipient in &self.recipients {
            put_text(out, recipient.mailbox.as_str());
        }
        for label in [&self.tenant, &self.campaign].into_iter().flatten() {
            put_text(out, label);
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Envelope, Malformed> {
        let reader = &mut Reader::new(bytes);
        let accepted_us = reader.varint()?;
        let flags = reader.u8()?;
        let mailbox = |text| Mailbox::parse(text).map_err(|_| Malformed("address"));
        let reverse_path = match reader.text()? {
            "" => ReversePath(None),
            text => ReversePath(Some(mailbox(text)?)),
        };
        let count: usize = reader.narrow()?;
        if count > Envelope::MAX_RECIPIENTS {
            return Err(Malformed("number of recipients"));
        }
        let mut recipients = Vec::with_capacity(count);
        for _ in 0..count {
            recipients.push(Recipient { mailbox: mailbox(reader.text()?)? });
        }
        let mut label = |bit| if flags & bit != 0 { reader.text().map(|t| Some(t.into())) } else { Ok(None) };
        let (tenant, campaign) = (label(TENANT)?, label(CAMPAIGN)?);
        reader.end()?;
        Ok(Envelope { reverse_path, recipients, accepted_us, smtputf8: flags & SMTPUTF8 != 0, tenant, campaign })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address() -> impl Strategy<Value = Mailbox> {
        "[a-z0-9]{1,20}@[a-zA-Z]{1,10}\\.[a-z]{2,3}"
            .prop_map(|text| Mailbox::parse(&text).expect("letters, digits, one @ and a dot"))
    }

    proptest! {
        #[test]
        fn round_trip(
            from in proptest::option::of(address()),
            to in proptest::collection::vec(address(), 0..20),
            accepted_us: u64, smtputf8: bool,
            tenant in proptest::option::of(any::<String>()), campaign in proptest::option::of(any::<String>()),
        ) {
            let envelope = Envelope {
                reverse_path: ReversePath(from),
                recipients: to.into_iter().map(|mailbox| Recipient { mailbox }).collect(),
                accepted_us, smtputf8,
                tenant: tenant.map(Into::into), campaign: campaign.map(Into::into),
            };
            let mut bytes = Vec::new();
            envelope.encode(&mut bytes);
            prop_assert_eq!(Envelope::decode(&bytes), Ok(envelope));
            prop_assert!(Envelope::decode(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let _ = Envelope::decode(&bytes);
        }
    }
}
