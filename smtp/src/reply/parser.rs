//! Reads replies from a peer, however they are cut or glued. Bounded in memory, and nothing is allocated for a reply
//! whose text nobody asks for.
//!
//! Lenient where real servers are sloppy: a missing text (RFC 5321 §4.2: "250" alone), LF without CR, long lines, octets
//! that are no UTF-8. Strict where a mistake could shift replies against commands: a line without a code, or lines of one
//! reply with different codes.

use super::{EnhancedCode, Reply};

/// Octets of one line. RFC 5321 §4.5.3.1.5 says 512; servers with long URLs in their refusals exist.
const MAX_LINE_BYTES: usize = 4096;
/// Octets of all lines of one reply; past it the peer means harm.
const MAX_REPLY_BYTES: usize = 64 * 1024;
/// Octets of text that are kept of one reply.
const MAX_TEXT_BYTES: usize = 8 * 1024;

/// What came is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line does not begin with a code from 200 to 599.
    #[error("a line of the reply does not begin with a reply code")]
    LineWithoutCode,
    /// The lines of one reply disagree (RFC 5321 §4.2.1).
    #[error("the lines of one reply have different codes")]
    CodesDiffer,
    /// No line end within 4096 octets.
    #[error("a line of the reply is too long")]
    LineTooLong,
    /// More than 64 KiB without a last line.
    #[error("the reply has too many lines")]
    ReplyTooLong,
}

impl ReplyError {
    /// The same sentence as `Display`, for those who keep it without an allocation.
    pub const fn sentence(self) -> &'static str {
        match self {
            ReplyError::LineWithoutCode => "a line of the reply does not begin with a reply code",
            ReplyError::CodesDiffer => "the lines of one reply have different codes",
            ReplyError::LineTooLong => "a line of the reply is too long",
            ReplyError::ReplyTooLong => "the reply has too many lines",
        }
    }
}

/// A reply that still lives in its parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyRef<'a> {
    /// 200 to 599.
    pub code: u16,
    /// RFC 2034; that of the first line.
    pub enhanced: Option<EnhancedCode>,
    /// Without the codes, lines joined by `\n`, no other control characters but tab; at most 8 KiB of it.
    pub text: &'a str,
}

impl ReplyRef<'_> {
    /// Copies the text out.
    pub fn to_reply(self) -> Reply {
        Reply { code: self.code, enhanced: self.enhanced, text: self.text.to_owned().into() }
    }
}

/// Reads replies one after another. After an error it is of no more use.
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// A line whose end has not come yet.
    partial: Vec<u8>,
    /// The lines so far of a multi-line reply; of the reply returned last, until the next call.
    text: String,
    code: u16,
    enhanced: Option<EnhancedCode>,
    /// Octets of the lines so far; 0 between replies.
    bytes: usize,
}

impl ReplyParser {
    /// Takes the next reply off the front of `input`. `None`: all of `input` is taken and the reply is not yet complete.
    pub fn parse(&mut self, input: &mut &[u8]) -> Result<Option<ReplyRef<'_>>, ReplyError> {
        while let Some(end) = memchr::memchr(b'\n', input) {
            let (line, rest) = input.split_at(end + 1);
            *input = rest;
            let last = if self.partial.is_empty() {
                self.line(line)?
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                let last = self.line(&whole);
                whole.clear();
                self.partial = whole;
                last?
            };
            if last {
                self.bytes = 0;
                return Ok(Some(ReplyRef { code: self.code, enhanced: self.enhanced, text: &self.text }));
            }
        }
        if self.partial.len() + input.len() > MAX_LINE_BYTES {
            return Err(ReplyError::LineTooLong);
        }
        self.partial.extend_from_slice(input);
        *input = &[];
        Ok(None)
    }

    /// Takes one line, with its line end; true if it is the last of its reply.
    fn line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let first = self.bytes == 0;
        self.bytes += line.len();
        if line.len() > MAX_LINE_BYTES {
            return Err(ReplyError::LineTooLong);
        }
        if self.bytes > MAX_REPLY_BYTES {
            return Err(ReplyError::ReplyTooLong);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (code, rest) = split_code(line).ok_or(ReplyError::LineWithoutCode)?;
        let (last, rest) = match rest {
            [b'-', rest @ ..] => (false, rest),
            [b' ' | b'\t', rest @ ..] => (true, rest),
            rest => (true, rest),
        };
        let enhanced = EnhancedCode::strip(rest, (code / 100) as u8);
        if first {
            self.text.clear();
            self.code = code;
            self.enhanced = enhanced.map(|(enhanced, _)| enhanced);
        } else if self.code != code {
            return Err(ReplyError::CodesDiffer);
        }
        let text = match enhanced {
            Some((enhanced, text)) if self.enhanced == Some(enhanced) => text,
            _ => rest,
        };
        if !first && self.text.len() < MAX_TEXT_BYTES {
            self.text.push('\n');
        }
        self.append(text);
        Ok(last)
    }

    fn append(&mut self, text: &[u8]) {
        match std::str::from_utf8(text) {
            Ok(text) if !text.bytes().any(is_unwanted) => self.text.push_str(text),
            _ => {
                let text = String::from_utf8_lossy(text);
                self.text.extend(text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }));
            }
        }
        self.text.truncate(self.text.floor_char_boundary(MAX_TEXT_BYTES));
    }
}

/// An ASCII control character, or the first octet of a C1 one.
fn is_unwanted(byte: u8) -> bool {
    (byte.is_ascii_control() && byte != b'\t') || byte == 0xc2
}

