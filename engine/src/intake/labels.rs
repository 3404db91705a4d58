//! What a sender says of a message for us: `X-Posthaste-Campaign` and `X-Posthaste-Tenant`.
//!
//! The fields stay in the message, which is delivered as it came. The first of each name counts; one that is empty, or no
//! UTF-8, is none. Folded ones are read as one line (RFC 5322 §2.2.3): libraries fold what is long right behind the colon.
//! They are looked for in a bounded part of the header section.

use crate::beginning::beginning;
use smtp::Body;

const PREFIX: &[u8] = b"X-Posthaste-";
/// Of the header section.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Of a value; the rest is cut.
const MAX_LABEL_BYTES: usize = 128;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    pub tenant: Option<Box<str>>,
    pub campaign: Option<Box<str>>,
}

impl Labels {
    pub(super) fn of(body: &Body) -> Labels {
        let mut labels = Labels::default();
        let beginning = beginning(body, MAX_HEADER_BYTES);
        let mut rest = &*beginning;
        while let [first, ..] = rest {
            let (field, behind) = rest.split_at(field_bytes(rest));
            match first {
                b'\r' | b'\n' => break,
                b'X' | b'x' => labels.read(field),
                _ => {}
            }
            rest = behind;
        }
        labels
    }

    fn read(&mut self, line: &[u8]) {
        let Some((prefix, rest)) = line.split_at_checked(PREFIX.len()) else { return };
        let Some(colon) = rest.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = (rest[..colon].trim_ascii_end(), &rest[colon + 1..]);
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            return;
        }
        let label = if name.eq_ignore_ascii_case(b"campaign") {
            &mut self.campaign
        } else if name.eq_ignore_ascii_case(b"tenant") {
            &mut self.tenant
        } else {
            return;
        };
        let unfolded: Vec<u8> = value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        let text = std::str::from_utf8(unfolded.trim_ascii()).unwrap_or_default();
        if label.is_none() && !text.is_empty() {
            *label = Some(text[..text.floor_char_boundary(MAX_LABEL_BYTES)].into());
        }
    }
}

/// Octets of the field at the beginning of `text`, with the lines that it goes on in: those that begin with a blank.
fn field_bytes(text: &[u8]) -> usize {
    let ends = memchr::memchr_iter(b'\n', text).map(|at| at + 1);
    ends.into_iter().find(|end| !matches!(text.get(*end), Some(b' ' | b'\t'))).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use smtp::body::Facts;

    #[track_caller]
    fn check(text: &str, tenant: Option<&str>, campaign: Option<&str>) {
        let expected = Labels { tenant: tenant.map(Into::into), campaign: campaign.map(Into::into) };
        assert_eq!(Labels::of(&Body::new(text.to_owned())), expected, "{text:?}");
        // Wherever the buffers end.
        for split in 0..text.len() {
            let parts = [&text.as_bytes()[..split], &text.as_bytes()[split..]].map(Bytes::copy_from_slice);
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            assert_eq!(Labels::of(&Body::from_parts(parts, Facts::of(text.as_bytes()))), expected, "{split}: {text:?}");
        }
    }

    #[test]
    fn the_first_of_each_name_in_the_header_section_counts() {
        check("", None, None);
        check("Subject: x\r\n\r\nX-Posthaste-Campaign: body\r\n", None, None);
        check("X-Posthaste-Campaign: spring\r\n\r\n", None, Some("spring"));
        check("x-posthaste-CAMPAIGN : spring sale \r\nX-Posthaste-Tenant:t1\r\n", Some("t1"), Some("spring sale"));
        check("X-Posthaste-Tenant: \r\nX-Posthaste-Tenant: t2\r\nX-Posthaste-Tenant: t3\r\n\r\n", Some("t2"), None);
        check("Subject: x\r\n X-Posthaste-Tenant: folded\r\n\r\n", None, None);
        check(
            "X-Posthaste-Tenant:\r\n folded\r\nX-Posthaste-Campaign: spring\r\n\t sale\r\n\r\n",
            Some("folded"),
            Some("spring\t sale"),
        );
        check("X-Posthaste-Tenant: \r\n \r\n\r\n x\r\n", None, None);
        check("X-Posthaste-Tenants: x\r\nX-Posthaste\r\nX-Posthaste-Tenant\r\n\r\n", None, None);
    }

    #[test]
    fn long_and_broken_values() {
        check(&format!("X-Posthaste-Tenant: {}\r\n\r\n", "é".repeat(100)), Some(&"é".repeat(64)), None);
        let broken = Body::new(&b"X-Posthaste-Tenant: \xff\r\n\r\n"[..]);
        assert_eq!(Labels::of(&broken), Labels::default());
    }
}
