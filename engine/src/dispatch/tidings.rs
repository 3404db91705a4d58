//! Which senders are told what (RFC 3461, RFC 2852); the words are in [`crate::notice`].

use super::message::HeldId;
use super::outcome::Trace;
use super::{Dispatch, Kind};
use crate::config::RetryPolicy;
use crate::notice::{Action, Status};
use crate::retry;
use queue::{MailParameters, Recipient};
use smtp::Reply;
use smtp::client::{Features, Protocol};
use smtp::parameters::ByMode;

/// What a host tells senders by itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Peer {
    /// It took over NOTIFY.
    dsn: bool,
    /// It took over BY.
    deliver_by: bool,
    /// Mailboxes are behind it, no other host (LMTP).
    is_final: bool,
}

impl Peer {
    pub(super) fn new(features: Option<&Features>, protocol: Protocol) -> Peer {
        Peer {
            dsn: features.is_some_and(|features| features.dsn),
            deliver_by: features.is_some_and(|features| features.deliver_by.is_some()),
            is_final: protocol == Protocol::Lmtp,
        }
    }

    /// Whether we tell the sender that this host took a message.
    fn leaves_success_to_us(self, recipient: &Recipient, parameters: &MailParameters) -> bool {
        // RFC 3461 §5.2.2.
        let unheard = recipient.notify.on_success() && !self.dsn;
        // RFC 2852 §4.1.4 and §5: a sender who waits for a time hears how far it was watched.
        let unwatched =
            parameters.deliver_by.is_some_and(|by| by.trace || (by.mode == ByMode::Notify && !self.deliver_by))
                && !self.is_final
                && !recipient.notify.is_never();
        unheard || unwatched
    }
}

impl Dispatch {
    /// A recipient was taken.
    pub(super) fn deliver(&mut self, held: HeldId, position: u32, reply: Reply, trace: &Trace) {
        let peer = trace.peer;
        let action = if peer.is_final { Action::Delivered } else { Action::Relayed };
        self.notify(position, action, &reply, trace, |recipient, parameters| {
            peer.leaves_success_to_us(recipient, parameters)
        });
        self.tell(held, position, Kind::Delivered, Some(reply), trace);
    }

    /// A recipient is to be tried again; its sender may want to know.
    pub(super) fn defer(&mut self, held: HeldId, position: u32, reply: Reply, trace: &Trace) {
        if self.is_delay_to_tell(held) {
            let state = &self.messages.held[held as usize];
            let (policy, time_is_over) = (&self.config.retry, self.is_past_deadline(held));
            let always = policy.notify_delay.is_some() || time_is_over;
            let until_ms = retry::end(policy, state.accepted_ms, state.terms);
            let action = Action::Delayed { until_ms, late: time_is_over };
            self.notify(position, action, &reply, trace, |recipient, _| {
                recipient.notify.asks_delay() || (always && recipient.notify.on_delay())
            });
        }
        self.tell(held, position, Kind::Deferred, Some(reply), trace);
    }

    /// Has the sender told of a recipient, if `wanted`. Without the content there is nobody to tell.
    pub(super) fn notify(
        &mut self,
        position: u32,
        action: Action,
        reply: &Reply,
        trace: &Trace,
        wanted: impl FnOnce(&Recipient, &MailParameters) -> bool,
    ) {
        let Some(content) = &trace.content else { return };
        let envelope = &content.envelope;
        if envelope.recipients.get(position as usize).is_some_and(|to| wanted(to, &envelope.parameters)) {
            let (reply, mx, said, tried) = (reply.clone(), trace.mx.clone(), trace.said, !trace.untried);
            let status = Status { recipient: position, action, reply, mx, said, tried };
            self.settles.notify(content, status);
        }
    }

    /// The entry waited so long that a deferral is told to those who want to hear of it, and that was not done yet.
    pub(super) fn is_delay_to_tell(&self, held: HeldId) -> bool {
        let state = &self.messages.held[held as usize];
        !state.delay_told && (self.is_late(held) || self.is_past_deadline(held))
    }

    /// The same, after a deferral now.
    pub(super) fn delay_is_told(&self, held: HeldId) -> bool {
        self.messages.held[held as usize].delay_told || self.is_delay_to_tell(held)
    }

    /// No further attempt follows one that fails now.
    pub(super) fn is_given_up(&self, held: HeldId) -> bool {
        let state = &self.messages.held[held as usize];
        self.now.wall_ms() >= retry::end(&self.config.retry, state.accepted_ms, state.terms)
    }

    /// The sender wants it back by now.
    pub(super) fn is_too_late(&self, held: HeldId) -> bool {
        let deadline = self.messages.held[held as usize].terms.deadline;
        deadline.is_some_and(|deadline| deadline.returns) && self.is_past_deadline(held)
    }

    fn is_past_deadline(&self, held: HeldId) -> bool {
        let deadline = self.messages.held[held as usize].terms.deadline;
        deadline.is_some_and(|deadline| self.now.wall_ms() >= deadline.at_ms)
    }

    fn is_late(&self, held: HeldId) -> bool {
        let after = self.config.retry.notify_delay.unwrap_or(RetryPolicy::ASKED_DELAY);
        let waited_ms = self.now.wall_ms().saturating_sub(self.messages.held[held as usize].accepted_ms);
        u128::from(waited_ms) >= after.as_millis()
    }
}
