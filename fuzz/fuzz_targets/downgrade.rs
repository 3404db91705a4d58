//! Any content, for a host that takes 7-bit content only: no panic, and what is converted is 7-bit, no larger than it has to be,
//! and what is 7-bit already stays as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp::Body;

/// What one octet of a body can become: an escape, and its share of soft line breaks.
const GROWTH: usize = 4;
/// Fields for each part and message; each takes at least this many octets of content.
const FIELDS: usize = 200;

fuzz_target!(|content: &[u8]| {
    let body = Body::new(content.to_vec());
    let Ok(converted) = body.seven_bit() else { return };
    let facts = converted.facts();
    assert!(!facts.eight_bit && !facts.binary);
    let text = converted.to_bytes();
    assert!(text.is_ascii());
    assert_eq!(Body::new(text.clone()).facts(), facts);
    assert!(facts.longest_line <= body.facts().longest_line.max(998));
    let parts =
        1 + memchr::memmem::find_iter(content, b"\r\n\r\n").count() + memchr::memmem::find_iter(content, b"--").count();
    assert!(text.len() <= content.len() * GROWTH + parts * FIELDS);
    if !body.facts().eight_bit && !body.facts().binary {
        assert_eq!(text, content);
    }
});
