//! The transfer encodings of RFC 2045 §6.7 and §6.8.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

/// Octets of an encoded line at most (RFC 2045 §6.7 rule 5, §6.8).
const LINE_BYTES: usize = 76;
/// Octets that make a line of base64.
const BASE64_LINE_OCTETS: usize = LINE_BYTES / 4 * 3;

/// The content in the encoding that suits it, and that encoding's name. What is text, and mostly ASCII, stays readable.
pub(super) fn encode(content: &[u8], text: bool) -> (&'static str, Vec<u8>) {
    let escapes = content.iter().filter(|byte| !matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~')).count();
    // By size base64 wins from a sixth on; what people can read without a decoder is worth some.
    if text && escapes * 3 <= content.len() {
        ("quoted-printable", quoted_printable(content))
    } else {
        ("base64", base64(content))
    }
}

/// Line ends of the content stay line ends; a CR or LF that stands alone is escaped like any other control character.
fn quoted_printable(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 4);
    let mut start = 0;
    for end in memmem::find_iter(content, b"\r\n") {
        quote_line(&content[start..end], &mut out);
        out.extend_from_slice(b"\r\n");
        start = end + 2;
    }
    quote_line(&content[start..], &mut out);
    out
}

fn quote_line(line: &[u8], out: &mut Vec<u8>) {
    let mut column = 0;
    for (at, &byte) in line.iter().enumerate() {
        let last = at + 1 == line.len();
        let mut plain = stays(&line[at..], column == 0);
        // A soft line break needs an octet; the line's own end does not.
        let room = LINE_BYTES - usize::from(!last) - column;
        if room < if plain { 1 } else { 3 } {
            out.extend_from_slice(b"=\r\n");
            column = 0;
            plain = stays(&line[at..], true);
        }
        if plain {
            out.push(byte);
            column += 1;
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            column += 3;
        }
    }
}

/// Whether the first octet of the rest of a line stands for itself. `first`: it would be the first of an encoded line.
fn stays(rest: &[u8], first: bool) -> bool {
    match rest {
        // No line may look like a delimiter that the original did not have.
        [b'-', b'-', ..] | [b'.', ..] if first => false,
        // What mailbox files quote (RFC 2049 §3 (6)).
        [b'F', b'r', b'o', b'm', b' ', ..] if first => false,
        [b'=', ..] | [b' ' | b'\t'] => false,
        [b'\t' | b' '..=b'~', ..] => true,
        _ => false,
    }
}

/// Without a line end behind the last line.
fn base64(content: &[u8]) -> Vec<u8> {
    let lines = content.len().div_ceil(BASE64_LINE_OCTETS);
    let mut out = String::with_capacity(lines * (LINE_BYTES + 2));
    for (at, line) in content.chunks(BASE64_LINE_OCTETS).enumerate() {
        if at > 0 {
            out.push_str("\r\n");
        }
        STANDARD.encode_string(line, &mut out);
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, encoded: &str) {
        assert_eq!(String::from_utf8(quoted_printable(content.as_bytes())).unwrap(), encoded, "{content:?}");
    }

    #[test]
    fn quotes() {
        check("", "");
        check("plain text\r\n", "plain text\r\n");
        check("1 = ü\r\n\r\n", "1 =3D =C3=BC\r\n\r\n");
        check("a \r\nb\t\r\n c", "a=20\r\nb=09\r\n c");
        check("a\nb\rc\0\u{7f}", "a=0Ab=0Dc=00=7F");
        check("\r\r\n\n", "=0D\r\n=0A");
        check(".\r\n..a\r\na.b", "=2E\r\n=2E.a\r\na.b");
        check("From me\r\nFrom\r\n From me", "=46rom me\r\nFrom\r\n From me");
        check("-- \r\n-\r\na--", "=2D-=20\r\n-\r\na--");
    }

    #[test]
    fn lines_are_broken_at_76() {
        let x = "x".repeat(75);
        check(&format!("{x}y"), &format!("{x}y"));
        check(&format!("{x}yz"), &format!("{x}=\r\nyz"));
        check(&format!("{x} \r\n"), &format!("{x}=\r\n=20\r\n"));
        let x = "x".repeat(73);
        check(&format!("{x}="), &format!("{x}=3D"));
        check(&format!("{x}=y"), &format!("{x}=\r\n=3Dy"));
        // What a break brings to the front is looked at again.
        let x = "x".repeat(75);
        check(&format!("{x}--b"), &format!("{x}=\r\n=2D-b"));
        check(&format!("{x}..b"), &format!("{x}=\r\n=2E.b"));
    }

    #[test]
    fn base64_comes_in_lines() {
        let (name, encoded) = encode(&[0xff; 115], true);
        let line = "/".repeat(76);
        assert_eq!((name, String::from_utf8(encoded).unwrap()), ("base64", format!("{line}\r\n{line}\r\n/w==")));
    }

    #[test]
    fn what_is_readable_stays_so() {
        assert_eq!(encode("Grüße aus München\r\n".as_bytes(), true).0, "quoted-printable");
        assert_eq!(encode("Привет\r\n".as_bytes(), true).0, "base64");
        assert_eq!(encode("Grüße aus München\r\n".as_bytes(), false).0, "base64");
    }
}
