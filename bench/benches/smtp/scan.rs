//! Octets per second of the content scan, beside memchr over the same octets.
//!
//! *facts*: what is asked of the chunks of BDAT and of a content that was submitted as a whole. *facts, dots*: the same, stopped
//! at each line that begins with a dot, as DATA is read.
//!
//! *line ends*: `memchr_iter(b'\n')`, each found and added up: the least that anybody does who looks at lines, and what the
//! scan is held against (at most twice its time). *absent*: one `memchr` for an octet that does not occur: what the memory
//! and the vector unit give.

use super::contents::{KINDS, content};
use criterion::{Criterion, Throughput};
use smtp::body::{FactScan, Facts};
use std::hint::black_box;

pub fn benches(c: &mut Criterion) {
    for (size, octets) in [("10KiB", 10 << 10), ("1MiB", 1 << 20)] {
        for (name, kind) in KINDS {
            let content = content(kind, octets);
            let mut group = c.benchmark_group(format!("scan {size} {name}"));
            group.throughput(Throughput::Bytes(content.len() as u64));
            group.bench_function("facts", |b| b.iter(|| Facts::of(black_box(&content))));
            group.bench_function("facts, dots", |b| b.iter(|| to_dots(black_box(&content))));
            group.bench_function("memchr, line ends", |b| {
                b.iter(|| memchr::memchr_iter(b'\n', black_box(&content)).map(black_box).sum::<usize>())
            });
            group.bench_function("memchr, absent", |b| b.iter(|| memchr::memchr(0, black_box(&content))));
            group.finish();
        }
    }
}

fn to_dots(mut content: &[u8]) -> Facts {
    let mut scan = FactScan::default();
    while !content.is_empty() {
        content = &content[scan.feed_to_dot(content)..];
    }
    scan.facts()
}
