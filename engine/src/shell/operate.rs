//! What operators, ETRN and ATRN do to what is queued: walks through the queue in steps.
//!
//! A step looks at a bounded number of entries, for a bounded time, and is over when all that it changed is durable: what
//! it counts has happened. Between two steps nothing is kept here, so whoever asks may go away at any time; what was done
//! stays done. However much is selected, one page of it is under way at a time, and none while mail would have to wait for
//! it. Recipients in a transaction are left alone.

use super::control::Handle;
use super::event_loop::read_clock;
use crate::dispatch::{Input, Operation, is_held_by_sender};
use queue::{Domain, Entry, EntryKey, Envelope, MessageId, QueueError};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Entries that the mind is given at a time, which keeps its loop from all else for some milliseconds.
const PAGE: usize = 500;
/// How long a page's changes may take to be durable.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a walk waits for a queue with much to write before it goes on a page further.
const PRESSED_PATIENCE: Duration = Duration::from_secs(1);
/// How often a queue with much to write is looked at again.
const PRESSED_PAUSE: Duration = Duration::from_millis(5);

/// What an operator wants done with entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Due now; but what its sender holds back (FUTURERELEASE) only where its message is named.
    Retry,
    /// Not before it is released.
    Hold,
    /// Held ones are due now, or when their sender wants it.
    Release,
    /// Out of the queue, without a notice.
    Remove,
    /// Given up with a notice, where its time is over at a site that stands still. No operator's, so far.
    Expire,
}

/// What became of a wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operated {
    /// Recipients concerned.
    pub recipients: u64,
    /// Entries that they are in.
    pub entries: u64,
}

/// Which entries to go through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those of these messages; of all where none is named.
    pub ids: BTreeSet<MessageId>,
    /// Those of these recipient domains; of all where none is named.
    pub domains: BTreeSet<Domain>,
}

/// Where a walk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Told apart from others of this process.
    pub id: u64,
    /// The last entry that it has passed; `None` at its beginning.
    pub passed: Option<EntryKey>,
}

/// After how much a step ends. It looks at one page at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Entries looked at.
    pub entries: usize,
    /// For so long.
    pub time: Duration,
}

/// What a step came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What was changed, durably.
    pub operated: Operated,
    /// Entries looked at.
    pub looked_at: u64,
    /// Selected messages that some of them are of, changed or not.
    pub met: BTreeSet<MessageId>,
    /// For the next step; `None` at the end.
    pub rest: Option<Walk>,
}

/// Why a wish was not, or not wholly, carried out.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The queue cannot be read.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The engine has ended, or is too busy to answer.
    #[error("the engine does not answer; it may be shutting down")]
    Stopped,
    /// The last page's changes may become durable yet, or not.
    #[error("the queue does not write: up to {PAGE} entries may or may not have been changed on top")]
    NotDurable,
}

impl Handle {
    /// A walk at its beginning.
    pub fn start_walk(&self) -> Walk {
        Walk { id: self.walks().next_id(), passed: None }
    }

    /// Applies a wish to every entry, of one domain if so said, that `wanted` picks. Blocks for as long as that takes.
    ///
    /// # Errors
    /// As [`Handle::operate_step`]; some of the wish may have been carried out.
    pub fn operate(
        &self,
        wish: Wish,
        domain: Option<&Domain>,
        wanted: impl Fn(&EntryKey, &Entry) -> bool,
    ) -> Result<Operated, OperateError> {
        let selection = Selection { domains: domain.cloned().into_iter().collect(), ..Selection::default() };
        let bounds = Bounds { entries: usize::MAX, time: Duration::MAX };
        let wanted = &|key: &EntryKey, entry: &Entry| Ok(wanted(key, entry));
        let (mut sum, mut rest) = (Operated::default(), Some(self.start_walk()));
        while let Some(walk) = rest {
            let step = self.operate_step(wish, &selection, walk, bounds, wanted)?;
            sum.recipients += step.operated.recipients;
            sum.entries += step.operated.entries;
            rest = step.rest;
        }
        Ok(sum)
    }

