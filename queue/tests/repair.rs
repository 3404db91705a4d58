//! A damaged journal: the queue refuses to start, `repair` saves what can be saved.

mod mail;

use posthaste_queue as queue;
use queue::{EntryKey, Group, Options, Queue, QueueError, Recovery, repair};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
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
