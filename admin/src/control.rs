//! What an operator can ask of the engine and tell it. The types are the API's JSON, for both its ends.

use queue::{Domain, EntryKey, Flow, MessageId};
use serde::{Deserialize, Deserializer, Serialize};

/// The engine, as the admin server sees it. Calls may block for a disk read.
pub trait Control: Send + Sync {
    /// Whether mail is taken: the queue is open, the listeners are up. The error is the reason, in a few words.
    ///
    /// # Errors
    /// Not ready.
    fn ready(&self) -> Result<(), String>;
    /// Totals.
    ///
    /// # Errors
    /// The queue cannot be read.
    fn summary(&self) -> Result<Summary, Refusal>;
    /// Queued entries that match, in the order of their keys, from behind `after`; at most `limit`. It may look at a
    /// bounded number of entries only and answer with few or none and a `next`.
    ///
    /// # Errors
    /// The queue cannot be read.
    fn list(&self, selection: &Selection, after: Option<EntryKey>, limit: usize) -> Result<Page, Refusal>;
    /// One message with all that is still queued of it.
    ///
    /// # Errors
    /// It is not in the queue.
    fn show(&self, id: MessageId) -> Result<Message, Refusal>;
    /// Does something to those that match among the next entries, behind `from`; looks at `limit` at most, and for a
    /// second or so. What it counts is durable. `selection` is never empty unless its `all` is set.
    ///
    /// # Errors
    /// The queue cannot be read or written.
    fn act(&self, act: Act, selection: &Selection, from: Option<Place>, limit: usize) -> Result<Acted, Refusal>;
    /// What would happen to a message for this address.
    ///
    /// # Errors
    /// It is no address.
    fn explain(&self, address: &str) -> Result<Explanation, Refusal>;
}

/// What can be done to what is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Try now.
    Retry,
    /// Keep, try nothing.
    Hold,
    /// End of `Hold`: due now.
    Release,
    /// Drop without a notice.
    Remove,
}

impl Act {
    /// All of them.
    pub const ALL: [Act; 4] = [Act::Retry, Act::Hold, Act::Release, Act::Remove];
    /// As in the path and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Act::Retry => "retry",
            Act::Hold => "hold",
            Act::Release => "release",
            Act::Remove => "remove",
        }
    }
}

/// Which queued recipients: those that match everything that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// These messages; in JSON one id, too.
    #[serde(rename = "id", skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_more")]
    pub ids: Vec<String>,
    /// Recipients of one domain; an internationalised one is meant in both its forms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Messages of one reverse-path; empty: notices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Messages of one tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Messages of one campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Everything; must be said to act without any of the above.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl Selection {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        let others = [&self.domain, &self.sender, &self.tenant, &self.campaign];
        self.ids.is_empty() && others.into_iter().all(Option::is_none)
    }
    /// The ids, parsed.
    ///
    /// # Errors
    /// The first that is none.
    pub fn message_ids(&self) -> Result<Vec<MessageId>, Refusal> {
        self.ids.iter().map(|id| parse_id(id)).collect()
    }
}

fn one_or_more<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "an id, or a list of ids")]
    enum Ids {
        One(String),
        More(Vec<String>),
    }
    Ok(match Ids::deserialize(value)? {
        Ids::One(id) => vec![id],
        Ids::More(ids) => ids,
    })
}

/// A message id as the sender was told it.
pub(crate) fn parse_id(text: &str) -> Result<MessageId, Refusal> {
    text.parse().map_err(|error| Refusal::invalid(format!("`{text}` is no message id"), format!("{error}")))
}

/// Totals of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Recipients that are due, wherever they wait and whatever for.
    pub ready: u64,
    /// In a transaction.
    pub active: u64,
    /// Their time has not come.
    pub deferred: u64,
    /// Held by an operator.
    pub held: u64,
    /// All of them.
    pub recipients: u64,
    /// Message × domain × due time.
    pub entries: u64,
    /// The journal on disk.
    pub journal_bytes: u64,
    /// Of it, what is kept ready for new mail and holds nothing.
    pub spare_bytes: u64,
    /// Free space beside it.
    pub free_bytes: u64,
    /// Open connections.
    pub connections: u64,
    /// Domains with the most recipients, bounded.
    pub domains: Vec<DomainCount>,
}

/// One domain's share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainCount {
    /// Lower case.
    pub domain: String,
    /// Queued.
    pub recipients: u64,
}

/// Some queued entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// In the order of their keys.
    pub entries: Vec<Item>,
    /// Entries that were looked at for it.
    pub looked_at: u64,
    /// For `after` of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A message's recipients of one domain that are due at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The message.
    pub id: String,
    /// `ready`, `active`, `deferred`, `held`.
    pub state: String,
    /// MAIL FROM; empty for notices.
    pub sender: String,
    /// The recipients' domain.
    pub domain: String,
    /// The first of them; bounded.
    pub recipients: Vec<String>,
    /// How many there are.
    pub recipient_count: u64,
    /// Octets of the message.
    pub size: u64,
    /// Attempts so far.
    pub attempts: u16,
    /// Unix milliseconds.
    pub accepted_ms: u64,
    /// Unix milliseconds; absent when held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// Why it is still here; empty before the first attempt.
    pub last_error: String,
    /// Why the message cannot be read, if so; then its sender and recipients may be unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Of what is ready: the limits that keep its site waiting, as `explain` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
    /// Who pays for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The sender's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
}

