//! A disk that is full or broken: no `Ok` that is not durable, nothing half-written, and life after it where there can be.

mod mail;

use posthaste_queue as queue;
use queue::checkpoint::Checkpoint;
use queue::disk::{Disk, MemoryDisk};
use queue::index::{Index, MemoryIndex};
use queue::{EntryKey, Envelope, Group, Limits, QueueError, Recovery, Retry, Settle, Store};
use std::io::ErrorKind;
use std::ops::Bound;
use std::sync::Arc;

/// Segments that are written ahead when there is nothing else to do.
const PREPARED: u64 = 5;

fn open(disk: &MemoryDisk, index: &MemoryIndex) -> Store {
    open_and_tell(disk, index).0
}

fn open_and_tell(disk: &MemoryDisk, index: &MemoryIndex) -> (Store, Recovery) {
    let limits = Limits {
        segment_bytes: 64 << 10,
        memtable_entries: 100,
        memtable_bytes: 1 << 20,
        journal_floor_bytes: 1 << 20,
        prepare_bytes: PREPARED << 16,
        seed: 1,
    };
    Store::open(Arc::new(disk.clone()), index, limits).unwrap_or_else(|error| panic!("it cannot be opened: {error}"))
}

fn group(store: &Store, to: usize, body: usize) -> Group {
    let message = mail::message(store.next_id(0), vec!["a@x.example"; to], vec![b'x'; body]);
    Group { accepts: vec![message], settles: vec![] }
}

fn commit(store: &Store, group: &Group) -> Result<(), QueueError> {
    store.commit(std::iter::once(group)).map(|_| ())
}

/// Everything that is there leaves the queue.
fn settle_all(store: &Store) -> Group {
    let entries = store.list(None, usize::MAX).expect("read");
    let settles = entries.into_iter().map(|(key, entry)| Settle { key, done: entry.open, retry: None });
    Group { accepts: vec![], settles: settles.collect() }
}

#[test]
fn a_full_disk_refuses_messages_keeps_what_it_has_and_recovers_when_there_is_room() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    disk.set_capacity(Some(220 << 10));
    let mut accepted = 0;
    let error = loop {
        match commit(&store, &group(&store, 1, 10_000)) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, QueueError::Io { source, .. } if source.kind() == ErrorKind::StorageFull), "{error}");
    assert!(accepted > 5);
    assert_eq!(store.stats().entries, accepted);
    assert_eq!(disk.content("journal/0000000003.seg"), None, "nothing half-made");
    // The image of now is a good queue with just those.
    let copy = disk.crash(&mut || 1);
    assert_eq!(open(&copy, &MemoryIndex::new()).stats().entries, accepted);
    disk.set_capacity(None);
    commit(&store, &group(&store, 1, 10_000)).expect("room again");
    store.checkpoint().expect("written");
    assert_eq!(store.stats().entries, accepted + 1);
}

#[test]
fn on_a_full_disk_every_outcome_is_written_and_what_it_frees_is_used_for_mail_again() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let mut store = open(&disk, &index);
    disk.set_capacity(Some(650 << 10));
    let fill = |store: &Store| {
        let mut accepted = 0;
        while commit(store, &group(store, 1, 13_000)).is_ok() {
            accepted += 1;
        }
        accepted
    };
    assert!(fill(&store) >= 24);
    for round in 0..3 {
        // A group each, and twice: as much room as they can take.
        for (n, settle) in settle_all(&store).settles.into_iter().enumerate() {
            let entries = store.stats().entries;
            let (key, done) = (settle.key.clone(), settle.done.clone());
            let later = Retry {
                recipients: done,
                due_ms: 50 + n as u64,
                attempts: 1,
                delay_told: false,
                last_error: "later".into(),
            };
            let postponed = Settle { done: [].into_iter().collect(), retry: Some(later), ..settle.clone() };
            match n % 4 {
                0 => drop(store.checkpoint().expect("there is always room for it")),
                // Nothing but the reserve may be left, and the power may go.
                3 if round == 1 => {
                    drop(store);
                    store = open(&disk, &index);
                }
                _ => {}
            }
            commit(&store, &Group { accepts: vec![], settles: vec![postponed] }).expect("a retry is written");
            assert_eq!(store.stats().entries, entries);
            let key = EntryKey { due_ms: 50 + n as u64, ..key };
            let delivered = Settle { key, retry: None, ..settle };
            commit(&store, &Group { accepts: vec![], settles: vec![delivered] }).expect("an outcome is written");
            assert_eq!(store.stats().entries, entries - 1);
        }
        let found = open(&disk.crash(&mut || 1), &MemoryIndex::new()).stats().entries;
        assert_eq!((store.stats().entries, found), (0, 0));
        store.checkpoint().expect("written");
        assert!(fill(&store) >= 21, "round {round}");
    }
}

