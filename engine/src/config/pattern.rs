//! Which domains and hosts a rule is about.

use std::borrow::Cow;

/// A name in the form that DNS has it in: internationalised ones stand in addresses in either of two (RFC 5890 §2.3.2.1).
pub(super) fn a_labels(name: &str) -> Cow<'_, str> {
    match name.is_ascii() {
        true => name.into(),
        // What is no name in DNS is nobody's other form.
        false => idna::domain_to_ascii(name).map_or(name.into(), Cow::Owned),
    }
}

/// `example.com` or `*.example.com` (any depth below, not the domain itself), or `*`. Internationalised ones as A-labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub Box<str>);

impl Pattern {
    /// Whether `name` (lower case) matches.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_prefix('*') {
            Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
            None => *self.0 == *name,
        }
    }
}
