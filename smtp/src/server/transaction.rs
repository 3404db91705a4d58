//! What a client has said of one message so far.

use super::command::{Parameters, number};
use super::content::Content;
use super::{Config, Message, Protocol, Ticket, answers};
use crate::parameters::{DeliverBy, Hold, Notify, Return, is_envid, is_orcpt, is_xtext};
use crate::{MailParameters, Mailbox, Recipient, Reply, ReversePath};
use smallvec::SmallVec;
use std::time::Instant;

/// From an accepted MAIL to the message or the end of the attempt.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) reverse_path: ReversePath,
    pub(super) command: MailCommand,
    pub(super) recipients: Vec<Recipient>,
    /// A RCPT was refused: DATA without recipients is answered accordingly.
    pub(super) recipient_refused: bool,
    /// BDAT has begun.
    pub(super) chunked: bool,
    /// It has to be over by then.
    pub(super) until: Instant,
    pub(super) content: Content,
}

/// MAIL's parameters, as this host needs them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct MailCommand {
    /// SIZE (RFC 1870).
    pub(super) declared_bytes: Option<u64>,
    pub(super) body_type: BodyType,
    /// What goes with the message.
    pub(super) parameters: MailParameters,
}

/// BODY (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum BodyType {
    #[default]
    SevenBit,
    EightBitMime,
    BinaryMime,
}

impl MailCommand {
    /// The error is the reply that MAIL gets.
    pub(super) fn read(parameters: Parameters<'_>, config: &Config, tls_is_up: bool) -> Result<MailCommand, Reply> {
        let mut command = MailCommand::default();
        let mut seen = Seen::default();
        for (keyword, value) in parameters.iter() {
            seen.once(keyword)?;
            if !command.take(keyword, value, config, tls_is_up).ok_or(answers::BAD_PARAMETER)? {
                return Err(answers::UNKNOWN_PARAMETER);
            }
        }
        match command.declared_bytes {
            Some(octets) if octets > config.max_message_bytes as u64 => Err(answers::TOO_LARGE),
            _ => Ok(command),
        }
    }

    /// `Some(false)`: this parameter was not announced. `None`: its value is bad.
    fn take(&mut self, keyword: &str, value: Option<&str>, config: &Config, tls_is_up: bool) -> Option<bool> {
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        let parameters = &mut self.parameters;
        if is("SIZE") {
            self.declared_bytes = Some(value.and_then(number)?);
        } else if is("BODY") && config.eight_bit_mime {
            match BodyType::parse(value?)? {
                BodyType::BinaryMime if !config.announces_binary_mime() => return Some(false),
                body_type => self.body_type = body_type,
            }
        } else if is("SMTPUTF8") && config.smtputf8 {
            parameters.smtputf8 = value.is_none().then_some(true)?;
        } else if is("RET") && config.dsn {
            parameters.ret = Some(Return::parse(value?)?);
        } else if is("ENVID") && config.dsn {
            parameters.envid = Some(value.filter(|value| is_envid(value))?.into());
        } else if is("AUTH") && config.auth.is_some() {
            // Who first submitted it. It has to be taken from anyone, and to be believed from none (RFC 4954 §5).
            value.filter(|value| *value == "<>" || is_xtext(value))?;
        } else if is("REQUIRETLS") && config.require_tls && tls_is_up {
            parameters.require_tls = value.is_none().then_some(true)?;
        } else if is("MT-PRIORITY") && config.mt_priority {
            parameters.priority = priority(value?)?;
        } else if is("BY") && config.deliver_by {
            parameters.deliver_by = Some(DeliverBy::parse(value?)?);
        } else if let (Some(future), true) = (config.future_release, is("HOLDFOR") || is("HOLDUNTIL")) {
            // One of them, once (RFC 4865 §4).
            let hold = if is("HOLDFOR") { Hold::parse_for(value?) } else { Hold::parse_until(value?) };
            let hold = hold.filter(|hold| !matches!(hold, Hold::For(time) if *time > future.longest))?;
            parameters.hold.replace(hold).is_none().then_some(())?;
        } else {
            return Some(false);
        }
        Some(true)
    }
}

