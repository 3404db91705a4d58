//! What became of a transaction, recipient by recipient.

use super::bounds::{CROWDED, MAX_LOSSES};
use super::connection::Transaction;
use super::message::{Failing, HeldId, MessageIndex};
use super::settle::last_error;
use super::tidings::Peer;
use super::{ConnectionId, Dispatch, Happened, Kind, TlsState, strict};
use crate::config::TlsPolicy;
use crate::notice::{Action, Failure};
use crate::retry::{self, Next};
use crate::verdict::{self, Fate};
use queue::{Content, Envelope, RecipientSet, Retry};
use smtp::Reply;
use smtp::client::{Outcome, Report, Stage};
use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where and how something was tried, for events and notices.
#[derive(Clone)]
pub(super) struct Trace {
    site: Arc<str>,
    pub(super) mx: Option<Arc<str>>,
    mx_address: Option<Arc<str>>,
    source_address: Option<IpAddr>,
    tls: Option<Arc<TlsState>>,
    /// For the one who is told of first: a transaction is counted once.
    attempt_time: Cell<Option<Duration>>,
    in_doubt: bool,
    /// It was not: what is told follows no attempt.
    pub(super) untried: bool,
    /// The reply is the host's own.
    pub(super) said: bool,
    pub(super) content: Option<Arc<Content>>,
    /// Where there is no content.
    pub(super) envelope: Option<Arc<Envelope>>,
    pub(super) peer: Peer,
}

impl Trace {
    /// No host was spoken to.
    pub(super) fn of_site(site: Arc<str>) -> Trace {
        Trace {
            site,
            mx: None,
            mx_address: None,
            source_address: None,
            tls: None,
            attempt_time: Cell::default(),
            in_doubt: false,
            untried: false,
            said: false,
            content: None,
            envelope: None,
            peer: Peer::default(),
        }
    }
}

/// A report, by recipient.
struct Outcomes {
    rest: Outcome,
    /// By position in the message, ascending.
    exceptions: Vec<(u32, Outcome)>,
    /// Some were taken, and others refused as too many for one transaction: those follow in the next.
    crowded: bool,
    /// BDAT may have been used.
    chunking: bool,
    /// The host does not do for this message, and another one may.
    elsewhere: bool,
    /// It went in clear text to a host that offers TLS.
    could_have_tls: bool,
}

impl Outcomes {
    fn new(report: Report, transaction: &Transaction, chunking: bool, elsewhere: bool) -> Outcomes {
        let mut exceptions = report.exceptions;
        if !exceptions.is_empty() {
            let mut positions: Vec<u32> = transaction.parts.iter().flat_map(|(_, part)| part.iter()).collect();
            positions.sort_unstable();
            // The report counts in the order of submission, which is that of the positions.
            exceptions.retain_mut(|(index, _)| match positions.get(*index as usize) {
                Some(position) => {
                    *index = *position;
                    true
                }
                None => false,
            });
            exceptions.sort_unstable_by_key(|(position, _)| *position);
        }
        let taken = matches!(&report.outcome, Outcome::Replied(Stage::Final, reply) if reply.is_success());
        let crowded = taken && exceptions.iter().any(|(_, outcome)| is_crowd(outcome));
        Outcomes { rest: report.outcome, exceptions, crowded, chunking, elsewhere, could_have_tls: false }
    }
    fn of(&self, position: u32) -> &Outcome {
        match self.exceptions.binary_search_by_key(&position, |(p, _)| *p) {
            Ok(at) => &self.exceptions[at].1,
            Err(_) => &self.rest,
        }
    }
    fn fate(&self, outcome: &Outcome, losses: u8) -> Fate {
        if self.elsewhere && strict::is_no_promise(outcome) {
            return Fate::Again;
        }
        let fate = match outcome {
            _ if self.chunking && verdict::is_unknown_chunk(outcome) => verdict::ON_UNKNOWN_CHUNK,
            _ if self.could_have_tls && verdict::is_tls_first(outcome) => verdict::ON_TLS_FIRST,
            _ => verdict::on_outcome(outcome),
        };
        match fate {
            Fate::Soon if losses >= MAX_LOSSES => Fate::Retry,
            _ if self.crowded && is_crowd(outcome) => Fate::Again,
            fate => fate,
        }
    }
    /// The peer answered something that was about the transaction.
    fn answered(&self) -> bool {
        let answer = |o: &Outcome| matches!(o, Outcome::Replied(_, reply) if reply.code != 421);
        self.any(answer)
    }
    fn any(&self, holds: impl Fn(&Outcome) -> bool) -> bool {
        holds(&self.rest) || self.exceptions.iter().any(|(_, outcome)| holds(outcome))
    }
}

fn is_crowd(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Replied(Stage::Rcpt, reply) if verdict::is_too_many_recipients(reply))
}