    /// Entries of these domains, or of all where none is named, in order from `after` on (exclusive), at most `limit`.
    /// Blocks.
    ///
    /// # Errors
    /// The queue cannot be read.
    pub fn list(
        &self,
        domains: &BTreeSet<Domain>,
        after: Option<EntryKey>,
        limit: usize,
    ) -> Result<Vec<(EntryKey, Entry)>, QueueError> {
        if domains.is_empty() {
            return self.queue().list(after, limit);
        }
        let mut found = Vec::new();
        // Keys are in the order of their domains, so that one place is good for all of them.
        for domain in domains {
            found.extend(self.queue().list_domain(domain, after.clone(), limit - found.len())?);
        }
        Ok(found)
    }

    /// Applies a wish to the next entries of a selection that `wanted` picks, and waits until that is durable.
    ///
    /// # Errors
    /// The queue cannot be read or written, or the engine has stopped. When something was done before, that is told
    /// first: the next step meets the error.
    pub fn operate_step(
        &self,
        wish: Wish,
        selection: &Selection,
        walk: Walk,
        bounds: Bounds,
        mut wanted: impl FnMut(&EntryKey, &Entry) -> Result<bool, QueueError>,
    ) -> Result<Step, OperateError> {
        let begun = read_clock().mono;
        let mut sum = Step { rest: Some(walk), ..Step::default() };
        while let Some(walk) = sum.rest.clone() {
            let page = match self.operate_page(wish, selection, walk, bounds.entries.min(PAGE), &mut wanted) {
                Err(_) if sum.looked_at > 0 => break,
                page => page?,
            };
            sum.operated.recipients += page.operated.recipients;
            sum.operated.entries += page.operated.entries;
            sum.looked_at += page.looked_at;
            sum.met.extend(page.met);
            sum.rest = page.rest;
            if sum.looked_at >= bounds.entries as u64 || begun.elapsed() >= bounds.time {
                break;
            }
            if page.operated.entries > 0 {
                self.await_room(bounds.time.saturating_sub(begun.elapsed()));
            }
        }
        Ok(sum)
    }

    /// Leaves the queue to mail while it has much to write; not for ever.
    #[allow(clippy::disallowed_methods, reason = "this is the caller's thread, not a loop's")]
    pub(super) fn await_room(&self, patience: Duration) {
        let begun = read_clock().mono;
        while self.queue().is_pressed() && begun.elapsed() < patience.min(PRESSED_PATIENCE) {
            std::thread::sleep(PRESSED_PAUSE);
        }
    }

    fn operate_page(
        &self,
        wish: Wish,
        selection: &Selection,
        Walk { id, passed }: Walk,
        limit: usize,
        wanted: &mut impl FnMut(&EntryKey, &Entry) -> Result<bool, QueueError>,
    ) -> Result<Step, OperateError> {
        // Before anything is read: what is deferred from now on is looked for where it then is.
        let look = Look::begin(self)?;
        let page = self.list(&selection.domains, passed, limit)?;
        let mut step = Step { looked_at: page.len() as u64, ..Step::default() };
        if page.len() == limit {
            step.rest = page.last().map(|(last, _)| Walk { id, passed: Some(last.clone()) });
        }
        let mut chosen = Vec::new();
        let now_ms = read_clock().wall_ms();
        for (key, entry) in page {
            let is_named = selection.ids.contains(&key.id);
            if is_named {
                step.met.insert(key.id);
            } else if !selection.ids.is_empty() {
                continue;
            }
            let is_too_early = wish == Wish::Retry && !is_named && is_held_by_sender(&entry, now_ms);
            if wish.concerns(&key) && !is_too_early && wanted(&key, &entry)? {
                chosen.push((key, entry));
            }
        }
        if wish == Wish::Retry {
            self.walks().keep_new(id, &mut chosen, read_clock().mono);
            if step.rest.is_none() {
                self.walks().end(id);
            }
        }
        if !chosen.is_empty() {
            step.operated = self.change(wish, chosen.into_iter().map(|(key, _)| key).collect(), look)?;
        }
        Ok(step)
    }

    /// Reads the chosen entries once more, as choosing may have taken long, and changes them as they are now.
    pub(super) fn carry_out(&self, wish: Wish, chosen: Vec<EntryKey>) -> Result<Operated, OperateError> {
        self.change(wish, chosen, Look::begin(self)?)
    }

