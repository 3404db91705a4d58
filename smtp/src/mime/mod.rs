//! Content for a peer that takes 7-bit lines only: RFC 6152 §3 and RFC 3030 §3 leave a sender the choice to convert what
//! has octets beyond ASCII, or bare CR and LF, to MIME's transfer encodings (RFC 2045 §6) or to give the message back.
//!
//! A conversion is a list of edits; every octet outside of them stays as it is, also odd preambles, boundaries and
//! fields. Edited are
//! - parts that are not 7-bit: they become quoted-printable (text that is mostly ASCII) or base64 (all else), and decode
//!   to the same octets as before;
//! - their `Content-Transfer-Encoding`. That of a multipart or `message/rfc822` around them becomes `7bit`, the only one
//!   left for those (RFC 2045 §6.4). The inner message of a `message/rfc822` is converted like an outer one;
//! - the header of a message that is no MIME yet: it becomes `text/plain; charset=unknown-8bit` (RFC 1428 §3);
//! - octets beyond ASCII in a preamble or epilogue, which nobody reads (RFC 2046 §5.1.1) and nothing can encode: `?`.
//!
//! Refused is what a conversion would break or have to guess, see [`Refusal`]. In particular S/MIME and PGP/MIME
//! signatures cover the encoded octets (RFC 1847 §2.1), so nothing within a `multipart/signed` is touched. Encrypted parts
//! are converted: what is decrypted is the decoded content. So is mail with DKIM or ARC signatures, though that breaks them
//! unless the signer took care to sign 7-bit content only, as RFC 6376 §5.3 tells it to for this very reason: a broken
//! DKIM signature is to count as none (§6.1), while a notice instead of the mail would help nobody. Postfix does the same.
//!
//! Lines over 998 octets are no reason to convert, but parts that have them are encoded along with others.

mod delimiter;
mod edit;
mod encode;
mod header;
#[cfg(test)]
mod tests;
mod walk;

use crate::Body;
use walk::Walk;

/// Why a content cannot be made 7-bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Part of what would change is signed.
    #[error("a part that would have to be converted is signed (multipart/signed)")]
    Signed,
    /// A header, of the message or of a part, is not ASCII. How to encode it depends on each field (RFC 2047, RFC 2231).
    #[error("a header has characters beyond ASCII that are not encoded (RFC 2047)")]
    Header,
    /// Its structure can be read in more than one way: said in a sentence.
    #[error("{0}")]
    Malformed(&'static str),
}

/// The content in 7-bit lines, for `Body::seven_bit`.
pub(crate) fn seven_bit(body: &Body) -> Result<Body, Refusal> {
    let content = body.to_bytes();
    let edits = Walk::new(&content).run()?;
    let converted = edit::apply(&content, edits);
    match converted.facts() {
        facts if facts.eight_bit || facts.binary => Err(Refusal::Malformed("it cannot be made 7-bit")),
        _ => Ok(converted),
    }
}
