//! Commands one by one, through the server: parsed, judged and answered.

use super::conversation::Conversation;
use bytes::Bytes;
use criterion::{Criterion, Throughput};

/// In each flight.
const COMMANDS: usize = 100;

pub fn benches(c: &mut Criterion) {
    let rcpt = "RCPT TO:<a.reader.of.news@receiver.example>\r\n";
    let mail = "MAIL FROM:<news-4711@bounces.sender.example> SIZE=10240 BODY=8BITMIME\r\n";
    let mut group = c.benchmark_group("commands");
    group.throughput(Throughput::Elements(COMMANDS as u64));
    for (name, wire) in [
        ("NOOP", "NOOP\r\n".repeat(COMMANDS)),
        ("EHLO", "EHLO client.example\r\n".repeat(COMMANDS)),
        ("MAIL, RSET", format!("{mail}RSET\r\n").repeat(COMMANDS / 2)),
        ("MAIL, RCPT", format!("RSET\r\n{mail}{}", rcpt.repeat(COMMANDS - 2))),
        ("unknown", "XYZZY\r\n".repeat(COMMANDS)),
    ] {
        let flight = Bytes::from(wire);
        let mut conversation = Conversation::new();
        group.bench_function(name, |b| b.iter(|| conversation.take(flight.clone())));
    }
    group.finish();
}
