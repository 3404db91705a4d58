//! How far a connection has come, and what that alone tells: whose turn it is, and for how long.
//!
//! `written`: how far the stream is written. What is queued and not written is as if it had not been said.

use super::exchange::Awaited;
use super::mail::Mail;
use super::setup::Setup;
use super::{Stage, Timeouts};
use std::time::Duration;

#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing can be submitted yet.
    Setup(Setup),
    Mail(Mail),
    /// 221 is awaited; other replies may come before it.
    Quit,
    Closed,
}

impl Phase {
    /// Transactions submitted and not reported.
    pub(super) fn in_flight(&self) -> usize {
        match self {
            Phase::Mail(mail) => mail.in_flight(),
            _ => 0,
        }
    }

    /// Whether the peer owes a reply (or its part of a handshake) now. It owes none between transactions, and for content
    /// that is still being written.
    pub(super) fn reply_is_due(&self, written: u64) -> bool {
        match self {
            Phase::Setup(_) | Phase::Quit => true,
            Phase::Closed => false,
            Phase::Mail(mail) => mail.reply_is_due(written),
        }
    }

    /// How long the oldest expected reply may take.
    pub(super) fn patience(&self, timeouts: &Timeouts) -> Duration {
        match self {
            Phase::Setup(Setup::Greeting(_)) => timeouts.greeting,
            Phase::Quit | Phase::Closed => timeouts.quit,
            Phase::Setup(_) => timeouts.command,
            Phase::Mail(mail) => match mail.awaited() {
                Some(Awaited::Data) => timeouts.data,
                Some(Awaited::Final) => timeouts.final_reply,
                _ => timeouts.command,
            },
        }
    }

    /// Where the conversation stands: the stage of the oldest reply that is expected.
    pub(super) fn stage(&self, written: u64) -> Stage {
        match self {
            Phase::Setup(setup) => setup.stage(),
            Phase::Mail(mail) if mail.is_begun(written) => mail.awaited().map_or(Stage::Idle, Awaited::stage),
            Phase::Mail(_) => Stage::Idle,
            Phase::Quit | Phase::Closed => Stage::Quit,
        }
    }

    /// Between transactions: the peer may close without fault.
    pub(super) fn is_idle(&self, written: u64) -> bool {
        matches!(self, Phase::Mail(mail) if !mail.is_begun(written))
    }
}
