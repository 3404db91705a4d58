//! Totals of the queue, for `posthaste queue summary`: every entry is looked at once, so that what is due counts as
//! `ready` wherever it waits, as in `posthaste queue list`. The metric has no such time (`docs/operations.md`).

use super::{now_ms, silent, unreadable};
use admin::control::{DomainCount, Refusal, Summary};
use engine::shell::Handle;
use queue::{EntryKey, QueueError};
use std::cmp::Reverse;

/// Domains in a summary.
const DOMAINS: usize = 20;
/// Entries that are read at a time.
const PAGE: usize = 10_000;

/// What only a walk through the queue can tell.
#[derive(Default)]
struct Walked {
    /// Recipients whose time has not come.
    deferred: u64,
    domains: Vec<DomainCount>,
}

pub(super) fn summary(handle: &Handle) -> Result<Summary, Refusal> {
    let walked = walk(now_ms(), |after| handle.queue().list(after, PAGE)).map_err(unreadable)?;
    // Last, and together: what moves during the walk may be counted there twice or not at all, but the sum is right.
    let counts = handle.ask(|dispatch, _| dispatch.counts()).ok_or_else(silent)?;
    let stats = handle.queue().stats();
    let waiting = stats.recipients.saturating_sub(stats.held_recipients);
    let active = counts.active.min(waiting);
    let deferred = walked.deferred.min(waiting - active);
    Ok(Summary {
        ready: waiting - active - deferred,
        active,
        deferred,
        held: stats.held_recipients,
        recipients: stats.recipients,
        entries: stats.entries,
        journal_bytes: stats.journal_bytes,
        spare_bytes: stats.spare_bytes,
        free_bytes: handle.queue().free_bytes().map_err(unreadable)?,
        connections: counts.connections.total(),
        domains: walked.domains,
    })
}

/// `page` reads what comes behind a key, until there is no more.
fn walk(
    now_ms: u64,
    page: impl Fn(Option<EntryKey>) -> Result<Vec<(EntryKey, queue::Entry)>, QueueError>,
) -> Result<Walked, QueueError> {
    let mut walked = Walked::default();
    let mut after = None;
    loop {
        let entries = page(after)?;
        for (key, entry) in &entries {
            let recipients = entry.open.len() as u64;
            if key.due_ms > now_ms && !key.is_held() {
                walked.deferred += recipients;
            }
            // Keys are in the order of their domains.
            match walked.domains.last_mut().filter(|last| last.domain == key.domain.as_str()) {
                Some(last) => last.recipients += recipients,
                None => walked.domains.push(DomainCount { domain: key.domain.as_str().into(), recipients }),
            }
        }
        after = entries.last().map(|(key, _)| key.clone());
        if after.is_none() {
            break;
        }
    }
    walked.domains.sort_by_key(|domain| Reverse(domain.recipients));
    walked.domains.truncate(DOMAINS);
    Ok(walked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue::{Domain, Entry, Flow, Location, MessageId, Terms};
    use std::sync::Arc;

    fn entry(domain: &str, due_ms: u64, id: u64, recipients: u32) -> (EntryKey, Entry) {
        let entry = Entry {
            location: Location { segment: 1, offset: 0, len: 1 },
            open: (0..recipients).collect(),
            attempts: 0,
            accepted_ms: 0,
            body_bytes: 1,
            last_error: Arc::from(""),
            terms: Terms::default(),
            delay_told: false,
        };
        (EntryKey { domain: Domain::new(domain), flow: Flow::default(), due_ms, id: MessageId(id) }, entry)
    }

    #[test]
    fn what_is_not_due_is_counted_over_all_pages() {
        let held = EntryKey::HELD;
        let entries = [
            entry("a.test", 5, 1, 1),
            entry("a.test", 10, 2, 2),
            entry("a.test", 11, 3, 4),
            entry("a.test", held, 4, 8),
            entry("b.test", 12, 5, 16),
        ];
        for size in 1..=6 {
            let page = |after: Option<EntryKey>| {
                let rest = entries.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| key > after));
                Ok(rest.take(size).cloned().collect())
            };
            let walked = walk(10, page).unwrap();
            assert_eq!(walked.deferred, 4 + 16, "{size} on a page");
            let domains: Vec<(&str, u64)> =
                walked.domains.iter().map(|domain| (&*domain.domain, domain.recipients)).collect();
            assert_eq!(domains, [("b.test", 16), ("a.test", 15)], "{size} on a page");
        }
    }
}
