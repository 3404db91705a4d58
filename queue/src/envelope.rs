//! What is stored once per message, and how its envelope is written.

use crate::MessageId;
use crate::codec::{Malformed, Reader, flag, put_text, put_varint};
use smtp::parameters::{ByMode, DeliverBy, Hold, Notify, Return};
use smtp::{Body, MailParameters, Mailbox, Recipient, ReversePath};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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

/// The envelope of a message, stored once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// MAIL FROM.
    pub reverse_path: ReversePath,
    /// In RCPT order; a recipient's position is its name within the message. At most [`Envelope::MAX_RECIPIENTS`].
    pub recipients: Vec<Recipient>,
    /// Unix time of acceptance, microseconds.
    pub accepted_us: u64,
    /// What else MAIL said.
    pub parameters: MailParameters,
    /// Whom to charge for fairness; from configuration or `X-Posthaste-Tenant`.
    pub tenant: Option<Box<str>>,
    /// The sender's campaign; from `X-Posthaste-Campaign`.
    pub campaign: Option<Box<str>>,
}

const SMTPUTF8: u8 = 1;
const TENANT: u8 = 2;
const CAMPAIGN: u8 = 4;
const REQUIRE_TLS: u8 = 8;
/// Something was said that few messages come with.
const PARAMETERS: u8 = 16;
/// At least one recipient came with NOTIFY or ORCPT: each has a byte for them.
const RECIPIENT_PARAMETERS: u8 = 32;

impl Envelope {
    /// A set of so many positions, however scattered, still fits an index value under 1 KiB.
    pub const MAX_RECIPIENTS: usize = 6000;

    /// Whole seconds since acceptance.
    pub fn age_seconds(&self, now_us: u64) -> u32 {
        u32::try_from(now_us.saturating_sub(self.accepted_us) / 1_000_000).unwrap_or(u32::MAX)
    }