fn names(disk: &MemoryDisk, kind: &str) -> Vec<String> {
    let names = disk.list("journal").expect("listed");
    names.into_iter().filter(|name| name.contains(kind)).collect()
}

/// So many segments lie on blocks that were written before.
fn over_written(disk: &MemoryDisk) -> usize {
    let names = names(disk, ".seg").into_iter();
    let flags = names.filter_map(|name| Some(disk.content(&format!("journal/{name}"))?[32]));
    flags.filter(|flag| *flag == 1).count()
}

#[test]
fn quiet_moments_write_ahead_what_is_wanted_and_the_disk_can_spare() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let mut store = open(&disk, &index);
    while store.prepare_spare(true).expect("room") {}
    assert_eq!((names(&disk, "spare-").len(), names(&disk, "blank-").len()), (PREPARED as usize, 0));
    // Once is enough, also over a restart.
    let (syncs, bytes) = (store.stats().syncs, store.stats().journal_bytes);
    assert!(!store.prepare_spare(true).expect("room"));
    assert_eq!(store.stats().syncs, syncs);
    store = open(&disk, &index);
    assert!(!store.prepare_spare(true).expect("room"));
    assert_eq!(store.stats().journal_bytes, bytes);
    (0..25).for_each(|_| commit(&store, &group(&store, 1, 10_000)).expect("room"));
    assert!(over_written(&disk) as u64 >= PREPARED - 1, "{:?}", names(&disk, ""));
    // What mail took is not replaced while mail comes.
    while store.prepare_spare(false).expect("room") {}
    assert!(names(&disk, "spare-").len() < 2);

    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    disk.set_capacity(Some(18 << 16));
    let store = open(&disk, &index);
    while store.prepare_spare(true).expect("room") {}
    assert_eq!(names(&disk, "spare-").len(), 2, "a small disk is for others");
}

#[test]
fn the_next_rush_writes_over_what_the_last_one_wrote_until_the_disk_gets_full() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    // About ten segments of mail, which then leave the queue.
    let rush = |store: &Store| {
        (0..50).for_each(|_| commit(store, &group(store, 1, 10_000)).expect("room"));
        let over_written = over_written(&disk);
        commit(store, &settle_all(store)).expect("written");
        while store.checkpoint().expect("written") {}
        while store.prepare_spare(false).expect("room") {}
        over_written
    };
    let mut store = open(&disk, &index);
    assert_eq!(rush(&store), 0);
    let bytes = store.stats().journal_bytes;
    let kept = names(&disk, "spare-").len();
    assert!(kept >= 7, "{kept}");
    // Again, and after a restart.
    for _ in 0..2 {
        assert!(rush(&store) >= kept);
        assert!(store.stats().journal_bytes <= bytes + (64 << 10), "one segment was left before its end");
        drop(store);
        store = open(&disk, &index);
    }
    // Others fill the disk: they get what is kept, but for the reserve and one more.
    disk.set_capacity(Some(bytes + (100 << 10)));
    while store.prepare_spare(false).expect("room") {}
    assert!((3..kept).contains(&names(&disk, "spare-").len()), "until there is enough: {:?}", names(&disk, "spare-"));
    disk.set_capacity(Some(bytes / 2));
    while store.prepare_spare(false).expect("room") {}
    assert_eq!(names(&disk, "spare-").len(), 2);
    assert!(store.stats().journal_bytes < bytes / 3);
}

