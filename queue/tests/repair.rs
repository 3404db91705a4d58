//! A damaged journal: the queue refuses to start, `repair` saves what can be saved.

mod mail;

use posthaste_queue as queue;
use queue::disk::RealDisk;
use queue::index::SledIndex;
use queue::{EntryKey, Group, Limits, Options, Queue, QueueError, Recovery, Retry, Settle, Store, repair};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::SystemTime;

const MESSAGES: usize = 60;

fn options(dir: &Path) -> Options {
    Options { segment_bytes: 128 << 10, ..Options::new(dir) }
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("journal/{number:010}.seg"))
}

fn fill(dir: &Path) {
    fill_with(dir, 1);
}

/// `MESSAGES`, so many to a group.
fn fill_with(dir: &Path, together: usize) {
    let (queue, _) = Queue::open(options(dir)).expect("opens");
    for group in 0..MESSAGES / together {
        let message = |n: usize| {
            let (id, i) = (queue.next_id(), group * together + n);
            mail::message(id, [format!("u{i}@d{}.example", i % 5)], id.to_string().repeat(800).into_bytes())
        };
        let accepts = (0..together).map(message).collect();
        let (answer, answered) = mpsc::channel();
        queue.submit(Group { accepts, settles: vec![] }, Box::new(move |result| _ = answer.send(result)));
        answered.recv().expect("answered").expect("committed");
    }
    queue.close().expect("closes");
}

/// Opens a queue in which nothing is wrong; the keys of what is there, each message read back.
fn contents(dir: &Path) -> Vec<EntryKey> {
    let (queue, _) = Queue::open(options(dir)).expect("opens");
    let all = queue.list(None, usize::MAX).expect("read");
    for (key, entry) in &all {
        let content = queue.load_now(key.id, entry.location).expect("its message is there");
        assert_eq!(content.body.to_bytes(), key.id.to_string().repeat(800).as_bytes());
    }
    queue.close().expect("closes");
    all.into_iter().map(|(key, _)| key).collect()
}

/// `harm` to a queue without index; at most `lost` of its messages may be lost, and at least one unless that is 0.
fn check(harm: impl Fn(&Path), lost: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fill(dir.path());
    std::fs::remove_dir_all(dir.path().join("index")).expect("removed");
    harm(dir.path());
    let Err(error) = Queue::open(options(dir.path())) else { panic!("opened a damaged journal") };
    assert!(matches!(error, QueueError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("posthaste queue repair"));

    let mut report = Vec::new();
    let repaired = repair(&options(dir.path()), &mut report).expect("repaired");
    let report = String::from_utf8(report).expect("text");
    assert!(!repaired.ranges.is_empty() && report.contains("given up"), "{report}");
    let kept = contents(dir.path());
    let missing = MESSAGES - kept.len();
    assert!(missing <= lost && (lost == 0 || missing > 0), "{missing} lost: {report}");
    let aside = std::fs::read_dir(dir.path()).expect("listed").filter_map(Result::ok);
    let aside: Vec<_> = aside.filter(|e| e.file_name().to_string_lossy().starts_with("damaged-")).collect();
    assert_eq!(aside.len(), 1);
    assert_eq!(std::fs::read_to_string(aside[0].path().join("report.txt")).expect("read"), report);

    let again = repair(&options(dir.path()), &mut Vec::new()).expect("nothing to do");
    assert!(again.ranges.is_empty(), "{again:?}");
    assert_eq!(contents(dir.path()), kept);
    std::fs::remove_dir_all(dir.path().join("index")).expect("removed");
    assert_eq!(contents(dir.path()), kept, "rebuilt once more");
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).expect("there").write_all_at(bytes, offset).expect("written");
}

#[test]
fn a_flipped_octet_of_a_body() {
    check(|dir| overwrite(&segment(dir, 2), 4096 * 5 + 100, b"?"), 1);
}

#[test]
fn a_lost_page() {
    check(|dir| overwrite(&segment(dir, 2), 4096, &[0; 4096]), 1);
}

#[test]
fn a_lost_segment_header() {
    check(|dir| overwrite(&segment(dir, 3), 0, &[0; 4096]), 0);
}

