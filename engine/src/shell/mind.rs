//! Dispatch with its senses and its mouth: carries its actions to the queue, the resolver, the connections and the
//! reports, and their answers back.

use super::hands::Hands;
use super::inbox::Address;
use super::letter::Letter;
use super::turned::Turned;
use crate::config::Config;
use crate::dispatch::{Action, Dispatch, Input, Offer, Peer};
use crate::events::{EventLog, Injector};
use crate::metrics::EngineMetrics;
use crate::now::Now;
use crossbeam_channel::Sender;
use dns::Resolver;
use queue::service::Fetched;
use queue::{Committed, Domain, Due, Flow, Group, MessageId, Queue, QueueError};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often gauges are set, the disk is looked at and the event log is written out.
const HOUSEKEEPING: Duration = Duration::from_millis(500);
/// A domain whose entries could not be read is left alone for so long.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(10);

/// What the mind needs from outside.
pub(crate) struct Senses {
    pub queue: Queue,
    pub resolver: Resolver,
    pub metrics: Arc<EngineMetrics>,
    pub events: Option<EventLog>,
    pub intake: Arc<crate::intake::Shared>,
    pub failed: Arc<AtomicBool>,
    /// The mind's own loop.
    pub home: Address<Letter>,
}

pub(crate) struct Mind {
    dispatch: Dispatch,
    senses: Senses,
    settle_tokens: Vec<u64>,
    /// Connections that dispatch was offered and has not taken yet.
    offers: HashMap<u64, Box<Turned>>,
    next_offer: u64,
    next_housekeeping: Instant,
    /// Whom to tell when every settle up to one is durable.
    awaited: Vec<(u64, Sender<()>)>,
}

impl Mind {
    pub(crate) fn new(dispatch: Dispatch, senses: Senses, now: Now) -> Mind {
        Mind {
            dispatch,
            senses,
            settle_tokens: Vec::new(),
            offers: HashMap::new(),
            next_offer: 0,
            next_housekeeping: now.mono,
            awaited: Vec::new(),
        }
    }

    pub(crate) fn handle(&mut self, input: Input, now: Now) {
        match &input {
            Input::Committed(committed) => {
                // Notices.
                if let Some(events) = &mut self.senses.events {
                    committed.iter().for_each(|message| events.accepted(now, &message.content, None));
                }
            }
            Input::Closed(connection, stage, cause) => {
                if let Some(site) = self.dispatch.site_of(*connection) {
                    self.senses.metrics.closed(site, *stage, cause);
                }
            }
            Input::NotOpened(connection, _) => {
                if let Some(site) = self.dispatch.site_of(*connection) {
                    self.senses.metrics.not_opened(site);
                }
            }
            _ => {}
        }
        let is_settled = matches!(input, Input::Settled(_));
        self.dispatch.handle(now, input);
        if is_settled {
            self.tell_durable();
        }
    }

    /// Messages that clients handed in, and who did each.
    pub(crate) fn handle_accepted(&mut self, committed: Vec<Committed>, injectors: &[Arc<Injector>], now: Now) {
        if let Some(events) = &mut self.senses.events {
            for (message, injector) in committed.iter().zip(injectors) {
                events.accepted(now, &message.content, Some(injector));
            }
        }
        self.dispatch.handle(now, Input::Committed(committed));
    }

    /// A customer has come for its mail. Returns the offer's id.
    pub(crate) fn offer(&mut self, turned: Box<Turned>, now: Now) -> u64 {
        self.next_offer += 1;
        let offer = Offer {
            id: self.next_offer,
            user: turned.call.user.clone(),
            domains: turned.call.named(),
            address: turned.address,
        };
        self.offers.insert(offer.id, turned);
        self.dispatch.handle(now, Input::Offered(offer));
        self.next_offer
    }

    pub(crate) fn handle_timers(&mut self, now: Now) {
        if self.dispatch.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.dispatch.handle_timeout(now);
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let next = self.dispatch.poll_timeout();
        Some(next.map_or(self.next_housekeeping, |at| at.min(self.next_housekeeping)))
    }

