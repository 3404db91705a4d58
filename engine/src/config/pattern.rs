//! Which domains and hosts a rule is about.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// A name in the form that DNS has it in: internationalised ones stand in addresses in either of two (RFC 5890 §2.3.2.1).
pub(super) fn a_labels(name: &str) -> Cow<'_, str> {
    match name.is_ascii() {
        true => name.into(),
        // What is no name in DNS is nobody's other form.
        false => idna::domain_to_ascii(name).map_or(name.into(), Cow::Owned),
    }
}

/// The forms in which a domain may stand in addresses, in lower case: an internationalised one as A-labels and as U-labels
/// (RFC 5890 §2.3.2.1), any other as it is.
pub fn domain_forms(name: &str) -> BTreeSet<String> {
    let name = name.to_lowercase();
    let ascii = a_labels(&name).into_owned();
    let (unicode, is_name) = idna::domain_to_unicode(&ascii);
    [name, ascii].into_iter().chain(is_name.is_ok().then_some(unicode)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internationalised_domains_have_two_forms() {
        let both = &["bücher.example", "xn--bcher-kva.example"][..];
        for (name, forms) in [
            ("bücher.example", both),
            ("BÜCHER.Example", both),
            ("XN--bcher-KVA.example", both),
            ("Example.COM", &["example.com"]),
            ("_x.example.com", &["_x.example.com"]),
            ("[192.0.2.1]", &["[192.0.2.1]"]),
            // What only looks like an A-label.
            ("xn--a.example", &["xn--a.example"]),
            ("", &[""]),
        ] {
            assert!(domain_forms(name).iter().eq(forms), "{name}: {:?}", domain_forms(name));
        }
    }
}
