//! Replies as a hostile server writes them: no panic, and the same replies however the octets are split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use smtp::Reply;
use smtp::reply::ReplyParser;

/// What comes of the octets, given in pieces of this size; `None` at the end stands for an error.
fn replies(octets: &[u8], piece: usize) -> Vec<Option<Reply>> {
    let mut parser = ReplyParser::default();
    let mut found = Vec::new();
    for mut input in octets.chunks(piece) {
        loop {
            match parser.parse(&mut input) {
                Ok(Some(reply)) => found.push(Some(reply.to_reply())),
                Ok(None) => break,
                Err(_) => {
                    found.push(None);
                    return found;
                }
            }
        }
    }
    found
}

fuzz_target!(|data: &[u8]| {
    let whole = replies(data, usize::MAX);
    assert_eq!(whole, replies(data, 1));
    assert_eq!(whole, replies(data, 7));
});
