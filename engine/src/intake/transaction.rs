//! One injector's transaction: who may send what to whom, the message, and its final reply.

use super::connection::Connection;
use super::door::{NOT_ALLOWED, Trust};
use super::labels::Labels;
use super::permit::Permit;
use super::repeated::leave_out_repeated;
use super::submission::{self, Missing};
use super::trace::{Source, With};
use super::{Origin, Refusal, Room, Shared};
use crate::now::Now;
use queue::{Content, Envelope, NewMessage};
use smtp::parameters::DeliverBy;
use smtp::server::{Message, RECIPIENT_OK, SENDER_OK, Ticket};
use smtp::{EnhancedCode, MailParameters, Mailbox, Reply, ReversePath};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const LOOP: Reply = Reply::fixed(554, EnhancedCode(5, 4, 6), "Too many hops: this message is going round in circles");

const HOLD_TOO_LONG: Reply = Reply::fixed(
    501,
    EnhancedCode(5, 5, 4),
    "HOLDUNTIL lies further ahead than the limit announced in the reply to EHLO",
);

/// RFC 4865 §5.2.2.
const RELEASED_TOO_LATE: Reply = Reply::fixed(
    501,
    EnhancedCode(5, 5, 4),
    "The message would be released after the time within which it is to be delivered (BY)",
);

impl Connection {
    pub(super) fn check_mail(
        &self,
        reverse_path: &ReversePath,
        parameters: &MailParameters,
        now: Now,
    ) -> Result<(), Refusal> {
        if let Some(hold) = parameters.hold {
            let release = hold.release(now.wall());
            let longest = self.server.config().future_release.map_or(Duration::ZERO, |future| future.longest);
            if release > now.wall() + longest {
                return Err(("hold_too_long", HOLD_TOO_LONG));
            }
            let useful = |by: DeliverBy| now.wall() + Duration::from_secs(by.seconds.try_into().unwrap_or(0));
            if parameters.deliver_by.is_some_and(|by| release > useful(by)) {
                return Err(("hold_too_long", RELEASED_TOO_LATE));
            }
        }
        self.check_owner(reverse_path)?;
        if self.guest.is_submission() { submission::check_sender(reverse_path) } else { Ok(()) }
    }

    pub(super) fn handle_mail(&mut self, checked: Result<(), Refusal>, declared_bytes: Option<u64>, shared: &Shared) {
        self.release(shared);
        let reply = match checked.and_then(|()| self.take_permit(declared_bytes, shared)) {
            Ok(permit) => {
                self.permit = permit;
                SENDER_OK
            }
            Err(refusal) => self.refuse(refusal),
        };
        self.server.answer(reply);
    }

    /// None for a client that may not relay: it will have no recipients, and takes no room from those who may.
    fn take_permit(&self, declared_bytes: Option<u64>, shared: &Shared) -> Result<Option<Permit>, Refusal> {
        match self.trust {
            Trust::Never => Ok(None),
            Trust::ByAddress | Trust::AfterAuth => shared.permits.take(declared_bytes).map(Some),
        }
    }

    pub(super) fn handle_recipient(&mut self, mailbox: &Mailbox) {
        let reply = self.check_recipient(mailbox).map_or_else(|refusal| self.refuse(refusal), |()| RECIPIENT_OK);
        self.server.answer(reply);
    }

    fn check_recipient(&self, mailbox: &Mailbox) -> Result<(), Refusal> {
        match self.trust {
            Trust::Never => Err(("not_allowed", NOT_ALLOWED)),
            _ if self.guest.is_submission() => submission::check_recipient(mailbox),
            _ => Ok(()),
        }
    }

    /// Counts a refusal. On a submission listener it is logged: there, something of ours wants mending (RFC 6409 §5.2).
    fn refuse(&self, (reason, reply): Refusal) -> Reply {
        self.guest.metrics().rejected(reason);
        if self.guest.is_submission() {
            tracing::info!(client = %self.client, %reply, "a submission was refused");
        }
        reply
    }

    pub(super) fn handle_message(&mut self, key: usize, message: Message, room: &mut Room<'_>, now: Now) {
        // A message has recipients, and trust does not change within a transaction.
        debug_assert_ne!(self.trust, Trust::Never);
        let ticket = message.ticket;
        self.account(message.body_bytes as u64, room.shared);
        let missing = match self.check_message(&message, room.shared) {
            Ok(missing) => missing,
            Err(refusal) => {
                let reply = self.refuse(refusal);
                self.release(room.shared);
                return self.server.complete(ticket, reply);
            }
        };
        let release = message.parameters.hold.map(|hold| unix_ms(hold.release(now.wall())));
        let due_ms = release.map_or(now.wall_ms(), |release_ms| release_ms.max(now.wall_ms()));
        let content = Arc::new(self.content(message, missing, room, now));
        let (injector, recipients) = (self.injector(), content.envelope.recipients.len() as u64);
        room.outbox.received.push(NewMessage::new(content, due_ms));
        let permit = self.permit.take();
        let (connection, generation) = (key, self.generation);
        room.outbox.origins.push(Origin { injector, recipients, connection, generation, ticket, permit });
    }

    /// Whether it can be taken, and what is to be added to it.
    fn check_message(&self, message: &Message, shared: &Shared) -> Result<Missing, Refusal> {
        if message.received_count >= shared.max_hops {
            return Err(("loop", LOOP));
        }
        if self.guest.is_submission() { Missing::of(&message.body) } else { Ok(Missing::default()) }
    }

    fn content(&self, mut message: Message, missing: Missing, room: &mut Room<'_>, now: Now) -> Content {
        let id = room.shared.queue.next_id();
        let source = Source {
            hello_name: self.server.hello_name().unwrap_or_default(),
            client: &self.client,
            with: With {
                protocol: self.server.config().protocol,
                extended: self.extended,
                smtputf8: message.parameters.smtputf8,
                priority: message.parameters.priority,
                tls: self.server.tls(),
                authenticated: self.server.user().is_some(),
            },
        };
        leave_out_repeated(&mut message.recipients);
        let Labels { tenant, campaign } = Labels::of(&message.body);
        let body = message.body.with_prefix(room.trace.received(&source, missing, id, now));
        let envelope = Envelope {
            reverse_path: message.reverse_path,
            recipients: message.recipients,
            accepted_us: now.wall_us,
            parameters: message.parameters,
            tenant,
            campaign,
        };
        Content { id, envelope, body }
    }

    /// The final reply of a message.
    pub(super) fn complete(&mut self, ticket: Ticket, reply: Reply) {
        self.server.complete(ticket, reply);
    }

    /// The content takes up what it does, whatever its sender said.
    pub(super) fn account(&mut self, bytes: u64, shared: &Shared) {
        let kept = bytes.min(self.server.config().max_message_bytes as u64);
        if let Some(permit) = &mut self.permit {
            shared.permits.grow(permit, kept);
        }
    }

    pub(super) fn release(&mut self, shared: &Shared) {
        if let Some(permit) = self.permit.take() {
            shared.permits.give_back(permit);
        }
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
