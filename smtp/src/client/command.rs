//! A transaction's commands in wire form (RFC 5321 §4.1.1, RFC 1870, RFC 6152, RFC 6531, RFC 3030,
//! RFC 3461, RFC 8689, RFC 6710, RFC 2852).

use super::exchange::Exchange;
use super::{Features, Transaction, Unsupported};
use crate::parameters::{ByMode, DeliverBy, Return};
use crate::{Body, MailParameters, Recipient};
use bytes::{BufMut, BytesMut};
use std::fmt::Write;

/// Room made at a time for the commands of coming transactions; kept and used again when they are sent.
const BLOCK_BYTES: usize = 4096;

/// Writes commands into blocks that transactions share, so that most need no allocation.
#[derive(Debug)]
pub(super) struct Encoder {
    block: BytesMut,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder { block: BytesMut::with_capacity(BLOCK_BYTES) }
    }

    /// Makes all that a transaction needs to be sent, or says what the peer lacks for it.
    pub(super) fn encode(
        &mut self,
        transaction: Transaction<'_>,
        features: &Features,
        chunking: bool,
        each: bool,
        logged_in: bool,
    ) -> Result<Exchange, Unsupported> {
        let (body, mut smtputf8) = content(&transaction, features, chunking)?;
        let Transaction { id, reverse_path, recipients, parameters, age_seconds, .. } = transaction;
        let deliver_by = remaining(parameters.deliver_by, age_seconds, features)?;
        let watched = parameters.deliver_by.is_none() || features.deliver_by.is_some();
        self.block.reserve(BLOCK_BYTES / 8);
        self.put_mail(reverse_path.as_str(), body, features);
        self.put_parameters(parameters, deliver_by, features);
        if logged_in {
            // Who first submitted it is not known (RFC 4954 §5).
            self.block.put_slice(b" AUTH=<>");
        }
        let parameters_end = self.block.len();
        self.block.put_slice(b"\r\n");
        let mut count = 0;
        for recipient in recipients {
            let orcpt = recipient.orcpt.as_deref().unwrap_or_default();
            smtputf8 |= !recipient.mailbox.is_ascii() || features.dsn && !orcpt.is_ascii();
            self.put_recipient(recipient, watched, features);
            count += 1;
        }
        assert!(count > 0, "a transaction has at least one recipient");
        if smtputf8 && !features.smtputf8 {
            self.block.clear();
            return Err(Unsupported::Smtputf8);
        }
        if smtputf8 {
            self.insert(parameters_end, b" SMTPUTF8");
        }
        if !chunking {
            self.block.put_slice(b"DATA\r\n");
        }
        let commands = self.block.split().freeze();
        if chunking {
            self.put_number("BDAT ", body.len());
            self.block.put_slice(b" LAST\r\n");
        }
        let chunk = self.block.split().freeze();
        Ok(Exchange::new(id, count, body.clone(), commands, chunk, each))
    }

    /// MAIL with what the peer can use, but for SMTPUTF8 and the line end.
    fn put_mail(&mut self, reverse_path: &str, body: &Body, features: &Features) {
        self.block.put_slice(b"MAIL FROM:<");
        self.put_address(reverse_path);
        if features.size.is_some() {
            self.put_number(" SIZE=", body.len());
        }
        if body.facts().binary {
            self.block.put_slice(b" BODY=BINARYMIME");
        } else if body.facts().eight_bit && features.eight_bit_mime {
            self.block.put_slice(b" BODY=8BITMIME");
        }
    }

    /// What else the sender said and the peer understands.
    fn put_parameters(&mut self, parameters: &MailParameters, deliver_by: Option<DeliverBy>, features: &Features) {
        if features.dsn {
            match parameters.ret {
                Some(Return::Full) => self.block.put_slice(b" RET=FULL"),
                Some(Return::Headers) => self.block.put_slice(b" RET=HDRS"),
                None => {}
            }
            if let Some(envid) = &parameters.envid {
                self.put_text(" ENVID=", envid);
            }
        }
        if parameters.require_tls && features.require_tls {
            self.block.put_slice(b" REQUIRETLS");
        }
        // RFC 6710 §4.2: 0, too.
        if features.mt_priority {
            self.put_number(" MT-PRIORITY=", parameters.priority);
        }
        if let Some(by) = deliver_by {
            self.put_number(" BY=", by.seconds);
            self.put_text(";", by.mode_keyword());
        }
    }

    fn put_recipient(&mut self, recipient: &Recipient, watched: bool, features: &Features) {
        self.block.put_slice(b"RCPT TO:<");
        self.put_address(recipient.mailbox.as_str());
        if features.dsn {
            self.put_recipient_parameters(recipient, watched);
        }
        self.block.put_slice(b"\r\n");
    }

    /// RFC 3461 §5.2.1: as they came. But where a host that does not watch the time is to tell of what is late, it hears so
    /// (RFC 2852 §4.1.4.2).
    fn put_recipient_parameters(&mut self, recipient: &Recipient, watched: bool) {
        let mut before = " NOTIFY=";
        let notify = if watched { recipient.notify } else { recipient.notify.with_delay() };
        for word in notify.words() {
            self.put_text(std::mem::replace(&mut before, ","), word);
        }
        if let Some(orcpt) = &recipient.orcpt {
            self.put_text(" ORCPT=", orcpt);
        }
    }

    /// The address and its `>`. A parsed mailbox holds no control character; were it otherwise, a peer would take the
    /// rest for commands of ours, so it is worth asserting.
    fn put_address(&mut self, address: &str) {
        self.put_text("", address);
        self.block.put_u8(b'>');
    }

    fn put_text(&mut self, before: &str, text: &str) {
        assert!(
            !text.bytes().any(|byte| byte.is_ascii_control()),
            "addresses and parameters hold no control character"
        );
        self.block.put_slice(before.as_bytes());
        self.block.put_slice(text.as_bytes());
    }

    fn put_number(&mut self, before: &str, number: impl std::fmt::Display) {
        self.block.put_slice(before.as_bytes());
        write!(self.block, "{number}").expect("BytesMut grows as needed");
    }

    /// Puts `text` in afterwards: only the last recipient tells whether SMTPUTF8 is needed.
    fn insert(&mut self, at: usize, text: &[u8]) {
        let rest = self.block.split_off(at);
        self.block.put_slice(text);
        self.block.unsplit(rest);
    }
}

