//! AUTH: `[auth]`, and what listeners say of it.

use super::raw::{At, Document, Table};
use super::{Auth, AuthPolicy, Listener, Mode, SocketName, defaults, kinds};
use smtp::client::Protocol;
use smtp::sasl::Mechanism;

/// `[auth]`.
pub(super) fn auth(document: &Document<'_>, root: &mut Table<'_>) -> Auth {
    let mut table = root.table("auth", "[auth]");
    let users = table.read_or("users", &kinds::PATH, defaults::USERS_FILE.into());
    let mechanisms = table.list("mechanisms", &kinds::MECHANISM);
    if let Some(list) = mechanisms.as_ref().filter(|list| list.value.is_empty()) {
        let help = format!("at least one of {}", kinds::MECHANISM.allowed);
        document.note(list.span.clone(), "nobody could log in", "no mechanism is left", Some(help));
    }
    let max_failures = table.read_or("max_failures", &kinds::COUNT, defaults::MAX_AUTH_FAILURES);
    let failure_delay = table.read_or("failure_delay", &kinds::FAILURE_DELAY, defaults::AUTH_FAILURE_DELAY);
    table.finish();
    let mut mechanisms: Vec<Mechanism> = match mechanisms {
        Some(list) => list.value.into_iter().map(|at| at.value).collect(),
        None => defaults::MECHANISMS.to_vec(),
    };
    // Strongest first: many clients take the first one that they know.
    mechanisms.sort_by(|one, other| other.cmp(one));
    mechanisms.dedup();
    Auth { users: document.beside(&users), mechanisms, max_failures, failure_delay }
}

/// `auth` and `auth_without_tls` of a listener, and whether AUTH is allowed in clear text there.
pub(super) fn policy(
    document: &Document<'_>,
    table: &mut Table<'_>,
    bind: &SocketName,
    tls: bool,
) -> (AuthPolicy, bool) {
    let policy = table.read("auth", &kinds::LISTENER_AUTH);
    let without_tls = table.read("auth_without_tls", &kinds::FLAG);
    let Some(At { value: policy, span }) = policy.filter(|at| at.value != AuthPolicy::None) else {
        if let Some(At { span, .. }) = without_tls {
            let help = "auth = \"optional\" or auth = \"required\" makes use of it";
            document.note(span, "nothing uses this switch", "`auth` is \"none\"", Some(help.into()));
        }
        return (AuthPolicy::None, false);
    };
    let without_tls = without_tls.map_or(is_private(bind), |at| at.value);
    if !tls && !without_tls {
        let help = "tls = \"starttls\" or \"implicit\"; or auth_without_tls = true, where nobody else can listen";
        document.note(span, "nobody could log in", "AUTH is not offered in clear text here", Some(help.into()));
    }
    (policy, without_tls)
}

/// What is said there nobody else can hear.
fn is_private(bind: &SocketName) -> bool {
    match bind {
        SocketName::Unix(_) => true,
        SocketName::Tcp(address) => address.ip().is_loopback(),
    }
}

impl Listener {
    /// Customers can come for their mail (RFC 2645). Submission has nothing of the kind (RFC 6409 §7).
    pub fn has_atrn(&self) -> bool {
        self.has_auth() && self.mode == Mode::Relay && self.protocol == Protocol::Smtp
    }
    /// The users file is needed.
    pub fn has_auth(&self) -> bool {
        self.auth != AuthPolicy::None
    }
}