#[test]
fn the_end_of_a_segment() {
    check(|dir| overwrite(&segment(dir, 2), 40_000, &[0xff; 88 << 10]), 10);
}

#[test]
fn a_lost_segment() {
    check(|dir| std::fs::remove_file(segment(dir, 2)).expect("removed"), 12);
}

#[test]
fn the_first_segment_lost() {
    check(|dir| std::fs::remove_file(segment(dir, 1)).expect("removed"), 12);
}

/// Nothing but the index knows of it then.
#[test]
fn the_last_segment_lost_or_cut_off() {
    let lefts = [None, Some(0), Some(4096 + 1000), Some(20_000)];
    for (left, is_tried) in lefts.into_iter().flat_map(|left| [(left, true), (left, false)]) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fill(dir.path());
        let last = (1..).take_while(|number| segment(dir.path(), *number).exists()).last().expect("segments");
        let path = segment(dir.path(), last);
        match left {
            None => std::fs::remove_file(&path).expect("removed"),
            Some(len) => OpenOptions::new().write(true).open(&path).expect("there").set_len(len).expect("cut"),
        }
        if is_tried {
            assert!(matches!(Queue::open(options(dir.path())), Err(QueueError::Damaged { .. })), "{left:?}");
        }
        let mut report = Vec::new();
        let repaired = repair(&options(dir.path()), &mut report).unwrap_or_else(|error| panic!("{left:?}: {error}"));
        let report = String::from_utf8(report).expect("text");
        let kept = contents(dir.path());
        let lost: Vec<_> = repaired.recovery.lost.iter().map(|key| key.id).collect();
        assert!(!lost.is_empty() && kept.len() + lost.len() == MESSAGES, "{left:?}: {report}");
        assert!(repair(&options(dir.path()), &mut Vec::new()).expect("nothing to do").ranges.is_empty(), "{left:?}");
        std::fs::remove_dir_all(dir.path().join("index")).expect("removed");
        assert_eq!(contents(dir.path()), kept, "{left:?}: the journal alone");
        fill(dir.path());
        assert_eq!(contents(dir.path()).len(), kept.len() + MESSAGES, "{left:?}: it goes on");
    }
}

/// A lost sector costs the messages that it was part of, not those that were synced together with them.
#[test]
fn what_the_index_knows_is_saved_from_a_damaged_group() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fill_with(dir.path(), 10);
    // Two messages of 10,400 octets, and the head of one.
    overwrite(&segment(dir.path(), 2), 4096 + 15_000, &[0xff; 9000]);
    let mut report = Vec::new();
    let repaired = repair(&options(dir.path()), &mut report).expect("repaired");
    let report = String::from_utf8(report).expect("text");
    let Recovery { rescued, lost, entries, index_rebuilt, .. } = &repaired.recovery;
    assert_eq!((*rescued, lost.len(), *entries), (8, 2, MESSAGES as u64 - 2), "{report}");
    assert_eq!(index_rebuilt.as_deref(), None);
    assert!(
        report.contains("8 messages there were read all the same") && report.contains("2 entries lost"),
        "{report}"
    );
    assert!(lost.iter().all(|key| report.contains(&format!("{} {}", key.id, key.domain.as_str()))), "{report}");
    let kept = contents(dir.path());
    assert_eq!(kept.len(), MESSAGES - 2);
    let again = repair(&options(dir.path()), &mut Vec::new()).expect("nothing to do");
    assert_eq!((again.ranges.len(), again.recovery.rescued, again.recovery.lost.len()), (0, 0, 0));
    std::fs::remove_dir_all(dir.path().join("index")).expect("removed");
    assert_eq!(contents(dir.path()), kept, "the journal knows them, too");
}

