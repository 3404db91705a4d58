//! Mail of nobody in particular.

use posthaste_queue as queue;
use queue::{Content, Envelope, MailParameters, MessageId, NewMessage, Recipient};
use smtp::{Body, Mailbox, ReversePath};
use std::sync::Arc;

/// Due from the beginning of time.
pub fn message(id: MessageId, to: impl IntoIterator<Item: AsRef<str>>, body: Vec<u8>) -> NewMessage {
    let recipient = |text: &str| Recipient::new(Mailbox::parse(text).expect("an address"));
    let envelope = Envelope {
        reverse_path: ReversePath(None),
        recipients: to.into_iter().map(|text| recipient(text.as_ref())).collect(),
        accepted_us: 0,
        parameters: MailParameters::default(),
        tenant: None,
        campaign: None,
    };
    NewMessage::new(Arc::new(Content { id, envelope, body: Body::new(body) }), 1)
}