/// Ten messages that the index knows and five that it does not, when it breaks.
fn broken(change: impl FnOnce(&MemoryIndex)) -> (MemoryDisk, MemoryIndex, Store) {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    (0..10).for_each(|_| commit(&store, &group(&store, 2, 100)).expect("room"));
    store.checkpoint().expect("written");
    (0..5).for_each(|_| commit(&store, &group(&store, 2, 100)).expect("room"));
    change(&index);
    index.break_down();
    (disk, index, store)
}

#[test]
fn an_index_that_broke_is_opened_again_by_the_next_checkpoint() {
    // It breaks while it is written: half of that is lost.
    let (disk, index, store) = broken(|index| index.fail(true));
    store.checkpoint().expect_err("it fails");
    let settled = settle_all(&open(&disk.crash(&mut || 1), &MemoryIndex::new()));
    let error = commit(&store, &settled).expect_err("the index is asked");
    assert!(matches!(error, QueueError::Stalled(_)), "{error}");
    index.fail(false);
    assert!(store.checkpoint().expect("opened again"));
    assert_eq!(store.list(None, usize::MAX).expect("read").len(), 15);
    commit(&store, &settled).expect("written");
    store.checkpoint().expect("written");
    assert_eq!((store.stats().entries, index.count().expect("read")), (0, 0));
}

#[test]
fn an_index_that_lost_what_was_synced_is_not_believed_and_rebuilt_at_the_next_start() {
    let lose_an_entry = |index: &MemoryIndex| {
        let (key, _) = index.range(Bound::Unbounded, Bound::Unbounded, 1).expect("read").remove(0);
        index.apply(&mut [(&key, None)].into_iter()).and_then(|()| index.sync()).expect("written");
    };
    let lose_a_checkpoint = |index: &MemoryIndex| {
        index.set_checkpoint(&Checkpoint::default()).and_then(|()| index.sync()).expect("written");
    };
    for (lose, why) in [
        (&lose_an_entry as &dyn Fn(&MemoryIndex), "holds 14 entries instead of 15"),
        (&lose_a_checkpoint, "at checkpoint 0 instead of 1"),
    ] {
        let (disk, index, store) = broken(lose);
        for _ in 0..2 {
            let error = store.checkpoint().expect_err("it is not what was written").to_string();
            assert!(error.contains(why) && error.contains("restart"), "{error}");
        }
        let error = store.list(None, 1).expect_err("nothing is to be had from it");
        assert!(matches!(&error, QueueError::Index(index) if index.to_string().contains(why)), "{error}");
        drop(store);
        assert_eq!(open(&disk, &index).list(None, usize::MAX).expect("rebuilt").len(), 15);
    }
}

/// Ten messages that the index knows and five that it does not, or all, when the process ends; and something becomes of it.
fn reopened(is_clean: bool, change: impl FnOnce(&MemoryIndex)) -> (usize, Option<String>) {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    (0..10).for_each(|_| commit(&store, &group(&store, 2, 100)).expect("room"));
    store.checkpoint().expect("written");
    (0..5).for_each(|_| commit(&store, &group(&store, 2, 100)).expect("room"));
    if is_clean {
        store.checkpoint().expect("written");
    }
    drop(store);
    change(&index);
    let (store, recovery) = open_and_tell(&disk, &index);
    index.fail(false);
    (store.list(None, usize::MAX).expect("read").len(), recovery.index_rebuilt)
}

