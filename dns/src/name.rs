//! One spelling per name: lower case, A-labels (RFC 5890), no final dot. And address literals.

use hickory_resolver::proto::rr::Name;
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

/// Longest name in its written form without the final dot (RFC 1035 §2.3.4).
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// The one spelling of `name`; `None` if it cannot be a host or domain name.
pub(crate) fn normalise(name: &str) -> Option<Cow<'_, str>> {
    let name = if name.is_ascii() { Cow::Borrowed(name) } else { Cow::Owned(Name::from_utf8(name).ok()?.to_ascii()) };
    let name = match name {
        Cow::Borrowed(name) => lower(name.strip_suffix('.').unwrap_or(name)),
        Cow::Owned(name) => Cow::Owned(lower(name.strip_suffix('.').unwrap_or(&name)).into_owned()),
    };
    is_name(&name).then_some(name)
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Letters, digits, hyphens and, because they exist in the wild, underscores.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= MAX_NAME_BYTES && name.split('.').all(is_label)
}

/// A normalised name as the DNS knows it, fully qualified: search domains never apply.
pub(crate) fn qualified(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// A name from a record in our spelling. The root is `""`; what cannot be a host name is `None`.
pub(crate) fn from_record(name: &Name) -> Option<String> {
    if name.is_root() {
        return Some(String::new());
    }
    normalise(&name.to_ascii()).map(Cow::into_owned)
}

/// The address in a domain like `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
/// `None`: no literal. `Some(None)`: a literal that names no address.
pub(crate) fn literal(domain: &str) -> Option<Option<IpAddr>> {
    let inside = domain.strip_prefix('[')?;
    let Some(inside) = inside.strip_suffix(']') else { return Some(None) };
    let tagged = inside.split_at_checked(5).filter(|(tag, _)| tag.eq_ignore_ascii_case("IPv6:"));
    Some(match tagged {
        Some((_, address)) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => inside.parse().ok().map(IpAddr::V4),
    })
}

/// The address that a host name is when it is written as one.
pub(crate) fn host_address(host: &str) -> Option<IpAddr> {
    match host.as_bytes().first()? {
        b'[' => literal(host).flatten(),
        byte if byte.is_ascii_hexdigit() || *byte == b':' => host.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        let long_label = "a".repeat(64);
        let long_name = ["abcdefghi."; 26].concat();
        let cases: &[(&str, Option<&str>)] = &[
            ("example.com", Some("example.com")),
            ("Example.COM", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("_dmarc.under_score.example", Some("_dmarc.under_score.example")),
            ("müller.example", Some("xn--mller-kva.example")),
            ("MÜLLER.Example.", Some("xn--mller-kva.example")),
            ("例え.テスト", Some("xn--r8jz45g.xn--zckzah")),
            ("localhost", Some("localhost")),
            ("", None),
            (".", None),
            ("a..b", None),
            (".a", None),
            ("a b.example", None),
            ("a\\.b.example", None),
            ("a\0b.example", None),
            (&long_label, None),
            (&long_name, None),
        ];
        for (name, expected) in cases {
            assert_eq!(normalise(name).as_deref(), *expected, "{name:?}");
        }
    }

    #[test]
    fn literals_are_addresses() {
        let cases: &[(&str, Option<Option<&str>>)] = &[
            ("example.com", None),
            ("[192.0.2.1]", Some(Some("192.0.2.1"))),
            ("[IPv6:2001:db8::1]", Some(Some("2001:db8::1"))),
            ("[ipv6:::1]", Some(Some("::1"))),
            ("[2001:db8::1]", Some(None)),
            ("[IPv6:192.0.2.1]", Some(None)),
            ("[192.0.2]", Some(None)),
            ("[192.0.2.1", Some(None)),
            ("[]", Some(None)),
            ("[ääää:x]", Some(None)),
            ("[X-tag:stuff]", Some(None)),
        ];
        for (domain, expected) in cases {
            let expected = expected.map(|literal| literal.map(|address| address.parse().unwrap()));
            assert_eq!(literal(domain), expected, "{domain}");
        }
    }

    #[test]
    fn hosts_written_as_addresses() {
        for host in ["192.0.2.1", "2001:db8::1", "::1", "[192.0.2.1]", "[IPv6:fe80::1]"] {
            assert!(host_address(host).is_some(), "{host}");
        }
        for host in ["", "example.com", "1.example", "dead.beef.example", "[x]"] {
            assert_eq!(host_address(host), None, "{host}");
        }
    }
}
