//! What a header says of its body (RFC 2045 §5, §6).

use memchr::memmem;
use std::ops::Range;

/// The fields of a message's or part's header that matter.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) has_version: bool,
    pub(super) content_type: Option<ContentType>,
    /// Content-Transfer-Encoding: the whole field, its line end included.
    pub(super) encoding: Option<(Range<usize>, Encoding)>,
    /// Readers may differ on it: a line that is no field, or a field twice.
    pub(super) ambiguous: bool,
}

/// Content-Transfer-Encoding, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// 7bit, 8bit, binary: the body is the content.
    Identity,
    /// quoted-printable, base64.
    Encoded,
    Unknown,
}

/// Content-Type, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ContentType {
    Text,
    Multipart {
        boundary: Option<Box<[u8]>>,
        signed: bool,
        /// Its parts are messages unless they say otherwise (RFC 2046 §5.1.5).
        digest: bool,
    },
    /// message/rfc822.
    Message,
    /// Other kinds of message, which may have no encoding (RFC 2046 §5.2).
    Rigid,
    /// Everything else, message/global among it, which may have one (RFC 6532 §3.7).
    Data,
    /// A composite type that is not understood.
    Broken,
}

impl Header {
    /// Reads the lines of `content` in `range`.
    pub(super) fn read(content: &[u8], range: Range<usize>) -> Header {
        let mut header = Header::default();
        let mut at = range.start;
        while at < range.end {
            let end = field_end(&content[..range.end], at);
            header.take(&content[at..end], at);
            at = end;
        }
        header
    }

    fn take(&mut self, field: &[u8], at: usize) {
        let Some(colon) = memchr::memchr(b':', field) else { return self.ambiguous = true };
        let name = field[..colon].trim_ascii_end();
        if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
            return self.ambiguous = true;
        }
        let value = || unfold(&field[colon + 1..]);
        if name.eq_ignore_ascii_case(b"MIME-Version") {
            self.has_version = true;
        } else if name.eq_ignore_ascii_case(b"Content-Type") {
            self.ambiguous |= self.content_type.is_some();
            let (content_type, ambiguous) = ContentType::read(&value());
            self.content_type = Some(content_type);
            self.ambiguous |= ambiguous;
        } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
            self.ambiguous |= self.encoding.is_some();
            self.encoding = Some((at..at + field.len(), Encoding::read(&value())));
        }
    }
}

/// Behind the field that begins at `at`, with its continuation lines.
fn field_end(content: &[u8], at: usize) -> usize {
    let mut end = at;
    loop {
        end = memmem::find(&content[end..], b"\r\n").map_or(content.len(), |found| end + found + 2);
        if !matches!(content.get(end), Some(b' ' | b'\t')) {
            return end;
        }
    }
}

fn unfold(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
}

impl Encoding {
    fn read(value: &[u8]) -> Encoding {
        let mut lexer = Lexer(value);
        let name = lexer.token().to_ascii_lowercase();
        lexer.skip();
        match &name[..] {
            _ if !lexer.0.is_empty() => Encoding::Unknown,
            b"7bit" | b"8bit" | b"binary" => Encoding::Identity,
            b"quoted-printable" | b"base64" => Encoding::Encoded,
            _ => Encoding::Unknown,
        }
    }
}

impl ContentType {
    /// And whether readers may differ on its boundary.
    fn read(value: &[u8]) -> (ContentType, bool) {
        let mut lexer = Lexer(value);
        let main = lexer.token().to_ascii_lowercase();
        let slash = lexer.take(b'/');
        let sub = lexer.token().to_ascii_lowercase();
        let whole = slash && !sub.is_empty();
        let simple = |content_type| (content_type, false);
        match (&main[..], &sub[..]) {
            (b"multipart", _) if whole => {
                let (boundary, ambiguous) = lexer.boundary();
                let (signed, digest) = (sub == b"signed", sub == b"digest");
                (ContentType::Multipart { boundary, signed, digest }, ambiguous)
            }
            (b"multipart" | b"message", _) if !whole => simple(ContentType::Broken),
            (b"message", b"rfc822") => simple(ContentType::Message),
            (b"message", sub) if !sub.starts_with(b"global") => simple(ContentType::Rigid),
            // Fields, which people may want to read (RFC 6533 §6.3, §6.4).
            (b"message", sub) if sub != b"global" => simple(ContentType::Text),
            // RFC 2045 §5.2: what cannot be read is plain text.
            _ if main == b"text" || !whole => simple(ContentType::Text),
            _ => simple(ContentType::Data),
        }
    }
}

/// Reads what RFC 2045 §5.1 makes fields of, from the front; comments (RFC 5322 §3.2.2) are skipped.
struct Lexer<'a>(&'a [u8]);

impl<'a> Lexer<'a> {
    fn skip(&mut self) {
        let mut depth = 0usize;
        while let [byte, rest @ ..] = self.0 {
            match byte {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => {
                    self.0 = rest.get(1..).unwrap_or_default();
                    continue;
                }
                _ if depth > 0 || byte.is_ascii_whitespace() => {}
                _ => return,
            }
            self.0 = rest;
        }
    }

