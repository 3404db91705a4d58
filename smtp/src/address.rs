//! Mailboxes and reverse-paths (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! A [`Mailbox`] that exists is well formed: it may be put into a command as it stands. One liberty is taken, because the
//! addresses exist: dots may stand anywhere in an unquoted local part (`a..b.@example.jp`). Whether a domain resolves,
//! and whether a host may be mailed, is not decided here.

use arrayvec::ArrayString;
use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_PART_BYTES: usize = 64;
/// RFC 5321 §4.5.3.1.2.
const MAX_DOMAIN_BYTES: usize = 255;
/// RFC 1035 §2.3.4.
const MAX_LABEL_BYTES: usize = 63;

/// Addresses up to so many octets, which is almost all of them, need no allocation. It makes a [`Mailbox`] 48 octets large:
/// less than a pointer, a length, and an allocation for as much.
const INLINE_BYTES: usize = 40;

/// `local-part@domain`, kept as it was written. Parsing it is the proof that it is well formed.
///
/// Cloning copies a short text and shares a long one. Equality and hashing: local part exact, domain case-insensitive.
#[derive(Clone)]
pub struct Mailbox(Text);

/// Invariant: `at` is the index of an `@` in `text`.
#[derive(Clone)]
enum Text {
    Inline { at: u8, text: ArrayString<INLINE_BYTES> },
    Shared { at: u8, text: Arc<str> },
}

