//! A durable step as it is asked for, and what comes back: new messages, and what becomes of those that are there.

use crate::{Content, Domain, Entry, EntryKey, Envelope, QueueError, RecipientSet, Store};
use std::collections::HashMap;
use std::sync::Arc;

/// One durable step, atomic: all of it survives a power cut or none.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// New messages.
    pub accepts: Vec<NewMessage>,
    /// Outcomes of attempts and operators' changes.
    pub settles: Vec<Settle>,
}

/// A message to be made durable.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// What to store.
    pub content: Arc<Content>,
    /// Recipients by domain, each becoming an entry. See [`NewMessage::new`].
    pub domains: smallvec::SmallVec<[(Domain, RecipientSet); 1]>,
    /// When they become due (unix ms); the same for all.
    pub due_ms: u64,
    /// CRC32 of the body, taken where the body came in: the committer, for whom all wait, need not look at it.
    pub(crate) body_crc: u32,
}

impl NewMessage {
    /// Groups the envelope's recipients by domain, in the order in which domains first occur.
    pub fn new(content: Arc<Content>, due_ms: u64) -> NewMessage {
        let mut domains: smallvec::SmallVec<[(Domain, RecipientSet); 1]> = smallvec::SmallVec::new();
        let mut places: HashMap<Domain, usize> = HashMap::new();
        for (position, recipient) in content.envelope.recipients.iter().enumerate() {
            let name = recipient.mailbox.domain_key();
            // Almost always the domain is the one before; a map only pays with many.
            let found = match domains.len() {
                0..8 => domains.iter().rposition(|(domain, _)| domain.as_str() == name),
                _ => places.get(&*name).copied(),
            };
            let at = found.unwrap_or_else(|| {
                domains.push((Domain(name.into()), RecipientSet::new()));
                if domains.len() == 8 {
                    places.extend(domains.iter().enumerate().map(|(i, (domain, _))| (domain.clone(), i)));
                } else if let (true, Some((domain, _))) = (domains.len() > 8, domains.last()) {
                    places.insert(domain.clone(), domains.len() - 1);
                }
                domains.len() - 1
            });
            domains[at].1.insert(position as u32);
        }
        let mut hasher = crc32fast::Hasher::new();
        content.body.segments().iter().for_each(|part| hasher.update(part));
        NewMessage { content, domains, due_ms, body_crc: hasher.finalize() }
    }
}

/// A change to one entry: the recipients in `done` leave the queue, those in `retry` move to another due time.
/// Recipients in neither stay as they are. Applying it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// The entry, as it was fetched or committed.
    pub key: EntryKey,
    /// Delivered, bounced, expired or removed.
    pub done: RecipientSet,
    /// To be tried again.
    pub retry: Option<Retry>,
}

/// The part of an entry that moves to another due time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Who.
    pub recipients: RecipientSet,
    /// When (unix ms), or [`EntryKey::HELD`].
    pub due_ms: u64,
    /// Attempts made, this one included.
    pub attempts: u16,
    /// Why.
    pub last_error: Arc<str>,
    /// The sender has been told of the delay, by now.
    pub delay_told: bool,
}

/// A committed message: what dispatch goes on with, its content still in memory.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Envelope and body.
    pub content: Arc<Content>,
    /// Its entries, as they now stand in the queue.
    pub entries: smallvec::SmallVec<[(EntryKey, Entry); 1]>,
}

impl Group {
    /// Octets of bodies that would be written.
    pub fn body_bytes(&self) -> usize {
        self.accepts.iter().map(|message| message.content.body.len()).sum()
    }

    /// Whether it can be written at all.
    pub fn check(&self) -> Result<(), QueueError> {
        for message in &self.accepts {
            let recipients = message.content.envelope.recipients.len();
            let top = message.domains.iter().flat_map(|(_, set)| set.iter().last()).max().unwrap_or(0) as usize;
            if recipients.max(top + 1) > Envelope::MAX_RECIPIENTS {
                return Err(QueueError::TooLarge {
                    what: "recipients of a message",
                    limit: Envelope::MAX_RECIPIENTS as u64,
                });
            }
            if message.content.body.len() as u64 > Store::MAX_BODY_BYTES {
                return Err(QueueError::TooLarge { what: "octets of a message", limit: Store::MAX_BODY_BYTES });
            }
        }
        if self.body_bytes() as u64 > Store::MAX_GROUP_BODY_BYTES {
            return Err(QueueError::TooLarge {
                what: "octets of messages at once",
                limit: Store::MAX_GROUP_BODY_BYTES,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{MailParameters, MessageId, Recipient};
    use bytes::Bytes;
    use smtp::body::Facts;
    use smtp::{Body, Mailbox, ReversePath};

    /// A small one for so many recipients.
    pub(crate) fn message(id: MessageId, recipients: usize) -> NewMessage {
        let mailbox = Mailbox::parse("a@x.example").expect("an address");
        let envelope = Envelope {
            reverse_path: ReversePath(None),
            recipients: vec![Recipient::new(mailbox); recipients],
            accepted_us: 0,
            parameters: MailParameters::default(),
            tenant: None,
            campaign: None,
        };
        NewMessage::new(Arc::new(Content { id, envelope, body: Body::new(vec![b'x'; 100]) }), 1)
    }

    fn large(mebibytes: usize, recipients: usize) -> NewMessage {
        let small = message(MessageId(1), recipients);
        let part = Bytes::from(vec![b'x'; 1 << 20]);
        let body = Body::from_parts(vec![part; mebibytes], Facts::default());
        NewMessage { content: Arc::new(Content { body, ..Content::clone(&small.content) }), ..small }
    }

    #[test]
    fn what_the_journal_cannot_count_is_refused() {
        let check = |accepts: Vec<NewMessage>| Group { accepts, settles: vec![] }.check().map_err(|e| e.to_string());
        assert_eq!(check(vec![large(1025, 6000); 2]), Ok(()));
        for (accepts, what) in [
            (vec![large(1026, 1)], "1074790400 octets of a message"),
            (vec![large(1, 6001)], "6000 recipients of a message"),
            (vec![large(1024, 1); 4], "3221225472 octets of messages at once"),
        ] {
            assert_eq!(check(accepts), Err(format!("the queue takes at most {what}")));
        }
    }
}
