//! The committer: what is waiting becomes one group of the journal, then everybody is answered.

use crate::Options;
use crate::company::{Company, Written};
use crate::pace::{Pace, Waited};
use crate::store::{Store, lock};
use crate::{Committed, Group, QueueError};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How a submission is answered.
pub type Answer = Box<dyn FnOnce(Result<Vec<Committed>, Arc<QueueError>>) + Send>;

/// Bounds of one journal group: past them the rest waits for the next.
const GROUP_BODY_BYTES: usize = 16 << 20;
const GROUP_RECORDS: usize = 4096;
/// While gathering, whether messages still come is looked at so many times.
const STEPS: u32 = 8;
/// So many steps without a new one, and nobody is expected any more.
const QUIET_STEPS: u32 = 3;
/// Settles that found no room are tried again this often.
const NO_ROOM_DELAY: Duration = Duration::from_secs(1);

pub(crate) struct Submission {
    pub group: Group,
    pub done: Answer,
}

impl Submission {
    fn records(&self) -> usize {
        self.group.accepts.len() + self.group.settles.len()
    }

    /// What brings an outcome may bring a notice with it; that is not refused.
    fn is_mail(&self) -> bool {
        self.group.settles.is_empty()
    }
}

/// Where submissions wait.
#[derive(Default)]
pub(crate) struct Inbox {
    shared: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    submissions: VecDeque<Submission>,
    messages: usize,
    awaiting: Awaiting,
    closed: Option<Close>,
}

/// What the committer sleeps for; it is woken for nothing less.
#[derive(Default, PartialEq)]
enum Awaiting {
    #[default]
    Nothing,
    Anything,
    Messages,
    /// So many messages.
    Company(usize),
}

#[derive(Clone, Copy, PartialEq)]
enum Close {
    Commit,
    Abandon,
}

impl Inbox {
    pub(crate) fn push(&self, submission: Submission) {
        let messages = submission.group.accepts.len();
        let mut waiting = lock(&self.shared);
        if waiting.closed.is_some() {
            drop(waiting);
            return (submission.done)(Err(Arc::new(QueueError::Failed("the queue is closed".into()))));
        }
        waiting.submissions.push_back(submission);
        waiting.messages += messages;
        let wake = match waiting.awaiting {
            Awaiting::Nothing => false,
            Awaiting::Anything => true,
            Awaiting::Messages => messages > 0,
            Awaiting::Company(enough) => waiting.messages >= enough,
        };
        if wake {
            waiting.awaiting = Awaiting::Nothing;
            drop(waiting);
            self.arrived.notify_one();
        }
    }

    /// Nothing is taken any more. `commit`: what is waiting is still written; otherwise it is dropped unanswered.
    pub(crate) fn close(&self, commit: bool) {
        lock(&self.shared).closed = Some(if commit { Close::Commit } else { Close::Abandon });
        self.arrived.notify_all();
    }