/// What came after the last checkpoint, which only the journal knows: the same.
#[test]
fn what_only_the_journal_knows_is_saved_from_a_damaged_group() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let index = SledIndex { path: dir.path().join("index"), cache_bytes: 1 << 20 };
    let limits = Limits {
        segment_bytes: 512 << 10,
        memtable_entries: 1000,
        memtable_bytes: 1 << 20,
        journal_floor_bytes: 1 << 20,
        prepare_bytes: 0,
        seed: 1,
    };
    let store = Store::open(Arc::new(RealDisk::new(dir.path())), &index, limits).expect("opens").0;
    let commit = |group: Group| store.commit(std::iter::once(&group)).expect("a working disk");
    let mail = |n: u64| {
        let id = store.next_id(0);
        mail::message(id, [format!("u{n}@d{}.example", n % 5)], id.to_string().repeat(800).into_bytes())
    };
    let of_twenty = commit(Group { accepts: (0..20).map(mail).collect(), settles: vec![] }).remove(0);
    // The 10th is delivered, the 11th is to be tried again; of the former nothing is lost with its message.
    let settle = |n: usize, retry| {
        let (key, entry) = of_twenty[n].entries[0].clone();
        let done = if retry { Default::default() } else { entry.open.clone() };
        let retry = retry.then(|| Retry {
            recipients: entry.open,
            due_ms: 9,
            attempts: 1,
            last_error: "later".into(),
            delay_told: false,
        });
        Settle { key, done, retry }
    };
    commit(Group { accepts: vec![], settles: vec![settle(9, false), settle(10, true)] });
    commit(Group { accepts: vec![mail(20)], settles: vec![] });
    drop(store);

    // All of the 10th but its head, the 11th, and the head of the 12th; each is 10,400 octets, and 90 or so before.
    let place = |n: usize| u64::from(of_twenty[n].entries[0].1.location.offset);
    let (from, to) = (place(9) + 500, place(11) + 40);
    overwrite(&segment(dir.path(), 1), from, &vec![0xff; (to - from) as usize]);
    let mut report = Vec::new();
    let repaired = repair(&options(dir.path()), &mut report).expect("repaired");
    let report = String::from_utf8(report).expect("text");
    let ids = |n: usize| of_twenty[n].content.id;
    assert_eq!(repaired.mended, 1, "{report}");
    assert_eq!((repaired.recovery.rescued, repaired.recovery.entries), (17, 18), "{report}");
    assert_eq!(repaired.recovery.index_rebuilt, None);
    assert_eq!(repaired.recovery.lost.iter().map(|key| key.id).collect::<Vec<_>>(), [ids(10)], "{report}");
    // The head of the 12th is damaged, too: nothing is known of it.
    assert_eq!((repaired.lost.len(), repaired.unknown.len()), (0, 1), "{report}");
    for line in [
        "2 intact groups kept, 1 mended, 2 damaged ranges given up",
        "17 messages there were read all the same and kept",
        "1 entry lost because its message was damaged:",
        "what 1 range held cannot be told: messages that are not listed, or outcomes, so that some may be delivered again",
    ] {
        assert!(report.lines().any(|known| known == line), "{line}: {report}");
    }
    let kept = contents(dir.path());
    assert_eq!(kept.len(), 18);
    assert!(!kept.iter().any(|key| [9, 10, 11].map(ids).contains(&key.id)), "{kept:?}");
    assert!(repair(&options(dir.path()), &mut Vec::new()).expect("nothing to do").ranges.is_empty());
    std::fs::remove_dir_all(dir.path().join("index")).expect("removed");
    assert_eq!(contents(dir.path()), kept, "the journal alone");
}

/// The second damaged segment cannot be copied; then it is as it was, as if it had never been damaged.
#[test]
fn what_an_interrupted_repair_did_not_come_to_the_next_one_does() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fill(dir.path());
    let third = std::fs::read(segment(dir.path(), 3)).expect("read");
    for number in [2, 3] {
        overwrite(&segment(dir.path(), number), 4096 * 5 + 100, b"?");
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs();
    let aside = |time: u64| dir.path().join(format!("damaged-{time}"));
    (now..now + 60).for_each(|time| {
        let in_its_way = aside(time).join("0000000003.seg");
        std::fs::create_dir_all(in_its_way).expect("made");
    });
    let error = repair(&options(dir.path()), &mut Vec::new()).expect_err("it cannot go on");
    assert!(error.to_string().contains("0000000003.seg"), "{error}");
    (now..now + 60).for_each(|time| std::fs::remove_dir_all(aside(time)).expect("removed"));
    std::fs::write(segment(dir.path(), 3), third).expect("written");
    let repaired = repair(&options(dir.path()), &mut Vec::new()).expect("repaired");
    assert_eq!((repaired.ranges.len(), repaired.recovery.lost.len()), (0, 1));
    assert_eq!(contents(dir.path()).len(), MESSAGES - 1);
}

