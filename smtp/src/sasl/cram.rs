//! CRAM-MD5 (RFC 2195): HMAC-MD5 over a challenge that is used once.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

/// The digest that a client sends behind its name: lower-case hexadecimal.
pub fn digest(password: &str, challenge: &[u8]) -> String {
    let mut mac = Hmac::<Md5>::new_from_slice(password.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(challenge);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A challenge in the form of a message id (RFC 2195 §2), unique by `nonce`.
pub fn challenge(nonce: &str, hostname: &str) -> String {
    format!("<{nonce}@{hostname}>")
}

/// Whether `given` is the digest of `password` over `challenge`; takes as long for any answer.
pub fn is_right(password: &str, challenge: &[u8], given: &str) -> bool {
    use subtle::ConstantTimeEq;
    bool::from(digest(password, challenge).as_bytes().ct_eq(given.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2195() {
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        assert_eq!(digest("tanstaaftanstaaf", challenge), "b913a602c7eda7a495b4e6e7334d3890");
        assert!(is_right("tanstaaftanstaaf", challenge, "b913a602c7eda7a495b4e6e7334d3890"));
        assert!(!is_right("tanstaaftanstaaf", challenge, "b913a602c7eda7a495b4e6e7334d3891"));
        assert!(!is_right("tanstaaftanstaaf", challenge, "b913a602"));
        assert_eq!(self::challenge("1896.7", "mx.example"), "<1896.7@mx.example>");
    }
}
