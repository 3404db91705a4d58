//! SASL exchanges (RFC 4422) as SMTP's AUTH carries them (RFC 4954): both sides of PLAIN (RFC 4616), LOGIN
//! (draft-murchison-sasl-login), CRAM-MD5 (RFC 2195) and SCRAM-SHA-256 (RFC 5802, RFC 7677).
//!
//! Pure: octets in, octets out. Nonces come from the caller, who also carries the base64 and the reply codes. No channel
//! binding, no security layers, no authorization identity other than the user's own.

pub mod client;
pub mod cram;
mod nonce;
mod prepare;
pub mod scram;
pub mod server;

pub use nonce::Nonces;
pub use prepare::{MAX_SECRET_BYTES, prepare};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How a user proves to be one. Ordered by strength on the wire, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// User name and password one after the other; no RFC, but what many clients know.
    Login,
    /// RFC 4616: user name and password.
    Plain,
    /// RFC 2195: the password stays at home, but the server has to keep what is as good.
    CramMd5,
    /// RFC 7677: the password stays at home, the server keeps what is of no use to a thief, and proves to know it.
    ScramSha256,
}

impl Mechanism {
    /// All, strongest first: the order in which they are announced and chosen.
    pub const ALL: [Mechanism; 4] = [Mechanism::ScramSha256, Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::CramMd5 => "CRAM-MD5",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
        }
    }
    /// The mechanism of a name in any case; `None`: one that is not spoken here.
    pub fn parse(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }
    /// Whether the password itself crosses the wire: for encrypted connections only (RFC 4954 §4).
    pub fn shows_password(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login)
    }
    /// The strongest of those that a server announced (the words behind AUTH in its EHLO reply; unknown ones are passed
    /// over). Without encryption only those that do not show the password.
    pub fn choose<'a>(announced: impl IntoIterator<Item = &'a str>, encrypted: bool) -> Option<Mechanism> {
        let known = announced.into_iter().filter_map(Mechanism::parse);
        known.filter(|mechanism| encrypted || !mechanism.shows_password()).max()
    }
}

/// Base64 as AUTH lines carry it (RFC 4954 §4); without the `=` that stands for an empty initial response.
pub fn encode(octets: impl AsRef<[u8]>) -> String {
    STANDARD.encode(octets)
}

/// The octets of a base64 text; `None` where it is none (padding is required, RFC 4648 §3.2).
pub fn decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_mechanism_is_chosen_and_none_that_shows_the_password_in_clear_text() {
        for (announced, encrypted, expected) in [
            ("PLAIN LOGIN", true, Some(Mechanism::Plain)),
            ("LOGIN", true, Some(Mechanism::Login)),
            ("PLAIN LOGIN", false, None),
            ("plain cram-md5 GSSAPI", false, Some(Mechanism::CramMd5)),
            ("PLAIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS", true, Some(Mechanism::ScramSha256)),
            ("XOAUTH2", true, None),
            ("", true, None),
        ] {
            assert_eq!(Mechanism::choose(announced.split(' '), encrypted), expected, "{announced}");
        }
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(decode("AGE=").as_deref(), Some(&b"\0a"[..]));
        for bad in ["AGE", "AG E=", "AGE==", "=", "*", "AGE=\r", "=AAA", "AAA=BBB="] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(decode(""), Some(Vec::new()));
    }
}
