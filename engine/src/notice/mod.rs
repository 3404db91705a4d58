//! Delivery status notifications (RFC 3464) in `multipart/report` (RFC 6522): of failure, of delay, of success.
//!
//! Who gets one is the sender's choice (NOTIFY, RFC 3461 §4.1) and decided in dispatch. The null reverse-path and
//! `Auto-Submitted` (RFC 3834) keep notices from being answered in turn; a message that came with the null reverse-path
//! itself gets none. Addresses or headers beyond ASCII make it a notice of RFC 6533. What the peer said is quoted, never
//! trusted: control characters go, lines are bounded and folded.
//!
//! Written by hand rather than with `mail-builder`, which has no part without a transfer encoding of its own choosing and
//! no attributes on a multipart.

mod report;
#[cfg(test)]
mod tests;
mod text;

use crate::config::Config;
use crate::now::Now;
use queue::{Content, Envelope, MailParameters, MessageId, NewMessage, Recipient};
use report::Report;
use smtp::parameters::Return;
use smtp::{Body, Reply, ReversePath};
use std::sync::Arc;

/// Originals up to this size are returned whole with a failure, of larger ones the header only.
pub const RETURN_WHOLE_BYTES: usize = 50 * 1024;
/// The same where the sender asked for all of it (RET=FULL, RFC 3461 §4.3).
pub const RETURN_FULL_BYTES: usize = 10 * 1024 * 1024;
/// So much of a header is returned at most.
pub const RETURN_HEADER_BYTES: usize = 64 * 1024;
/// So much of a peer's text is quoted at most.
pub const QUOTE_BYTES: usize = 1000;
/// Recipients named in the part for people; the part for programs names all.
const NAMED_RECIPIENTS: usize = 100;

/// What a notice is about. Each message gets at most one of a kind from what is settled together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Recipients failed for good.
    Failure,
    /// Recipients are still waiting.
    Delay,
    /// Recipients got it, or it went to a host that does not tell of that.
    Success,
}

/// What became of a recipient, as its sender is told.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its position in the message.
    pub recipient: u32,
    /// What became of it.
    pub action: Action,
    /// What the peer said, or our own words in the same form.
    pub reply: Reply,
    /// The host that it was tried with.
    pub mx: Option<Arc<str>>,
    /// The reply is that host's own; else it is what we say about it.
    pub said: bool,
    /// An attempt led to this, just now; else its time was over meanwhile.
    pub tried: bool,
}

/// RFC 3464 §2.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// For good.
    Failed(Failure),
    /// To be tried again.
    Delayed {
        /// Given up then, unix milliseconds.
        until_ms: u64,
        /// The time within which the sender wanted it delivered is over (DELIVERBY, RFC 2852).
        late: bool,
    },
    /// At its last host, which tells nobody (LMTP).
    Delivered,
    /// Handed to a host that will not tell the sender of its fate.
    Relayed,
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was refused.
    Refused,
    /// `[retry] expire` is over.
    Expired,
    /// The time that the sender set is over (DELIVERBY, RFC 2852).
    TooLate,
}

impl Action {
    /// The notice in which it is told.
    pub fn kind(self) -> Kind {
        match self {
            Action::Failed(_) => Kind::Failure,
            Action::Delayed { .. } => Kind::Delay,
            Action::Delivered | Action::Relayed => Kind::Success,
        }
    }
}

/// Writes the notice to the sender of `original`, all of one kind; `None` if it has no sender (the null reverse-path).
pub fn write(config: &Config, id: MessageId, now: Now, original: &Content, list: &[Status]) -> Option<NewMessage> {
    let sender = original.envelope.reverse_path.0.as_ref()?;
    let kind = list.first()?.action.kind();
    let report = Report::new(config, id, now, original, kind, list);
    let content = Content {
        id,
        envelope: Envelope {
            reverse_path: ReversePath(None),
            recipients: vec![Recipient::new(sender.clone())],
            accepted_us: now.wall_us,
            // REQUIRETLS and the priority hold for notices, too (RFC 8689 §5, RFC 6710 §4.6).
            parameters: MailParameters {
                smtputf8: report.is_international(),
                require_tls: original.envelope.parameters.require_tls,
                priority: original.envelope.parameters.priority,
                ..MailParameters::default()
            },
            tenant: original.envelope.tenant.clone(),
            campaign: None,
        },
        body: Body::new(report.text(sender.as_str())),
    };
    Some(NewMessage::new(Arc::new(content), now.wall_ms()))
}

/// How much of the original goes back with this kind of notice, octets; of a larger one its header does.
fn return_bytes(kind: Kind, original: &Content) -> usize {
    let parameters = &original.envelope.parameters;
    match (kind, parameters.ret) {
        // RFC 3461 §4.3: without a failure in it, it should have the header only. RFC 8689 §5: as if RET=HDRS were there.
        (Kind::Delay | Kind::Success, _) | (Kind::Failure, Some(Return::Headers)) => 0,
        _ if parameters.require_tls => 0,
        (Kind::Failure, Some(Return::Full)) => RETURN_FULL_BYTES,
        (Kind::Failure, None) => RETURN_WHOLE_BYTES,
    }
}
