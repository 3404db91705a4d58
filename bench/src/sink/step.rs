//! A step of a conversation on which rules have a say.

use super::framer::Verb;
use super::rule::Stage;
use bytes::Bytes;
use smtp::server::Message;
use smtp::{Mailbox, Reply};

/// What is to be answered.
pub(super) enum Step {
    Connect,
    Greet,
    Line(Bytes, Verb),
    StartTls,
    Mail,
    Rcpt(Mailbox),
    Content(Bytes),
    /// With one reply per recipient under LMTP.
    Final(Box<Message>, Option<Vec<Reply>>),
    Idle,
}

impl Step {
    /// Where the rules are asked about it.
    pub(super) fn stage(&self) -> Stage {
        match self {
            Step::Connect => Stage::Connect,
            Step::Greet => Stage::Greeting,
            Step::Line(_, Verb::StartTls) => Stage::StartTls,
            Step::Line(_, Verb::Data | Verb::Bdat(..)) => Stage::Data,
            Step::Line(..) => Stage::Hello,
            Step::StartTls => Stage::Tls,
            Step::Mail => Stage::Mail,
            Step::Rcpt(_) => Stage::Rcpt,
            Step::Content(_) => Stage::Body,
            Step::Final(..) => Stage::Final,
            Step::Idle => Stage::Idle,
        }
    }

    /// Whether nothing else happens before it is answered.
    pub(super) fn holds_up(&self) -> bool {
        !matches!(self, Step::Final(..) | Step::Idle)
    }
}
