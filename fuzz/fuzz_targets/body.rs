//! Any content in any pieces: its facts are what they are called, and a server takes from the wire, under DATA and under BDAT,
//! what was put there. Any octets behind DATA: CRLF.CRLF ends them, and nothing else does.
#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use smtp::Body;
use smtp::body::{FactScan, Facts};
use smtp::server::{BareNewline, Config, Event, RECIPIENT_OK, SENDER_OK, Server};
use smtp::{EnhancedCode, Reply};
use std::sync::Arc;
use std::time::Instant;

#[derive(Arbitrary, Debug)]
struct Play {
    content: Vec<u8>,
    /// Lengths of pieces, in turn.
    cuts: Vec<u8>,
    bare_newline: u8,
}

const QUEUED: Reply = Reply::fixed(250, EnhancedCode(2, 0, 0), "Ok");

impl Play {
    fn pieces<'a>(&self, mut octets: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        for &cut in self.cuts.iter().cycle().take(octets.len()) {
            let (piece, rest) = octets.split_at(usize::from(cut).clamp(1, octets.len()));
            pieces.push(piece);
            octets = rest;
            if octets.is_empty() {
                break;
            }
        }
        pieces.extend((!octets.is_empty()).then_some(octets));
        pieces
    }
}

/// What the words of `Facts` say, read off directly.
fn model(content: &[u8]) -> Facts {
    let mut facts = Facts { ends_with_crlf: content.ends_with(b"\r\n"), ..Facts::default() };
    let (mut line, mut at) = (0, 0);
    while at < content.len() {
        facts.eight_bit |= content[at] > 127;
        facts.dot_lines |= line == 0 && content[at] == b'.';
        match content[at] {
            b'\r' if content.get(at + 1) == Some(&b'\n') => {
                facts.longest_line = facts.longest_line.max(line);
                line = 0;
                at += 2;
                continue;
            }
            b'\r' | b'\n' => facts.binary = true,
            _ => {}
        }
        line += 1;
        at += 1;
    }
    facts.longest_line = facts.longest_line.max(line);
    facts
}

/// The dots that begin a line.
fn line_dots(content: &[u8]) -> Vec<usize> {
    let behind_crlf = content.windows(3).enumerate().filter(|(_, three)| three == b"\r\n.").map(|(at, _)| at + 2);
    content.starts_with(b".").then_some(0).into_iter().chain(behind_crlf).collect()
}

/// The facts of a content scanned from dot to dot, and the dots that begin a line: those that stopped the scan or came first in
/// a piece.
fn to_dots(pieces: &[&[u8]]) -> (Facts, Vec<usize>) {
    let (mut scan, mut dots, mut at) = (FactScan::default(), Vec::new(), 0);
    for mut piece in pieces.iter().copied() {
        while let Some(&first) = piece.first() {
            if first == b'.' && scan.is_at_line_start() {
                dots.push(at);
            }
            let taken = scan.feed_to_dot(piece);
            assert!(taken == piece.len() || taken > 0 && piece[taken] == b'.' && scan.is_at_line_start());
            piece = &piece[taken..];
            at += taken;
        }
    }
    (scan.facts(), dots)
}

/// Hands the flight over in pieces; the content of the message that comes of it, or nothing when it is refused.
fn take(play: &Play, bare_newline: BareNewline, flight: &[u8]) -> Option<Body> {
    let now = Instant::now();
    let config = Config { bare_newline, max_message_bytes: 1 << 20, ..Config::default() };
    let mut server = Server::new(Arc::new(config), now);
    server.handle_bytes(Bytes::from_static(b"EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<a@s.test>\r\n"), now);
    let mut body = None;
    for piece in std::iter::once(&b""[..]).chain(play.pieces(flight)) {
        server.handle_bytes(Bytes::copy_from_slice(piece), now);
        while let Some(event) = server.poll_event() {
            match event {
                Event::Mail { .. } => server.answer(SENDER_OK),
                Event::Recipient(_) => server.answer(RECIPIENT_OK),
                Event::Message(message) => {
                    assert!(body.is_none() && message.body_bytes == message.body.len());
                    server.complete(message.ticket, QUEUED);
                    body = Some(message.body);
                }
                Event::Closed(reason) => panic!("closed: {reason:?}"),
                _ => {}
            }
        }
    }
    body
}

fn check(play: &Play, bare_newline: BareNewline, flight: &[u8], sent: &[u8]) {
    let facts = model(sent);
    match take(play, bare_newline, flight) {
        None => assert!(facts.binary && bare_newline == BareNewline::Reject, "refused without a reason"),
        Some(body) if facts.binary && bare_newline == BareNewline::Normalize => {
            assert!(!body.facts().binary, "repaired");
            assert_eq!(body.facts(), model(&body.to_bytes()));
        }
        Some(body) => {
            assert!(!facts.binary || bare_newline == BareNewline::Keep, "taken in spite of bare newlines");
            assert_eq!(body.to_bytes(), sent);
            assert_eq!(body.facts(), facts);
        }
    }
}

/// What stands on the wire behind DATA, read line by line (RFC 5321 §4.5.2): the content, and where its end ends.
fn unstuffed(wire: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let line = &wire[at..];
        if line.starts_with(b".\r\n") {
            return Some((content, at + 3));
        }
        let dot = usize::from(line.first() == Some(&b'.'));
        let end = line.windows(2).position(|two| two == b"\r\n")? + 2;
        content.extend_from_slice(&line[dot..end]);
        at += end;
    }
}

fn check_wire(play: &Play, wire: &[u8]) {
    let flight = |octets: usize| [b"DATA\r\n", &wire[..octets]].concat();
    let taken = |octets| take(play, BareNewline::Keep, &flight(octets)).map(|body| body.to_bytes());
    match unstuffed(wire) {
        None => assert_eq!(taken(wire.len()), None, "ended by something else"),
        Some((content, end)) => {
            assert_eq!(taken(end).as_deref(), Some(&content[..]));
            assert_eq!(taken(end - 1), None, "ended too early");
        }
    }
}

fuzz_target!(|play: Play| {
    check_wire(&play, &play.content);
    let content = &play.content[..];
    let facts = model(content);
    assert_eq!(Facts::of(content), facts);
    let mut scan = FactScan::default();
    play.pieces(content).iter().for_each(|piece| scan.feed(piece));
    assert_eq!(scan.facts(), facts);
    assert_eq!(to_dots(&play.pieces(content)), (facts, line_dots(content)));
    let body = Body::from_segments(play.pieces(content).into_iter().map(Bytes::copy_from_slice));
    assert_eq!(body.facts(), facts);

    let bare_newline =
        [BareNewline::Reject, BareNewline::Keep, BareNewline::Normalize][usize::from(play.bare_newline) % 3];
    let data = [b"DATA\r\n".as_slice(), &body.for_data().concat()].concat();
    let line_end = if facts.ends_with_crlf || content.is_empty() { &b""[..] } else { b"\r\n" };
    check(&play, bare_newline, &data, &[content, line_end].concat());
    let mut chunks = Vec::new();
    for piece in play.pieces(content) {
        chunks.extend_from_slice(format!("BDAT {}\r\n", piece.len()).as_bytes());
        chunks.extend_from_slice(piece);
    }
    chunks.extend_from_slice(b"BDAT 0 LAST\r\n");
    check(&play, bare_newline, &chunks, content);
});
