//! The engine as the admin API sees it: an adapter between [`engine::shell::Handle`] and [`admin::Control`].
//!
//! The queue on disk is what is listed and acted on; the mind is asked only for what it alone knows: which entries are in
//! a transaction, and how a site stands. What the two say may be some milliseconds apart.

mod explain;
mod totals;

use admin::control::{Act, Acted, Explanation, Item, Message, Page, Place, Refusal, Selection, Summary, cursor};
use engine::config::domain_forms;
use engine::limit::Binding;
use engine::shell::{Bounds, Handle, Walk, Wish};
use queue::{Content, Domain, Entry, EntryKey, Envelope, MessageId, QueueError};
use smtp::Mailbox;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

/// Messages that are read from disk for one page, when each has to be looked at to know whether it matches.
const MAX_READS: usize = 2000;
/// About how long a step of an act takes: whoever waits for it wants to see progress.
const STEP: Duration = Duration::from_millis(500);
/// Recipients of an entry that are named.
const MAX_RECIPIENTS: usize = 20;
/// The state of what is due, and not in a transaction.
const READY: &str = "ready";
/// Of a header section.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Answers operators on behalf of a running engine.
pub struct EngineControl(Handle);

impl EngineControl {
    /// Of this engine.
    pub fn new(handle: Handle) -> EngineControl {
        EngineControl(handle)
    }
}

impl admin::Control for EngineControl {
    fn ready(&self) -> Result<(), String> {
        self.0.not_ready().map_or(Ok(()), |reason| Err(reason.to_string()))
    }

    fn summary(&self) -> Result<Summary, Refusal> {
        totals::summary(&self.0)
    }

    fn list(&self, selection: &Selection, after: Option<EntryKey>, limit: usize) -> Result<Page, Refusal> {
        let wanted = Wanted::new(selection)?;
        let (entries, complete) = self.look(&wanted, after, limit)?;
        let mut chosen = Vec::new();
        let (mut reached, mut looked_at) = (None, 0);
        let mut rest = entries.into_iter();
        while chosen.len() < limit
            && let Some((key, entry)) = rest.next()
        {
            reached = Some(cursor(&key));
            looked_at += 1;
            if !wanted.may_admit(&key) {
                continue;
            }
            match self.read(&key, &entry).map_err(unreadable)? {
                Read::Gone => {}
                Read::Envelope(envelope) if !wanted.admits(&envelope) => {}
                Read::Envelope(envelope) => {
                    chosen.push(Chosen { key, entry, envelope: Some(envelope), unreadable: None })
                }
                Read::Damaged(_) if wanted.reads => {}
                Read::Damaged(why) => chosen.push(Chosen { key, entry, envelope: None, unreadable: Some(why) }),
            }
        }
        let is_end = complete && rest.next().is_none();
        Ok(Page { entries: self.items(chosen), looked_at, next: if is_end { None } else { reached } })
    }

    fn show(&self, id: MessageId) -> Result<Message, Refusal> {
        let entries = self.0.queue().find(id).map_err(unreadable)?;
        let Some(newest) = entries.iter().map(|(_, entry)| entry.location).max() else { return Err(unknown(id)) };
        let (header, envelope, unreadable) = match self.0.queue().load_now(id, newest) {
            Ok(content) => (header(&content), Some(content.envelope.clone()), None),
            Err(QueueError::NoSuchMessage(_)) => return Err(unknown(id)),
            // The rest may be whole.
            Err(error) if is_of_one_message(&error) => {
                (String::new(), self.0.queue().load_envelope(id, newest).ok(), Some(error.to_string()))
            }
            Err(error) => return Err(self::unreadable(error)),
        };
        let chosen = entries.into_iter().map(|(key, entry)| {
            let (envelope, unreadable) = (envelope.clone(), unreadable.clone());
            Chosen { key, entry, envelope, unreadable }
        });
        Ok(Message { entries: self.items(chosen.collect()), header })
    }

