//! Damage to a journal, one octet after the other, and what `repair` makes of it: a message that was accepted and none of whose own
//! octets changed is there once, whatever was synced together with it; what was settled does not come back unless its
//! outcome was hit; what is lost is named. Then sectors and pages, of which a group's records lose some.
//!
//! `QUEUE_FLIPS=all` goes through every octet; without, through those of heads and some of the others.

#[expect(dead_code, reason = "messages and outcomes of this file's own")]
mod model;

use model::{Model, apply, body_of, difference, limits, observe};
use posthaste_queue as queue;
use queue::disk::MemoryDisk;
use queue::index::MemoryIndex;
use queue::{
    Content, Envelope, Group, Limits, MessageId, NewMessage, QueueError, Recipient, Repaired, Retry, Settle, Store,
    repair_disk,
};
use smtp::{Body, Mailbox, ReversePath};
use std::collections::BTreeSet;
use std::ops::Range;
use std::slice::from_ref;
use std::sync::Arc;

const FIRST: &str = "journal/0000000001.seg";
const PAGE: usize = 4096;

/// A queue on a disk, and what it must hold.
struct Scene {
    disk: MemoryDisk,
    index: MemoryIndex,
    accepted: Model,
    model: Model,
    /// What is harmed, and what is in it.
    segment: &'static str,
    records: Vec<Record>,
    /// Where the last group begins, and where it ends.
    last: usize,
    end: usize,
}

/// As docs/queue.md draws it.
#[derive(Debug, Clone)]
struct Record {
    range: Range<usize>,
    head_end: usize,
    kind: u8,
    /// Whose.
    id: MessageId,
}

const ACCEPT: u8 = 1;
const CHECKPOINT: u8 = 5;

fn u32_at(octets: &[u8], at: usize) -> usize {
    u32::from_le_bytes(octets[at..at + 4].try_into().expect("four")) as usize
}

/// Records, and where the last group begins and ends.
fn parse(octets: &[u8]) -> (Vec<Record>, usize, usize) {
    let mut records = Vec::new();
    let (mut last, mut group) = (PAGE, PAGE);
    while octets[group..].starts_with(b"PHGR") {
        let (len, count) = (u32_at(octets, group + 8), u32_at(octets, group + 12));
        let mut at = group + 40;
        for _ in 0..count {
            let kind = octets[at] & 15;
            let head = at + 8;
            let head_end = head + u32_at(octets, at + 4);
            let (body, id) = match kind {
                ACCEPT | 4 => (u32_at(octets, head), head + 13),
                // The domain's length and text, flow, due time.
                2 | 3 => (0, head + 1 + usize::from(octets[head]) + 3 + 8),
                _ => (0, head),
            };
            let id = u64::from_le_bytes(octets[id..id + 8].try_into().expect("eight"));
            let id = MessageId(if kind == CHECKPOINT { 0 } else { id });
            let range = at..head_end + body;
            at = range.end;
            records.push(Record { range, head_end, kind, id });
        }
        assert_eq!(at, group + 40 + len, "as the document says");
        (last, group) = (group, at.next_multiple_of(PAGE));
    }
    (records, last, group)
}

fn copy(disk: &MemoryDisk) -> MemoryDisk {
    disk.crash(&mut || u64::MAX - 2)
}

/// All in one segment, no larger than it must be.
fn roomy(seed: u64) -> Limits {
    Limits { segment_bytes: 80 << 10, prepare_bytes: 0, ..limits(seed) }
}

fn open(disk: &MemoryDisk, index: &MemoryIndex) -> Store {
    Store::open(Arc::new(disk.clone()), index, roomy(7)).unwrap_or_else(|error| panic!("{error}")).0
}

fn message(random: &mut fastrand::Rng, id: MessageId) -> NewMessage {
    let recipients = (0..random.usize(1..5)).map(|i| {
        let text = format!("u{i}@d{}.example", random.u8(..4));
        Recipient::new(Mailbox::parse(&text).expect("an address"))
    });
    let envelope = Envelope {
        reverse_path: ReversePath(Some(Mailbox::parse("sender@s.example").expect("an address"))),
        recipients: recipients.collect(),
        accepted_us: id.0,
        parameters: Default::default(),
        tenant: random.bool().then(|| "t".into()),
        campaign: None,
    };
    let body = Body::new(body_of(id, random.usize(..900)));
    NewMessage::new(Arc::new(Content { id, envelope, body }), random.u64(1..50))
}

