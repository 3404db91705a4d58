//! The reply parser, on what comes back from a flight.

use criterion::{Criterion, Throughput};
use smtp::reply::ReplyParser;
use std::hint::black_box;

pub fn benches(c: &mut Criterion) {
    let transaction = "250 2.1.0 Sender ok\r\n250 2.1.5 Recipient ok\r\n250 2.0.0 Ok: queued as 4XyZ123abc\r\n";
    let hello = "250-mx.example Hello [192.0.2.1]\r\n250-SIZE 36700160\r\n250-8BITMIME\r\n250-STARTTLS\r\n\
                 250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n";
    let refusal = "550-5.7.26 This message does not pass the authentication checks of its sender's domain.\r\n\
                   550-5.7.26 See https://mail.example/help/authentication for how to set them up, or ask the\r\n\
                   550 5.7.26 administrator of the sending domain. d2e1a72fcca58-7a2c1f0b1a9si1234567b3a.42 - gsmtp\r\n";
    let mut group = c.benchmark_group("replies");
    for (name, wire, replies) in [
        ("of 100 transactions", transaction.repeat(100), 300),
        ("to EHLO", hello.repeat(100), 100),
        ("three lines of refusal", refusal.repeat(100), 100),
    ] {
        group.throughput(Throughput::Elements(replies));
        let mut parser = ReplyParser::default();
        for (how, piece) in [("", usize::MAX), (", in pieces of 16 octets", 16)] {
            group.bench_function(format!("{name}{how}"), |b| {
                b.iter(|| assert_eq!(count(&mut parser, black_box(wire.as_bytes()), piece), replies))
            });
        }
    }
    group.finish();
}

fn count(parser: &mut ReplyParser, wire: &[u8], piece: usize) -> u64 {
    let mut replies = 0;
    for mut input in wire.chunks(piece) {
        while let Some(reply) = parser.parse(&mut input).expect("these are replies") {
            black_box(reply);
            replies += 1;
        }
    }
    replies
}
