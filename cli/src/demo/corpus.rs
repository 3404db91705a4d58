//! Compares what arrives with what was sent, octet by octet, less the `Received:` field that the engine adds, and measures
//! how long it was under way. The recipient's number says which message it is.

use bench::load::{Submissions, normalise};
use bench::proof::Tally;
use bench::report::latency_histogram;
use bench::sink::Received;
use crossbeam_channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Messages that may wait to be compared.
const WAITING: usize = 1024;

/// What the comparison found.
pub(super) struct Compared {
    pub different: u64,
    /// Submitted to received, microseconds.
    pub latency: Histogram<u64>,
}

/// A running comparison; ends when the sink that feeds it is gone.
pub(super) struct Comparison(JoinHandle<Compared>);

impl Comparison {
    pub(super) fn start(directory: &Path, submissions: Arc<Submissions>) -> io::Result<(Sender<Received>, Comparison)> {
        let originals = read_corpus(directory)?;
        let (sender, received) = bounded(WAITING);
        let run = move || compare(&originals, &submissions, &received);
        let thread = std::thread::Builder::new().name("compare".into()).spawn(run)?;
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

fn compare(originals: &[Vec<u8>], submissions: &Submissions, received: &Receiver<Received>) -> Compared {
    let mut found = Compared { different: 0, latency: latency_histogram() };
    for message in received {
        let number = message.recipients.first().and_then(|r| Tally::number(r.split('@').next().unwrap_or_default()));
        let original = number.and_then(|n| originals.get(n as usize % originals.len().max(1)));
        let same = original.is_some_and(|original| without_trace(&message.body) == Some(original));
        found.different += u64::from(!same);
        if let Some(submitted_us) = number.and_then(|n| submissions.at_us(n)) {
            let submitted = SystemTime::UNIX_EPOCH + Duration::from_micros(submitted_us);
            let under_way = message.at.duration_since(submitted).unwrap_or_default();
            found.latency.saturating_record((under_way.as_micros() as u64).max(1));
        }
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