impl Item {
    /// Whether its message's sender and recipients are known.
    pub fn has_envelope(&self) -> bool {
        self.unreadable.is_none() || !self.recipients.is_empty()
    }
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What is still queued of it.
    pub entries: Vec<Item>,
    /// Its header section, as UTF-8 where it is none; bounded. Empty when the message cannot be read.
    pub header: String,
}

/// What a step of an act came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// Recipients that were changed.
    pub recipients: u64,
    /// Message × domain × due time.
    pub entries: u64,
    /// Entries that were looked at.
    pub looked_at: u64,
    /// Messages that were named, as they were, of which some are, changed or not.
    pub met: Vec<String>,
    /// Entries in the queue, about.
    pub queued: u64,
    /// For `after` of the next step; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Where an act is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which act it is, to the server.
    pub walk: u64,
    /// The last entry that it has passed.
    pub passed: EntryKey,
}

impl Place {
    /// For `after`: which act, then as [`cursor`].
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.walk, cursor(&self.passed))
    }

    /// What [`Place::to_text`] wrote.
    ///
    /// # Errors
    /// It did not write this.
    pub fn parse(text: &str) -> Result<Place, Refusal> {
        let parts = text.split_once('.').and_then(|(walk, passed)| Some((walk.parse().ok()?, passed)));
        let (walk, passed) = parts.ok_or_else(|| no_cursor(text))?;
        Ok(Place { walk, passed: parse_cursor(passed).map_err(|_| no_cursor(text))? })
    }
}

fn no_cursor(text: &str) -> Refusal {
    Refusal::invalid(format!("`{text}` is no cursor"), "take `next` of the answer before as `after`")
}

/// What would happen to a message for an address, as lines to read: subject, what holds, and what says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The address.
    pub address: String,
    /// In the order in which mail meets them: route, mx, site, source, limits …, tls.
    pub facts: Vec<Fact>,
}

/// One line of an explanation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// `route`, `mx`, `connections` …
    pub name: String,
    /// What holds.
    pub value: String,
    /// `posthaste.toml:41`, `default`, `dns` …
    pub origin: String,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400.
    Invalid(Problem),
    /// 404.
    NotFound(Problem),
    /// 503.
    Unavailable(Problem),
}

/// The JSON of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub error: String,
    /// What to do.
    pub hint: String,
}

impl Refusal {
    /// The question makes no sense.
    pub fn invalid(error: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal::Invalid(Problem { error: error.into(), hint: hint.into() })
    }
    /// There is no such thing.
    pub fn not_found(error: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal::NotFound(Problem { error: error.into(), hint: hint.into() })
    }
    /// Not now.
    pub fn unavailable(error: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal::Unavailable(Problem { error: error.into(), hint: hint.into() })
    }
}

/// The text form of a place in the queue, for `after`: `priority.tenant.campaign.due.id.domain`.
pub fn cursor(key: &EntryKey) -> String {
    let Flow { priority, tenant, campaign } = key.flow;
    format!("{priority}.{tenant}.{campaign}.{}.{}.{}", key.due_ms, key.id, key.domain.as_str())
}

/// What [`cursor`] wrote.
///
/// # Errors
/// It did not write this.
pub fn parse_cursor(text: &str) -> Result<EntryKey, Refusal> {
    let mut parts = text.splitn(6, '.');
    let mut key = || {
        let priority = parts.next()?.parse().ok()?;
        let flow = Flow { priority, tenant: parts.next()?.parse().ok()?, campaign: parts.next()?.parse().ok()? };
        let due_ms = parts.next()?.parse().ok()?;
        let id = parts.next()?.parse().ok()?;
        Some(EntryKey { flow, due_ms, id, domain: Domain::new(parts.next()?) })
    };
    key().ok_or_else(|| no_cursor(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let flow = Flow { priority: -9, tenant: 255, campaign: 1 };
        let (domain, id) = (Domain::new("mail.example.com"), MessageId(1 << 40));
        let key = EntryKey { domain, flow, due_ms: EntryKey::HELD, id };
        assert_eq!(parse_cursor(&cursor(&key)), Ok(key.clone()));
        for text in ["", "1", "0.0.0.1.2", "0.0.0.x.2.a.b", "0.256.0.1.2.a.b", "0.0.0.1..a.b"] {
            assert!(matches!(parse_cursor(text), Err(Refusal::Invalid(_))), "{text}");
            assert!(matches!(Place::parse(text), Err(Refusal::Invalid(_))), "{text}");
        }
        let place = Place { walk: 1 << 40, passed: key };
        assert_eq!(Place::parse(&place.to_text()), Ok(place));
    }
}
