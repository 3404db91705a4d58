//! Whole transactions: MAIL to the final reply, as one flight.

use super::contents::{Kind, content};
use super::conversation::Conversation;
use bytes::Bytes;
use criterion::{Criterion, Throughput};
use smtp::Body;

pub fn benches(c: &mut Criterion) {
    for (size, octets) in [("no content", 0), ("10KiB", 10 << 10), ("1MiB", 1 << 20)] {
        let content = if octets == 0 { Bytes::new() } else { content(Kind::Mixed, octets) };
        for (recipients, name) in [(1, "1 recipient"), (100, "100 recipients")] {
            let mut group = c.benchmark_group(format!("transaction {size} {name}"));
            match octets {
                0 => group.throughput(Throughput::Elements(1)),
                _ => group.throughput(Throughput::Bytes(content.len() as u64)),
            };
            for (verb, flight) in [("data", data(recipients, &content)), ("bdat", bdat(recipients, &content))] {
                let mut conversation = Conversation::new();
                group.bench_function(verb, |b| b.iter(|| assert_eq!(conversation.take(flight.clone()), content.len())));
            }
            group.finish();
        }
    }
}

fn envelope(recipients: usize) -> String {
    let rcpt = |n| format!("RCPT TO:<reader-{n}@receiver.example>\r\n");
    let list: String = (0..recipients).map(rcpt).collect();
    format!("MAIL FROM:<news@sender.example>\r\n{list}")
}

fn data(recipients: usize, content: &Bytes) -> Bytes {
    let wire = Body::new(content.clone()).for_data().concat();
    [format!("{}DATA\r\n", envelope(recipients)).as_bytes(), &wire].concat().into()
}

fn bdat(recipients: usize, content: &Bytes) -> Bytes {
    [format!("{}BDAT {} LAST\r\n", envelope(recipients), content.len()).as_bytes(), content].concat().into()
}