#[test]
fn what_the_index_loses_while_nothing_runs_is_missed_at_the_next_start() {
    let lose_an_entry = |index: &MemoryIndex| {
        let (key, _) = index.range(Bound::Unbounded, Bound::Unbounded, 1).expect("read").remove(0);
        index.apply(&mut [(&key, None)].into_iter()).and_then(|()| index.sync()).expect("written");
    };
    for is_clean in [true, false] {
        let (found, why) = reopened(is_clean, lose_an_entry);
        assert_eq!((found, why.as_deref()), (15, Some("it holds 14 entries instead of 15")), "clean: {is_clean}");
    }
}

/// A domain's mail would not be found for ever.
#[test]
fn an_index_that_could_not_be_read_is_rebuilt_at_the_next_start() {
    let (found, why) = reopened(true, |_| ());
    assert_eq!((found, why), (15, None));
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    commit(&store, &group(&store, 2, 100)).expect("room");
    store.checkpoint().expect("written");
    index.fail(true);
    let error = store.list(None, 1).expect_err("told to fail").to_string();
    assert!(error.contains("restart"), "{error}");
    index.fail(false);
    drop(store);
    let (store, recovery) = open_and_tell(&disk, &index);
    assert_eq!(recovery.index_rebuilt.as_deref(), Some("told to fail"));
    assert_eq!(store.list(None, usize::MAX).expect("read").len(), 1);
    drop(store);
    assert_eq!(open_and_tell(&disk, &index).1.index_rebuilt, None);
}

/// With one group in it, a segment without a header looks like one whose first write did not get through.
#[test]
fn the_only_group_of_a_segment_that_lost_its_header_is_not_lost() {
    for segments in [1, 2] {
        let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
        let store = open(&disk, &index);
        let last = format!("journal/{segments:010}.seg");
        let mut messages = 0;
        while messages == 0 || disk.content(&last).is_none() {
            commit(&store, &group(&store, 2, 3000)).expect("room");
            messages += 1;
        }
        drop(store);
        disk.damage(&last, |octets| octets[..4096].fill(0));
        for index in [&index, &MemoryIndex::new()] {
            let store = open(&disk, index);
            assert_eq!(store.list(None, usize::MAX).expect("read").len(), messages, "{segments} segments");
            commit(&store, &group(&store, 2, 3000)).expect("it goes on");
            messages += 1;
        }
    }
}

#[test]
fn an_index_that_breaks_at_a_start_is_rebuilt() {
    let mut broke = 0;
    for operations in 1..12 {
        let (found, why) = reopened(false, |index| index.break_after(operations, 0));
        assert_eq!(found, 15);
        broke += usize::from(why.is_some_and(|why| why.contains("told to fail")));
    }
    assert!(broke > 4, "at {broke} of its operations");
}

#[test]
fn mail_never_takes_the_reserve_and_a_notice_goes_with_its_outcome() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    disk.set_capacity(Some(130 << 10));
    while commit(&store, &group(&store, 1, 10_000)).is_ok() {}
    while commit(&store, &group(&store, 1, 100)).is_ok() {}
    let mut both = settle_all(&store);
    both.accepts = group(&store, 1, 10_000).accepts;
    let mail = group(&store, 1, 100);
    let refused = store.commit([&mail, &both].into_iter());
    assert!(matches!(refused, Err(QueueError::Io { .. })), "mail is in the way");
    commit(&store, &both).expect("the reserve is for this");
    assert_eq!(store.stats().entries, 1);
    assert!(matches!(commit(&store, &mail), Err(QueueError::Io { .. })), "there is no reserve now");
    store.checkpoint().expect("written");
    commit(&store, &mail).expect("a segment was freed, and is the reserve");
    assert_eq!(open(&disk.crash(&mut || 1), &MemoryIndex::new()).stats().entries, 2);
}