/// `-9` to `9` (RFC 6710 §7): no plus, no leading zero, no minus before zero.
fn priority(value: &str) -> Option<i8> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    match digits.as_bytes() {
        [b'1'..=b'9'] => value.parse().ok(),
        [b'0'] if value == "0" => Some(0),
        _ => None,
    }
}

impl BodyType {
    fn parse(name: &str) -> Option<BodyType> {
        [("7BIT", BodyType::SevenBit), ("8BITMIME", BodyType::EightBitMime), ("BINARYMIME", BodyType::BinaryMime)]
            .into_iter()
            .find_map(|(keyword, body_type)| name.eq_ignore_ascii_case(keyword).then_some(body_type))
    }
}

/// RCPT's parameters. The error is the reply that it gets.
pub(super) fn read_recipient(
    mailbox: Mailbox,
    parameters: Parameters<'_>,
    config: &Config,
    smtputf8: bool,
) -> Result<Recipient, Reply> {
    let mut recipient = Recipient::new(mailbox);
    let mut seen = Seen::default();
    for (keyword, value) in parameters.iter() {
        seen.once(keyword)?;
        if keyword.eq_ignore_ascii_case("NOTIFY") && config.dsn {
            recipient.notify = value.and_then(Notify::parse).ok_or(answers::BAD_PARAMETER)?;
        } else if keyword.eq_ignore_ascii_case("ORCPT") && config.dsn {
            let value = value.filter(|value| is_orcpt(value, smtputf8)).ok_or(answers::BAD_PARAMETER)?;
            recipient.orcpt = Some(value.into());
        } else {
            return Err(answers::UNKNOWN_PARAMETER);
        }
    }
    Ok(recipient)
}

/// Keywords so far: each may stand once.
#[derive(Default)]
struct Seen<'a>(SmallVec<[&'a str; 16]>);

impl<'a> Seen<'a> {
    fn once(&mut self, keyword: &'a str) -> Result<(), Reply> {
        if self.0.iter().any(|seen| seen.eq_ignore_ascii_case(keyword)) {
            return Err(answers::BAD_PARAMETER);
        }
        self.0.push(keyword);
        Ok(())
    }
}

impl Transaction {
    pub(super) fn new(reverse_path: ReversePath, command: MailCommand, until: Instant) -> Transaction {
        let content = Content::new(command.body_type == BodyType::BinaryMime);
        Transaction {
            reverse_path,
            command,
            recipients: Vec::new(),
            recipient_refused: false,
            chunked: false,
            until,
            content,
        }
    }

    /// RCPT was answered.
    pub(super) fn judge(&mut self, recipient: Recipient, accepted: bool) {
        if accepted {
            self.recipients.push(recipient);
        } else {
            self.recipient_refused = true;
        }
    }

    /// Why content can't be taken: nobody to give it to. LMTP asks for 503 in any case (RFC 2033 §4.2).
    pub(super) fn without_recipients(&self, protocol: Protocol) -> Option<Reply> {
        match (self.recipients.is_empty(), self.recipient_refused, protocol) {
            (false, _, _) => None,
            (true, true, Protocol::Smtp) => Some(answers::NO_VALID_RECIPIENTS),
            (true, true, Protocol::Lmtp) => Some(answers::NO_VALID_RECIPIENTS_LMTP),
            (true, false, _) => Some(answers::RCPT_FIRST),
        }
    }

    pub(super) fn into_message(self, ticket: Ticket) -> Box<Message> {
        Box::new(Message {
            ticket,
            reverse_path: self.reverse_path,
            recipients: self.recipients,
            parameters: self.command.parameters,
            body_bytes: self.content.bytes() as usize,
            received_count: self.content.received_count(),
            body: self.content.into_body(),
        })
    }
}
