//! What a client has said of one message so far.

use super::command::{Parameters, number};
use super::content::Content;
use super::{Config, Message, Protocol, Ticket, answers};
use crate::{Mailbox, Reply, ReversePath};

/// From an accepted MAIL to the message or the end of the attempt.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) reverse_path: ReversePath,
    pub(super) parameters: MailParameters,
    pub(super) recipients: Vec<Mailbox>,
    /// A RCPT was refused: DATA without recipients is answered accordingly.
    pub(super) recipient_refused: bool,
    /// BDAT has begun.
    pub(super) chunked: bool,
    pub(super) content: Content,
}

/// The parameters of MAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct MailParameters {
    /// SIZE (RFC 1870).
    pub(super) declared_bytes: Option<u64>,
    /// BODY=8BITMIME (RFC 6152).
    pub(super) eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub(super) smtputf8: bool,
}

impl MailParameters {
    /// The error is the reply that MAIL gets.
    pub(super) fn read(parameters: Parameters<'_>, config: &Config) -> Result<MailParameters, Reply> {
        let mut read = MailParameters::default();
        let mut body_given = false;
        for (keyword, value) in parameters.iter() {
            let is = |name: &str| keyword.eq_ignore_ascii_case(name);
            if is("SIZE") {
                let octets = value.and_then(number).ok_or(answers::BAD_PARAMETER)?;
                once(read.declared_bytes.replace(octets).is_some())?;
            } else if is("BODY") && config.eight_bit_mime {
                once(std::mem::replace(&mut body_given, true))?;
                read.eight_bit_mime = body_type(value)?;
            } else if is("SMTPUTF8") && config.smtputf8 {
                once(std::mem::replace(&mut read.smtputf8, true) || value.is_some())?;
            } else {
                return Err(answers::UNKNOWN_PARAMETER);
            }
        }
        match read.declared_bytes {
            Some(octets) if octets > config.max_message_bytes as u64 => Err(answers::TOO_LARGE),
            _ => Ok(read),
        }
    }
}

fn once(given_before: bool) -> Result<(), Reply> {
    if given_before { Err(answers::BAD_PARAMETER) } else { Ok(()) }
}

/// Whether it is 8BITMIME.
fn body_type(value: Option<&str>) -> Result<bool, Reply> {
    match value {
        Some(name) if name.eq_ignore_ascii_case("7BIT") => Ok(false),
        Some(name) if name.eq_ignore_ascii_case("8BITMIME") => Ok(true),
        Some(name) if name.eq_ignore_ascii_case("BINARYMIME") => Err(answers::UNKNOWN_PARAMETER),
        _ => Err(answers::BAD_PARAMETER),
    }
}

impl Transaction {
    pub(super) fn new(reverse_path: ReversePath, parameters: MailParameters) -> Transaction {
        Transaction {
            reverse_path,
            parameters,
            recipients: Vec::new(),
            recipient_refused: false,
            chunked: false,
            content: Content::default(),
        }
    }

    /// RCPT was answered.
    pub(super) fn judge(&mut self, mailbox: Mailbox, accepted: bool) {
        if accepted {
            self.recipients.push(mailbox);
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
            eight_bit_mime: self.parameters.eight_bit_mime,
            smtputf8: self.parameters.smtputf8,
            body_bytes: self.content.bytes() as usize,
            received_count: self.content.received_count(),
            body: self.content.into_body(),
        })
    }
}