    /// While messages keep coming, until so many are there. Woken for the last one, not for each.
    fn gather(&self, enough: usize, limit: Duration) {
        let mut waiting = lock(&self.shared);
        let deadline = Instant::now() + limit;
        let (mut known, mut quiet) = (waiting.messages, 0);
        while (1..enough).contains(&known) && quiet < QUIET_STEPS && waiting.closed.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            waiting.awaiting = Awaiting::Company(enough);
            let woken = self.arrived.wait_timeout(waiting, left.min(limit / STEPS));
            waiting = woken.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
            quiet = if waiting.messages > known { 0 } else { quiet + 1 };
            known = waiting.messages;
        }
        waiting.awaiting = Awaiting::Nothing;
    }

    /// Waits for something to commit; a settle alone waits for company. False: closed and nothing left.
    fn wait(&self, settle_delay: Duration) -> bool {
        let mut waiting = lock(&self.shared);
        while waiting.submissions.is_empty() && waiting.closed.is_none() {
            waiting.awaiting = Awaiting::Anything;
            waiting = self.arrived.wait(waiting).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        let deadline = Instant::now() + settle_delay;
        while waiting.messages == 0 && waiting.closed.is_none() && waiting.submissions.len() < GROUP_RECORDS {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                break;
            };
            waiting.awaiting = Awaiting::Messages;
            let woken = self.arrived.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        waiting.awaiting = Awaiting::Nothing;
        if waiting.closed == Some(Close::Abandon) {
            waiting.submissions.clear();
        }
        !waiting.submissions.is_empty()
    }

    /// What fits one group, in order; at least one submission.
    fn take(&self, batch: &mut VecDeque<Submission>) {
        let mut waiting = lock(&self.shared);
        let (mut bytes, mut records) = (0, 0);
        while let Some(next) = waiting.submissions.pop_front() {
            bytes += next.group.body_bytes();
            records += next.records();
            if !batch.is_empty() && (bytes > GROUP_BODY_BYTES || records > GROUP_RECORDS) {
                waiting.submissions.push_front(next);
                return;
            }
            waiting.messages -= next.group.accepts.len();
            batch.push_back(next);
        }
    }

    /// Mail of those that wait.
    fn take_mail(&self) -> VecDeque<Submission> {
        let mut waiting = lock(&self.shared);
        let (mail, rest) = std::mem::take(&mut waiting.submissions).into_iter().partition(Submission::is_mail);
        waiting.submissions = rest;
        waiting.messages = waiting.submissions.iter().map(|submission| submission.group.accepts.len()).sum();
        mail
    }

    /// Settles that have to be tried again, before all others.
    fn put_back(&self, batch: VecDeque<Submission>) {
        let mut waiting = lock(&self.shared);
        for submission in batch.into_iter().rev() {
            waiting.messages += submission.group.accepts.len();
            waiting.submissions.push_front(submission);
        }
    }

    fn is_closed(&self) -> bool {
        lock(&self.shared).closed.is_some()
    }
}

/// How long it waits for what.
pub(crate) struct Patience {
    pub gather: Duration,
    pub settle: Duration,
    pub checkpoint: Duration,
}

impl Patience {
    pub(crate) fn of(options: &Options) -> Patience {
        Patience { gather: options.gather, settle: options.settle_delay, checkpoint: options.checkpoint_patience }
    }
}

/// What the memtable has room for.
#[derive(PartialEq)]
enum Room {
    Everything,
    Outcomes,
    Nothing,
}

/// Waits while the memtable is full; not again while it is known that the index does not keep up.
fn wait_for_room(store: &Store, inbox: &Inbox, pace: &Pace, patience: Duration) -> Room {
    while store.is_memtable_full() && !inbox.is_closed() {
        if store.stall.is_on() {
            return if store.is_memtable_overfull() { Room::Nothing } else { Room::Outcomes };
        }
        let reason = match pace.wait(patience) {
            Waited::Written => continue,
            Waited::Stopped => break,
            Waited::Failed(reason) => reason,
            Waited::Late => format!("a checkpoint takes longer than {} s", patience.as_secs()).into(),
        };
        if store.is_memtable_full() {
            store.stall.begin(reason);
        }
    }
    Room::Everything
}

/// The committer's thread.
pub(crate) fn run(store: &Store, inbox: &Inbox, pace: &Pace, patience: Patience) {
    let mut company = Company::new(patience.gather, Instant::now());
    let mut batch = VecDeque::new();
    while inbox.wait(patience.settle) {
        inbox.gather(company.wanted(), company.patience());
        let room = wait_for_room(store, inbox, pace, patience.checkpoint);
        inbox.take(&mut batch);
        let messages = batch.iter().map(|submission| submission.group.accepts.len()).sum();
        let records = batch.iter().map(Submission::records).sum();
        let begun = Instant::now();
        let stalled = || {
            let reason = store.stall.reason().unwrap_or_else(|| "the index was not written in time".into());
            QueueError::Stalled(reason)
        };
        match room {
            Room::Everything => {}
            Room::Outcomes => refuse_mail(&mut batch, stalled()),
            Room::Nothing => {
                keep_waiting(inbox, &mut batch, stalled());
                std::thread::sleep(NO_ROOM_DELAY);
                continue;
            }
        }
        if commit(store, inbox, &mut batch) {
            company.note(Written { messages, records, begun, ended: Instant::now() });
            if store.is_checkpoint_due() {
                pace.want();
            } else if !store.index.is_broken() {
                store.stall.end();
            }
        } else if inbox.is_closed() {
            // No room even now: it was not answered, and is as after a crash.
            return;
        } else {
            std::thread::sleep(NO_ROOM_DELAY);
        }
    }
}