impl Dispatch {
    pub(super) fn handle_report(&mut self, connection: ConnectionId, report: Report) {
        let transaction_slot = super::connection::slot(report.id);
        if self.transactions.get(transaction_slot).is_none_or(|t| t.name != report.id) {
            return;
        }
        let Some(slot) = self.slot(connection) else { return };
        let mut transaction = self.transactions.remove(transaction_slot);
        let body_bytes = transaction.content.body.len();
        self.change_connection(slot, |c| {
            c.transactions.retain(|t| *t as usize != transaction_slot);
            c.bytes_ahead -= body_bytes;
        });
        let site_id = self.connections[slot].site;
        self.sites[site_id as usize].active -= 1;
        let manner = self.connections[slot].manner;
        let elsewhere = strict::is_no_promise(&report.outcome) && self.may_go_elsewhere(slot);
        let mut outcomes = Outcomes::new(report, &transaction, manner.chunking, elsewhere);
        outcomes.could_have_tls = self.could_have_tls(slot);
        self.note_answer(slot, &outcomes);
        if outcomes.answered() {
            self.absolve(slot);
        } else if matches!(outcomes.rest, Outcome::NotSent) {
            // It never reached the peer, so it does not count against the rate.
            self.sites[site_id as usize].rate.give_back(transaction.handed.mono, self.now.mono);
        }
        if outcomes.crowded {
            let taken = transaction.parts.iter().map(|(_, p)| p.len()).sum::<usize>() - outcomes.exceptions.len();
            self.sites[site_id as usize].recipients_cap = Some((taken.max(1) as u32, self.now.mono + CROWDED));
        }
        let mut trace = self.trace(slot, &transaction);
        for (held, part) in std::mem::take(&mut transaction.parts) {
            self.counts.active -= part.len() as u64;
            self.settle_part(held, part, &outcomes, &mut trace);
        }
        if self.connections[slot].transactions.is_empty() {
            self.mark_idle(slot);
        }
        self.wake(site_id);
    }

    /// It is in clear text, with a host that offers TLS and may have it.
    fn could_have_tls(&self, slot: usize) -> bool {
        let connection = &self.connections[slot];
        let offers = connection.features.as_ref().is_some_and(|features| features.starttls);
        offers && connection.tls.is_none() && self.sites[connection.site as usize].tls() != TlsPolicy::Off
    }

    /// What the outcomes say of the host.
    fn note_answer(&mut self, slot: usize, outcomes: &Outcomes) {
        let connection = &self.connections[slot];
        let manner = connection.manner;
        let host = &mut self.sites[connection.site as usize].hosts[connection.host_index];
        if let Outcome::Replied(stage @ (Stage::Rcpt | Stage::Final), _) = outcomes.rest {
            host.refusals.note(stage == Stage::Rcpt);
        }
        let no_chunks = outcomes.chunking && outcomes.any(verdict::is_unknown_chunk);
        if no_chunks {
            host.learnt.step_down(manner, self.now.mono);
        }
        let tls_first = outcomes.could_have_tls && outcomes.any(verdict::is_tls_first);
        if tls_first {
            host.insist_on_tls();
        }
        if no_chunks || tls_first {
            // The connection is of use no more, and its other transactions would fare alike.
            self.close(slot);
        }
    }

    fn trace(&self, slot: usize, transaction: &Transaction) -> Trace {
        let connection = &self.connections[slot];
        Trace {
            site: self.sites[connection.site as usize].name.clone(),
            mx: Some(connection.host.clone()),
            mx_address: connection.address_text.clone(),
            source_address: connection.source,
            tls: connection.tls.clone(),
            attempt_time: Cell::new(Some(self.now.mono.saturating_duration_since(transaction.handed.mono))),
            in_doubt: false,
            untried: false,
            said: false,
            content: Some(transaction.content.clone()),
            envelope: None,
            peer: Peer::new(
                connection.features.as_deref(),
                self.sites[connection.site as usize].hosts[connection.host_index].protocol(),
            ),
        }
    }

    /// Decides the recipients of one entry.
    fn settle_part(&mut self, held: HeldId, part: RecipientSet, outcomes: &Outcomes, trace: &mut Trace) {
        let losses = self.messages.held[held as usize].losses;
        let (mut done, mut back, mut lost) = (RecipientSet::new(), RecipientSet::new(), false);
        let mut again: Option<(Next, Retry)> = None;
        for position in part.iter() {
            let outcome = outcomes.of(position);
            let fate = outcomes.fate(outcome, losses);
            if matches!(fate, Fate::Soon | Fate::Again) {
                lost |= fate == Fate::Soon;
                back.insert(position);
                continue;
            }
            trace.in_doubt = matches!(outcome, Outcome::Lost { in_doubt: true, .. });
            let told = verdict::tell(outcome);
            // A reply that was the peer's is passed on as it is.
            trace.said = matches!(told, Cow::Borrowed(_));
            let reply = told.into_owned();
            if fate == Fate::Retry {
                let (next, retry) = again.get_or_insert_with(|| self.next_attempt(held, &reply));
                if let Next::At(_) = next {
                    retry.recipients.insert(position);
                    self.defer(held, position, reply, trace);
                    continue;
                }
            }
            done.insert(position);
            match fate {
                Fate::Delivered => self.deliver(held, position, reply, trace),
                _ => self.bury(held, position, fate == Fate::Retry, reply, trace),
            }
        }
        let retry = again.map(|(_, retry)| retry).filter(|retry| !retry.recipients.is_empty());
        self.settle(held, done, retry);
        if !back.is_empty() {
            self.messages.held[held as usize].losses += u8::from(lost);
            self.restore(held, back);
        }
    }