#[test]
fn a_queue_on_a_disk_without_a_free_page_can_be_opened_and_emptied_later() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    disk.set_capacity(Some(130 << 10));
    let mut accepted = 0;
    for body in [10_000, 100] {
        while commit(&store, &group(&store, 1, body)).is_ok() {
            accepted += 1;
        }
    }
    for index in [index, MemoryIndex::new()] {
        let copy = disk.crash(&mut || 1);
        copy.set_capacity(Some(0));
        let store = open(&copy, &index);
        assert_eq!(store.stats().entries, accepted);
        assert!(matches!(store.checkpoint(), Err(QueueError::Io { .. })), "there is not a page left");
        copy.set_capacity(None);
        commit(&store, &settle_all(&store)).expect("room again");
        assert!(store.checkpoint().expect("written"));
        drop(store);
        assert_eq!(open(&copy, &index).stats().entries, 0);
    }
}

#[test]
fn what_comes_and_goes_between_two_checkpoints_takes_no_room() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    for _ in 0..150 {
        commit(&store, &group(&store, 1, 100)).expect("committed");
        commit(&store, &settle_all(&store)).expect("committed");
    }
    assert!(!store.is_checkpoint_due(), "nothing is left to be written");
    store.checkpoint().expect("written");
    commit(&store, &group(&store, 1, 100)).expect("committed");
    store.checkpoint().expect("written");
    commit(&store, &settle_all(&store)).expect("committed");
    assert_eq!(store.stats().entries, 0, "what the index holds is hidden");
    store.checkpoint().expect("written");
    assert_eq!(open(&disk.crash(&mut || 1), &index).stats().entries, 0);
}

#[test]
fn a_message_that_cannot_be_read_keeps_the_journal_only_until_it_has_left_the_queue() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    let rush = || {
        for _ in 0..10 {
            (0..20).for_each(|_| commit(&store, &group(&store, 1, 10_000)).expect("room"));
            let mut settled = settle_all(&store);
            settled.settles.retain(|settle| settle.key.domain.as_str() != "old.example");
            commit(&store, &settled).expect("written");
            store.checkpoint().expect("written");
            store.relocate().expect("what can be read goes on");
        }
        store.checkpoint().expect("written");
    };
    let old: Vec<_> = ["a@old.example", "b@old.example", "c@old.example"]
        .map(|to| {
            let message = mail::message(store.next_id(0), vec![to], vec![b'x'; 3000]);
            store
                .commit(std::iter::once(&Group { accepts: vec![message], settles: vec![] }))
                .expect("room")
                .remove(0)
                .remove(0)
        })
        .into();
    let location = |n: usize| store.find(old[n].content.id).expect("read")[0].1.location;
    let damaged = location(1);
    disk.damage("journal/0000000001.seg", |octets| octets[damaged.offset as usize + 2000] ^= 1);
    rush();
    assert_eq!(location(1), damaged);
    for n in [0, 2] {
        let (now, id) = (location(n), old[n].content.id);
        assert!(now.segment > 1, "moved past the one in between");
        assert_eq!(store.load(id, now).expect("read").body.to_bytes(), old[n].content.body.to_bytes());
    }
    store.load(old[1].content.id, damaged).expect_err("it is damaged");
    let moved = store.stats().moved;
    assert_eq!((store.relocate().expect("nothing to do"), store.stats().moved), (0, moved));
    let kept = store.stats().journal_bytes;
    assert!(kept > 2 << 20, "{kept}");
    let (key, entry) = store.find(old[1].content.id).expect("read").remove(0);
    let settles = vec![Settle { key, done: entry.open, retry: None }];
    commit(&store, &Group { accepts: vec![], settles }).expect("it has expired");
    rush();
    assert!(store.stats().journal_bytes < 3 << 19, "{:?}", store.stats());
}

