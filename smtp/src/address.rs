//! Mailboxes and reverse-paths (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::borrow::Cow;

/// `local-part@domain`, kept as it was written. Parsing it is the proof that it is well formed.
///
/// Equality and hashing: local part exact, domain case-insensitive.
#[derive(Clone, Debug)]
pub struct Mailbox {
    text: Box<str>,
    at: u32,
}

impl Mailbox {
    /// Parses `local@domain` (no angle brackets). Quoted local parts, address literals and UTF-8 are understood.
    pub fn parse(text: &str) -> Result<Mailbox, AddressError> {
        let _ = text;
        todo!()
    }
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// Left of the last `@`, as written.
    pub fn local_part(&self) -> &str {
        &self.text[..self.at as usize]
    }
    /// Right of the last `@`, as written.
    pub fn domain(&self) -> &str {
        &self.text[self.at as usize + 1..]
    }
    /// The domain in lower case, the form that queues, routes and DNS use. Borrowed when it already is.
    pub fn domain_key(&self) -> Cow<'_, str> {
        todo!()
    }
    /// Whether the address needs SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }
}

/// The argument of MAIL FROM: a mailbox, or `<>` (`None`), the null reverse-path of notices.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct ReversePath(pub Option<Mailbox>);

impl ReversePath {
    /// As it stands between `<` and `>`; empty for the null reverse-path.
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", Mailbox::as_str)
    }
    /// Whether this is `<>`.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }
}

impl PartialEq for Mailbox {
    fn eq(&self, other: &Mailbox) -> bool {
        self.local_part() == other.local_part() && self.domain().eq_ignore_ascii_case(other.domain())
    }
}
impl Eq for Mailbox {}
impl std::hash::Hash for Mailbox {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.local_part().hash(state);
        for byte in self.domain().bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

/// Why a text is no mailbox.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `@`, or nothing before or after it.
    #[error("an address has the form local-part@domain")]
    NoDomain,
    /// Longer than RFC 5321 §4.5.3.1 allows (64 + 1 + 255 octets).
    #[error("the address is too long")]
    TooLong,
    /// A character that may not stand there.
    #[error("the address has a character that is not allowed at byte {0}")]
    BadCharacter(usize),
}
