//! Outcomes on their way to disk: gathered into one group per drain, and remembered until it is durable.

use super::bounds::{SETTLING, THROTTLED};
use super::message::HeldId;
use super::site::SiteId;
use super::timer::Timer;
use super::{Action, Dispatch};
use crate::limit::Limit;
use crate::notice::{self, Status};
use queue::{Content, Entry, EntryKey, Group, MessageId, RecipientSet, Retry, Settle};
use smtp::Reply;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

/// What is gathered, and what is under way.
#[derive(Default)]
pub(super) struct Settles {
    group: Vec<Settle>,
    record: Record,
    /// What senders are to be told: one notice for each message and kind.
    notices: BTreeMap<(MessageId, notice::Kind), (Arc<Content>, Vec<Status>)>,
    token: u64,
    under_way: HashMap<u64, Record>,
    /// Recipients in all of it.
    recipients: usize,
    /// They are so many that nothing is handed over or fetched.
    are_too_many: bool,
    /// Sites that wait for that to end.
    held_up: Vec<SiteId>,
}

/// What to do when a group is durable.
#[derive(Default)]
struct Record {
    held: Vec<HeldId>,
    /// What of them moves to another due time.
    moved: Vec<(HeldId, Retry)>,
    recipients: usize,
}

impl Settles {
    pub(super) fn is_empty(&self) -> bool {
        self.group.is_empty() && self.under_way.is_empty()
    }
    /// So much is decided and not durable that everything else waits, see [`SETTLING`].
    pub(super) fn are_too_many(&self) -> bool {
        self.are_too_many
    }
    /// The last group so far, the one that is being gathered included.
    pub(super) fn last(&self) -> u64 {
        self.token + u64::from(!self.group.is_empty())
    }
    /// Every group up to this one is durable.
    pub(super) fn are_durable_to(&self, token: u64) -> bool {
        self.token >= token && self.under_way.keys().all(|under_way| *under_way > token)
    }
    /// The sender is told of a recipient, together with what else is settled now; but not of a notice.
    pub(super) fn notify(&mut self, content: &Arc<Content>, status: Status) {
        if content.envelope.reverse_path.is_null() {
            return;
        }
        let key = (content.id, status.action.kind());
        self.notices.entry(key).or_insert_with(|| (content.clone(), Vec::new())).1.push(status);
    }
}

impl Dispatch {
    /// Decides recipients of an entry: `done` leave the queue, those of `retry` move.
    pub(super) fn settle(&mut self, held: HeldId, done: RecipientSet, retry: Option<Retry>) {
        let moved = retry.as_ref().map_or(0, |r| r.recipients.len());
        if done.is_empty() && moved == 0 {
            return;
        }
        let state = &mut self.messages.held[held as usize];
        state.open -= (done.len() + moved) as u32;
        state.settling += 1;
        if let Some(retry) = &retry {
            self.settles.record.moved.push((held, retry.clone()));
        }
        let key = self.key_of(held);
        self.settles.recipients += done.len() + moved;
        self.settles.are_too_many |= self.settles.recipients >= SETTLING;
        self.settles.record.recipients += done.len() + moved;
        self.settles.record.held.push(held);
        self.settles.group.push(Settle { key, done, retry });
    }

    /// Where it stands on disk.
    pub(super) fn key_of(&self, held: HeldId) -> EntryKey {
        let state = &self.messages.held[held as usize];
        let domain = &self.domains[state.domain];
        let id = self.messages.slab[state.message as usize].id;
        EntryKey { domain: domain.name.clone(), flow: domain.flow, due_ms: state.due_ms, id }
    }

    /// The other way round; `None` where it is not in memory.
    pub(super) fn held_at(&self, key: &EntryKey) -> Option<HeldId> {
        let domain = self.domains.find(key.domain.as_str(), key.flow)?;
        self.messages.find_held(domain, key.due_ms, key.id)
    }