    /// Carries out what dispatch wants. Returns whether there was anything.
    pub(crate) fn act(&mut self, hands: &mut Hands<'_>, group: &mut Group, now: Now) -> bool {
        let mut acted = false;
        while let Some(action) = self.dispatch.poll_action() {
            acted = true;
            match action {
                Action::Deliver(deliver) => hands.deliver(deliver, now),
                Action::Open(open) => {
                    self.senses.metrics.opened(&open.site);
                    let turned = match open.peer {
                        Peer::Caller(offer) => self.offers.remove(&offer),
                        Peer::At(_) => None,
                    };
                    hands.open(open, turned, now);
                }
                Action::Close(connection) => hands.close(connection, now),
                Action::Settle { token, group: more } => {
                    group.accepts.extend(more.accepts);
                    group.settles.extend(more.settles);
                    self.settle_tokens.push(token);
                }
                Action::Happened(happened) => {
                    self.senses.metrics.happened(&happened);
                    if let Some(events) = &mut self.senses.events {
                        events.happened(&happened);
                    }
                }
                Action::Noticed(kind) => self.senses.metrics.noticed(kind),
                Action::NotOpened { source: Some(ip), why } => {
                    tracing::warn!("no connection can be opened from {ip}: {why}; it is tried again every few seconds");
                }
                Action::NotOpened { source: None, why } => {
                    tracing::warn!("no connection could be opened: {why}; it is tried again every few seconds");
                }
                Action::Throttled { site, limit, waited } => self.senses.metrics.throttled(&site, limit, waited),
                other => self.ask(other),
            }
        }
        // Those that it does not take are hung up on.
        self.offers.clear();
        acted
    }

    /// Questions whose answers come as letters.
    fn ask(&mut self, action: Action) {
        let home = self.senses.home.clone();
        let think = move |input| home.send(Letter::Think(vec![input]));
        match action {
            Action::ResolveMx(domain) => {
                let name = domain.0.clone();
                self.senses.resolver.mx(&name, Box::new(move |answer| think(Input::Mx(domain, answer))));
            }
            Action::ResolveAddresses(host) => {
                let name = host.clone();
                self.senses.resolver.addresses(&name, Box::new(move |answer| think(Input::Addresses(host, answer))));
            }
            Action::Fetch { domain, flow, until_ms, limit } => {
                let asked = domain.clone();
                let done = move |result: Fetched| think(fetched(asked, flow, until_ms, result));
                self.senses.queue.fetch(domain, flow, until_ms, limit, Box::new(done));
            }
            Action::Load(id, location) => {
                let done = move |result: Result<_, Arc<QueueError>>| {
                    if let Err(error) = &result {
                        note_unreadable(id, error);
                    }
                    think(Input::Loaded(id, result.map_err(|error| error.to_string().into())));
                };
                self.senses.queue.load(id, location, Box::new(done));
            }
            _ => {}
        }
    }

    /// Tells when all that was decided up to now is durable; when it never will be, the sender is dropped.
    pub(crate) fn tell_when_durable(&mut self, tell: Sender<()>) {
        self.awaited.push((self.dispatch.last_settle(), tell));
        self.tell_durable();
    }

    fn tell_durable(&mut self) {
        let dispatch = &self.dispatch;
        self.awaited.retain(|(settle, tell)| {
            let is_durable = dispatch.is_settle_durable(*settle);
            if is_durable {
                // Whoever asked may have stopped waiting.
                let _ = tell.send(());
            }
            !is_durable
        });
    }

    /// Returns the serial that [`Dispatch::was_let_go`] asks for.
    pub(crate) fn begin_look(&mut self) -> u64 {
        self.dispatch.begin_look()
    }

    pub(crate) fn end_look(&mut self) {
        self.dispatch.end_look();
    }

