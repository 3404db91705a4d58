//! The queue with its threads, on a real directory.

use posthaste_queue as queue;
use queue::{
    Committed, Content, Domain, Due, EntryKey, Envelope, Flow, Group, MailParameters, MessageId, NewMessage, Options,
    Queue, QueueError, Recipient, Recovery, Retry, Settle,
};
use smtp::{Body, Mailbox, ReversePath};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).expect("an address")
}

fn content(id: MessageId, to: &[&str], body: &str) -> Arc<Content> {
    let envelope = Envelope {
        reverse_path: ReversePath(Some(mailbox("from@sender.example"))),
        recipients: to.iter().map(|text| Recipient::new(mailbox(text))).collect(),
        accepted_us: id.0 >> 20,
        parameters: MailParameters::default(),
        tenant: Some("t".into()),
        campaign: None,
    };
    Arc::new(Content { id, envelope, body: Body::new(body.as_bytes().to_vec()) })
}

fn options(dir: &Path) -> Options {
    Options { segment_bytes: 1 << 20, ..Options::new(dir) }
}

fn submit(queue: &Queue, group: Group) -> Result<Vec<Committed>, Arc<QueueError>> {
    let (answer, answered) = mpsc::channel();
    queue.submit(group, Box::new(move |result| _ = answer.send(result)));
    answered.recv().expect("every submission is answered")
}

fn accept(queue: &Queue, to: &[&str], body: &str) -> Committed {
    let message = NewMessage::new(content(queue.next_id(), to, body), 1000);
    let mut committed = submit(queue, Group { accepts: vec![message], settles: vec![] }).expect("a working disk");
    committed.pop().expect("one message")
}

fn settle(queue: &Queue, settle: Settle) {
    submit(queue, Group { accepts: vec![], settles: vec![settle] }).expect("a working disk");
}

#[test]
fn a_new_queue_is_for_its_user_alone_and_one_that_is_there_stays_as_it_is() {
    let data_dir = tempfile::tempdir().expect("a temporary directory");
    let dir = data_dir.path().join("new/queue");
    let mode = || dir.metadata().expect("it is there").permissions().mode() & 0o777;
    drop(Queue::open(options(&dir)).expect("opens"));
    assert_eq!(mode(), 0o700);
    std::fs::set_permissions(&dir, Permissions::from_mode(0o750)).expect("set");
    drop(Queue::open(options(&dir)).expect("opens"));
    assert_eq!(mode(), 0o750);
}

#[test]
fn a_new_queue_is_prepared_before_its_first_mail() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let undisturbed = Duration::from_secs(3600);
    let options = Options { prepare_bytes: 4 << 20, checkpoint_interval: undisturbed, ..options(dir.path()) };
    let count = |kind: &str| {
        let names =
            std::fs::read_dir(dir.path().join("journal")).expect("a journal").map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(kind)).count()
    };
    let (queue, _) = Queue::open(options.clone()).expect("opens");
    // All four, unless the disk is very slow.
    let prepared = count("spare-");
    assert!((1..=4).contains(&prepared), "{prepared}");
    accept(&queue, &["a@x.example"], "one\r\n");
    accept(&queue, &["a@x.example"], "two\r\n");
    assert_eq!(count("spare-"), prepared - 1, "the second goes over written blocks");
    queue.close().expect("closes");
    let (_, recovery) = Queue::open(options).expect("opens");
    assert!(!recovery.created);
}

