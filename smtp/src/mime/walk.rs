//! Through the parts of a message, once from front to back, noting what has to change.

use super::delimiter::{Boundaries, Stop};
use super::edit::Edit;
use super::encode::encode;
use super::header::{ContentType, Encoding, Header};
use super::{Refusal, Refusal::Malformed};
use bytes::Bytes;
use memchr::memmem;
use std::ops::Range;

/// Multiparts and messages within each other; Postfix's `mime_nesting_limit`.
const MAX_DEPTH: usize = 100;
/// Octets of a line without its end (RFC 5321 §4.5.3.1.6).
const MAX_LINE_BYTES: usize = 998;

pub(super) struct Walk<'a> {
    content: &'a [u8],
    boundaries: Boundaries,
    depth: usize,
    /// How many of the open multiparts are signed.
    signed: usize,
    edits: Vec<Edit>,
}

/// What a header stands before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Part,
}

/// A message's or part's header, and where it is.
struct Entity {
    kind: Kind,
    header: Header,
    /// Where the header's fields end and the empty line begins.
    header_end: usize,
    body_start: usize,
    content_type: ContentType,
}

impl<'a> Walk<'a> {
    pub(super) fn new(content: &'a [u8]) -> Walk<'a> {
        Walk { content, boundaries: Boundaries::default(), depth: 0, signed: 0, edits: Vec::new() }
    }

    /// What has to change, in no particular order.
    pub(super) fn run(mut self) -> Result<Vec<Edit>, Refusal> {
        self.entity(0, Kind::Message, ContentType::Text)?;
        Ok(self.edits)
    }

    /// A message or part, from its header to the delimiter that ends it.
    fn entity(&mut self, start: usize, kind: Kind, default: ContentType) -> Result<Stop, Refusal> {
        let (header_end, ended) = self.header_end(start)?;
        let fields = &self.content[start..header_end];
        if !fields.is_ascii() {
            return Err(Refusal::Header);
        }
        if has_bare_newline(fields) {
            return Err(Malformed("a header has a bare CR or LF"));
        }
        if let Some(stop) = ended {
            return Ok(stop);
        }
        let header = Header::read(self.content, start..header_end);
        let content_type = header.content_type.clone().unwrap_or(default);
        let body_start = (header_end + 2).min(self.content.len());
        let entity = Entity { kind, header, header_end, body_start, content_type };
        let before = self.edits.len();
        let stop = self.body(&entity)?;
        if self.edits.len() > before {
            self.consent(&entity)?;
        }
        Ok(stop)
    }

    /// Where the fields of a header end: at an empty line, or at a delimiter (or the end) if the body is missing.
    fn header_end(&self, start: usize) -> Result<(usize, Option<Stop>), Refusal> {
        let mut at = start;
        loop {
            if let Some(stop) = self.boundaries.at(self.content, at)? {
                return Ok((at, Some(stop)));
            }
            let rest = &self.content[at..];
            match memmem::find(rest, b"\r\n") {
                Some(0) => return Ok((at, None)),
                Some(line) => at += line + 2,
                None => {
                    let end = self.content.len();
                    return Ok((end, Some(Stop { at: end, next: end, delimiter: None })));
                }
            }
        }
    }

    fn body(&mut self, entity: &Entity) -> Result<Stop, Refusal> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Malformed("its parts are nested too deeply"));
        }
        let stop = match &entity.content_type {
            ContentType::Multipart { boundary: Some(boundary), signed, digest } => {
                self.multipart(entity.body_start, boundary, *signed, *digest)
            }
            ContentType::Message if entity.encoding() == Encoding::Identity => {
                self.entity(entity.body_start, Kind::Message, ContentType::Text)
            }
            _ => self.leaf(entity),
        }?;
        self.depth -= 1;
        Ok(stop)
    }

    fn multipart(&mut self, start: usize, boundary: &[u8], signed: bool, digest: bool) -> Result<Stop, Refusal> {
        let level = self.boundaries.len();
        self.boundaries.push(boundary)?;
        let mut stop = self.boundaries.next(self.content, start)?;
        self.margin(start..stop.at)?;
        let before = self.edits.len();
        if stop.delimiter != Some((level, false)) && !self.content[start..stop.at].is_ascii() {
            return Err(Malformed("a multipart has no parts"));
        }
        self.signed += usize::from(signed);
        while stop.delimiter == Some((level, false)) {
            let default = if digest { ContentType::Message } else { ContentType::Text };
            stop = self.entity(stop.next, Kind::Part, default)?;
        }
        self.boundaries.truncate(level);
        self.signed -= usize::from(signed);
        if signed && self.edits.len() > before {
            return Err(Refusal::Signed);
        }
        if stop.delimiter == Some((level, true)) {
            let epilogue = stop.next;
            stop = self.boundaries.next(self.content, epilogue)?;
            self.margin(epilogue..stop.at)?;
        }
        Ok(stop)
    }

    /// A preamble or epilogue.
    fn margin(&mut self, range: Range<usize>) -> Result<(), Refusal> {
        let text = &self.content[range.clone()];
        if has_bare_newline(text) {
            return Err(Malformed("a bare CR or LF stands outside of all parts"));
        }
        if !text.is_ascii() {
            let with: Vec<u8> = text.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }).collect();
            self.edits.push(Edit { range, with: with.into() });
        }
        Ok(())
    }

    /// A body without parts of its own.
    fn leaf(&mut self, entity: &Entity) -> Result<Stop, Refusal> {
        let stop = self.boundaries.next(self.content, entity.body_start)?;
        let range = entity.body_start..stop.body_end(entity.body_start);
        let body = &self.content[range.clone()];
        let is_seven_bit = body.is_ascii() && !has_bare_newline(body);
        let is_plain = is_seven_bit && !body.contains(&0) && !has_long_line(body);
        match (&entity.content_type, entity.encoding()) {
            _ if is_plain || (is_seven_bit && self.signed > 0) => return Ok(stop),
            // Only an encoding would help against a long line, and it has one or can have none.
            (ContentType::Text | ContentType::Data, Encoding::Identity) => {}
            _ if is_seven_bit => return Ok(stop),
            (ContentType::Text | ContentType::Data, Encoding::Encoded) => {
                return Err(Malformed("a part is not in the transfer encoding that it claims"));
            }
            (_, Encoding::Unknown) => return Err(Malformed("a part has an unknown transfer encoding")),
            (ContentType::Multipart { .. } | ContentType::Broken, _) => {
                return Err(Malformed("a multipart has no boundary that can be read"));
            }
            _ => return Err(Malformed("a part is of a type that allows no transfer encoding")),
        }
        let (name, mut encoded) = encode(body, entity.content_type == ContentType::Text);
        if range.end == self.content.len() && !encoded.ends_with(b"\r\n") {
            encoded.extend_from_slice(b"\r\n");
        }
        self.edits.push(Edit { range, with: encoded.into() });
        self.declare(entity, name);
        Ok(stop)
    }

    /// Names the encoding that a body has now, and makes a message MIME that was none.
    fn declare(&mut self, entity: &Entity, encoding: &str) {
        let field = format!("Content-Transfer-Encoding: {encoding}\r\n");
        let mut added = String::new();
        if entity.kind == Kind::Message && entity.header.content_type.is_none() {
            added += "Content-Type: text/plain; charset=unknown-8bit\r\n";
        }
        match &entity.header.encoding {
            Some((range, _)) => self.edits.push(Edit { range: range.clone(), with: field.into() }),
            None => added += &field,
        }
        self.insert(entity.header_end, added);
    }

    /// Something within this entity has changed: whether it may, and what its header says then.
    fn consent(&mut self, entity: &Entity) -> Result<(), Refusal> {
        if entity.header.ambiguous {
            return Err(Malformed("a header can be read in more than one way"));
        }
        if matches!(entity.content_type, ContentType::Multipart { .. } | ContentType::Message) {
            match &entity.header.encoding {
                None => {}
                Some((range, Encoding::Identity)) if holds(&self.content[range.clone()], b"7bit") => {}
                // RFC 2045 §6.4: a composite type has no other encoding.
                Some((range, Encoding::Identity)) => {
                    let with = Bytes::from_static(b"Content-Transfer-Encoding: 7bit\r\n");
                    self.edits.push(Edit { range: range.clone(), with });
                }
                Some(_) => return Err(Malformed("a multipart or message claims to be encoded as a whole")),
            }
        }
        if entity.kind == Kind::Message && !entity.header.has_version {
            self.insert(entity.header_end, "MIME-Version: 1.0\r\n".into());
        }
        Ok(())
    }

    fn insert(&mut self, at: usize, fields: String) {
        if !fields.is_empty() {
            self.edits.push(Edit { range: at..at, with: fields.into() });
        }
    }
}

impl Entity {
    fn encoding(&self) -> Encoding {
        self.header.encoding.as_ref().map_or(Encoding::Identity, |(_, encoding)| *encoding)
    }
}

fn holds(field: &[u8], word: &[u8]) -> bool {
    field.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

fn has_bare_newline(text: &[u8]) -> bool {
    let alone = |at: usize| match text[at] {
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        _ => at == 0 || text[at - 1] != b'\r',
    };
    memchr::memchr2_iter(b'\r', b'\n', text).any(alone)
}

fn has_long_line(text: &[u8]) -> bool {
    let mut start = 0;
    let mut is_long = |end: usize| end - std::mem::replace(&mut start, end + 2) > MAX_LINE_BYTES;
    memmem::find_iter(text, b"\r\n").any(&mut is_long) || is_long(text.len())
}