    /// What was gathered, as one group.
    pub(super) fn poll_settle(&mut self) -> Option<Action> {
        if self.settles.group.is_empty() {
            return None;
        }
        let mut accepts = Vec::new();
        for ((_, kind), (content, mut list)) in std::mem::take(&mut self.settles.notices) {
            list.sort_by_key(|status| status.recipient);
            let id = (self.ids)();
            accepts.extend(notice::write(&self.config, id, self.now, &content, &list));
            self.actions.push_back(Action::Noticed(kind));
        }
        self.settles.token += 1;
        let token = self.settles.token;
        let record = std::mem::take(&mut self.settles.record);
        self.settles.under_way.insert(token, record);
        let settles = std::mem::take(&mut self.settles.group);
        Some(Action::Settle { token, group: Group { accepts, settles } })
    }

    pub(super) fn handle_settled(&mut self, token: u64) {
        let Some(record) = self.settles.under_way.remove(&token) else { return };
        self.settles.recipients -= record.recipients;
        if self.settles.are_too_many && self.settles.recipients <= SETTLING / 2 {
            self.let_go_on();
        }
        // Due times first: the domain is not forgotten while its entries are held.
        let mut hurried = Vec::new();
        for (held, retry) in record.moved {
            let (domain, due_ms) = (self.messages.held[held as usize].domain, retry.due_ms);
            self.note_moved(held, due_ms);
            if self.messages.held[held as usize].hurried {
                hurried.push(self.moved(held, retry));
            }
            self.note_due(domain, due_ms);
        }
        for held in record.held {
            let state = &mut self.messages.held[held as usize];
            state.settling -= 1;
            if state.settling > 0 {
                continue;
            }
            state.hurried = false;
            if state.open > 0 {
                continue;
            }
            if self.domains[state.domain].is_fetching() {
                self.linger(held);
            } else {
                self.release(held);
            }
        }
        if !hurried.is_empty() {
            self.hurry(hurried);
            // What customers wait for may be among it.
            self.await_collected();
        }
        self.wake_collected();
    }

    /// The site waits until enough outcomes are durable. Meanwhile it says now and then for how long it has waited.
    pub(super) fn hold_up(&mut self, id: SiteId) -> Limit {
        let site = &mut self.sites[id as usize];
        if !std::mem::replace(&mut site.held_up, true) {
            self.settles.held_up.push(id);
        }
        self.timers.arm(&mut site.armed, self.now.mono + THROTTLED.1, Timer::Site(id));
        Limit::Settling
    }

    fn let_go_on(&mut self) {
        self.settles.are_too_many = false;
        for id in std::mem::take(&mut self.settles.held_up) {
            // Its place may be another's by now.
            if self.sites.get_mut(id as usize).is_some_and(|site| std::mem::take(&mut site.held_up)) {
                self.wake(id);
            }
        }
    }

    /// The entry on disk that a retry made of a part of this one.
    fn moved(&self, held: HeldId, retry: Retry) -> (EntryKey, Entry) {
        let state = &self.messages.held[held as usize];
        let message = &self.messages.slab[state.message as usize];
        let domain = &self.domains[state.domain];
        let key = EntryKey { domain: domain.name.clone(), flow: domain.flow, due_ms: retry.due_ms, id: message.id };
        let entry = Entry {
            location: message.location,
            open: retry.recipients,
            attempts: retry.attempts,
            accepted_ms: state.accepted_ms,
            body_bytes: message.body_bytes,
            last_error: retry.last_error,
            terms: state.terms,
            delay_told: retry.delay_told,
        };
        (key, entry)
    }
}

/// The reply as it is kept with the entry: one line, bounded.
pub(super) fn last_error(reply: &Reply) -> Arc<str> {
    let mut text = String::with_capacity(64);
    let _ = write!(text, "{}", reply.code);
    if let Some(code) = reply.enhanced {
        let _ = write!(text, " {}.{}.{}", code.0, code.1, code.2);
    }
    text.push(' ');
    text.extend(reply.text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(Entry::MAX_ERROR_BYTES));
    text.truncate(text.floor_char_boundary(Entry::MAX_ERROR_BYTES));
    text.into()
}
