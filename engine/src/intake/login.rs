//! AUTH: how a client proves who it is. The machine asks, the verifier's threads look it up, and a refusal waits a little,
//! longer each time, so that guessing is slow. Whom the users file no longer knows may send nothing more.

use super::connection::Connection;
use super::{Asker, Refusal, Room};
use crate::now::Now;
use smtp::sasl::Mechanism;
use smtp::sasl::server::{Finding, Inquiry};
use smtp::{EnhancedCode, Reply, ReversePath};
use std::time::{Duration, Instant};

const NOT_YOUR_SENDER: Reply =
    Reply::fixed(553, EnhancedCode(5, 7, 1), "You may not send as this address; see `posthaste user list`");

/// How far one connection has come.
#[derive(Default)]
pub(super) struct Login {
    /// What is being looked up, and whether its answer decides.
    asked: Option<(Mechanism, bool)>,
    failures: u32,
    /// When the refusal is told.
    pub refuse_at: Option<Instant>,
}

impl Connection {
    pub(super) fn look_up(&mut self, key: usize, mechanism: Mechanism, inquiry: Inquiry, room: &mut Room<'_>) {
        self.login.asked = Some((mechanism, !matches!(inquiry, Inquiry::Keys { .. })));
        room.inquiries.push((Asker { connection: key, generation: self.generation }, inquiry));
    }

    /// What the users file says. The first refusal waits for the delay, the second twice as long, and so on.
    pub(super) fn handle_finding(&mut self, finding: Finding, failure_delay: Duration, now: Now) {
        let Some((mechanism, decides)) = self.login.asked.take() else { return };
        let result = match &finding {
            Finding::Unavailable => "unavailable",
            Finding::Accepted => "accepted",
            Finding::Refused => "refused",
            Finding::Keys(_) => return self.server.answer_auth(finding),
        };
        if decides || result == "unavailable" {
            self.guest.metrics().auth_attempt(mechanism.name(), result);
        }
        if let Finding::Refused = finding {
            self.login.failures += 1;
            tracing::info!(client = %self.client, mechanism = mechanism.name(), "a login failed");
            self.login.refuse_at = Some(now.mono + failure_delay.saturating_mul(self.login.failures));
        } else {
            self.server.answer_auth(finding);
        }
    }

    /// The refusal has waited long enough.
    pub(super) fn tell_refusal(&mut self) {
        self.login.refuse_at = None;
        self.server.answer_auth(Finding::Refused);
    }

    /// Whether the user, if there is one, may send as this address.
    pub(super) fn check_owner(&self, reverse_path: &ReversePath) -> Result<(), Refusal> {
        let Some(name) = self.server.user() else { return Ok(()) };
        let users = self.guest.users();
        let may = users.get(name).is_some_and(|user| user.may_send_as(reverse_path));
        if may { Ok(()) } else { Err(("not_your_sender", NOT_YOUR_SENDER)) }
    }
}
