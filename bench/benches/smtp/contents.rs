//! Contents as they occur, each of about so many octets.

use bytes::Bytes;

/// What is in a content.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Lines of 76 columns: text, quoted-printable, base64 as MIME wraps it.
    Columns76,
    /// Base64 in lines of 998 octets, the longest that RFC 5321 §4.5.3.1.6 allows.
    LongBase64,
    /// Lines of 76 octets, half of them not ASCII: UTF-8 sent as 8BITMIME.
    EightBit,
    /// Lines as long as those of text, of HTML and of base64, in turns.
    Mixed,
    /// Lines of 10 octets.
    ShortLines,
    /// Lines of 76 octets, each begun with a dot, and with more dots in it.
    Dots,
}

pub const KINDS: [(&str, Kind); 6] = [
    ("76 columns", Kind::Columns76),
    ("long base64", Kind::LongBase64),
    ("8-bit", Kind::EightBit),
    ("mixed", Kind::Mixed),
    ("short lines", Kind::ShortLines),
    ("dots", Kind::Dots),
];

/// A header and as many whole lines as fit.
pub fn content(kind: Kind, octets: usize) -> Bytes {
    let mut content = b"Subject: a newsletter\r\nContent-Type: text/html\r\n\r\n".to_vec();
    let lengths: &[usize] = match kind {
        Kind::Columns76 | Kind::EightBit | Kind::Dots => &[76],
        Kind::LongBase64 => &[998],
        Kind::ShortLines => &[10],
        Kind::Mixed => &[72, 31, 0, 66, 140, 12, 76, 76, 76, 76, 76, 58],
    };
    let letters: Vec<u8> = match kind {
        Kind::EightBit => "ä".bytes().chain(*b"xy").collect(),
        Kind::Dots => b".ab..".to_vec(),
        _ => (b'a'..=b'z').collect(),
    };
    for &length in lengths.iter().cycle() {
        if content.len() + length + 2 > octets {
            return content.into();
        }
        content.extend(letters.iter().cycle().take(length));
        content.extend_from_slice(b"\r\n");
    }
    unreachable!("lengths are cycled")
}