/// Mail, a checkpoint, more mail in one group, outcomes and retries of both, a notice among them, and outcomes of those.
fn scene() -> Scene {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    let mut random = fastrand::Rng::with_seed(11);
    let (mut accepted, mut model) = (Model::new(), Model::new());
    let mut commit = |group: &Group| {
        apply(&mut model, group);
        apply(&mut accepted, &Group { accepts: group.accepts.clone(), settles: vec![] });
        store.commit(std::iter::once(group)).expect("a working disk");
    };
    let mut mail = |n: usize| -> Vec<_> { (0..n).map(|_| message(&mut random, store.next_id(0))).collect() };
    commit(&Group { accepts: mail(5), settles: vec![] });
    store.checkpoint().expect("a working disk");
    commit(&Group { accepts: mail(14), settles: vec![] });
    for (turn, notices) in [1, 0, 2].into_iter().enumerate() {
        let mut group = Group { accepts: mail(notices), settles: vec![] };
        for (n, (key, entry)) in store.list(None, usize::MAX).expect("read").into_iter().enumerate() {
            let later = |recipients| {
                let (due_ms, attempts) = (100 + 10 * turn as u64 + n as u64 % 3, entry.attempts + 1);
                Some(Retry { recipients, due_ms, attempts, last_error: "later".into(), delay_told: false })
            };
            let (first, rest) = (entry.open.iter().take(1).collect(), entry.open.iter().skip(1).collect());
            group.settles.extend(match n % 7 {
                0 | 3 => Some(Settle { key, done: entry.open.clone(), retry: None }),
                1 => Some(Settle { key, done: Default::default(), retry: later(entry.open.clone()) }),
                2 => Some(Settle { key, done: first, retry: later(rest) }),
                4 => Some(Settle { key, done: first, retry: None }),
                _ => None,
            });
        }
        commit(&group);
        commit(&Group { accepts: mail(3), settles: vec![] });
    }
    assert_eq!(observe(&store), model);
    drop(store);
    let octets = disk.content(FIRST).expect("a segment");
    assert!(disk.content("journal/0000000002.seg").is_none(), "all in one");
    let (records, last, end) = parse(&octets);
    Scene { disk: copy(&disk), index, accepted, model, segment: FIRST, records, last, end }
}

/// Repairs a copy of the scene that was harmed, twice, and rebuilds its index; each time the same queue comes of it.
fn repaired(disk: &MemoryDisk, index: &MemoryIndex, what: &str) -> (Model, Repaired, String) {
    let repair = |disk: &MemoryDisk, index: &MemoryIndex| {
        let mut report = Vec::new();
        let repaired = repair_disk(Arc::new(disk.clone()), index, roomy(8), 1, &mut report);
        (repaired.unwrap_or_else(|error| panic!("{what}: {error}")), String::from_utf8(report).expect("text"))
    };
    let (first, report) = repair(disk, index);
    let found = observe(&open(disk, index));
    let (again, second) = repair(disk, index);
    assert!(again.ranges.is_empty() && again.lost.is_empty() && again.recovery.lost.is_empty(), "{what}: {second}");
    assert_eq!(observe(&open(disk, index)), found, "{what}: repaired twice");
    let rebuilt = observe(&open(disk, &MemoryIndex::new()));
    assert!(rebuilt == found, "{what}: the journal alone: {:?}", difference(&rebuilt, &found));
    (found, first, report)
}

impl Scene {
    fn harm(&self, harm: impl Fn(&mut Vec<u8>), index: &MemoryIndex, what: &str) -> (Model, Repaired, String) {
        let (disk, index) = (copy(&self.disk), index.crash(&mut || 0));
        disk.damage(self.segment, harm);
        repaired(&disk, &index, what)
    }

    /// Of messages with untouched records nothing is lost, of those with untouched outcomes nothing comes back.
    fn check(&self, hit: &[Range<usize>], harm: impl Fn(&mut Vec<u8>), index: &MemoryIndex, what: &str) {
        self.verify(hit, self.harm(harm, index, what), what);
    }

