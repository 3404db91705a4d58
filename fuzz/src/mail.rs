//! Messages, and addresses from which the message and the recipient can be told.

use arbitrary::Arbitrary;
use bytes::Bytes;
use smtp::client::{Client, LARGE_BODY_BYTES, Transaction};
use smtp::parameters::{ByMode, DeliverBy, Notify, Return};
use smtp::{Body, MailParameters, Mailbox, Recipient, ReversePath};
use std::sync::LazyLock;
use std::time::Instant;

static LARGE: LazyLock<Bytes> = LazyLock::new(|| b"0123456789abcdef\r\n".repeat(LARGE_BODY_BYTES / 16).into());

/// A message as the fuzzer wants it.
#[derive(Arbitrary, Clone, Debug)]
pub struct Mail {
    recipients: u8,
    utf8: bool,
    content: Content,
    parameters: Parameters,
}

#[derive(Arbitrary, Clone, Debug)]
enum Content {
    Plain,
    Dots,
    EightBit,
    Binary,
    NoLineEnd,
    Empty,
    /// Beyond what goes without waiting for the replies to RCPT.
    Large,
    Raw(Vec<u8>),
}

#[derive(Arbitrary, Clone, Debug)]
struct Parameters {
    chosen: u8,
    priority: i8,
    seconds: u16,
}

impl Mail {
    /// Hands it to the client as this transaction. What that was, if the client took it.
    pub fn submit(&self, client: &mut Client, id: u64, now: Instant) -> Option<(Vec<Recipient>, Body, MailParameters)> {
        let (recipients, body, parameters) = (self.recipients(id), self.body(), self.parameters());
        let transaction = Transaction {
            id,
            reverse_path: &self.reverse_path(id),
            recipients: &mut recipients.iter(),
            body: &body,
            parameters: &parameters,
            age_seconds: 0,
        };
        client.submit(transaction, now).is_ok().then_some((recipients, body, parameters))
    }

    fn recipient_count(&self) -> u32 {
        u32::from(self.recipients % 4) + 1
    }

    fn reverse_path(&self, id: u64) -> ReversePath {
        ReversePath(Some(mailbox(&format!("s{id}@client.test"))))
    }

    fn recipients(&self, id: u64) -> Vec<Recipient> {
        let letter = if self.utf8 { 'ü' } else { 'u' };
        let one = |n| {
            let mut recipient = Recipient::new(mailbox(&format!("r{id}.{n}.{letter}@server.test")));
            if self.parameters.chosen & 1 != 0 {
                recipient.notify = Notify::parse("SUCCESS,DELAY").expect("a constant");
                recipient.orcpt = Some("rfc822;a+2Bb@c.test".into());
            }
            recipient
        };
        (0..self.recipient_count()).map(one).collect()
    }

    fn body(&self) -> Body {
        let content: Bytes = match &self.content {
            Content::Plain => "Subject: s\r\n\r\nline\r\n".into(),
            Content::Dots => ".\r\n..\r\n.\r\n\r\n.a\r\n".into(),
            Content::EightBit => "Subject: s\r\n\r\nÄ line\r\n".into(),
            Content::Binary => "Subject: s\r\n\r\n\0a\rb\nc".into(),
            Content::NoLineEnd => "Subject: s\r\n\r\nline".into(),
            Content::Empty => Bytes::new(),
            Content::Large => LARGE.clone(),
            Content::Raw(octets) => octets.clone().into(),
        };
        Body::new(content)
    }

    fn parameters(&self) -> MailParameters {
        let Parameters { chosen, priority, seconds } = self.parameters;
        let has = |bit: u8| chosen >> bit & 1 != 0;
        let mode = if has(6) { ByMode::Return } else { ByMode::Notify };
        MailParameters {
            smtputf8: has(1),
            require_tls: has(2),
            ret: has(3).then_some(Return::Headers),
            envid: has(4).then(|| "QQ+2B314".into()),
            priority: priority.clamp(-9, 9),
            deliver_by: has(5).then(|| DeliverBy { seconds: i32::from(seconds) + 1, mode, trace: has(7) }),
            hold: None,
        }
    }
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).expect("these are addresses")
}

/// Which message this sender names.
pub fn message_of(sender: &str) -> u64 {
    let digits = sender.strip_prefix('s').and_then(|rest| rest.split('@').next());
    digits.and_then(|digits| digits.parse().ok()).expect("every sender names its message")
}

/// Which message and which of its recipients this address names.
pub fn recipient_of(address: &str) -> (u64, u32) {
    let mut parts = address.strip_prefix('r').expect("every recipient names its message").split('.');
    let mut next = || parts.next().expect("message, then position");
    (next().parse().expect("the message"), next().parse().expect("the position"))
}
