//! Each machine alone against a peer that keeps to nothing: the fuzzer chooses what the peer says, in which portions, what the
//! owner answers and when, how time passes, and the end. No panic, events in lawful order, memory within bounds.
#![no_main]

mod client;
mod server;

use allocation_counter::measure;
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Play {
    Client(client::Play),
    Server(server::Play),
}

fuzz_target!(|play: Play| {
    let (used, bound) = match play {
        Play::Client(play) => (measure(|| client::run(&play)), client::MOST_BYTES),
        Play::Server(play) => (measure(|| server::run(&play)), server::most_bytes(&play)),
    };
    assert!(used.bytes_max <= bound, "{} octets of memory at one time", used.bytes_max);
});