    /// `chosen`: since the look began.
    fn change(&self, wish: Wish, chosen: Vec<EntryKey>, look: Look<'_>) -> Result<Operated, OperateError> {
        let mut sum = Operated::default();
        let mut awaited = Vec::new();
        let mut todo = chosen;
        let mut since = look.since;
        let mut known: HashSet<EntryKey> = todo.iter().cloned().collect();
        while !todo.is_empty() {
            let mut entries = Vec::with_capacity(todo.len());
            let mut gone = Vec::new();
            for key in &todo {
                match self.queue().entry(key)? {
                    Some(entry) => entries.push((key.clone(), entry)),
                    None => gone.push(key.clone()),
                }
            }
            let envelopes = if wish == Wish::Remove { self.envelopes(&entries) } else { HashMap::new() };
            let (tell, durable) = crossbeam_channel::bounded(1);
            awaited.push(durable);
            let answer = self.ask_mind(move |mind, now| {
                let dispatch = mind.dispatch();
                let (again, sure): (Vec<_>, Vec<_>) =
                    entries.into_iter().partition(|(key, _)| dispatch.was_let_go(key, since));
                let mut again: Vec<EntryKey> = again.into_iter().map(|(key, _)| key).collect();
                // It has left its place, which dispatch has still to hear of.
                again.extend(gone.into_iter().filter(|key| dispatch.is_settling(key)));
                let moved: Vec<EntryKey> = todo.iter().flat_map(|key| dispatch.moved_to(key)).collect();
                let waiting = sure.iter().map(|(key, entry)| dispatch.entry_state(key, entry).0 as u64);
                let mut done = Operated::default();
                for recipients in waiting.filter(|recipients| *recipients > 0) {
                    done.recipients += recipients;
                    done.entries += 1;
                }
                mind.handle(Input::Operate(wish.about(sure, envelopes)), now);
                mind.tell_when_durable(tell);
                (done, again, moved, mind.dispatch().look_serial())
            });
            let (done, moved): (Operated, Vec<EntryKey>);
            (done, todo, moved, since) = answer.ok_or(OperateError::NotDurable)?;
            todo.extend(moved.into_iter().filter(|key| known.insert(key.clone())));
            sum.recipients += done.recipients;
            sum.entries += done.entries;
        }
        drop(look);
        for durable in awaited {
            durable.recv_timeout(PATIENCE).map_err(|_| OperateError::NotDurable)?;
        }
        Ok(sum)
    }

    /// For the event log, which is all that is left of what is removed. A message that cannot be read can be removed, too.
    fn envelopes(&self, entries: &[(EntryKey, Entry)]) -> HashMap<MessageId, Arc<Envelope>> {
        let mut envelopes = HashMap::new();
        for (EntryKey { id, .. }, entry) in entries {
            if !envelopes.contains_key(id)
                && let Ok(envelope) = self.queue().load_envelope(*id, entry.location)
            {
                envelopes.insert(*id, Arc::new(envelope));
            }
        }
        envelopes
    }
}

/// While it lives dispatch notes what it lets go of, which may then be read as it was before.
struct Look<'h> {
    handle: &'h Handle,
    since: u64,
}

impl Look<'_> {
    fn begin(handle: &Handle) -> Result<Look<'_>, OperateError> {
        let since = handle.ask_mind(|mind, _| mind.begin_look()).ok_or(OperateError::Stopped)?;
        Ok(Look { handle, since })
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.handle.tell_mind(|mind, _| mind.end_look());
    }
}

impl Wish {
    /// Held entries can only be released or removed.
    fn concerns(self, key: &EntryKey) -> bool {
        self == Wish::Remove || key.is_held() == (self == Wish::Release)
    }

    fn about(self, entries: Vec<(EntryKey, Entry)>, envelopes: HashMap<MessageId, Arc<Envelope>>) -> Operation {
        match self {
            Wish::Retry => Operation::Retry(entries),
            Wish::Hold => Operation::Hold(entries),
            Wish::Release => Operation::Release(entries),
            Wish::Remove => Operation::Remove(entries, envelopes),
            Wish::Expire => Operation::Expire(entries),
        }
    }
}