fn split_code(line: &[u8]) -> Option<(u16, &[u8])> {
    match line {
        [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
            let digit = |byte: u8| u16::from(byte - b'0');
            Some((digit(*a) * 100 + digit(*b) * 10 + digit(*c), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Parsed = (Vec<Reply>, Option<ReplyError>);

    fn parse(chunks: &[&[u8]]) -> Parsed {
        let mut parser = ReplyParser::default();
        let mut replies = Vec::new();
        for chunk in chunks {
            let mut input = *chunk;
            loop {
                match parser.parse(&mut input) {
                    Ok(Some(reply)) => replies.push(reply.to_reply()),
                    Ok(None) => break,
                    Err(error) => return (replies, Some(error)),
                }
            }
            assert!(input.is_empty());
        }
        (replies, None)
    }

    /// The replies as `Debug`-like short strings, whole and octet by octet.
    fn check(wire: &[u8], replies: &[(u16, &str, &str)], error: Option<ReplyError>) {
        let glued = parse(&[wire]);
        let octets: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(glued, parse(&octets));
        let seen: Vec<(u16, String, &str)> = glued
            .0
            .iter()
            .map(|reply| (reply.code, reply.enhanced.map_or(String::new(), |e| e.to_string()), &*reply.text))
            .collect();
        let wanted: Vec<(u16, String, &str)> =
            replies.iter().map(|(code, enhanced, text)| (*code, enhanced.to_string(), *text)).collect();
        assert_eq!(seen, wanted, "{}", wire.escape_ascii());
        assert_eq!(glued.1, error, "{}", wire.escape_ascii());
    }

    #[test]
    fn reads_replies() {
        check(b"250 2.1.0 Ok\r\n", &[(250, "2.1.0", "Ok")], None);
        check(b"250 2.1.0\r\n250 Ok\r\n354 go\r\n", &[(250, "2.1.0", ""), (250, "", "Ok"), (354, "", "go")], None);
        check(b"250-mx\r\n250-SIZE 1\r\n250 HELP\r\n", &[(250, "", "mx\nSIZE 1\nHELP")], None);
        check(b"550-5.1.1 no\r\n550-5.1.2 such\r\n550 5.1.1 user\r\n", &[(550, "5.1.1", "no\n5.1.2 such\nuser")], None);
        check(b"250-a\r\n250", &[], None);
    }

    #[test]
    fn is_lenient_with_the_sloppy() {
        check(b"250\r\n", &[(250, "", "")], None);
        check(b"250\n250 Ok\n", &[(250, "", ""), (250, "", "Ok")], None);
        check(b"220-\n220-a\n220\n", &[(220, "", "\na\n")], None);
        check(b"250 caf\xe9 \x1b[1m \xc2\x9b\r\r\n", &[(250, "", "caf\u{fffd} ?[1m ??")], None);
        check("250 grüße\r\n".as_bytes(), &[(250, "", "grüße")], None);
        // A class that contradicts the code is only text (RFC 2034 §4), and so is what merely looks like a code.
        check(b"550 4.1.1 no\r\n354 3.0.0 go\r\n", &[(550, "", "4.1.1 no"), (354, "", "3.0.0 go")], None);
        check(b"550 5.1.1234 no\r\n550 5.1.1no\r\n", &[(550, "", "5.1.1234 no"), (550, "", "5.1.1no")], None);
    }

    #[test]
    fn refuses_what_is_no_reply() {
        check(b"250 Ok\r\nHTTP/1.1 400\r\n", &[(250, "", "Ok")], Some(ReplyError::LineWithoutCode));
        check(b"\r\n", &[], Some(ReplyError::LineWithoutCode));
        check(b"150 no\r\n", &[], Some(ReplyError::LineWithoutCode));
        check(b"600 no\r\n", &[], Some(ReplyError::LineWithoutCode));
        check(b"250-a\r\n550 b\r\n", &[], Some(ReplyError::CodesDiffer));
        check(&[b'2'; MAX_LINE_BYTES + 1], &[], Some(ReplyError::LineTooLong));
        check(&b"250-a\r\n".repeat(10_000), &[], Some(ReplyError::ReplyTooLong));
    }

    #[test]
    fn keeps_a_bounded_text() {
        let wire = [b"250-".as_slice(), "ü".repeat(1000).as_bytes(), b"\r\n"].concat().repeat(20);
        let (replies, error) = parse(&[&wire, b"250 end\r\n"]);
        assert_eq!((replies.len(), error), (1, None));
        assert!(replies[0].text.len() <= MAX_TEXT_BYTES && replies[0].text.len() > MAX_TEXT_BYTES - 4);
    }

    proptest! {
        #[test]
        fn every_split_reads_the_same(
            wire in prop::collection::vec(prop_oneof![
                Just(b"250-a\r\n".to_vec()), Just(b"250 2.0.0 b\r\n".to_vec()), Just(b"550\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..4),
            ], 0..20).prop_map(|parts| parts.concat()),
            cut in 1usize..9,
        ) {
            let chunks: Vec<&[u8]> = wire.chunks(cut).collect();
            prop_assert_eq!(parse(&[&wire]), parse(&chunks));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for text in ["Ok", "", "a\nb\n\nc", "ä ö"] {
            for enhanced in [None, Some(EnhancedCode(4, 7, 28))] {
                let reply = Reply { code: 451, enhanced, text: text.into() };
                let mut wire = bytes::BytesMut::new();
                reply.encode(&mut wire);
                assert_eq!(parse(&[&wire]), (vec![reply], None));
            }
        }
    }
}