    fn verify(&self, hit: &[Range<usize>], outcome: (Model, Repaired, String), what: &str) {
        let (found, repaired, report) = outcome;
        let touched =
            |record: &&Record| hit.iter().any(|hit| hit.start < record.range.end && record.range.start < hit.end);
        let (mail, outcomes): (Vec<_>, Vec<_>) = self.records.iter().filter(touched).partition(|r| r.kind == ACCEPT);
        let mail: BTreeSet<MessageId> = mail.iter().map(|record| record.id).collect();
        let outcomes: BTreeSet<MessageId> = outcomes.iter().map(|record| record.id).collect();
        assert!(
            found.keys().all(|recipient| self.accepted.contains_key(recipient)),
            "out of nothing: {what}\n{report}"
        );
        for (recipient, due_ms) in &self.accepted {
            let id = recipient.0;
            let (expected, is_there) = (self.model.get(recipient), found.get(recipient));
            let what = format!(
                "{what}: {recipient:?}, accepted for {due_ms}, is due {is_there:?}, not {expected:?}\n{report}"
            );
            match (mail.contains(&id), outcomes.contains(&id)) {
                (false, false) => assert!(is_there == expected, "{what}"),
                (false, true) => assert!(is_there.is_some() || expected.is_none(), "{what}"),
                (true, false) => assert!(is_there.is_none() || is_there == expected, "{what}"),
                (true, true) => {}
            }
            let domain = &recipient.1;
            let of_entry = repaired.recovery.lost.iter().any(|key| key.id == id && key.domain == *domain);
            let mut of_message =
                repaired.lost.iter().filter(|lost| lost.id == id && lost.recipients.iter().any(|(to, _)| to == domain));
            let is_named = of_entry || of_message.clone().next().is_some();
            if expected.is_some() && is_there.is_none() {
                assert!(is_named || !repaired.unknown.is_empty(), "not named: {what}");
            }
            if is_there.is_some() && expected.is_none() {
                assert!(report.contains("may be delivered again"), "not said: {what}");
            }
            // A damaged id may be somebody else's.
            let is_over = !self.model.keys().any(|(of, to, _)| *of == id && to == domain);
            let is_certain = of_entry || of_message.any(|lost| lost.is_certain);
            assert!(!is_over || !is_certain || outcomes.contains(&id), "long gone: {what}");
        }
    }
}

#[test]
fn an_octet_changes() {
    let scene = scene();
    let all = std::env::var("QUEUE_FLIPS").is_ok_and(|flips| flips == "all");
    let is_head = |at: usize| {
        let within = |record: &Record| (record.range.start..record.head_end).contains(&at);
        at % PAGE < 40 || scene.records.iter().any(within)
    };
    let mut random = fastrand::Rng::with_seed(3);
    let flips: Vec<usize> =
        (0..scene.end).filter(|at| all || random.usize(..if is_head(*at) { 50 } else { 1000 }) == 0).collect();
    assert!(flips.len() > 100, "{} of {}", flips.len(), scene.end);
    for at in flips {
        let change = random.u8(1..);
        for index in [&scene.index, &MemoryIndex::new()] {
            let what = format!("octet {at} changed by {change}");
            scene.check(from_ref(&(at..at + 1)), |octets| octets[at] ^= change, index, &what);
        }
    }
}

/// Whatever a disk puts there, and however much: what lies beside it is untouched. Only where the header of the very last
/// group was, nobody can tell it from one that was never written.
#[test]
fn sectors_and_pages_are_lost() {
    let scene = scene();
    let mut random = fastrand::Rng::with_seed(4);
    for (size, step) in [(512, 7), (PAGE, 2), (3 * PAGE, 2)] {
        for at in (0..scene.last).step_by(size * step) {
            let to = (at + size).min(scene.last);
            let fill = [0, 0xff, random.u8(..)][random.usize(..3)];
            for index in [&scene.index, &MemoryIndex::new()] {
                let what = format!("octets {at} to {to} are {fill}");
                scene.check(from_ref(&(at..to)), |octets| octets[at..to].fill(fill), index, &what);
            }
        }
    }
}

#[test]
fn several_places_at_once() {
    let scene = scene();
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let first = number("QUEUE_FIRST", 1);
    for seed in first..first + number("QUEUE_SEEDS", 25) {
        let mut random = fastrand::Rng::with_seed(seed);
        let hits: Vec<Range<usize>> = (0..random.usize(2..5))
            .map(|_| {
                let at = random.usize(..scene.last);
                at..scene.last.min(at + 1 + [0, 1, 600, 9000][random.usize(..4)])
            })
            .collect();
        let noise = random.u64(..);
        let harm = |octets: &mut Vec<u8>| {
            let mut random = fastrand::Rng::with_seed(noise);
            hits.iter().for_each(|hit| random.fill(&mut octets[hit.clone()]));
        };
        for index in [&scene.index, &MemoryIndex::new()] {
            scene.check(&hits, harm, index, &format!("seed {seed}: {hits:?}"));
        }
    }
}

/// The segment as format 3 had it: no record with a checksum of its own, nothing said of what belongs together.
fn without_checks(octets: &mut [u8]) {
    let records = parse(octets).0;
    let mut group = PAGE;
    while octets[group..].starts_with(b"PHGR") {
        let len = u32_at(octets, group + 8);
        let mut heads = crc32fast::Hasher::new();
        for record in records.iter().filter(|record| (group..group + 40 + len).contains(&record.range.start)) {
            let start = record.range.start;
            octets[start] &= 15;
            octets[start + 1..start + 4].fill(0);
            heads.update(&octets[start..record.head_end]);
        }
        octets[group + 32..group + 36].copy_from_slice(&heads.finalize().to_le_bytes());
        let mut seeded = crc32fast::Hasher::new();
        seeded.update(&1u64.to_le_bytes());
        seeded.update(&(group as u64).to_le_bytes());
        seeded.update(&octets[group + 8..group + 40]);
        octets[group + 4..group + 8].copy_from_slice(&seeded.finalize().to_le_bytes());
        group = (group + 40 + len).next_multiple_of(PAGE);
    }
}

