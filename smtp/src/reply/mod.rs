//! Replies (RFC 5321 §4.2) and enhanced status codes (RFC 3463, RFC 2034): how they are written ([`Reply::encode`]) and
//! how they are read from a peer that nobody vouches for ([`ReplyParser`]).

mod parser;

pub use parser::{ReplyError, ReplyParser, ReplyRef};

use bytes::BytesMut;
use std::borrow::Cow;
use std::fmt;

/// RFC 5321 §4.5.3.1.5: octets of a reply line, with its code and its CRLF.
const MAX_LINE_BYTES: usize = 512;

/// `class.subject.detail` of RFC 3463.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

impl EnhancedCode {
    /// Reads `class.subject.detail` off the front of `text`. Returns the code and what follows it and one space; `None`
    /// where the text does not begin with a code of this `class` (RFC 2034 §4: it agrees with the reply's first digit).
    pub fn strip(text: &[u8], class: u8) -> Option<(EnhancedCode, &[u8])> {
        let (first, rest) = strip_number(text)?;
        let (subject, rest) = strip_number(rest.strip_prefix(b".")?)?;
        let (detail, rest) = strip_number(rest.strip_prefix(b".")?)?;
        if first != u16::from(class) || !matches!(class, 2 | 4 | 5) {
            return None;
        }
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
        Some((EnhancedCode(class, subject, detail), rest))
    }
}

/// One to three digits (RFC 3463 §2).
fn strip_number(text: &[u8]) -> Option<(u16, &[u8])> {
    let digits = text.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > 3 {
        return None;
    }
    let number = text[..digits].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Some((number, &text[digits..]))
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// One reply: its code, the enhanced code when there was one, and the text without either.
/// The lines of a multi-line reply are joined by `\n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// RFC 2034; `None` where the peer gave none.
    pub enhanced: Option<EnhancedCode>,
    /// Without the codes. Not trusted, but valid UTF-8, of bounded length and without control characters other than
    /// tab and the `\n` between lines.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced code and a text known at compile time: no allocation.
    pub const fn fixed(code: u16, enhanced: EnhancedCode, text: &'static str) -> Reply {
        Reply { code, enhanced: Some(enhanced), text: Cow::Borrowed(text) }
    }
    /// A reply with a text made at run time.
    pub fn new(code: u16, enhanced: EnhancedCode, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { code, enhanced: Some(enhanced), text: text.into() }
    }
    /// 2xx.
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }
    /// 5xx.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// Appends the wire form, multi-line where the text has several lines or is too long for one; each line has at most
    /// 512 octets and bears both codes. A control character in the text is written as a space, so no text can forge a reply.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut codes = Codes::new(self.code, self.enhanced);
        let room = MAX_LINE_BYTES - codes.len() - 2;
        let mut lines = self.text.split('\n').flat_map(|line| fold(line, room)).peekable();
        out.reserve(codes.len() + self.text.len() + 2);
        while let Some(line) = lines.next() {
            out.extend_from_slice(codes.before(lines.peek().is_none()));
            let start = out.len();
            out.extend_from_slice(line.as_bytes());
            for byte in out[start..].iter_mut().filter(|byte| byte.is_ascii_control() && **byte != b'\t') {
                *byte = b' ';
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    /// As on the wire, on one line: `550 5.1.1 No such user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        self.text.split('\n').filter(|line| !line.is_empty()).try_for_each(|line| write!(f, " {line}"))
    }
}

/// What every line of a reply begins with: `250-2.1.0 `. Made once, on the stack.
struct Codes {
    bytes: [u8; 20],
    len: usize,
}

impl Codes {
    fn new(code: u16, enhanced: Option<EnhancedCode>) -> Codes {
        let mut codes = Codes { bytes: [0; 20], len: 0 };
        codes.number(code.min(999));
        codes.byte(b' ');
        if let Some(EnhancedCode(class, subject, detail)) = enhanced {
            codes.number(u16::from(class));
            codes.byte(b'.');
            codes.number(subject.min(999));
            codes.byte(b'.');
            codes.number(detail.min(999));
            codes.byte(b' ');
        }
        codes
    }
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
    fn number(&mut self, number: u16) {
        for scale in [100, 10, 1] {
            if number >= scale || scale == 1 {
                self.byte(b'0' + (number / scale % 10) as u8);
            }
        }
    }
    fn len(&self) -> usize {
        self.len
    }
    fn before(&mut self, last: bool) -> &[u8] {
        self.bytes[3] = if last { b' ' } else { b'-' };
        &self.bytes[..self.len]
    }
}

/// Cuts a line into pieces of at most `room` octets, at a space where there is one in the last half, and never inside a character.
fn fold(line: &str, room: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest.take()?;
        if line.len() <= room {
            return Some(line);
        }
        let end = line.floor_char_boundary(room);
        let (piece, more) = match line[..end].rfind(' ') {
            Some(space) if space > room / 2 => (&line[..space], &line[space + 1..]),
            _ => line.split_at(end),
        };
        rest = Some(more);
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply) -> String {
        let mut out = BytesMut::new();
        reply.encode(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn encodes_one_line_and_many() {
        let check = |code, enhanced, text: &'static str, wire| {
            assert_eq!(encoded(&Reply { code, enhanced, text: text.into() }), wire);
        };
        check(250, Some(EnhancedCode(2, 0, 0)), "Ok", "250 2.0.0 Ok\r\n");
        check(354, None, "Go on", "354 Go on\r\n");
        check(250, None, "", "250 \r\n");
        check(250, None, "mx.example\nSIZE 100\nPIPELINING", "250-mx.example\r\n250-SIZE 100\r\n250 PIPELINING\r\n");
        check(550, Some(EnhancedCode(5, 7, 102)), "a\nb", "550-5.7.102 a\r\n550 5.7.102 b\r\n");
        check(
            550,
            Some(EnhancedCode(5, 10, 999)),
            "a\r\n250 forged\0",
            "550-5.10.999 a \r\n550 5.10.999 250 forged \r\n",
        );
    }

    #[test]
    fn folds_at_512_octets() {
        let words = "word ".repeat(300);
        let solid = "ü".repeat(700);
        for text in [words, solid] {
            let wire = encoded(&Reply::new(550, EnhancedCode(5, 1, 1), text.clone()));
            let lines: Vec<&str> = wire.split_inclusive("\r\n").collect();
            assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= 512 && line.ends_with("\r\n")));
            assert!(lines[..lines.len() - 1].iter().all(|line| line.starts_with("550-5.1.1 ") && line.len() > 256));
            assert!(lines.last().unwrap().starts_with("550 5.1.1 "));
            let joined: String = lines.iter().map(|line| &line[10..line.len() - 2]).collect();
            assert_eq!(joined.replace(' ', ""), text.replace(' ', ""));
        }
    }

    #[test]
    fn displays_on_one_line() {
        assert_eq!(Reply::fixed(550, EnhancedCode(5, 1, 1), "No\nsuch").to_string(), "550 5.1.1 No such");
        assert_eq!(Reply { code: 250, enhanced: None, text: "".into() }.to_string(), "250");
    }
}
