//! Compares what arrives with what was sent, octet by octet, less the `Received:` field that the engine adds.

use bench::load::normalise;
use bench::proof::Tally;
use bench::sink::Received;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::io;
use std::path::Path;
use std::thread::JoinHandle;

/// Messages that may wait to be compared.
const WAITING: usize = 1024;

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    pub messages: u64,
    pub different: u64,
}

/// A running comparison; ends when the sink that feeds it is gone.
pub(super) struct Comparison(JoinHandle<Compared>);

impl Comparison {
    pub(super) fn start(directory: &Path) -> io::Result<(Sender<Received>, Comparison)> {
        let originals = read_corpus(directory)?;
        let (sender, received) = bounded(WAITING);
        let thread =
            std::thread::Builder::new().name("compare".into()).spawn(move || compare(&originals, &received))?;
        Ok((sender, Comparison(thread)))
    }

    pub(super) fn finish(self) -> io::Result<Compared> {
        self.0.join().map_err(|_| io::Error::other("the comparison panicked"))
    }
}

/// The `.eml` files in the order in which the generator sends them.
fn read_corpus(directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut files: Vec<_> = std::fs::read_dir(directory)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "eml"));
    if files.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no file ends in .eml"));
    }
    files.sort();
    files.iter().map(|file| Ok(normalise(&std::fs::read(file)?))).collect()
}

fn compare(originals: &[Vec<u8>], received: &Receiver<Received>) -> Compared {
    let mut found = Compared::default();
    for message in received {
        found.messages += 1;
        let number = message.recipients.first().and_then(|r| Tally::number(r.split('@').next().unwrap_or_default()));
        let original = number.and_then(|n| originals.get(n as usize % originals.len().max(1)));
        let same = original.is_some_and(|original| without_trace(&message.body) == Some(original));
        found.different += u64::from(!same);
    }
    found
}

/// What follows the first field, if that is `Received:`.
fn without_trace(content: &[u8]) -> Option<&[u8]> {
    if !content.starts_with(b"Received: ") {
        return None;
    }
    let mut end = 0;
    loop {
        end += content[end..].windows(2).position(|w| w == b"\r\n")? + 2;
        if !content[end..].starts_with(b"\t") && !content[end..].starts_with(b" ") {
            return Some(&content[end..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_received_field_is_ours() {
        let content = b"Received: from a\r\n\tby b;\r\n\tnow\r\nReceived: from x\r\n\r\nhello\r\n";
        assert_eq!(without_trace(content), Some(&b"Received: from x\r\n\r\nhello\r\n"[..]));
        assert_eq!(without_trace(b"Subject: x\r\n\r\n"), None);
        assert_eq!(without_trace(b"Received: cut"), None);
    }
}
