//! Follows a client line by line, so that rules can answer what `smtp::Server` answers by itself (EHLO, STARTTLS, DATA)
//! and cut into content. Only connections under rules use it; the others hand whole reads to the machine.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// A command line without an end by here is handed on as it is; the machine has its own limit.
const LINE_LIMIT: usize = 64 << 10;

/// A piece of what the client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A whole line with its end.
    Line(Bytes),
    /// Some content, no more than the current message's.
    Content(Bytes),
}

/// What a line asks, as far as rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Hello,
    StartTls,
    Data,
    /// Octets that follow, and whether LAST.
    Bdat(u64, bool),
    Other,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Commands,
    /// DATA was answered 354; so many octets of CRLF.CRLF have been seen.
    Data(usize),
    Chunk(u64),
}

/// The splitter of one connection.
#[derive(Debug, Default)]
pub(super) struct Framer {
    input: VecDeque<Bytes>,
    partial: BytesMut,
    state: State,
}

impl Framer {
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.input.push_back(bytes);
    }

    /// Puts a piece back to the front, to be returned next.
    pub(super) fn unread(&mut self, line: Bytes) {
        self.input.push_front(line);
    }

    /// Forgets everything (TLS begins).
    pub(super) fn clear(&mut self) {
        *self = Framer::default();
    }

    /// The machine answered DATA with 354: content follows.
    pub(super) fn begin_data(&mut self) {
        // An empty content's dot comes right after the line end of DATA.
        self.state = State::Data(2);
    }

    /// A BDAT line was taken: so many octets follow.
    pub(super) fn begin_chunk(&mut self, octets: u64) {
        if octets > 0 {
            self.state = State::Chunk(octets);
        }
    }

    /// The next piece.
    pub(super) fn next(&mut self) -> Option<Unit> {
        match self.state {
            State::Commands => self.next_line(),
            State::Data(seen) => self.take(|bytes| {
                let (len, seen) = end_of_data(bytes, seen);
                (len, if seen == END.len() { State::Commands } else { State::Data(seen) })
            }),
            State::Chunk(left) => self.take(|bytes| {
                let len = left.min(bytes.len() as u64);
                (len as usize, if len == left { State::Commands } else { State::Chunk(left - len) })
            }),
        }
    }

    fn take(&mut self, measure: impl FnOnce(&[u8]) -> (usize, State)) -> Option<Unit> {
        let front = self.input.front_mut()?;
        let (len, state) = measure(front);
        self.state = state;
        let piece = front.split_to(len);
        if front.is_empty() {
            self.input.pop_front();
        }
        Some(Unit::Content(piece))
    }

    fn next_line(&mut self) -> Option<Unit> {
        while let Some(mut front) = self.input.pop_front() {
            match memchr::memchr(b'\n', &front) {
                Some(at) => {
                    let end = front.split_to(at + 1);
                    if !front.is_empty() {
                        self.input.push_front(front);
                    }
                    if self.partial.is_empty() {
                        return Some(Unit::Line(end));
                    }
                    self.partial.extend_from_slice(&end);
                    return Some(Unit::Line(self.partial.split().freeze()));
                }
                None => self.partial.extend_from_slice(&front),
            }
            if self.partial.len() > LINE_LIMIT {
                return Some(Unit::Line(self.partial.split().freeze()));
            }
        }
        None
    }
}

const END: &[u8] = b"\r\n.\r\n";

/// How much of `bytes` belongs to the content including its end mark, when `seen` octets of the mark came before; and
/// how many octets of the mark stand at the end of that.
fn end_of_data(bytes: &[u8], mut seen: usize) -> (usize, usize) {
    let mut at = 0;
    while at < bytes.len() {
        if seen == 0 {
            match memchr::memchr(b'\r', &bytes[at..]) {
                Some(offset) => (at, seen) = (at + offset + 1, 1),
                None => return (bytes.len(), 0),
            }
            continue;
        }
        seen = match bytes[at] {
            byte if byte == END[seen] => seen + 1,
            b'\r' => 1,
            _ => 0,
        };
        at += 1;
        if seen == END.len() {
            break;
        }
    }
    (at, seen)
}

impl Verb {
    pub(super) fn of(line: &[u8]) -> Verb {
        let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let Some(verb) = words.next() else { return Verb::Other };
        let is = |name: &str| verb.eq_ignore_ascii_case(name.as_bytes());
        if is("EHLO") || is("HELO") || is("LHLO") {
            Verb::Hello
        } else if is("STARTTLS") {
            Verb::StartTls
        } else if is("DATA") {
            Verb::Data
        } else if is("BDAT") {
            let octets = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
            let last = words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"LAST"));
            octets.map_or(Verb::Other, |octets| Verb::Bdat(octets, last))
        } else {
            Verb::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a conversation in pieces of `size` and gives back lines and joined content.
    fn units(text: &str, size: usize) -> Vec<String> {
        let mut framer = Framer::default();
        let mut units: Vec<String> = Vec::new();
        let mut in_content = false;
        for piece in text.as_bytes().chunks(size) {
            framer.push(Bytes::copy_from_slice(piece));
            while let Some(unit) = framer.next() {
                match unit {
                    Unit::Line(line) => {
                        match Verb::of(&line) {
                            Verb::Data => framer.begin_data(),
                            Verb::Bdat(octets, _) => framer.begin_chunk(octets),
                            _ => {}
                        }
                        units.push(String::from_utf8(line.to_vec()).unwrap());
                        in_content = false;
                    }
                    Unit::Content(bytes) => {
                        let text = String::from_utf8(bytes.to_vec()).unwrap();
                        if in_content {
                            units.last_mut().unwrap().push_str(&text)
                        } else {
                            units.push(text)
                        }
                        in_content = true;
                    }
                }
            }
        }
        units
    }

    #[test]
    fn conversations_are_split_the_same_however_they_arrive() {
        let cases: &[&[&str]] = &[
            &["EHLO a\r\n", "MAIL FROM:<>\r\n", "DATA\r\n", "hello\r\n.\r\r\n..\r\n.\r\n", "QUIT\r\n"],
            &["DATA\r\n", ".\r\n", "NOOP\n"],
            &["DATA\r\n", "a\n.\n\r\n\r\n.\r\n", "MAIL\r\n"],
            &["BDAT 5\r\n", "a\r\n.\r", "BDAT 0 LAST\r\n", "RSET\r\n"],
            &["BDAT 3 LAST\r\n", "abc", "MAIL\r\n", "DATA\r\n", "x\r\n.\r\n", "QUIT\r\n"],
        ];
        for case in cases {
            for size in 1..12 {
                assert_eq!(units(&case.concat(), size), *case, "pieces of {size}");
            }
        }
    }

    #[test]
    fn verbs_are_known_in_any_case() {
        for (line, verb) in [
            ("ehlo x\r\n", Verb::Hello),
            ("Data\r\n", Verb::Data),
            ("STARTTLS\r\n", Verb::StartTls),
            ("bdat 12 last\r\n", Verb::Bdat(12, true)),
            ("BDAT 12\r\n", Verb::Bdat(12, false)),
            ("BDAT x\r\n", Verb::Other),
            ("\r\n", Verb::Other),
        ] {
            assert_eq!(Verb::of(line.as_bytes()), verb, "{line}");
        }
    }

    #[test]
    fn a_line_without_end_is_handed_on() {
        let mut framer = Framer::default();
        framer.push(Bytes::from(vec![b'x'; LINE_LIMIT + 1]));
        assert!(matches!(framer.next(), Some(Unit::Line(line)) if line.len() == LINE_LIMIT + 1));
    }
}