    fn act(&self, act: Act, selection: &Selection, from: Option<Place>, limit: usize) -> Result<Acted, Refusal> {
        let wanted = Wanted::new(selection)?;
        let choose = |key: &EntryKey, entry: &Entry| {
            let fits = wanted.may_admit(key)
                && (!wanted.reads
                    || matches!(self.read(key, entry)?, Read::Envelope(envelope) if wanted.admits(&envelope)));
            Ok(fits)
        };
        let again = |Place { walk, passed }| Walk { id: walk, passed: Some(passed) };
        let walk = from.map_or_else(|| self.0.start_walk(), again);
        let named = &selection.ids;
        let selection =
            engine::shell::Selection { ids: wanted.ids.iter().copied().collect(), domains: wanted.domains.clone() };
        let bounds = Bounds { entries: limit, time: STEP };
        let step = self.0.operate_step(wish(act), &selection, walk, bounds, choose);
        let step = step.map_err(unreadable)?;
        let met = named.iter().zip(&wanted.ids).filter(|(_, id)| step.met.contains(id));
        let met = met.map(|(as_named, _)| as_named.clone()).collect();
        let place = |walk: Walk| Some(Place { walk: walk.id, passed: walk.passed? }.to_text());
        Ok(Acted {
            recipients: step.operated.recipients,
            entries: step.operated.entries,
            looked_at: step.looked_at,
            met,
            queued: self.0.queue().stats().entries,
            next: step.rest.and_then(place),
        })
    }

    fn explain(&self, address: &str) -> Result<Explanation, Refusal> {
        explain::explain(&self.0, address)
    }
}

/// A selection, parsed.
struct Wanted<'a> {
    ids: Vec<MessageId>,
    /// Any, where there are none; an internationalised one in all its forms.
    domains: BTreeSet<Domain>,
    sender: Option<&'a str>,
    tenant: Option<&'a str>,
    campaign: Option<&'a str>,
    /// Whether the message has to be read to know.
    reads: bool,
}

/// What is left of an entry's message.
enum Read {
    Envelope(Envelope),
    /// Delivered or removed since its entry was read.
    Gone,
    /// It cannot be read, for this reason.
    Damaged(String),
}

/// An entry that is shown.
struct Chosen {
    key: EntryKey,
    entry: Entry,
    envelope: Option<Envelope>,
    /// Why its message cannot be read.
    unreadable: Option<String>,
}

impl<'a> Wanted<'a> {
    fn new(selection: &'a Selection) -> Result<Wanted<'a>, Refusal> {
        let [sender, tenant, campaign] =
            [&selection.sender, &selection.tenant, &selection.campaign].map(Option::as_deref);
        let sender = sender.map(|sender| sender.trim_start_matches('<').trim_end_matches('>'));
        let reads = sender.is_some() || tenant.is_some() || campaign.is_some();
        let domain = selection.domain.as_deref().map(domain_name).transpose()?;
        let forms = domain.map(domain_forms).unwrap_or_default();
        let domains = forms.iter().map(|form| Domain::new(form)).collect();
        Ok(Wanted { ids: selection.message_ids()?, domains, sender, tenant, campaign, reads })
    }

    /// As far as the key tells.
    fn may_admit(&self, key: &EntryKey) -> bool {
        key.flow.may_be_of(self.tenant, self.campaign)
    }

    fn admits(&self, envelope: &Envelope) -> bool {
        // The local part's case may matter to its owner (RFC 5321 §2.4), hardly to an operator who looks for it.
        let sender = |sender: &str| envelope.reverse_path.as_str().eq_ignore_ascii_case(sender);
        self.sender.is_none_or(sender)
            && self.tenant.is_none_or(|tenant| envelope.tenant.as_deref() == Some(tenant))
            && self.campaign.is_none_or(|campaign| envelope.campaign.as_deref() == Some(campaign))
    }
}

impl EngineControl {
    /// Entries that may match, in order, and whether there are no more behind them.
    fn look(
        &self,
        wanted: &Wanted<'_>,
        after: Option<EntryKey>,
        limit: usize,
    ) -> Result<(Vec<(EntryKey, Entry)>, bool), Refusal> {
        if !wanted.ids.is_empty() {
            let found: Result<Vec<_>, _> = wanted.ids.iter().map(|id| self.0.queue().find(*id)).collect();
            let mut entries = found.map_err(unreadable)?.concat();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            entries.retain(|(key, _)| {
                (wanted.domains.is_empty() || wanted.domains.contains(&key.domain))
                    && after.as_ref().is_none_or(|after| key > after)
            });
            return Ok((entries, true));
        }
        let count = if wanted.reads { MAX_READS } else { limit };
        let entries = self.0.list(&wanted.domains, after, count).map_err(unreadable)?;
        let complete = entries.len() < count;
        Ok((entries, complete))
    }

