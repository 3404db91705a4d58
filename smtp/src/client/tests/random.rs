//! Whatever a peer says, nothing panics, and every transaction is reported once, before the end.

use super::*;
use proptest::prelude::*;

fn level() -> impl Strategy<Value = Pipelining> {
    prop_oneof![Just(Pipelining::Off), Just(Pipelining::Transaction), Just(Pipelining::Stream)]
}

/// Mostly replies, some garbage.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let reply = prop::sample::select(vec![
        "250 Ok\r\n",
        "250 Ok\r\n",
        "250 Ok\r\n",
        "250 Ok\r\n",
        "354 go\r\n",
        "354 go\r\n",
        "550 5.1.1 no\r\n",
        "450 later\r\n",
        "250-a\r\n250 b\r\n",
        "421 bye\r\n",
        "503\n",
    ]);
    prop::collection::vec(
        prop_oneof![
            30 => reply.prop_map(|reply| reply.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..6),
        ],
        0..30,
    )
    .prop_map(|parts| parts.concat())
}

/// Plays the wire in pieces of `cut` octets, writing up to `write` octets after each, and tells what was seen.
fn play(config: Config, features: &str, wire: &[u8], cut: usize, write: usize, count: u64) -> Vec<String> {
    let mut theatre = Theatre::new(config, false);
    let lmtp = theatre.client.config().protocol == Protocol::Lmtp;
    theatre.play(&hello(features).replace("EHLO", if lmtp { "LHLO" } else { "EHLO" }));
    let mut seen = Vec::new();
    let mut next = 0;
    let mut turn = |theatre: &mut Theatre, bytes: &[u8]| {
        while theatre.client.credit() > 0 && next < count {
            let more: &[&str] = if next % 3 == 0 { &["b@y", "c@y"] } else { &["b@y"] };
            theatre.submit(next, more);
            next += 1;
        }
        let ready = shown(&theatre.client).len().min(write);
        theatre.client.advance(ready, theatre.now);
        theatre.client.handle_bytes(bytes, theatre.now);
        seen.extend(theatre.events());
    };
    turn(&mut theatre, b"");
    wire.chunks(cut).for_each(|bytes| turn(&mut theatre, bytes));
    theatre.client.handle_eof();
    seen.extend(theatre.events());
    let reported: Vec<&str> = seen.iter().filter_map(|event| event.split(' ').next()).collect();
    let wanted: Vec<String> = (0..next).map(|id| id.to_string()).chain(["closed".into()]).collect();
    assert_eq!(reported, wanted, "each is reported once, in order, then the end: {seen:?}");
    assert_eq!((theatre.client.in_flight(), theatre.client.credit(), theatre.client.poll_timeout()), (0, 0, None));
    seen
}

proptest! {
    #[test]
    fn every_transaction_is_reported_once(
        level in level(), features in prop::sample::select(vec!["", "PIPELINING", "CHUNKING", "PIPELINING CHUNKING"]),
        lmtp in any::<bool>(), wire in wire(), cut in 1usize..40, write in 1usize..200, count in 0u64..6,
    ) {
        let protocol = if lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        let config = Config { protocol, ..config(level) };
        play(config, features, &wire, cut, write, count);
    }

    #[test]
    fn an_octet_at_a_time_is_as_good_as_all_at_once(
        level in prop_oneof![Just(Pipelining::Transaction), Just(Pipelining::Stream)], wire in wire(), cut in 1usize..40,
    ) {
        // All of one transaction is written at once, so what is seen depends on the octets alone.
        let play = |cut| play(config(level), "PIPELINING CHUNKING", &wire, cut, usize::MAX, 1);
        prop_assert_eq!(play(usize::MAX), play(cut));
    }
}
