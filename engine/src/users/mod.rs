//! Who may submit mail after AUTH: the users file, and what it proves.
//!
//! The file holds nothing that gives a password away: an Argon2id hash for PLAIN and LOGIN, and SCRAM's keys. The one
//! exception is what CRAM-MD5 cannot do without, the password itself; it is only kept where an operator asked for it.

mod directory;
mod file;
mod proof;
mod sender;

pub(crate) use directory::{Directory, Renewal};
pub use file::UsersError;
pub use sender::SenderPattern;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use smtp::ReversePath;
use smtp::sasl::scram::Keys;
use std::collections::BTreeMap;

/// Rounds of PBKDF2 for SCRAM: the client computes them at every login.
const SCRAM_ITERATIONS: u32 = 10_000;

/// All users, by name.
#[derive(Debug, Default)]
pub struct Users(BTreeMap<Box<str>, User>);

/// One user.
#[derive(Clone)]
pub struct User {
    /// Prepared (SASLprep).
    name: Box<str>,
    password: PasswordHash,
    scram: Keys,
    /// The password itself.
    cram_md5: Option<Box<str>>,
    senders: Vec<SenderPattern>,
}

/// A name or password that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("{0} is empty, longer than 1024 octets, or holds a control character or one that is not assigned")]
pub struct Unprepared(&'static str);

impl std::fmt::Debug for User {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).field("senders", &self.senders).finish_non_exhaustive()
    }
}

impl User {
    /// A user with this password. Takes a moment, on purpose. `cram_md5`: the password is kept, for CRAM-MD5.
    ///
    /// # Errors
    /// SASLprep refuses the name or the password.
    ///
    /// # Panics
    /// If the system has no random octets to give.
    pub fn new(name: &str, password: &str, senders: Vec<SenderPattern>, cram_md5: bool) -> Result<User, Unprepared> {
        let name = smtp::sasl::prepare(name).ok_or(Unprepared("the name"))?;
        let password = smtp::sasl::prepare(password).ok_or(Unprepared("the password"))?;
        let salt: [u8; 16] = crate::tls::random();
        let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
        Ok(User {
            name: name.into(),
            password: hash.expect("the parameters are argon2's own, the salt has 16 octets"),
            scram: Keys::derive(&password, crate::tls::random::<16>().to_vec(), SCRAM_ITERATIONS),
            cram_md5: cram_md5.then(|| password.into()),
            senders,
        })
    }
    /// Who.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// As whom this user may send.
    pub fn senders(&self) -> &[SenderPattern] {
        &self.senders
    }
    /// Whether CRAM-MD5 works for this user, because the password is kept.
    pub fn has_cram_md5(&self) -> bool {
        self.cram_md5.is_some()
    }
    /// The null reverse-path is everybody's: reports on messages have it (RFC 8098 §3).
    pub fn may_send_as(&self, reverse_path: &ReversePath) -> bool {
        reverse_path.0.as_ref().is_none_or(|mailbox| self.senders.iter().any(|pattern| pattern.matches(mailbox)))
    }
}

impl Users {
    /// Adds one, or replaces the one of that name; whether there was one.
    pub fn put(&mut self, user: User) -> bool {
        self.0.insert(user.name.clone(), user).is_some()
    }
    /// Whether there was one of that name.
    pub fn remove(&mut self, name: &str) -> bool {
        smtp::sasl::prepare(name).is_some_and(|name| self.0.remove(&*name).is_some())
    }
    /// By its prepared name.
    pub fn get(&self, name: &str) -> Option<&User> {
        self.0.get(name)
    }
    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests;
