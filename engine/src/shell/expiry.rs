//! A thread that looks for mail whose time is over at sites that stand still (`engine/src/dispatch/expiry.rs` says why).
//!
//! What is due there is read once a minute, or less often where there is much: that takes no more than a hundredth of the time. What is
//! found is given up a batch at a time, of so many octets as may be in memory for the notices that quote it.

use super::control::Handle;
use super::event_loop::read_clock;
use super::operate::{OperateError, Wish};
use crate::config::RetryPolicy;
use crate::dispatch::is_time_over;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use queue::{Domain, Entry, EntryKey, MessageId};
use std::convert::Infallible;
use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks, at least and at most; between them a hundredth of `[retry] expire`.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// And so many times as long as the reading in the last one took.
const SHARE: u32 = 100;
/// After a page it rests for so many times as long as that took to read.
const REST: u32 = 4;
/// Entries read at a time.
const PAGE: usize = 500;
/// Octets of the bodies in one batch, beyond its first entry.
const BATCH_BYTES: u64 = 4 << 20;
/// How often a batch that is being given up is looked at.
const PAUSE: Duration = Duration::from_millis(5);
/// For how long. What takes longer is given up all the same, beside the next batch.
const PATIENCE: Duration = Duration::from_secs(20);

/// The thread goes on while one of these lives. Nothing is ever sent.
pub(crate) type Alive = Sender<Infallible>;

/// Looks again and again. Ends when the last [`Alive`] is dropped.
pub(super) fn start(handle: Handle) -> io::Result<(Alive, JoinHandle<io::Result<()>>)> {
    let (alive, ended) = crossbeam_channel::bounded(0);
    let thread = std::thread::Builder::new().name("expiry".into()).spawn(move || {
        run(&handle, &ended);
        Ok(())
    })?;
    Ok((alive, thread))
}

fn run(handle: &Handle, ended: &Receiver<Infallible>) {
    let mut pause = interval(&handle.config().retry);
    while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let mut look = Look { handle, ended, recipients: 0, reading: Duration::ZERO };
        match look.everywhere() {
            Ok(()) | Err(OperateError::Stopped) => {}
            Err(error) => tracing::warn!(%error, "looking for what has expired"),
        }
        if look.recipients > 0 {
            tracing::info!(recipients = look.recipients, "expired at sites that are suspended or not to be reached");
        }
        let policy = handle.ask(|dispatch, _| dispatch.config().retry.clone());
        pause = policy.map_or(INTERVAL.1, |policy| interval(&policy)).max(look.reading * SHARE);
    }
}

fn interval(policy: &RetryPolicy) -> Duration {
    (policy.expire / 100).clamp(INTERVAL.0, INTERVAL.1)
}

struct Look<'l> {
    handle: &'l Handle,
    ended: &'l Receiver<Infallible>,
    /// Given up.
    recipients: u64,
    /// How long it took to read what is due.
    reading: Duration,
}

impl Look<'_> {
    fn everywhere(&mut self) -> Result<(), OperateError> {
        let ask = self.handle.ask(|dispatch, _| (dispatch.domains_at_a_stand(), dispatch.config().retry.clone()));
        let (mut domains, policy) = ask.ok_or(OperateError::Stopped)?;
        domains.sort_unstable();
        domains.dedup();
        domains.iter().try_for_each(|domain| self.at(domain, &policy))
    }

    fn at(&mut self, domain: &Domain, policy: &RetryPolicy) -> Result<(), OperateError> {
        let mut passed = None;
        while self.ended.try_recv() == Err(TryRecvError::Empty) {
            let begun = read_clock().mono;
            let page = self.handle.queue().list_domain(domain, passed, PAGE)?;
            let now_ms = read_clock().wall_ms();
            let is_last = page.len() < PAGE;
            passed = page.last().map(|(key, _)| beyond(key, now_ms));
            let over = page.into_iter().filter(|(key, entry)| is_time_over(policy, key, entry, now_ms)).collect();
            let took = begun.elapsed();
            self.reading += took;
            for batch in batches(over) {
                self.recipients += self.handle.carry_out(Wish::Expire, batch.clone())?.recipients;
                await_end(self.handle, batch)?;
                self.handle.await_room(PATIENCE);
            }
            // Whoever delivers mail meanwhile goes first.
            rest(took * REST);
            if is_last {
                break;
            }
        }
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "this is a thread of its own, not a loop")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// Where to read on behind this entry: what is not due yet, is passed over to the next flow.
fn beyond(key: &EntryKey, now_ms: u64) -> EntryKey {
    if key.due_ms <= now_ms {
        return key.clone();
    }
    EntryKey { due_ms: u64::MAX, id: MessageId(u64::MAX), ..key.clone() }
}

fn batches(entries: Vec<(EntryKey, Entry)>) -> Vec<Vec<EntryKey>> {
    let (mut batches, mut room) = (Vec::new(), 0);
    for (key, entry) in entries {
        let octets = u64::from(entry.body_bytes);
        match batches.last_mut() {
            Some(batch) if octets <= room => {
                room -= octets;
                Vec::push(batch, key);
            }
            _ => {
                room = BATCH_BYTES;
                batches.push(vec![key]);
            }
        }
    }
    batches
}

/// Until none of it is in memory any more.
fn await_end(handle: &Handle, mut batch: Vec<EntryKey>) -> Result<(), OperateError> {
    let begun = read_clock().mono;
    while begun.elapsed() < PATIENCE {
        let ask = handle.ask(move |dispatch, _| {
            batch.retain(|key| dispatch.is_in_memory(key));
            batch
        });
        batch = ask.ok_or(OperateError::Stopped)?;
        if batch.is_empty() {
            break;
        }
        rest(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue::{Flow, Location, Terms};

    fn entry(due_ms: u64, id: u64, body_bytes: u32) -> (EntryKey, Entry) {
        let key = EntryKey { domain: Domain::new("d.test"), flow: Flow::default(), due_ms, id: MessageId(id) };
        let entry = Entry {
            location: Location { segment: 1, offset: 0, len: 0 },
            open: [0].into_iter().collect(),
            attempts: 0,
            accepted_ms: 0,
            body_bytes,
            last_error: "".into(),
            terms: Terms::default(),
            delay_told: false,
        };
        (key, entry)
    }

    #[test]
    fn a_batch_is_bounded_in_octets_and_has_one_at_least() {
        let most = BATCH_BYTES as u32;
        for (sizes, expected) in [
            (vec![], vec![]),
            (vec![1; 500], vec![500]),
            (vec![most + 9, most + 9, most + 9], vec![1, 1, 1]),
            (vec![9, most, 1, most - 1, most - 1], vec![2, 2, 1]),
        ] {
            let entries = (0..).zip(sizes).map(|(id, body_bytes)| entry(1, id, body_bytes)).collect::<Vec<_>>();
            let keys: Vec<EntryKey> = entries.iter().map(|(key, _)| key.clone()).collect();
            let batches = batches(entries);
            assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), expected);
            assert_eq!(batches.concat(), keys);
        }
    }

    #[test]
    fn what_is_not_due_is_passed_over() {
        let (due, not) = (entry(10, 1, 1).0, entry(11, 2, 1).0);
        assert_eq!(beyond(&due, 10), due);
        let last = beyond(&not, 10);
        assert!(last > entry(u64::MAX, 7, 1).0 && last < EntryKey { flow: Flow { priority: 1, ..not.flow }, ..not });
    }
}
