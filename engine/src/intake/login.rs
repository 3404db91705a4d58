//! AUTH: how a client proves who it is. The machine asks, the verifier's threads look it up, and a refusal waits a little,
//! longer each time, so that guessing is slow. Whom the users file no longer knows may send nothing more.

use super::connection::Connection;
use super::{Asker, Refusal, Room};
use crate::now::Now;
use crate::users::{SenderPattern, User};
use smtp::sasl::Mechanism;
use smtp::sasl::server::{Finding, Inquiry};
use smtp::{EnhancedCode, Reply, ReversePath};
use std::time::{Duration, Instant};

/// Of a user's senders, in a refusal.
const SENDERS_TOLD: usize = 3;

/// How far one connection has come.
#[derive(Default)]
pub(super) struct Login {
    /// What is being looked up.
    asked: Option<Asked>,
    failures: u32,
    /// When the refusal is told.
    pub refuse_at: Option<Instant>,
}

struct Asked {
    mechanism: Mechanism,
    /// The answer is the last word.
    decides: bool,
    /// As the client says.
    user: String,
}

impl Connection {
    pub(super) fn look_up(&mut self, key: usize, mechanism: Mechanism, inquiry: Inquiry, room: &mut Room<'_>) {
        let (Inquiry::Password { user, .. }
        | Inquiry::Digest { user, .. }
        | Inquiry::Keys { user }
        | Inquiry::Proof { user, .. }) = &inquiry;
        let decides = !matches!(inquiry, Inquiry::Keys { .. });
        self.login.asked = Some(Asked { mechanism, decides, user: user.clone() });
        room.outbox.inquiries.push((Asker { connection: key, generation: self.generation }, inquiry));
    }

    /// What the users file says. The first refusal waits for the delay, the second twice as long, and so on.
    pub(super) fn handle_finding(&mut self, finding: Finding, failure_delay: Duration, now: Now) {
        let Some(Asked { mechanism, decides, user }) = self.login.asked.take() else { return };
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
            let (listener, mechanism) = (self.guest.metrics().name(), mechanism.name());
            tracing::info!(listener, client = %self.client, ?user, mechanism, "a login failed");
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
        match users.get(name) {
            Some(user) if user.may_send_as(reverse_path) => Ok(()),
            user => Err(("not_your_sender", not_your_sender(user.map_or(&[], User::senders)))),
        }
    }
}

/// With what the sender has to change: a client shows nothing else to who uses it.
fn not_your_sender(senders: &[SenderPattern]) -> Reply {
    let told: Vec<String> = senders.iter().take(SENDERS_TOLD).map(ToString::to_string).collect();
    let mut text = "You may not send as this address".to_owned();
    // Addresses beyond ASCII are for clients that asked for them (RFC 6531 §3.5), which is too much to look at here.
    if !told.is_empty() && told.iter().all(|pattern| pattern.is_ascii()) {
        text += &format!(", but as {}{}", told.join(", "), if senders.len() > SENDERS_TOLD { ", ..." } else { "" });
    }
    Reply::new(553, EnhancedCode(5, 7, 1), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_as_whom_the_user_may_send() {
        for (senders, text) in [
            (&[][..], "You may not send as this address"),
            (&["ann@a.test"], "You may not send as this address, but as ann@a.test"),
            (&["*@a.test", "b@b.test"], "You may not send as this address, but as *@a.test, b@b.test"),
            (&["a@a", "b@b", "c@c", "d@d"], "You may not send as this address, but as a@a, b@b, c@c, ..."),
            (&["jürgen@a.test"], "You may not send as this address"),
        ] {
            let senders: Vec<SenderPattern> = senders.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(not_your_sender(&senders), Reply::new(553, EnhancedCode(5, 7, 1), text));
        }
    }
}
