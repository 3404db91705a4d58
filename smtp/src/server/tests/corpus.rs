//! Real mail and random cuts: what goes in comes out.

use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

/// The messages of `shared/corpus` beside the repository, with CRLF line ends. Empty where there is none.
fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus");
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from(directory)];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "eml") {
                let content = std::fs::read(&path).unwrap();
                found.push((path, with_crlf(&content)));
            }
        }
    }
    found
}

fn with_crlf(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 32);
    for (index, &byte) in content.iter().enumerate() {
        match byte {
            b'\r' if content.get(index + 1) == Some(&b'\n') => {}
            b'\r' | b'\n' => out.extend_from_slice(b"\r\n"),
            _ => out.push(byte),
        }
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Small numbers without a crate, the same in each run.
fn random_cuts(seed: usize) -> impl Iterator<Item = usize> {
    let mut state = seed as u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let most = [3, 100, 3000, 70_000][(state >> 40) as usize % 4];
        (state >> 33) as usize % most + 1
    })
}

fn transfer(wire: &[u8], cuts: impl IntoIterator<Item = usize>) -> Message {
    let mut play = Play::new(Config { max_message_bytes: 100 << 20, ..config() });
    play.send(b"HELO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", usize::MAX);
    let mut rest = wire;
    for cut in cuts.into_iter().chain([usize::MAX]) {
        let (piece, behind) = rest.split_at(cut.min(rest.len()));
        play.send(piece, usize::MAX);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(play.messages.len(), 1, "{}", play.heard);
    play.messages.remove(0)
}

fn data(body: &Body) -> Vec<u8> {
    [b"DATA\r\n", &body.for_data().concat()[..]].concat()
}

/// Content as BDAT commands, in chunks of these sizes.
fn bdat(content: &[u8], chunks: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let (mut wire, mut rest) = (Vec::new(), content);
    for chunk in chunks {
        if rest.len() <= chunk {
            break;
        }
        let (piece, behind) = rest.split_at(chunk);
        wire.extend_from_slice(format!("BDAT {chunk}\r\n").as_bytes());
        wire.extend_from_slice(piece);
        rest = behind;
    }
    wire.extend_from_slice(format!("BDAT {} LAST\r\n", rest.len()).as_bytes());
    wire.extend_from_slice(rest);
    wire
}

fn check_transfer(name: &str, content: &[u8], wire: &[u8], cuts: impl IntoIterator<Item = usize>) {
    let message = transfer(wire, cuts);
    assert!(message.body.to_bytes() == content, "{name} was altered");
    assert_eq!(message.body.facts(), Body::new(content.to_vec()).facts(), "{name}");
    assert_eq!(message.body_bytes, content.len(), "{name}");
}

#[test]
fn real_messages_come_out_as_they_went_in() {
    let corpus = corpus();
    if corpus.is_empty() {
        eprintln!("skipped: no messages in shared/corpus beside the repository");
    }
    for (seed, (path, content)) in corpus.iter().enumerate() {
        let name = path.display().to_string();
        let body = Body::new(content.clone());
        check_transfer(&name, content, &data(&body), random_cuts(seed));
        check_transfer(&name, content, &bdat(content, random_cuts(seed + 1000)), random_cuts(seed + 2000));
    }
}

/// What hostile and careless conversations are made of.
const PIECES: &[&[u8]] = &[
    b"EHLO me\r\n",
    b"LHLO me\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"MAIL FROM:<later@b>\r\n",
    b"MAIL FROM:<full@b>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"RCPT TO:<nobody@d>\r\n",
    b"DATA\r\n",
    b"\r\n.\r\n",
    b".\r\n",
    b"BDAT 3\r\n",
    b"BDAT 2 LAST\r\n",
    b"abc",
    b"\n",
    b"\r",
    b"\0",
    b"\xff",
    b"RSET\r\n",
    b"QUIT\r\n",
    b"XXXX\r\n",
];

proptest! {
    #[test]
    fn cuts_make_no_difference(
        lines in prop::collection::vec("\\.{0,3}[ab]{0,6}|\\.|MAIL FROM:<x@y>", 0..12),
        chunks in prop::collection::vec(1..30usize, 0..6),
        cuts in prop::collection::vec(1..12usize, 0..40),
    ) {
        let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let body = Body::new(content.clone());
        check_transfer("DATA", content.as_bytes(), &data(&body), cuts.iter().copied());
        check_transfer("BDAT", content.as_bytes(), &bdat(content.as_bytes(), chunks), cuts);
    }

    #[test]
    fn whatever_comes_each_mail_ends_once(
        pieces in prop::collection::vec(
            prop::sample::select(PIECES),
            0..40,
        ),
        lmtp in any::<bool>(),
        end in prop::sample::select(&["eof", "idle", "close"][..]),
    ) {
        let protocol = if lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        let config = Config { protocol, max_pending_messages: 3, ..config() };
        let mut outcomes = Vec::new();
        for cut in [usize::MAX, 1] {
            let mut play = Play::new(config.clone());
            let hello: &[u8] = if lmtp { b"LHLO me\r\n" } else { b"EHLO me\r\n" };
            play.send(&[hello, &pieces.concat()].concat(), cut);
            let mut done = 0;
            for _ in 0..2 {
                while let Some(message) = play.messages.get(done) {
                    let ticket = message.ticket;
                    let later = message.reverse_path.as_str().starts_with("later@");
                    done += 1;
                    if later {
                        play.server.complete(ticket, reply("250 2.0.0 Late"));
                        play.drain();
                    }
                }
                play.act(end);
            }
            play.act("idle");
            let count = |what: &str| play.seen.iter().filter(|event| event.starts_with(what)).count();
            let refused = play.heard.matches("452 4.3.1").count();
            prop_assert_eq!(count("mail") - refused, count("message") + count("aborted"));
            prop_assert_eq!(count("closed"), 1);
            prop_assert!(play.seen.last().unwrap().starts_with("closed"));
            outcomes.push((play.heard, play.seen));
        }
        prop_assert_eq!(&outcomes[0], &outcomes[1]);
    }
}
