//! What the receiving machine costs: octets per second of the content scan, beside plain `memchr` for line ends over the
//! same octets, and one whole transaction.
//!
//! `cargo bench -p posthaste-smtp`

#![allow(clippy::disallowed_methods, reason = "a conversation begins at some time")]

use bytes::{Buf, Bytes};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use posthaste_smtp::body::Facts;
use posthaste_smtp::server::{Config, Event, RECIPIENT_OK, SENDER_OK, Server};
use posthaste_smtp::{Body, EnhancedCode, Reply};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const QUEUED: Reply = Reply::fixed(250, EnhancedCode(2, 0, 0), "Ok");

/// Lines as long as those of text, of HTML and of base64, in turns.
fn mail(octets: usize) -> Bytes {
    let mut content = b"Subject: a newsletter\r\nContent-Type: text/html\r\n\r\n".to_vec();
    for length in [72, 31, 0, 66, 140, 12, 76, 76, 76, 76, 76, 58].into_iter().cycle() {
        if content.len() + length + 2 > octets {
            break;
        }
        content.extend((0..length).map(|column| b'a' + (column % 26) as u8));
        content.extend_from_slice(b"\r\n");
    }
    content.into()
}

/// Hands over a pipelined flight and settles all that comes of it.
fn converse(server: &mut Server, flight: Bytes, now: Instant) -> usize {
    server.handle_bytes(flight, now);
    let mut content = 0;
    while let Some(event) = server.poll_event() {
        match event {
            Event::Mail { .. } => server.answer(SENDER_OK),
            Event::Recipient(_) => server.answer(RECIPIENT_OK),
            Event::Message(message) => {
                content += message.body.len();
                server.complete(message.ticket, QUEUED);
            }
            _ => {}
        }
    }
    let out = server.poll_transmit();
    out.advance(out.len());
    content
}

fn scans(c: &mut Criterion) {
    for (name, octets) in [("10KiB", 10 << 10), ("1MiB", 1 << 20)] {
        let content = mail(octets);
        let mut group = c.benchmark_group(format!("scan {name}"));
        group.throughput(Throughput::Bytes(content.len() as u64));
        group.bench_function("facts", |b| b.iter(|| Facts::of(black_box(&content))));
        group.bench_function("memchr, line ends", |b| {
            b.iter(|| memchr::memchr_iter(b'\n', black_box(&content)).map(black_box).sum::<usize>())
        });
        group.finish();
    }
}

fn transactions(c: &mut Criterion) {
    let now = Instant::now();
    for (name, octets) in [("no content", 0), ("10KiB", 10 << 10), ("1MiB", 1 << 20)] {
        let content = if octets == 0 { Bytes::new() } else { mail(octets) };
        let envelope = "MAIL FROM:<news@sender.example>\r\nRCPT TO:<reader@receiver.example>\r\n";
        let data = [format!("{envelope}DATA\r\n").as_bytes(), &Body::new(content.clone()).for_data().concat()].concat();
        let bdat = [format!("{envelope}BDAT {} LAST\r\n", content.len()).as_bytes(), &content[..]].concat();
        let mut group = c.benchmark_group(format!("transaction {name}"));
        if !content.is_empty() {
            group.throughput(Throughput::Bytes(content.len() as u64));
        }
        for (verb, flight) in [("data", Bytes::from(data)), ("bdat", Bytes::from(bdat))] {
            let mut server = Server::new(Arc::new(Config::default()), now);
            converse(&mut server, Bytes::from_static(b"EHLO client.example\r\n"), now);
            group.bench_function(verb, |b| {
                b.iter(|| assert_eq!(converse(&mut server, flight.clone(), now), content.len()))
            });
        }
        group.finish();
    }
}

criterion_group!(benches, scans, transactions);
criterion_main!(benches);