#[test]
fn what_format_3_wrote_is_read_and_of_its_groups_what_their_heads_prove() {
    let mut scene = scene();
    scene.disk.damage(FIRST, |octets| without_checks(octets));
    scene.disk.damage("format", |text| *text = b"posthaste queue 3\n".to_vec());
    let disk = copy(&scene.disk);
    assert_eq!(observe(&open(&disk, &scene.index.crash(&mut || 0))), scene.model);
    assert_eq!(disk.content("format").as_deref(), Some(&b"posthaste queue 4\n"[..]));
    for n in [7, 11] {
        let mail = scene.records.iter().filter(|record| record.kind == ACCEPT).nth(n).expect("in a group of many");
        for index in [&scene.index, &MemoryIndex::new()] {
            let at = mail.head_end + 3;
            scene.check(from_ref(&(at..at + 1)), |octets| octets[at] ^= 1, index, "a body of format 3");
        }
    }
    // What is written then has checksums, and is told from damage to what has none.
    let store = open(&disk, &scene.index);
    let mut random = fastrand::Rng::with_seed(5);
    let accepts = (0..5).map(|_| message(&mut random, store.next_id(0))).collect();
    let group = Group { accepts, settles: vec![] };
    store.commit(std::iter::once(&group)).expect("a working disk");
    drop(store);
    apply(&mut scene.model, &group);
    apply(&mut scene.accepted, &group);
    scene.segment = "journal/0000000002.seg";
    (scene.records, scene.last, scene.end) = parse(&disk.content(scene.segment).expect("a segment of its own"));
    scene.disk = disk;
    let mail = scene.records.iter().rev().nth(2).expect("of the new ones").clone();
    let at = mail.range.start + 20;
    scene.check(from_ref(&(at..at + 1)), |octets| octets[at] ^= 1, &MemoryIndex::new(), "a head of format 4");
}

/// A disk that says so when it has lost something.
#[test]
fn pages_cannot_be_read() {
    let scene = scene();
    for at in (0..scene.last).step_by(PAGE) {
        let what = format!("the page at {at} cannot be read");
        let (disk, index) = (copy(&scene.disk), scene.index.crash(&mut || 0));
        disk.lose_page(FIRST, at as u64);
        let refused = Store::open(Arc::new(disk.clone()), &index, roomy(7)).err();
        assert!(matches!(refused, Some(QueueError::Damaged { .. })), "{what}: {refused:?}");
        scene.verify(from_ref(&(at..at + PAGE)), repaired(&disk, &index, &what), &what);
        assert!(disk.content("damaged-1/0000000001.seg").is_some(), "{what}: no copy");
    }
}

/// The power goes at every operation of a repair; the next one makes of it what the first would have made.
#[test]
fn a_repair_is_interrupted() {
    let scene = scene();
    let large = scene.records.iter().filter(|record| record.kind == ACCEPT).nth(8).expect("in a group of many");
    let outcome = scene.records.iter().rfind(|record| record.kind != ACCEPT).expect("outcomes");
    let hits = [large.range.start - 100..large.range.start + 300, outcome.range.start + 9..outcome.range.start + 10];
    let harm = |octets: &mut Vec<u8>| hits.iter().for_each(|hit| octets[hit.clone()].fill(0x5a));
    let (expected, _, report) = scene.harm(harm, &scene.index, "whole");
    assert!(report.contains("2 mended"), "{report}");
    scene.check(&hits, harm, &scene.index, "both");
    for cut in 1.. {
        let mut finished = true;
        for seed in 0..4 {
            let (disk, index) = (copy(&scene.disk), scene.index.crash(&mut || 0));
            disk.damage(FIRST, harm);
            disk.cut_after(cut);
            let interrupted = repair_disk(Arc::new(disk.clone()), &index, roomy(8), 1, &mut Vec::new());
            finished &= interrupted.is_ok();
            let mut random = fastrand::Rng::with_seed(seed);
            let (disk, index) = (disk.crash(&mut || random.u64(..)), index.crash(&mut || 0));
            repair_disk(Arc::new(disk.clone()), &index, roomy(9), 2, &mut Vec::new()).expect("repaired");
            let found = observe(&open(&disk, &index));
            assert!(found == expected, "cut at {cut}, image {seed}: {:?}", difference(&found, &expected));
        }
        if finished {
            assert!(cut > 8, "a repair has more than {cut} operations");
            return;
        }
    }
}
