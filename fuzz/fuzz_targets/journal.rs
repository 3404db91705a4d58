//! A damaged journal: recovery never panics, and ends in a queue or in an error; repair ends in a queue, and has nothing left to do.
#![no_main]

use libfuzzer_sys::fuzz_target;
use queue::disk::MemoryDisk;
use queue::index::{Index, IndexError, IndexHome, MemoryIndex};
use queue::{Content, Envelope, Group, NewMessage, Recipient, Store, repair_disk};
use smtp::{Body, Mailbox, ReversePath};
use std::sync::Arc;

const SEGMENT_BYTES: u64 = 16 * 4096;
/// Behind the segment's header page stands the first group; behind its header (40 octets) are records.
const RECORDS: usize = 4096 + 40;

/// An empty index each time: everything comes from the journal.
struct Nothing;

impl IndexHome for Nothing {
    fn open(&self) -> Result<Arc<dyn Index>, IndexError> {
        Ok(Arc::new(MemoryIndex::new()))
    }
    fn set_aside(&self) -> std::io::Result<()> {
        Ok(())
    }
}

fn limits() -> queue::Limits {
    queue::Limits {
        segment_bytes: SEGMENT_BYTES,
        memtable_entries: 1000,
        memtable_bytes: 1 << 20,
        journal_floor_bytes: 1 << 20,
        prepare_bytes: 64 << 10,
        seed: 1,
    }
}

/// A journal with a few messages.
fn written() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let (store, _) = Store::open(Arc::new(disk.clone()), &Nothing, limits()).expect("an empty disk");
    for size in [10, 900, 5000] {
        let recipients = ["a@b.test", "c@d.test"].map(|text| Mailbox::parse(text).expect("constants"));
        let envelope = Envelope {
            reverse_path: ReversePath(None),
            recipients: recipients.into_iter().map(Recipient::new).collect(),
            accepted_us: 1,
            parameters: Default::default(),
            tenant: None,
            campaign: None,
        };
        let content = Content { id: store.next_id(1), envelope, body: Body::new(vec![b'x'; size]) };
        let group = Group { accepts: vec![NewMessage::new(Arc::new(content), 1)], settles: Vec::new() };
        store.commit([&group].into_iter()).expect("room for it");
    }
    disk
}

fuzz_target!(|data: &[u8]| {
    let Some((place, damage)) = data.split_first_chunk::<2>() else { return };
    let disk = damaged(place, damage);
    // A journal that is refused is as good an end as one that is not.
    let _ = Store::open(Arc::new(disk), &Nothing, limits());

    let disk = Arc::new(damaged(place, damage));
    let repair = |time| repair_disk(disk.clone(), &Nothing, limits(), time, &mut std::io::sink()).expect("a queue");
    repair(1);
    let again = repair(2);
    assert!(again.ranges.is_empty(), "{again:?}");
    Store::open(disk.clone(), &Nothing, limits()).expect("a queue");
});

/// That journal, with something else in it.
fn damaged(place: &[u8; 2], damage: &[u8]) -> MemoryDisk {
    let disk = written();
    let mut reached = false;
    disk.damage("journal/0000000001.seg", |octets| {
        reached = true;
        let start = RECORDS + usize::from(u16::from_le_bytes(*place)) % (5 * 4096);
        let end = (start + damage.len()).min(octets.len());
        octets[start..end].copy_from_slice(&damage[..end - start]);
    });
    assert!(reached, "the first segment has another name");
    disk
}