/// Outcomes, and the notices that came with them, stay.
fn refuse_mail(batch: &mut VecDeque<Submission>, error: QueueError) {
    let (refused, rest) = std::mem::take(batch).into_iter().partition(Submission::is_mail);
    *batch = rest;
    refuse(refused, error);
}

/// Outcomes wait. Mail does not wait behind them, however many they are.
fn keep_waiting(inbox: &Inbox, batch: &mut VecDeque<Submission>, error: QueueError) {
    inbox.put_back(std::mem::take(batch));
    refuse(inbox.take_mail(), error);
}

fn refuse(submissions: VecDeque<Submission>, error: QueueError) {
    let error = Arc::new(error);
    submissions.into_iter().for_each(|submission| (submission.done)(Err(error.clone())));
}

/// Groups that can never be written. The others did nothing wrong.
fn refuse_impossible(batch: &mut VecDeque<Submission>) {
    let mut possible = VecDeque::with_capacity(batch.len());
    for submission in batch.drain(..) {
        match submission.group.check() {
            Ok(()) => possible.push_back(submission),
            Err(error) => (submission.done)(Err(Arc::new(error))),
        }
    }
    *batch = possible;
}

/// Commits and answers a batch. False: settles of it wait for room.
fn commit(store: &Store, inbox: &Inbox, batch: &mut VecDeque<Submission>) -> bool {
    match store.commit(batch.iter().map(|submission| &submission.group)) {
        Ok(committed) => {
            for (submission, committed) in batch.drain(..).zip(committed) {
                (submission.done)(Ok(committed));
            }
            true
        }
        Err(QueueError::TooLarge { .. }) => {
            refuse_impossible(batch);
            batch.is_empty() || commit(store, inbox, batch)
        }
        Err(error @ QueueError::Io { .. }) if batch.iter().any(Submission::is_mail) => {
            // No room: messages are refused, and what else there was may still fit the current segment, or the reserve.
            refuse_mail(batch, error);
            batch.is_empty() || commit(store, inbox, batch)
        }
        Err(QueueError::Stalled(reason)) => {
            // What only the index knows can be told when it is open again.
            store.stall.begin(reason.clone());
            keep_waiting(inbox, batch, QueueError::Stalled(reason));
            false
        }
        Err(QueueError::Io { .. }) if batch.len() > 1 => {
            // It is more than there is room for, and some of it may not be; what that leaves free is for the rest.
            inbox.put_back(batch.split_off(batch.len().div_ceil(2)));
            commit(store, inbox, batch)
        }
        Err(error @ QueueError::Io { .. }) => {
            keep_waiting(inbox, batch, error);
            false
        }
        Err(error) => {
            let error = Arc::new(error);
            batch.drain(..).for_each(|submission| (submission.done)(Err(error.clone())));
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;
    use crate::index::MemoryIndex;
    use crate::step::tests::message;
    use crate::{Envelope, Limits, MessageId, Settle};
    use std::sync::mpsc::{Receiver, channel};

    type Answered = Receiver<Result<Vec<Committed>, Arc<QueueError>>>;

    fn limits() -> Limits {
        Limits {
            segment_bytes: 1 << 20,
            memtable_entries: 100,
            memtable_bytes: 1 << 20,
            journal_floor_bytes: 1 << 20,
            prepare_bytes: 0,
            seed: 1,
        }
    }

    /// A message for so many recipients.
    fn submission(id: u64, recipients: usize) -> (Submission, Answered) {
        let group = Group { accepts: vec![message(MessageId(id), recipients)], settles: vec![] };
        let (answer, answered) = channel();
        (Submission { group, done: Box::new(move |result| _ = answer.send(result)) }, answered)
    }

    #[test]
    fn what_can_never_be_written_takes_nothing_else_with_it() {
        let disk = Arc::new(MemoryDisk::new());
        let (store, _) = Store::open(disk, &MemoryIndex::new(), limits()).expect("opens");
        let (submissions, answers): (VecDeque<_>, Vec<_>) =
            [1, Envelope::MAX_RECIPIENTS + 1, 2].into_iter().zip(1..).map(|(n, id)| submission(id, n)).unzip();
        let mut batch = submissions;
        assert!(commit(&store, &Inbox::default(), &mut batch) && batch.is_empty());
        let outcomes: Vec<bool> = answers.iter().map(|answer| answer.recv().expect("answered").is_ok()).collect();
        assert_eq!(outcomes, [true, false, true]);
        assert_eq!((store.stats().entries, store.stats().recipients), (2, 3));
    }

    #[test]
    fn outcomes_that_are_more_than_the_reserve_takes_are_written_in_parts() {
        let disk = MemoryDisk::new();
        let (store, _) = Store::open(Arc::new(disk.clone()), &MemoryIndex::new(), limits()).expect("opens");
        let inbox = Inbox::default();
        for tens in 0..150 {
            let accepts = (1..=10).map(|n| message(MessageId(tens * 10 + n), 1)).collect();
            let accepted = store.commit(std::iter::once(&Group { accepts, settles: vec![] })).expect("room");
            for (key, entry) in accepted[0].iter().flat_map(|message| message.entries.clone()) {
                let settle = Settle { key, done: entry.open, retry: None };
                inbox.push(Submission {
                    group: Group { accepts: vec![], settles: vec![settle] },
                    done: Box::new(|_| {}),
                });
            }
        }
        // The reserve is left, a segment of a mebibyte, and it might take more.
        disk.set_capacity(Some(0));
        let mut batch = VecDeque::new();
        for _ in 0..10 {
            inbox.take(&mut batch);
            assert!(batch.is_empty() || commit(&store, &inbox, &mut batch));
        }
        assert_eq!(store.stats().entries, 0);
    }

    #[test]
    fn mail_does_not_wait_behind_outcomes_that_have_no_room() {
        let disk = MemoryDisk::new();
        let (store, _) = Store::open(Arc::new(disk.clone()), &MemoryIndex::new(), limits()).expect("opens");
        let (mail, _answered) = submission(1, 1);
        let entry = store.commit(std::iter::once(&mail.group)).expect("room")[0][0].entries[0].clone();
        let outcome = || {
            let settle = Settle { key: entry.0.clone(), done: entry.1.open.clone(), retry: None };
            Submission { group: Group { accepts: vec![], settles: vec![settle] }, done: Box::new(|_| {}) }
        };
        let inbox = Inbox::default();
        (0..2 * GROUP_RECORDS).for_each(|_| inbox.push(outcome()));
        let (mail, answered) = submission(2, 1);
        inbox.push(mail);
        disk.fail_writes(Some(std::io::ErrorKind::StorageFull));
        let mut batch = VecDeque::new();
        inbox.take(&mut batch);
        assert_eq!(batch.len(), GROUP_RECORDS);
        assert!(!commit(&store, &inbox, &mut batch));
        assert!(answered.try_recv().expect("answered").is_err_and(|error| error.is_full()));
        // All outcomes are still there, and the next mail wakes the committer as ever.
        let waiting = lock(&inbox.shared);
        assert_eq!((waiting.submissions.len(), waiting.messages), (2 * GROUP_RECORDS, 0));
    }
}
