//! What a crash or a bad disk does to the journal: a torn tail is cut; damage before it stops the start with words that
//! say what to do, and `queue::repair` saves the rest; a lost index is made anew.

use crate::world::World;
use std::fs;
use std::path::{Path, PathBuf};

const MESSAGES: usize = 20;

/// A world whose engine has [`MESSAGES`] queued and was stopped as by a crash: its queue is as it was in the middle of work.
fn crashed() -> World {
    let mut world = World::plan().config("[limits]\nsuspend = true\n").start();
    for n in 0..MESSAGES {
        let body = format!("Subject: x\r\n\r\n{}\r\n", marker(n));
        world.inject(crate::world::SENDER, &[&format!("u{n}@d.test")], &body);
    }
    let (queue, image) = (world.data_dir().join("queue"), world.dir().join("image"));
    copy(&queue, &image);
    world.stop_engine();
    fs::remove_dir_all(&queue).expect("it was there");
    fs::rename(&image, &queue).expect("one file system");
    world
}

/// Stands in the body of the n-th message and nowhere else.
fn marker(n: usize) -> String {
    format!("the-body-of-message-{n:03}")
}

/// By name: the index before the journal, which may go on meanwhile. The other way round the index would know more.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new directory");
    let mut entries: Vec<_> = fs::read_dir(from).expect("a directory").map(|entry| entry.expect("readable")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("room for a copy")),
        }
    }
}

/// The last segment of the journal.
fn segment(world: &World) -> PathBuf {
    let journal = world.data_dir().join("queue/journal");
    let files = fs::read_dir(journal).expect("a journal").map(|entry| entry.expect("a file").path());
    let segments = files.filter(|file| file.extension().is_some_and(|extension| extension == "seg"));
    segments.max().expect("a segment")
}

/// Lets everything go and counts what arrives.
fn check_all_but(mut world: World, lost: &[usize]) {
    let queued = MESSAGES - lost.len();
    assert_eq!(world.stats().recipients, queued as u64);
    world.reload("suspend = true", "suspend = false");
    world.expect_empty();
    for n in 0..MESSAGES {
        let copies = usize::from(!lost.contains(&n));
        assert_eq!(world.copies(&format!("u{n}@d.test")), copies, "message {n}");
    }
    if lost.is_empty() {
        world.finish();
    }
}

#[test]
fn nothing_acknowledged_is_missing_after_a_crash() {
    let mut world = crashed();
    world.start_engine();
    check_all_but(world, &[]);
}

#[test]
fn a_torn_tail_is_cut() {
    for torn in [&b"\xff\xff\xff\xff\xff\xff\xff\xffgarbage"[..], &[0x5a; 10_000]] {
        let mut world = crashed();
        let path = segment(&world);
        let mut octets = fs::read(&path).expect("a segment");
        let used = octets.iter().rposition(|octet| *octet != 0).expect("not empty") + 1;
        let end = used.next_multiple_of(4096);
        octets.resize(octets.len().max(end + torn.len()), 0);
        octets[end..end + torn.len()].copy_from_slice(torn);
        fs::write(&path, octets).expect("a writable segment");
        world.start_engine();
        check_all_but(world, &[]);
    }
}

#[test]
fn a_damaged_middle_stops_the_start_and_repair_saves_the_rest() {
    let mut world = crashed();
    let path = segment(&world);
    let mut octets = fs::read(&path).expect("a segment");
    let mark = marker(7).into_bytes();
    let at = octets.windows(mark.len()).position(|window| window == mark).expect("its body");
    octets[at] ^= 0x20;
    fs::write(&path, octets).expect("a writable segment");
    let Err(error) = world.try_start_engine() else { panic!("started with a damaged journal") };
    let text = error.to_string();
    assert!(text.contains("the journal is damaged") && text.contains("posthaste queue repair"), "{text}");
    assert!(text.contains(&*path.file_name().expect("a name").to_string_lossy()), "{text}");
    let mut report = Vec::new();
    let repaired = queue::repair(&queue::Options::new(world.data_dir().join("queue")), &mut report);
    assert_eq!(repaired.expect("a repair").ranges.len(), 1, "{}", String::from_utf8_lossy(&report));
    world.start_engine();
    check_all_but(world, &[7]);
}

#[test]
fn a_lost_index_is_made_anew() {
    for whole in [true, false] {
        let mut world = crashed();
        let index = world.data_dir().join("queue/index");
        match whole {
            true => fs::remove_dir_all(&index).expect("an index"),
            false => fs::write(index.join("db"), "no database").expect("an index"),
        }
        world.start_engine();
        check_all_but(world, &[]);
    }
}