#[test]
fn a_message_from_acceptance_over_restarts_to_its_end() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (queue, recovery) = Queue::open(options(dir.path())).expect("opens");
    assert_eq!(recovery, Recovery { created: true, ..Default::default() });
    let first = accept(&queue, &["a@x.example", "b@Y.example", "c@x.example"], "Subject: one\r\n\r\nbody\r\n");
    let second = accept(&queue, &["d@y.example"], "two\r\n");
    assert_eq!(first.entries.len(), 2);
    assert_eq!(first.entries[0].0.domain.as_str(), "x.example");
    assert_eq!(first.entries[0].1.open, [0, 2].into_iter().collect());
    assert!(second.content.id > first.content.id);
    let stats = queue.stats();
    assert_eq!((stats.entries, stats.recipients, stats.messages), (3, 4, 2));
    queue.close().expect("closes");

    let (queue, recovery) = Queue::open(options(dir.path())).expect("opens again");
    assert_eq!(recovery.index_rebuilt, None);
    assert_eq!((recovery.entries, recovery.recipients, recovery.replayed_groups), (3, 4, 0));
    let flow = Flow::of(&first.content.envelope);
    let expected = ["x.example", "y.example"].map(|domain| (Domain::new(domain), flow, 1000));
    assert_eq!(queue.backlog().expect("read"), expected);
    let (key, entry) = first.entries[0].clone();
    let retry = Retry {
        recipients: [2].into_iter().collect(),
        due_ms: 5000,
        attempts: 1,
        last_error: "450 later".into(),
        delay_told: false,
    };
    settle(&queue, Settle { key: key.clone(), done: [0].into_iter().collect(), retry: Some(retry) });
    let (answer, answered) = mpsc::channel();
    queue.fetch(key.domain.clone(), key.flow, 5000, 10, Box::new(move |r| _ = answer.send(r)));
    let Due { entries, more, next_due_ms } = answered.recv().expect("answered").expect("read");
    assert!(!more && next_due_ms.is_none() && entries.len() == 1 && entries[0].0.due_ms == 5000);
    assert_eq!((entries[0].1.attempts, &*entries[0].1.last_error), (1, "450 later"));
    let (answer, answered) = mpsc::channel();
    queue.load(key.id, entry.location, Box::new(move |r| _ = answer.send(r)));
    let loaded = answered.recv().expect("answered").expect("read");
    assert_eq!(loaded.envelope, first.content.envelope);
    assert_eq!(loaded.body.to_bytes(), first.content.body.to_bytes());
    assert_eq!(loaded.body.facts(), first.content.body.facts());
    // No close: as after a crash.
    drop(queue);

    let (queue, recovery) = Queue::open(options(dir.path())).expect("opens after a crash");
    assert_eq!((recovery.entries, recovery.recipients, recovery.index_rebuilt.as_deref()), (3, 3, None));
    let all = queue.list(None, 100).expect("read");
    for (key, entry) in all {
        settle(&queue, Settle { key, done: entry.open, retry: None });
    }
    assert!(queue.next_id() > second.content.id);
    assert_eq!(queue.stats().entries, 0);
    assert!(queue.backlog().expect("read").is_empty());
    queue.close().expect("closes");
    assert!(std::fs::read_dir(dir.path().join("index/blobs")).map_or(true, |mut files| files.next().is_none()));
}

#[test]
fn a_fetch_says_what_is_due_whether_there_is_more_and_when_the_next_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (queue, _) = Queue::open(options(dir.path())).expect("opens");
    for due_ms in [10, 20, 20, 30, EntryKey::HELD] {
        let accepts = vec![NewMessage::new(content(queue.next_id(), &["a@x.example"], "x\r\n"), due_ms)];
        submit(&queue, Group { accepts, settles: vec![] }).expect("a working disk");
    }
    accept(&queue, &["a@y.example"], "another domain's\r\n");
    let mut other = content(queue.next_id(), &["a@x.example"], "another flow's\r\n");
    let envelope = &mut Arc::get_mut(&mut other).expect("nobody else's").envelope;
    let flow = Flow::of(envelope);
    envelope.parameters.priority = 3;
    let urgent = Flow::of(envelope);
    submit(&queue, Group { accepts: vec![NewMessage::new(other, 15)], settles: vec![] }).expect("a working disk");
    let x = Domain::new("x.example");
    let backlog = [(x.clone(), flow, 10), (x, urgent, 15), (Domain::new("y.example"), flow, 1000)];
    assert_eq!(queue.backlog().expect("read"), backlog);
    for (until_ms, limit, entries, more, next_due_ms) in [
        (5, 9, 0, false, Some(10)),
        (20, 9, 3, false, Some(30)),
        (20, 3, 3, false, Some(30)),
        (20, 2, 2, true, None),
        (20, 0, 0, true, None),
        (30, 9, 4, false, None),
    ] {
        let (answer, answered) = mpsc::channel();
        queue.fetch(Domain::new("x.example"), flow, until_ms, limit, Box::new(move |r| _ = answer.send(r)));
        let due = answered.recv().expect("answered").expect("read");
        let found = (due.entries.len(), due.more, due.next_due_ms);
        assert_eq!(found, (entries, more, next_due_ms), "until {until_ms}, at most {limit}");
    }
    queue.close().expect("closes");
}

#[test]
fn two_never_share_a_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (queue, _) = Queue::open(options(dir.path())).expect("opens");
    let Err(QueueError::Locked { holder, .. }) = Queue::open(options(dir.path())) else { panic!("opened twice") };
    assert!(holder.contains(&std::process::id().to_string()));
    accept(&queue, &["a@x.example"], "x\r\n");
    let other = queue.clone();
    queue.close().expect("closes");
    let still = Queue::open(options(dir.path())).map(|_| ());
    assert!(matches!(still, Err(QueueError::Locked { .. })), "its index is open: {still:?}");
    assert_eq!(other.list(None, 9).expect("read").len(), 1);
    drop(other);
    let (_, recovery) = Queue::open(options(dir.path())).expect("free again");
    assert_eq!((recovery.index_rebuilt, recovery.entries), (None, 1));
}