/// What is sent of the content to this peer, if it can take such a message at all; and whether MAIL has to say SMTPUTF8, as
/// far as that is not for the recipients to tell.
fn content<'a>(
    transaction: &Transaction<'a>,
    features: &Features,
    chunking: bool,
) -> Result<(&'a Body, bool), Unsupported> {
    let Transaction { reverse_path, mut body, parameters, .. } = *transaction;
    let mut smtputf8 = parameters.smtputf8 || !reverse_path.as_str().is_ascii();
    if smtputf8 && !features.smtputf8 {
        // Programs say SMTPUTF8 of all that they hand in where it is announced: what has no UTF-8 in an address or in a
        // header, so that it could be converted, is no internationalised mail, and may go (RFC 6531 §3.2).
        let encoded = if reverse_path.as_str().is_ascii() { body.seven_bit().ok() } else { None };
        let encoded = encoded.ok_or(Unsupported::Smtputf8)?;
        // A notice may come to one who has nothing to do with SMTPUTF8: what needs it there is encoded (RFC 6533 §4.5).
        body = if reverse_path.is_null() { encoded } else { body };
        smtputf8 = false;
    }
    let body = suited(body, features, chunking, smtputf8)?;
    match features.size {
        Some(limit) if limit > 0 && body.len() as u64 > limit => return Err(Unsupported::Size { limit }),
        _ => {}
    }
    // RFC 8689 §5: a notice is not to be lost for it.
    if parameters.require_tls && !features.require_tls && !reverse_path.is_null() {
        return Err(Unsupported::RequireTls);
    }
    Ok((body, smtputf8))
}

/// What the peer is told of DELIVERBY. Where it doesn't know it, a message to be returned doesn't go there; one whose
/// sender wants to be told of a delay does, and we watch the time alone (RFC 2852 §4.1.4).
fn remaining(by: Option<DeliverBy>, age_seconds: u32, features: &Features) -> Result<Option<DeliverBy>, Unsupported> {
    let Some(by) = by else { return Ok(None) };
    let left = by.after(age_seconds.into()).ok_or(Unsupported::TooLate)?;
    match features.deliver_by {
        None if left.mode == ByMode::Return => Err(Unsupported::DeliverBy),
        Some(least) if left.mode == ByMode::Return && left.seconds < least => Err(Unsupported::TooLate),
        known => Ok(known.map(|_| left)),
    }
}

/// The content as the peer can take it: as it is, or converted (RFC 6152 §3, RFC 3030 §3).
fn suited<'a>(body: &'a Body, features: &Features, chunking: bool, smtputf8: bool) -> Result<&'a Body, Unsupported> {
    let facts = body.facts();
    // A bare CR or LF under DATA is what smuggling is made of: it never goes there.
    if facts.binary && !(chunking && features.binary_mime) {
        return body.seven_bit().map_err(Unsupported::Binary);
    }
    // Who takes UTF-8 headers takes 8-bit content (RFC 6531 §3.1 item 8), announced or not.
    if facts.eight_bit && !features.eight_bit_mime && !smtputf8 {
        return body.seven_bit().map_err(Unsupported::EightBit);
    }
    Ok(body)
}