#[test]
fn a_write_without_room_concerns_only_what_was_to_be_written() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    for round in 1..20 {
        // The first of all, too, which takes the segment's header along.
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            disk.fail_writes(Some(kind));
            let error = commit(&store, &group(&store, 1, 9000)).expect_err("it fails");
            assert!(error.is_full(), "{error}");
            assert!(commit(&store, &settle_all(&store)).is_ok() == (round == 1), "outcomes wait, too");
            disk.fail_writes(None);
        }
        assert_eq!(store.stats().entries, round - 1);
        let found = open(&disk.crash(&mut || 1), &MemoryIndex::new()).stats().entries;
        assert_eq!(found, round - 1, "what was refused does not come back");
        commit(&store, &group(&store, 1, 5000)).expect("written over what was left");
        if round % 5 == 0 {
            disk.fail_writes(Some(ErrorKind::StorageFull));
            store.checkpoint().expect_err("it fails");
            disk.fail_writes(None);
            store.checkpoint().expect("written");
        }
    }
    drop(store);
    let store = open(&disk.crash(&mut || 1), &index);
    assert_eq!((store.stats().entries, store.list(None, usize::MAX).expect("read").len()), (19, 19));
}

#[test]
fn a_failed_write_or_sync_is_final() {
    type Break = fn(&MemoryDisk, Option<ErrorKind>);
    let breaks: [Break; 2] = [MemoryDisk::fail_writes, MemoryDisk::fail_syncs];
    for break_it in breaks {
        let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
        let store = open(&disk, &index);
        commit(&store, &group(&store, 1, 100)).expect("a working disk");
        break_it(&disk, Some(ErrorKind::Other));
        assert!(matches!(commit(&store, &group(&store, 1, 100)), Err(QueueError::Failed(_))));
        break_it(&disk, None);
        assert!(matches!(commit(&store, &group(&store, 1, 100)), Err(QueueError::Failed(_))), "no second chance");
        assert!(matches!(store.checkpoint(), Err(QueueError::Failed(_))));
        assert_eq!((store.stats().entries, store.list(None, 9).expect("read").len()), (1, 1));
        drop(store);
        let entries = open(&disk.crash(&mut || 1), &index).stats().entries;
        assert!((1..=2).contains(&entries), "{entries}");
    }
}

#[test]
fn a_failing_index_holds_nothing_up_and_is_rebuilt() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    index.fail(true);
    for _ in 0..100 {
        commit(&store, &group(&store, 1, 100)).expect("the journal works");
    }
    assert!(store.is_memtable_full());
    assert!(matches!(store.checkpoint(), Err(QueueError::Index(_))));
    commit(&store, &group(&store, 1, 100)).expect("past the bound it is the committer who waits");
    index.fail(false);
    assert!(store.checkpoint().expect("a second attempt") && store.checkpoint().expect("the rest"));
    assert!(!store.is_memtable_full());
    assert_eq!(store.list(None, usize::MAX).expect("read").len(), 101);

    // A settle of what only the index knows cannot be worked out: refused, and noted for the next start.
    let settles = settle_all(&store);
    index.fail(true);
    assert!(matches!(commit(&store, &settles), Err(QueueError::Index(_))));
    index.fail(false);
    drop(store);
    let limits = Limits {
        segment_bytes: 64 << 10,
        memtable_entries: 30,
        memtable_bytes: 1 << 20,
        journal_floor_bytes: 1 << 20,
        prepare_bytes: 0,
        seed: 2,
    };
    let (store, recovery) = Store::open(Arc::new(disk), &index, limits).expect("opens");
    assert!(recovery.index_rebuilt.is_some());
    assert_eq!(store.stats().entries, 101);
    commit(&store, &settles).expect("an index again");
    assert_eq!(store.stats().entries, 0);
}

#[test]
fn what_no_index_value_or_location_can_hold_is_refused() {
    let (disk, index) = (MemoryDisk::new(), MemoryIndex::new());
    let store = open(&disk, &index);
    commit(&store, &group(&store, Envelope::MAX_RECIPIENTS, 10)).expect("just so");
    let error = commit(&store, &group(&store, Envelope::MAX_RECIPIENTS + 1, 10)).expect_err("one too many");
    assert_eq!(error.to_string(), "the queue takes at most 6000 recipients of a message");
    // Larger than a segment: it gets one of its own.
    commit(&store, &group(&store, 1, 300_000)).expect("any size");
    assert_eq!(open(&disk.crash(&mut || 1), &MemoryIndex::new()).stats().recipients, 6001);
}
