//! SASLprep (RFC 4013): the same user name or password, however it was typed, gives the same octets.

use std::borrow::Cow;

/// Octets of a user name or of a password; longer ones are refused before any work is done on them.
pub const MAX_SECRET_BYTES: usize = 1024;

/// The prepared form of a user name or password. `None`: empty, too long, or with characters that SASLprep prohibits
/// (control characters, unassigned code points).
pub fn prepare(text: &str) -> Option<Cow<'_, str>> {
    let fits = |text: &str| (1..=MAX_SECRET_BYTES).contains(&text.len());
    if !fits(text) {
        return None;
    }
    stringprep::saslprep(text).ok().filter(|prepared| fits(prepared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_4013() {
        for (text, prepared) in [
            ("I\u{AD}X", Some("IX")),
            ("user", Some("user")),
            ("USER", Some("USER")),
            ("\u{AA}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("\u{7}", None),
            ("\u{627}\u{31}", None),
            ("", None),
            ("\u{AD}", None),
        ] {
            assert_eq!(prepare(text).as_deref(), prepared, "{text:?}");
        }
        assert_eq!(prepare(&"x".repeat(MAX_SECRET_BYTES + 1)), None);
    }
}
