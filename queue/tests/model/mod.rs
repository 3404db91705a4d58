//! What a queue must hold, worked out without one, and messages to fill it with.

use posthaste_queue as queue;
use queue::{
    Content, Domain, Entry, EntryKey, Envelope, Flow, Group, Limits, MailParameters, MessageId, NewMessage, Recipient,
    Retry, Settle, Store,
};
use smtp::{Body, Mailbox, ReversePath};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every open recipient, and when it is due: nothing else counts.
pub type Model = BTreeMap<(MessageId, Domain, u32), u64>;

pub fn limits(seed: u64) -> Limits {
    Limits {
        segment_bytes: 64 << 10,
        memtable_entries: 1000,
        memtable_bytes: 1 << 20,
        journal_floor_bytes: 200 << 10,
        prepare_bytes: 100 << 10,
        seed,
    }
}

pub fn message(random: &mut fastrand::Rng, id: MessageId) -> NewMessage {
    let recipients = (0..random.usize(1..6)).map(|i| {
        let text = format!("u{i}@d{}.example", random.u8(..4));
        Recipient::new(Mailbox::parse(&text).expect("an address"))
    });
    let envelope = Envelope {
        reverse_path: ReversePath(None),
        recipients: recipients.collect(),
        accepted_us: id.0,
        parameters: MailParameters { priority: random.i8(-1..2), ..MailParameters::default() },
        tenant: random.bool().then(|| "t".into()),
        campaign: None,
    };
    let body = Body::new(body_of(id, if random.u8(..8) == 0 { 20_000 } else { random.usize(..4000) }));
    NewMessage::new(Arc::new(Content { id, envelope, body }), random.u64(1..50))
}

/// Every message has a body of its own, so that a wrong one is noticed.
pub fn body_of(id: MessageId, len: usize) -> Vec<u8> {
    let mut body = id.to_string().repeat(len / 13 + 1).into_bytes();
    body.truncate(len);
    body.extend_from_slice(b"\r\n");
    body
}

pub fn settle(random: &mut fastrand::Rng, key: EntryKey, entry: &Entry) -> Settle {
    let whole = random.bool();
    let pick = |random: &mut fastrand::Rng| entry.open.iter().filter(|_| whole || random.bool()).collect();
    let done = if random.u8(..3) < 2 { pick(random) } else { Default::default() };
    let due_ms = if random.u8(..5) == 0 { EntryKey::HELD } else { random.u64(1..50) };
    let retry = Retry {
        recipients: pick(random),
        due_ms,
        attempts: entry.attempts + 1,
        last_error: "later".into(),
        delay_told: false,
    };
    Settle { key, done, retry: random.bool().then_some(retry) }
}

pub fn apply(model: &mut Model, group: &Group) {
    for message in &group.accepts {
        for (domain, set) in &message.domains {
            for position in set.iter() {
                model.insert((message.content.id, domain.clone(), position), message.due_ms);
            }
        }
    }
    for Settle { key, done, retry } in &group.settles {
        let at = |position| (key.id, key.domain.clone(), position);
        for position in done.iter().filter(|p| model.get(&at(*p)) == Some(&key.due_ms)).collect::<Vec<_>>() {
            model.remove(&at(position));
        }
        if let Some(retry) = retry {
            for position in retry.recipients.iter() {
                if let Some(due) = model.get_mut(&at(position)).filter(|due| **due == key.due_ms) {
                    *due = retry.due_ms;
                }
            }
        }
    }
}

/// What the store holds, with its counters checked against it and each message read back.
pub fn observe(store: &Store) -> Model {
    let entries = store.list(None, usize::MAX).expect("read");
    let mut model = Model::new();
    let mut held = 0;
    for (key, entry) in &entries {
        assert!(!entry.open.is_empty());
        for position in entry.open.iter() {
            held += u64::from(key.is_held());
            let twice = model.insert((key.id, key.domain.clone(), position), key.due_ms);
            assert_eq!(twice, None, "a recipient under two keys");
        }
        let content = store.load(key.id, entry.location).expect("its message is there");
        let body = content.body.to_bytes();
        assert_eq!(body, body_of(key.id, body.len() - 2), "its own body");
        assert_eq!(entry.body_bytes as usize, body.len());
        assert_eq!(key.flow, Flow::of(&content.envelope));
        for position in entry.open.iter() {
            assert_eq!(content.envelope.recipients[position as usize].mailbox.domain_key(), key.domain.as_str());
        }
    }
    let stats = store.stats();
    assert_eq!((stats.entries, stats.recipients), (entries.len() as u64, model.len() as u64), "counters");
    assert_eq!(stats.held_recipients, held);
    assert_eq!(stats.live_bytes == 0, entries.is_empty());
    let mut backlog: Vec<(Domain, Flow, u64)> = Vec::new();
    for (key, _) in &entries {
        if backlog.last().is_none_or(|(domain, flow, _)| *domain != key.domain || *flow != key.flow) {
            backlog.push((key.domain.clone(), key.flow, key.due_ms));
        }
    }
    assert_eq!(store.backlog().expect("read"), backlog);
    model
}

/// Recipients that only one of the two has, or has otherwise.
pub fn difference(a: &Model, b: &Model) -> Vec<String> {
    let keys = a.keys().chain(b.keys()).filter(|key| a.get(key) != b.get(key));
    keys.map(|key| format!("{key:?}: {:?}, not {:?}", a.get(key), b.get(key))).collect()
}
