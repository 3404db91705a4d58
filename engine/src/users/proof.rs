//! What the users file says to an [`Inquiry`]. Names that do not exist are answered as slowly and in the same words as
//! wrong passwords, so that nobody learns who is a user.

use super::Users;
use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use smtp::sasl::cram;
use smtp::sasl::scram::{KEY_BYTES, Keys};
use smtp::sasl::server::{Finding, Inquiry};

/// A hash with the cost of a real one, of no password.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

impl Users {
    /// The answer; slow where a password has to be checked. `secret`: random, makes up the keys of users who do not exist.
    pub(crate) fn find(&self, inquiry: &Inquiry, secret: &[u8; 32]) -> Finding {
        let user = self.get(inquiry.user());
        let proven = match inquiry {
            Inquiry::Keys { user: name } => {
                return Finding::Keys(user.map_or_else(|| made_up(name, secret), |user| user.scram.clone()));
            }
            Inquiry::Password { password, .. } => match user {
                Some(user) => is_password(&user.password, password),
                None => PasswordHash::new(NOBODY).is_ok_and(|nobody| is_password(&nobody, password)),
            },
            Inquiry::Digest { challenge, digest, .. } => {
                let kept = user.and_then(|user| user.cram_md5.as_deref());
                cram::is_right(kept.unwrap_or_default(), challenge.as_bytes(), digest) && kept.is_some()
            }
            Inquiry::Proof { is_right, .. } => *is_right,
        };
        if proven && user.is_some() { Finding::Accepted } else { Finding::Refused }
    }
}

fn is_password(hash: &PasswordHash, password: &str) -> bool {
    Argon2::default().verify_password(password.as_bytes(), hash).is_ok()
}

/// Always the same for a name, and never of a password that anyone has (RFC 5802 §9).
fn made_up(name: &str, secret: &[u8; 32]) -> Keys {
    let part = |what: &str| cram::digest(&format!("{what} {name}"), secret);
    let key = |what: &str| {
        let mut key = [0; KEY_BYTES];
        key.copy_from_slice(&part(what).as_bytes()[..KEY_BYTES]);
        key
    };
    let salt = smtp::sasl::decode(smtp::sasl::encode(&part("salt").as_bytes()[..16])).unwrap_or_default();
    Keys { salt, iterations: super::SCRAM_ITERATIONS, stored_key: key("stored"), server_key: key("server") }
}