#[test]
fn damage_in_the_last_segment_is_seen_although_the_index_is_whole() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fill(dir.path());
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(dir.path().join("journal")).expect("listed").map(|e| e.expect("read").path()).collect();
    names.retain(|path| path.extension().is_some_and(|e| e == "seg"));
    overwrite(names.iter().max().expect("segments"), 4096 + 300, b"?");
    assert!(matches!(Queue::open(options(dir.path())), Err(QueueError::Damaged { .. })));
    let before = repair(&options(dir.path()), &mut Vec::new()).expect("repaired").recovery;
    assert!(before.entries as usize >= MESSAGES - 1);
    assert_eq!(contents(dir.path()).len() as u64, before.entries);
}

/// `harm` to a journal of which the index knows more: nothing may be missed in silence, and what was lost is named.
fn check_lost<T>(harm: impl Fn(&Path, u64) -> T) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fill(dir.path());
    let all = contents(dir.path());
    let names = std::fs::read_dir(dir.path().join("journal")).expect("listed").filter_map(Result::ok);
    let names = names.filter_map(|e| e.file_name().to_str()?.strip_suffix(".seg")?.parse().ok());
    harm(dir.path(), names.max().expect("segments"));
    let Err(error) = Queue::open(options(dir.path())) else { panic!("opened a journal of which something is lost") };
    assert!(matches!(error, QueueError::Damaged { .. }), "{error}");

    let mut report = Vec::new();
    let repaired = repair(&options(dir.path()), &mut report).expect("repaired");
    let report = String::from_utf8(report).expect("text");
    let lost = &repaired.recovery.lost;
    assert!(!lost.is_empty() && !repaired.ranges.is_empty(), "{report}");
    assert!(lost.iter().all(|key| report.contains(&format!("{} {}", key.id, key.domain.as_str()))), "{report}");
    let kept = contents(dir.path());
    let mut found: Vec<EntryKey> = kept.iter().chain(lost).cloned().collect();
    found.sort();
    assert_eq!(found, all, "{report}");

    let again = repair(&options(dir.path()), &mut Vec::new()).expect("nothing to do");
    assert_eq!((again.ranges.len(), again.recovery.lost.len()), (0, 0), "{again:?}");
    std::fs::remove_dir_all(dir.path().join("index")).expect("removed");
    assert_eq!(contents(dir.path()), kept, "the journal knows, too");
}

#[test]
fn the_last_segment_lost() {
    check_lost(|dir, last| std::fs::remove_file(segment(dir, last)).expect("removed"));
}

#[test]
fn the_first_segments_lost_and_the_index_knows_them() {
    check_lost(|dir, _| std::fs::remove_file(segment(dir, 1)).expect("removed"));
    check_lost(|dir, _| [1, 2].map(|number| std::fs::remove_file(segment(dir, number)).expect("removed")));
}

/// Nobody knows how long the first of them was.
#[test]
fn two_segments_lost_in_the_middle() {
    check_lost(|dir, _| [2, 3].map(|number| std::fs::remove_file(segment(dir, number)).expect("removed")));
}

#[test]
fn the_last_two_segments_lost() {
    check_lost(|dir, last| [last - 1, last].map(|number| std::fs::remove_file(segment(dir, number)).expect("removed")));
}

#[test]
fn the_last_segment_cut_short() {
    check_lost(|dir, last| {
        let file = OpenOptions::new().write(true).open(segment(dir, last)).expect("there");
        file.set_len(3 * 4096 + 100).expect("cut");
    });
}

#[test]
fn the_last_segment_without_an_octet() {
    check_lost(|dir, last| std::fs::write(segment(dir, last), "").expect("written"));
}

#[test]
fn the_whole_journal_lost() {
    check_lost(|dir, last| (1..=last).for_each(|number| std::fs::remove_file(segment(dir, number)).expect("removed")));
}