#[test]
fn a_file_in_place_of_the_directory_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("queue");
    std::fs::write(&path, "x").expect("written");
    let Err(error) = Queue::open(options(&path)) else { panic!("opened a file") };
    assert!(error.to_string().contains(path.to_str().expect("UTF-8")), "{error}");
}

#[test]
fn another_version_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Queue::open(options(dir.path())).expect("opens").0.close().expect("closes");
    for other in [2, 5] {
        std::fs::write(dir.path().join("format"), format!("posthaste queue {other}\n")).expect("written");
        let is_refused = |error: &QueueError| matches!(error, QueueError::Version { found, expected: queue::FORMAT, dir: named } if *found == other && named == dir.path());
        assert!(Queue::open(options(dir.path())).is_err_and(|error| is_refused(&error)));
        let repaired = queue::repair(&options(dir.path()), &mut Vec::new());
        assert!(repaired.is_err_and(|error| is_refused(&error)));
    }
}

/// No version is blamed for a file that a disk has lost.
#[test]
fn a_queue_that_does_not_say_its_version_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Queue::open(options(dir.path())).expect("opens").0.close().expect("closes");
    let format = dir.path().join("format");
    let line = std::fs::read_to_string(&format).expect("read");
    let check = || {
        let Err(error) = Queue::open(options(dir.path())) else { panic!("opened a queue of any format") };
        let text = error.to_string();
        assert!(text.contains(line.trim_end()) && text.contains(format.to_str().expect("UTF-8")), "{text}");
    };
    std::fs::write(&format, "").expect("written");
    check();
    std::fs::remove_file(&format).expect("removed");
    check();
    std::fs::write(&format, &line).expect("written");
    Queue::open(options(dir.path())).expect("opens").0.close().expect("closes");
}

/// Whatever happens to sled between two runs, the queue is the same.
#[test]
fn sled_is_dispensable() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("deleted", |index| std::fs::remove_dir_all(index).expect("removed")),
        ("truncated", |index| {
            let file = std::fs::OpenOptions::new().write(true).open(index.join("db")).expect("there");
            file.set_len(10_000).expect("cut");
        }),
        ("overwritten", |index| std::fs::write(index.join("db"), vec![0x5a; 1 << 20]).expect("written")),
        ("replaced by a file", |index| {
            std::fs::remove_dir_all(index).expect("removed");
            std::fs::write(index, "not a directory").expect("written");
        }),
    ];
    for (what, harm) in harms {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (queue, _) = Queue::open(options(dir.path())).expect("opens");
        let group = |from: u32| {
            let accepts = (from..from + 300).map(|i| {
                let to = format!("u{i}@d{}.example", i % 7);
                NewMessage::new(content(queue.next_id(), &[&to, "x@both.example"], "x\r\n"), u64::from(i))
            });
            Group { accepts: accepts.collect(), settles: vec![] }
        };
        submit(&queue, group(0)).expect("committed");
        let done = queue.list(None, 200).expect("read").into_iter();
        let settles = done.map(|(key, entry)| Settle { key, done: entry.open, retry: None }).collect();
        submit(&queue, Group { accepts: vec![], settles }).expect("committed");
        let before = queue.list(None, 10_000).expect("read");
        assert_eq!(before.len(), 400);
        queue.close().expect("closes");
        harm(&dir.path().join("index"));

        let (queue, recovery) = Queue::open(options(dir.path())).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(recovery.index_rebuilt.is_some(), "{what}: {recovery:?}");
        assert_eq!(queue.list(None, 10_000).expect("read"), before, "{what}");
        assert_eq!((queue.stats().entries, recovery.entries), (400, 400));
        queue.close().expect("closes");
        let (queue, recovery) = Queue::open(options(dir.path())).expect("opens once more");
        assert_eq!(recovery.index_rebuilt, None, "{what}");
        let held = EntryKey { due_ms: EntryKey::HELD, ..before[0].0.clone() };
        assert!(queue.find(held.id).expect("read").iter().any(|(key, _)| *key == before[0].0));
    }
}

#[test]
fn an_envelope_is_read_without_its_body_however_long_it_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (queue, _) = Queue::open(options(dir.path())).expect("opens");
    let many: Vec<String> = (0..600).map(|n| format!("recipient{n}@d{}.example", n % 100)).collect();
    for to in [vec!["a@x.example"], many.iter().map(String::as_str).collect()] {
        let Committed { content, entries } = accept(&queue, &to, "Subject: x\r\n\r\nx\r\n");
        let location = entries[0].1.location;
        assert_eq!(queue.load_envelope(content.id, location).expect("read"), content.envelope);
        let other = MessageId(content.id.0 + 1);
        assert!(matches!(queue.load_envelope(other, location), Err(QueueError::Damaged { .. })));
    }
}