    /// When the entry is tried again after this attempt, and the empty record of that.
    fn next_attempt(&mut self, held: HeldId, reply: &Reply) -> (Next, Retry) {
        let delay_told = self.delay_is_told(held);
        let state = &self.messages.held[held as usize];
        let attempts = state.attempts.saturating_add(1);
        let now_ms = self.now.wall_ms();
        let next = retry::next(&self.config.retry, attempts, state.accepted_ms, state.terms, now_ms, &mut self.rng);
        let due_ms = if let Next::At(due_ms) = next { due_ms } else { now_ms };
        (next, Retry { recipients: RecipientSet::new(), due_ms, attempts, last_error: last_error(reply), delay_told })
    }

    /// Recipients fail for one and the same reason, outside of a transaction.
    pub(super) fn fail(&mut self, held: HeldId, recipients: RecipientSet, fate: Fate, reply: &Reply, trace: &Trace) {
        if recipients.is_empty() {
            return;
        }
        let (site, untried) = (trace.site.clone(), trace.untried);
        let failing = Failing { held, recipients, fate, reply: reply.clone(), site, untried };
        let message = self.messages.held[held as usize].message;
        let needs_content = fate == Fate::Bounce || self.is_given_up(held) || self.is_delay_to_tell(held);
        if needs_content && self.messages.slab[message as usize].content.is_none() {
            // The notice quotes the message: it is settled when that is read.
            self.messages.slab[message as usize].failing.push(failing);
            self.load(message);
        } else {
            self.fail_late(failing);
        }
    }

    /// Settles recipients that failed outside of a transaction, now that the content is there, cannot be had, or is of no use.
    pub(super) fn fail_late(&mut self, failing: Failing) {
        let Failing { held, recipients, fate, reply, site, untried } = failing;
        let mut trace = Trace { untried, ..Trace::of_site(site) };
        trace.content = self.content_of(self.messages.held[held as usize].message);
        if fate != Fate::Bounce {
            let (next, mut retry) = self.next_attempt(held, &reply);
            if let Next::At(_) = next {
                for position in recipients.iter() {
                    self.defer(held, position, reply.clone(), &trace);
                }
                retry.recipients = recipients;
                return self.settle(held, RecipientSet::new(), Some(retry));
            }
        }
        for position in recipients.iter() {
            self.bury(held, position, fate != Fate::Bounce, reply.clone(), &trace);
        }
        self.settle(held, recipients, None);
    }

    fn content_of(&self, message: MessageIndex) -> Option<Arc<Content>> {
        self.messages.slab[message as usize].content.clone()
    }

    /// A recipient failed for good: told, and noted for the notice to the sender.
    fn bury(&mut self, held: HeldId, position: u32, given_up: bool, reply: Reply, trace: &Trace) {
        let failure = match given_up {
            false => Failure::Refused,
            true if self.is_too_late(held) => Failure::TooLate,
            true => Failure::Expired,
        };
        self.notify(position, Action::Failed(failure), &reply, trace, |recipient, _| recipient.notify.on_failure());
        let kind = if given_up { Kind::Expired } else { Kind::Bounced };
        self.tell(held, position, kind, Some(reply), trace);
    }

    /// Tells the event log.
    pub(super) fn tell(&mut self, held: HeldId, recipient: u32, kind: Kind, reply: Option<Reply>, trace: &Trace) {
        let state = &self.messages.held[held as usize];
        let message = &self.messages.slab[state.message as usize];
        let content = trace.content.clone().or_else(|| message.content.clone());
        self.actions.push_back(super::Action::Happened(Box::new(Happened {
            now: self.now,
            kind,
            envelope: trace.envelope.clone(),
            body_bytes: message.body_bytes,
            id: message.id,
            recipient,
            site: trace.site.clone(),
            mx: trace.mx.clone(),
            mx_address: trace.mx_address.clone(),
            source_address: trace.source_address,
            attempt: state.attempts.saturating_add(u16::from(kind != Kind::Removed && !trace.untried)),
            reply,
            in_doubt: trace.in_doubt,
            attempt_time: trace.attempt_time.take(),
            tls: trace.tls.clone(),
            accepted_us: content.as_ref().map_or(state.accepted_ms * 1000, |c| c.envelope.accepted_us),
            content,
        })));
    }
}
