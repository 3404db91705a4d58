//! Message ids: ordered by time, and short enough to read over the telephone.

use std::fmt;

/// A message's id: unix milliseconds at acceptance << 20, plus a counter; strictly increasing, also across restarts.
/// Shown and parsed as 13 characters of Crockford's base 32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u64);

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHARACTERS: usize = 13;

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; CHARACTERS];
        for (i, c) in text.iter_mut().enumerate() {
            *c = ALPHABET[(self.0 >> (5 * (CHARACTERS - 1 - i))) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl std::str::FromStr for MessageId {
    type Err = BadMessageId;

    /// Either case; `O` is read as 0, `I` and `L` as 1, as Crockford has it.
    fn from_str(text: &str) -> Result<MessageId, BadMessageId> {
        if text.len() != CHARACTERS {
            return Err(BadMessageId);
        }
        let mut id: u64 = 0;
        for byte in text.bytes() {
            let byte = match byte.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            let digit = ALPHABET.iter().position(|c| *c == byte).ok_or(BadMessageId)? as u64;
            if id >> 59 != 0 {
                return Err(BadMessageId);
            }
            id = id << 5 | digit;
        }
        Ok(MessageId(id))
    }
}

/// The text is no message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message id is 13 letters and digits, as in \"queued as 01HZX5W3K9QRT\"")]
pub struct BadMessageId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for (id, text) in [
            (0, "0000000000000"),
            (31, "000000000000Z"),
            (32, "0000000000010"),
            (1_700_000_000_000 << 20 | 5, "1HF7YAT000005"),
            (u64::MAX, "FZZZZZZZZZZZZ"),
        ] {
            assert_eq!(MessageId(id).to_string(), text);
            assert_eq!(text.parse(), Ok(MessageId(id)));
            assert_eq!(text.to_lowercase().parse(), Ok(MessageId(id)));
        }
        assert_eq!("OOOOOOOOOOOIL".parse(), Ok(MessageId(33)));
    }

    #[test]
    fn what_is_no_id() {
        for text in ["", "1", "G000000000000", "00000000000000", "000000000000U", "000000000000-", "00000000000é"] {
            assert_eq!(text.parse::<MessageId>(), Err(BadMessageId), "{text}");
        }
    }
}