    fn read(&self, key: &EntryKey, entry: &Entry) -> Result<Read, QueueError> {
        match self.0.queue().load_envelope(key.id, entry.location) {
            Ok(envelope) => Ok(Read::Envelope(envelope)),
            Err(QueueError::NoSuchMessage(_)) => Ok(Read::Gone),
            Err(error) if is_of_one_message(&error) => Ok(Read::Damaged(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// As the API shows them. While the mind is silent nothing counts as active.
    fn items(&self, chosen: Vec<Chosen>) -> Vec<Item> {
        let asked: Vec<_> = chosen.iter().map(|chosen| (chosen.key.clone(), chosen.entry.clone())).collect();
        let standing = self.0.ask(move |dispatch, _| {
            let standing = |(key, entry): &(EntryKey, Entry)| {
                (dispatch.entry_state(key, entry).1 > 0, dispatch.entry_waits_for(key))
            };
            asked.iter().map(standing).collect::<Vec<(bool, Binding)>>()
        });
        let standing = standing.unwrap_or_default().into_iter().chain(std::iter::repeat((false, Binding::NONE)));
        let now_ms = now_ms();
        let shown = chosen.into_iter().zip(standing);
        shown.map(|(chosen, (active, binding))| item(&chosen, state(&chosen.key, active, now_ms), binding)).collect()
    }
}

fn state(key: &EntryKey, active: bool, now_ms: u64) -> &'static str {
    match key.due_ms {
        _ if active => "active",
        EntryKey::HELD => "held",
        due_ms if due_ms > now_ms => "deferred",
        _ => READY,
    }
}

fn item(Chosen { key, entry, envelope, unreadable }: &Chosen, state: &str, binding: Binding) -> Item {
    let envelope = envelope.as_ref();
    let waits_for = if state == READY { binding } else { Binding::NONE };
    let recipient = |position: u32| Some(envelope?.recipients.get(position as usize)?.mailbox.to_string());
    Item {
        id: key.id.to_string(),
        state: state.into(),
        sender: envelope.map_or("", |envelope| envelope.reverse_path.as_str()).into(),
        domain: key.domain.as_str().into(),
        recipients: entry.open.iter().take(MAX_RECIPIENTS).filter_map(recipient).collect(),
        recipient_count: entry.open.len() as u64,
        size: u64::from(entry.body_bytes),
        attempts: entry.attempts,
        accepted_ms: entry.accepted_ms,
        due_ms: (!key.is_held()).then_some(key.due_ms),
        last_error: entry.last_error.to_string(),
        unreadable: unreadable.clone(),
        waits_for: waits_for.iter().map(|limit| limit.name().into()).collect(),
        tenant: envelope.and_then(|envelope| envelope.tenant.as_deref()).map(String::from),
        campaign: envelope.and_then(|envelope| envelope.campaign.as_deref()).map(String::from),
    }
}

/// The header section with LF for CRLF.
fn header(content: &Content) -> String {
    let body = content.body.to_bytes();
    let start = &body[..body.len().min(MAX_HEADER_BYTES)];
    let end = start.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(start.len(), |end| end + 2);
    String::from_utf8_lossy(&start[..end]).replace("\r\n", "\n")
}

fn wish(act: Act) -> Wish {
    match act {
        Act::Retry => Wish::Retry,
        Act::Hold => Wish::Hold,
        Act::Release => Wish::Release,
        Act::Remove => Wish::Remove,
    }
}

/// With a dot at its end, as in DNS, it is the same domain; in addresses there is none (RFC 5321 §2.3.5).
fn domain_name(text: &str) -> Result<&str, Refusal> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let no_domain =
        |_| Refusal::invalid(format!("`{text}` is no domain"), "write it as it stands in addresses: example.com");
    Mailbox::parse(&format!("x@{name}")).map(|_| name).map_err(no_domain)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn unknown(id: MessageId) -> Refusal {
    let hint = "delivered, bounced or removed already: the event log tells, if it was ever here";
    Refusal::not_found(format!("message {id} is not in the queue"), hint)
}

/// What is wrong may be wrong with a place in the journal, or with a file of it, not with the queue as a whole.
fn is_of_one_message(error: &QueueError) -> bool {
    matches!(error, QueueError::Damaged { .. } | QueueError::Io { .. })
}

fn unreadable(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "an operator's question or wish met with a fault");
    Refusal::unavailable(error.to_string(), "see the log of the server")
}

fn silent() -> Refusal {
    Refusal::unavailable("the engine does not answer", "it may be busy or shutting down: try again")
}