impl Mailbox {
    /// Parses `local@domain` (no angle brackets). Quoted local parts, address literals and UTF-8 are understood.
    pub fn parse(text: &str) -> Result<Mailbox, AddressError> {
        let at = memchr::memrchr(b'@', text.as_bytes()).ok_or(AddressError::NoDomain)?;
        let (local_part, domain) = (&text[..at], &text[at + 1..]);
        if local_part.is_empty() || domain.is_empty() {
            return Err(AddressError::NoDomain);
        }
        if local_part.len() > MAX_LOCAL_PART_BYTES || domain.len() > MAX_DOMAIN_BYTES {
            return Err(AddressError::TooLong);
        }
        check_local_part(local_part).map_err(AddressError::BadCharacter)?;
        check_domain(domain).map_err(|bad| AddressError::BadCharacter(at + 1 + bad))?;
        // At most the length of a local part, as was just seen.
        let at = at as u8;
        Ok(Mailbox(match ArrayString::from(text) {
            Ok(text) => Text::Inline { at, text },
            Err(_) => Text::Shared { at, text: text.into() },
        }))
    }
    /// As it was written.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Inline { text, .. } => text,
            Text::Shared { text, .. } => text,
        }
    }
    /// Left of the last `@`, as written.
    pub fn local_part(&self) -> &str {
        &self.as_str()[..self.at()]
    }
    /// Right of the last `@`, as written.
    pub fn domain(&self) -> &str {
        &self.as_str()[self.at() + 1..]
    }
    /// The domain in lower case, the form that queues, routes and DNS use. Borrowed when it already is.
    pub fn domain_key(&self) -> Cow<'_, str> {
        let domain = self.domain();
        if !domain.is_ascii() {
            Cow::Owned(domain.to_lowercase())
        } else if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(domain.to_ascii_lowercase())
        } else {
            Cow::Borrowed(domain)
        }
    }
    /// Whether every character is ASCII; if not, the address needs SMTPUTF8 (RFC 6531).
    pub fn is_ascii(&self) -> bool {
        self.as_str().is_ascii()
    }
    fn at(&self) -> usize {
        let (Text::Inline { at, .. } | Text::Shared { at, .. }) = self.0;
        at.into()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Mailbox, AddressError> {
        Mailbox::parse(text)
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

/// Local-part of RFC 5321 §4.1.2. The error is the index of the first character that may not stand there.
fn check_local_part(text: &str) -> Result<(), usize> {
    match text.strip_prefix('"') {
        Some(quoted) => check_quoted(quoted).map_err(|bad| bad + 1),
        None => match text.char_indices().find(|&(_, c)| !is_atom(c) && c != '.') {
            Some((bad, _)) => Err(bad),
            None => Ok(()),
        },
    }
}

/// The rest of a Quoted-string behind its first quotation mark.
fn check_quoted(text: &str) -> Result<(), usize> {
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            '"' if !escaped => return if index + 1 == text.len() { Ok(()) } else { Err(index + 1) },
            _ if c.is_control() => return Err(index),
            // A quoted-pair holds printable ASCII only.
            _ if escaped && !c.is_ascii() => return Err(index),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    Err(text.len())
}

fn is_atom(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' | '^' | '_' | '`' | '{' | '|' | '}'
        | '~' => true,
        _ => is_utf8_non_ascii(c),
    }
}

fn is_utf8_non_ascii(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace()
}

/// Domain or address-literal. The error is the index of the first character that may not stand there.
fn check_domain(text: &str) -> Result<(), usize> {
    if text.starts_with('[') {
        return if is_address_literal(text) { Ok(()) } else { Err(0) };
    }
    let mut start = 0;
    for label in text.split('.') {
        check_label(label).map_err(|bad| start + bad)?;
        start += label.len() + 1;
    }
    Ok(())
}

/// Letters, digits and inner hyphens (and UTF-8, RFC 6531). Underscores are no host name but do occur in mail domains.
fn check_label(label: &str) -> Result<(), usize> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || is_utf8_non_ascii(c);
    if label.is_empty() || label.starts_with('-') {
        return Err(0);
    }
    if let Some((bad, _)) = label.char_indices().find(|&(_, c)| !allowed(c)) {
        return Err(bad);
    }
    if label.ends_with('-') || label.len() > MAX_LABEL_BYTES {
        return Err(label.len().min(MAX_LABEL_BYTES + 1) - 1);
    }
    Ok(())
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3); no other tag was ever registered.
fn is_address_literal(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return false };
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => inner[5..].parse::<Ipv6Addr>().is_ok(),
        _ => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn check(text: &str, expected: Result<(&str, &str), AddressError>) {
        let parsed = Mailbox::parse(text);
        let got = parsed.as_ref().map(|mailbox| (mailbox.local_part(), mailbox.domain()));
        assert_eq!(got, expected.as_ref().map(|parts| *parts), "{text}");
        if let Ok(mailbox) = &parsed {
            assert_eq!(mailbox.as_str(), text);
            assert_eq!(mailbox.to_string().parse::<Mailbox>().as_ref(), Ok(mailbox));
        }
    }

    #[test]
    fn well_formed_addresses_are_split_at_the_last_at() {
        let long = format!("{}@{}.example", "l".repeat(64), "d".repeat(63));
        check(&long, Ok((&"l".repeat(64), &format!("{}.example", "d".repeat(63)))));
        for (local, domain) in [
            ("ann", "example.com"),
            ("a.b+c", "EXAMPLE.com"),
            ("a..b.", "docomo.example"),
            ("!#$%&'*+-/=?^_`{|}~", "x"),
            ("\"a@b c\\\"\"", "example.com"),
            ("\"\"", "example.com"),
            ("ann", "[192.0.2.1]"),
            ("ann", "[IPv6:2001:db8::1]"),
            ("ann", "[ipv6:::1]"),
            ("jürgen", "münchen.example"),
            ("\"ü ü\"", "xn--mnchen-3ya.example"),
            ("ann", "_srv.example"),
        ] {
            check(&format!("{local}@{domain}"), Ok((local, domain)));
        }
    }

    #[test]
    fn short_and_long_addresses_are_alike() {
        assert_eq!(size_of::<Option<Mailbox>>(), 48);
        for octets in [INLINE_BYTES - 1, INLINE_BYTES, INLINE_BYTES + 1] {
            let text = format!("{}@example.com", "l".repeat(octets - "@example.com".len()));
            check(&text, Ok((&text[..octets - "@example.com".len()], "example.com")));
            assert_eq!(matches!(Mailbox::parse(&text).unwrap().0, Text::Inline { .. }), octets <= INLINE_BYTES);
        }
    }

    #[test]
    fn malformed_addresses_are_refused_with_the_place() {
        use AddressError::*;
        for text in ["", "ann", "@", "ann@", "@example.com"] {
            check(text, Err(NoDomain));
        }
        check(&format!("{}@example.com", "l".repeat(65)), Err(TooLong));
        check(&format!("a@{}", "d.".repeat(128)), Err(TooLong));
        check(&format!("a@{}.example", "d".repeat(64)), Err(BadCharacter(2 + 63)));
        for (text, bad) in [
            ("a b@example.com", 1),
            ("a@b@example.com", 1),
            ("a<@example.com", 1),
            ("a\u{0}b@example.com", 1),
            ("a\r\n@example.com", 1),
            ("\"a@example.com", 2),
            ("\"a\"b@example.com", 3),
            ("\"a\\\"@example.com", 4),
            ("\"a\n\"@example.com", 2),
            ("ü\u{85}@example.com", 2),
            ("a@ex ample.com", 4),
            ("a@example..com", 10),
            ("a@.example", 2),
            ("a@example.com.", 14),
            ("a@-x.example", 2),
            ("a@x-.example", 3),
            ("a@[192.0.2]", 2),
            ("a@[192.0.2.1", 2),
            ("a@[IPv6:zz]", 2),
            ("a@[tag:x]", 2),
            ("a@[ü]", 2),
            ("a@exa>mple", 5),
        ] {
            check(text, Err(BadCharacter(bad)));
        }
    }

    #[test]
    fn the_domain_is_case_insensitive_and_the_local_part_is_not() {
        let parse = |text| Mailbox::parse(text).unwrap();
        let set: HashSet<Mailbox> = ["Ann@Example.com", "Ann@example.COM", "ann@example.com"].map(parse).into();
        assert_eq!(set.len(), 2);
        assert_eq!(parse("a@Example.COM").domain_key(), "example.com");
        assert!(matches!(parse("a@example.com").domain_key(), Cow::Borrowed("example.com")));
        assert_eq!(parse("a@MÜNCHEN.example").domain_key(), "münchen.example");
        assert!(parse("a@b").is_ascii() && !parse("ä@b").is_ascii());
    }

    #[test]
    fn the_null_reverse_path_is_empty() {
        assert!(ReversePath::default().is_null());
        assert_eq!(ReversePath::default().as_str(), "");
        assert_eq!(ReversePath(Mailbox::parse("a@b").ok()).as_str(), "a@b");
    }
}