    /// Up to a character that ends a token; a few that should are let pass, since unquoted boundaries have them.
    fn token(&mut self) -> &'a [u8] {
        self.skip();
        let ends = |byte: &u8| byte.is_ascii_whitespace() || b"();\",/=".contains(byte);
        let end = self.0.iter().position(ends).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        token
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip();
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// A quoted string's content, or what stands there up to a semicolon, white space or comment.
    fn value(&mut self) -> Option<Vec<u8>> {
        if !self.take(b'"') {
            let ends = |byte: &u8| byte.is_ascii_whitespace() || b"();".contains(byte);
            let end = self.0.iter().position(ends).unwrap_or(self.0.len());
            let (value, rest) = self.0.split_at(end);
            self.0 = rest;
            return Some(value.to_vec());
        }
        let mut value = Vec::new();
        while let [byte, rest @ ..] = self.0 {
            self.0 = rest;
            match (byte, rest) {
                (b'"', _) => return Some(value),
                (b'\\', [quoted, rest @ ..]) => {
                    value.push(*quoted);
                    self.0 = rest;
                }
                _ => value.push(*byte),
            }
        }
        None
    }

    /// The boundary among the parameters that follow, and whether readers may differ on it.
    fn boundary(&mut self) -> (Option<Box<[u8]>>, bool) {
        let mut boundary: Option<Box<[u8]>> = None;
        loop {
            let separated = self.take(b';');
            self.skip();
            match (separated, self.0) {
                (_, []) => return (boundary, false),
                (true, [b';', ..]) => continue,
                (false, _) => return (boundary, true),
                (true, _) => {}
            }
            let name = self.token().to_ascii_lowercase();
            if !self.take(b'=') {
                return (boundary, true);
            }
            let Some(value) = self.value() else { return (boundary, true) };
            if name == b"boundary" && boundary.is_none() {
                // RFC 2046 §5.1.1: no boundary ends with a space.
                boundary = Some(value.trim_ascii_end()).filter(|boundary| !boundary.is_empty()).map(Into::into);
            } else if name.starts_with(b"boundary") {
                // Twice, or in pieces (RFC 2231), which few understand.
                return (boundary, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn multipart(boundary: &str) -> ContentType {
        let boundary = Some(boundary.as_bytes().into()).filter(|_| !boundary.is_empty());
        ContentType::Multipart { boundary, signed: false, digest: false }
    }

    #[test]
    fn reads_types() {
        let check = |value: &str, expected: ContentType, ambiguous: bool| {
            assert_eq!(ContentType::read(value.as_bytes()), (expected, ambiguous), "{value}");
        };
        check("text/plain; charset=utf-8", ContentType::Text, false);
        check(" (old) TEXT (ha(h)a \\) ) / Html", ContentType::Text, false);
        check("text", ContentType::Text, false);
        check("", ContentType::Text, false);
        check("application/pdf; name=\"a;b\"", ContentType::Data, false);
        check("message/rfc822", ContentType::Message, false);
        check("message/global", ContentType::Data, false);
        check("message/global-headers", ContentType::Text, false);
        check("message/global-delivery-status", ContentType::Text, false);
        check("message/delivery-status", ContentType::Rigid, false);
        check("multipart", ContentType::Broken, false);
        check("multipart/", ContentType::Broken, false);
        check("multipart/mixed", multipart(""), false);
        check("multipart/mixed; boundary=\"\"", multipart(""), false);
        check("multipart/mixed; boundary=abc", multipart("abc"), false);
        check("multipart/mixed; boundary=abc;", multipart("abc"), false);
        check("multipart/mixed;; boundary = abc (so)", multipart("abc"), false);
        check("multipart/mixed; a=b; BOUNDARY=\"a b\\\"c;d \"; x=y", multipart("a b\"c;d"), false);
        check("multipart/mixed; boundary=----=_Part/0:1", multipart("----=_Part/0:1"), false);
        check("multipart/mixed; boundary=a; boundary=b", multipart("a"), true);
        check("multipart/mixed; boundary*0=a; boundary*1=b", multipart(""), true);
        check("multipart/mixed; boundary=a b", multipart("a"), true);
        check("multipart/mixed; boundary", multipart(""), true);
        check("multipart/mixed; boundary=\"a", multipart(""), true);
        check("multipart/mixed boundary=a", multipart(""), true);
        let signed = ContentType::Multipart { boundary: Some((*b"s").into()), signed: true, digest: false };
        check("multipart/signed; micalg=pgp-sha1; boundary=s", signed, false);
    }

    #[test]
    fn reads_encodings() {
        for (value, expected) in [
            ("8bit", Encoding::Identity),
            (" 7BIT (plain) ", Encoding::Identity),
            ("binary", Encoding::Identity),
            ("Quoted-Printable", Encoding::Encoded),
            ("base64", Encoding::Encoded),
            ("8-bit", Encoding::Unknown),
            ("8bit, really", Encoding::Unknown),
            ("", Encoding::Unknown),
        ] {
            assert_eq!(Encoding::read(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn reads_headers() {
        let text = b"Subject: x\r\nContent-Type: multipart/mixed;\r\n\tboundary=b\r\nmime-version : 1.0\r\n\
            content-transfer-encoding:\r\n 8bit\r\nX: y\r\n";
        let header = Header::read(text, 0..text.len());
        assert_eq!(header.content_type, Some(multipart("b")));
        let (range, encoding) = header.encoding.unwrap();
        assert_eq!((&text[range], encoding), (&b"content-transfer-encoding:\r\n 8bit\r\n"[..], Encoding::Identity));
        assert!(header.has_version && !header.ambiguous);
        for odd in ["no field\r\n", " folded\r\nA: b\r\n", "a b: c\r\n", "Content-Type: a/b\r\nContent-Type: c/d\r\n"] {
            assert!(Header::read(odd.as_bytes(), 0..odd.len()).ambiguous, "{odd}");
        }
    }
}