    /// At least what a recipient takes up.
    pub(crate) fn recipient_bound(recipient: &Recipient) -> usize {
        recipient.mailbox.as_str().len() + 4 + recipient.orcpt.as_ref().map_or(0, |orcpt| orcpt.len() + 2)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.accepted_us);
        let MailParameters { smtputf8, require_tls, .. } = self.parameters;
        let usual = MailParameters { smtputf8, require_tls, ..MailParameters::default() };
        let with_parameters = self.parameters != usual;
        let with_dsn = self.recipients.iter().any(Recipient::needs_dsn);
        out.push(
            flag(smtputf8, SMTPUTF8)
                | flag(self.tenant.is_some(), TENANT)
                | flag(self.campaign.is_some(), CAMPAIGN)
                | flag(require_tls, REQUIRE_TLS)
                | flag(with_parameters, PARAMETERS)
                | flag(with_dsn, RECIPIENT_PARAMETERS),
        );
        put_text(out, self.reverse_path.as_str());
        if with_parameters {
            put_parameters(out, &self.parameters);
        }
        put_varint(out, self.recipients.len() as u64);
        for recipient in &self.recipients {
            put_text(out, recipient.mailbox.as_str());
            if with_dsn {
                out.push(recipient.notify.bits() | flag(recipient.orcpt.is_some(), ORCPT));
                recipient.orcpt.iter().for_each(|orcpt| put_text(out, orcpt));
            }
        }
        for label in [&self.tenant, &self.campaign].into_iter().flatten() {
            put_text(out, label);
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Envelope, Malformed> {
        let reader = &mut Reader::new(bytes);
        let envelope = Envelope::read(reader)?;
        reader.end()?;
        Ok(envelope)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Envelope, Malformed> {
        let accepted_us = reader.varint()?;
        let flags = reader.u8()?;
        let has = |bit| flags & bit != 0;
        let reverse_path = match reader.text()? {
            "" => ReversePath(None),
            text => ReversePath(Some(read_mailbox(text)?)),
        };
        let said = if has(PARAMETERS) { read_parameters(reader)? } else { MailParameters::default() };
        let parameters = MailParameters { smtputf8: has(SMTPUTF8), require_tls: has(REQUIRE_TLS), ..said };
        let count: usize = reader.narrow()?;
        if count > Envelope::MAX_RECIPIENTS {
            return Err(Malformed("number of recipients"));
        }
        let mut recipients = Vec::with_capacity(count);
        for _ in 0..count {
            let mut recipient = Recipient::new(read_mailbox(reader.text()?)?);
            if has(RECIPIENT_PARAMETERS) {
                let bits = reader.u8()?;
                recipient.notify = Notify::from_bits(bits & !ORCPT).ok_or(Malformed("NOTIFY"))?;
                recipient.orcpt = if bits & ORCPT != 0 { Some(reader.text()?.into()) } else { None };
            }
            recipients.push(recipient);
        }
        let mut label = |bit| if has(bit) { reader.text().map(|t| Some(t.into())) } else { Ok(None) };
        let (tenant, campaign) = (label(TENANT)?, label(CAMPAIGN)?);
        Ok(Envelope { reverse_path, recipients, accepted_us, parameters, tenant, campaign })
    }
}

fn read_mailbox(text: &str) -> Result<Mailbox, Malformed> {
    Mailbox::parse(text).map_err(|_| Malformed("address"))
}

/// Beside the bits of NOTIFY.
const ORCPT: u8 = 128;

const RET_FULL: u8 = 1;
const RET_HEADERS: u8 = 2;
const ENVID: u8 = 4;
const DELIVER_BY: u8 = 8;
const BY_RETURN: u8 = 16;
const BY_TRACE: u8 = 32;
const HOLD_FOR: u8 = 64;
const HOLD_UNTIL: u8 = 128;

fn put_parameters(out: &mut Vec<u8>, parameters: &MailParameters) {
    let ret = match parameters.ret {
        None => 0,
        Some(Return::Full) => RET_FULL,
        Some(Return::Headers) => RET_HEADERS,
    };
    let by = parameters
        .deliver_by
        .map_or(0, |by| DELIVER_BY | flag(by.mode == ByMode::Return, BY_RETURN) | flag(by.trace, BY_TRACE));
    // Whole seconds, of a time or since 1970.
    let (hold, held) = match parameters.hold {
        None => (0, 0),
        Some(Hold::For(time)) => (HOLD_FOR, time.as_secs()),
        Some(Hold::Until(time)) => {
            (HOLD_UNTIL, time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
        }
    };
    out.push(ret | flag(parameters.envid.is_some(), ENVID) | by | hold);
    out.push(parameters.priority.cast_unsigned());
    parameters.envid.iter().for_each(|envid| put_text(out, envid));
    parameters.deliver_by.iter().for_each(|by| out.extend_from_slice(&by.seconds.to_le_bytes()));
    if hold != 0 {
        put_varint(out, held);
    }
}

fn read_parameters(reader: &mut Reader<'_>) -> Result<MailParameters, Malformed> {
    let flags = reader.u8()?;
    let has = |bit| flags & bit != 0;
    let priority = reader.u8()?.cast_signed();
    let envid = if has(ENVID) { Some(reader.text()?.into()) } else { None };
    let deliver_by = if has(DELIVER_BY) {
        let mode = if has(BY_RETURN) { ByMode::Return } else { ByMode::Notify };
        Some(DeliverBy { seconds: reader.u32()?.cast_signed(), mode, trace: has(BY_TRACE) })
    } else {
        None
    };
    let hold = match flags & (HOLD_FOR | HOLD_UNTIL) {
        0 => None,
        HOLD_FOR => Some(Hold::For(Duration::from_secs(reader.varint()?))),
        HOLD_UNTIL => {
            let since = Duration::from_secs(reader.varint()?);
            Some(Hold::Until(SystemTime::UNIX_EPOCH.checked_add(since).ok_or(Malformed("HOLDUNTIL"))?))
        }
        _ => return Err(Malformed("HOLDFOR")),
    };
    let ret = match flags & (RET_FULL | RET_HEADERS) {
        0 => None,
        RET_FULL => Some(Return::Full),
        RET_HEADERS => Some(Return::Headers),
        _ => return Err(Malformed("RET")),
    };
    Ok(MailParameters { ret, envid, priority, deliver_by, hold, ..MailParameters::default() })
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

    fn recipient() -> impl Strategy<Value = Recipient> {
        let notify = prop::sample::select(vec!["", "NEVER", "SUCCESS", "FAILURE,DELAY"]);
        (address(), notify, prop::option::weighted(0.2, "rfc822;[a-z]{1,9}")).prop_map(|(mailbox, notify, orcpt)| {
            Recipient { mailbox, notify: Notify::parse(notify).unwrap_or_default(), orcpt: orcpt.map(Into::into) }
        })
    }

    fn parameters() -> impl Strategy<Value = MailParameters> {
        let ret = prop::option::of(prop::sample::select(vec![Return::Full, Return::Headers]));
        let by =
            prop::option::of((any::<i32>(), any::<bool>(), any::<bool>()).prop_map(|(seconds, returns, trace)| {
                DeliverBy { seconds, mode: if returns { ByMode::Return } else { ByMode::Notify }, trace }
            }));
        let hold = prop::option::of((any::<bool>(), any::<u32>()).prop_map(|(until, seconds)| {
            let time = Duration::from_secs(seconds.into());
            if until { Hold::Until(SystemTime::UNIX_EPOCH + time) } else { Hold::For(time) }
        }));
        (any::<bool>(), any::<bool>(), ret, prop::option::of("[!-*]{1,9}"), -9..=9i8, by, hold).prop_map(
            |(smtputf8, require_tls, ret, envid, priority, deliver_by, hold)| {
                let envid = envid.map(Into::into);
                MailParameters { smtputf8, require_tls, ret, envid, priority, deliver_by, hold }
            },
        )
    }

    proptest! {
        #[test]
        fn round_trip(
            from in prop::option::of(address()),
            recipients in prop::collection::vec(recipient(), 0..20),
            accepted_us: u64, parameters in prop::option::of(parameters()),
            tenant in prop::option::of(any::<String>()), campaign in prop::option::of(any::<String>()),
        ) {
            let envelope = Envelope {
                reverse_path: ReversePath(from),
                recipients,
                accepted_us,
                parameters: parameters.unwrap_or_default(),
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