    /// The tokens of the settles that went into this tick's group.
    pub(crate) fn take_settle_tokens(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.settle_tokens)
    }

    /// Messages did not become durable, and their senders were told so.
    pub(crate) fn handle_refused(&mut self, error: &QueueError, now: Now) {
        self.senses.intake.permits.handle_refused(error);
        if matches!(error, QueueError::Failed(_)) {
            self.fail(now);
        }
    }

    /// Outcomes did not become durable, for whatever reason: the queue does not refuse them for one that passes.
    pub(crate) fn handle_unsettled(&mut self, error: &QueueError, now: Now) {
        tracing::error!(%error, "outcomes cannot be written; deliveries stop until a restart");
        self.fail(now);
    }

    /// Nothing more is accepted or tried: what is delivered but not settled would be delivered again after the restart
    /// that has to follow.
    fn fail(&mut self, now: Now) {
        self.awaited.clear();
        self.senses.intake.permits.fail();
        self.senses.failed.store(true, Ordering::Relaxed);
        self.dispatch.handle(now, Input::Drain);
    }

    pub(crate) fn end_of_tick(&mut self, now: Now) {
        if now.mono < self.next_housekeeping {
            return;
        }
        self.next_housekeeping = now.mono + HOUSEKEEPING;
        self.senses.intake.permits.look();
        self.senses.metrics.set_queue(&self.dispatch.counts(), &self.senses.queue.stats());
        self.senses.metrics.set_connections(self.dispatch.open_by_site());
        self.write_events();
        if let Some(events) = &self.senses.events {
            self.senses.metrics.set_events_lost(events.lost());
        }
    }

    /// Before outcomes become durable: what is told twice after a crash does no harm, but what the queue has forgotten is
    /// never told again.
    pub(crate) fn write_events(&mut self) {
        if let Some(events) = &mut self.senses.events {
            events.flush();
        }
    }

    pub(crate) fn reload(&mut self, config: Arc<Config>, now: Now) {
        if let Some(Err(error)) = self.senses.events.as_mut().map(EventLog::reopen) {
            tracing::error!(%error, "the event log cannot be reopened; the old file is still written");
        }
        self.senses.metrics.reload(&config);
        self.senses.resolver.flush();
        self.dispatch.handle(now, Input::Reload(config));
    }

    /// As it stands now: what it says of times to come, it counts from the last time that it was told.
    pub(crate) fn dispatch_at(&mut self, now: Now) -> &Dispatch {
        self.dispatch.handle_timeout(now);
        &self.dispatch
    }

    pub(crate) fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Nothing is left to wait for. Once the queue has failed, outcomes do not count: they are never written.
    pub(crate) fn is_quiet(&self) -> bool {
        let failed = self.senses.failed.load(Ordering::Relaxed);
        let is_quiet = if failed { self.dispatch.is_hung_up() } else { self.dispatch.is_quiet() };
        is_quiet && self.settle_tokens.is_empty()
    }
}

/// The event log and the queue's list have it as the reply of an attempt; here it is a fault of ours, once for each attempt.
fn note_unreadable(id: MessageId, error: &QueueError) {
    match error {
        // What may pass the queue has said, once for all messages; and an operator may remove what is being read.
        QueueError::Stalled(_) | QueueError::NoSuchMessage(_) => tracing::debug!(%error, %id, "a message is not read"),
        _ => tracing::error!(%error, %id, "a queued message cannot be read; it stays in the queue and is tried again"),
    }
}

/// Dispatch counts on an answer: when the queue cannot be read, the domain is due again a little later.
fn fetched(domain: Domain, flow: Flow, until_ms: u64, result: Fetched) -> Input {
    let Due { entries, more, next_due_ms } = result.unwrap_or_else(|error| {
        // What may pass the queue has said, once for all domains.
        if matches!(*error, QueueError::Stalled(_)) {
            tracing::debug!(%error, domain = domain.as_str(), "cannot read the queue; trying again");
        } else {
            tracing::error!(%error, domain = domain.as_str(), "cannot read the queue; trying again");
        }
        Due { next_due_ms: Some(until_ms + UNREADABLE_PAUSE.as_millis() as u64), ..Due::default() }
    });
    Input::Fetched { domain, flow, entries, more, next_due_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_that_fails_is_answered_and_the_domain_comes_again() {
        let broken = Arc::new(QueueError::Failed("broken".into()));
        let Input::Fetched { entries, more, next_due_ms, .. } =
            fetched(Domain::new("a.test"), Flow::default(), 1000, Err(broken))
        else {
            panic!("another input");
        };
        assert!(entries.is_empty() && !more);
        assert_eq!(next_due_ms, Some(11_000));
        let Input::Fetched { more, next_due_ms, .. } =
            fetched(Domain::new("a.test"), Flow::default(), 1000, Ok(Due { more: true, ..Due::default() }))
        else {
            panic!("another input");
        };
        assert!(more && next_due_ms.is_none());
    }
}
