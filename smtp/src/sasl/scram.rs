//! What both sides of SCRAM-SHA-256 compute and write (RFC 5802 §3 and §5, RFC 7677).

use super::{decode, encode};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Octets of SHA-256 and all that is made of it.
pub const KEY_BYTES: usize = 32;
/// RFC 7677 §4: at least so many.
pub const MIN_ITERATIONS: u32 = 4096;
/// What a server may ask of a client, which computes them on its event loop: some 100 ms.
pub const MAX_ITERATIONS: u32 = 200_000;

/// What a server keeps of a password: neither gives the password nor lets anyone log in with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Random, one per user and password.
    pub salt: Vec<u8>,
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// H(ClientKey).
    pub stored_key: [u8; KEY_BYTES],
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: [u8; KEY_BYTES],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl Keys {
    /// The keys of a prepared password (see [`super::prepare()`]). As slow as `iterations` asks for.
    pub fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Keys {
        let salted = salted_password(password, &salt, iterations);
        let (stored_key, server_key) = (hash(&hmac(&salted, b"Client Key")), hmac(&salted, b"Server Key"));
        Keys { salt, iterations, stored_key, server_key }
    }
    /// Whether the proof in a client's final message is of the password that these keys were made from. Takes as long
    /// for any answer.
    pub fn is_proven(&self, auth_message: &str, proof: &[u8]) -> bool {
        let Ok(proof) = <[u8; KEY_BYTES]>::try_from(proof) else { return false };
        let client_key = xor(&hmac(&self.stored_key, auth_message.as_bytes()), &proof);
        bool::from(hash(&client_key).ct_eq(&self.stored_key))
    }
    /// `v=…`: the server's own proof.
    pub fn server_final(&self, auth_message: &str) -> String {
        format!("v={}", encode(hmac(&self.server_key, auth_message.as_bytes())))
    }
}

/// Hi(password, salt, iterations) (RFC 5802 §2.2).
pub(super) fn salted_password(password: &str, salt: &[u8], iterations: u32) -> [u8; KEY_BYTES] {
    let mut salted = [0; KEY_BYTES];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
    salted
}

pub(super) fn hmac(key: &[u8], message: &[u8]) -> [u8; KEY_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

pub(super) fn hash(octets: &[u8]) -> [u8; KEY_BYTES] {
    Sha256::digest(octets).into()
}

pub(super) fn xor(a: &[u8; KEY_BYTES], b: &[u8; KEY_BYTES]) -> [u8; KEY_BYTES] {
    std::array::from_fn(|at| a[at] ^ b[at])
}

/// The value of the attribute that comes next in `rest`, which must have this name.
pub(super) fn attribute<'a>(rest: &mut std::str::Split<'a, char>, name: &str) -> Option<&'a str> {
    rest.next()?.strip_prefix(name)?.strip_prefix('=')
}

/// The user name as it stands in a message: `=` and `,` in disguise (RFC 5802 §5.1).
pub(super) fn saslname(user: &str) -> String {
    user.replace('=', "=3D").replace(',', "=2C")
}

/// The other way; `None` where a `=` disguises nothing.
pub(super) fn unsaslname(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut user = parts.next()?.to_owned();
    for part in parts {
        let (character, rest) = match part.split_at_checked(2)? {
            ("2C", rest) => (',', rest),
            ("3D", rest) => ('=', rest),
            _ => return None,
        };
        user.push(character);
        user.push_str(rest);
    }
    Some(user)
}

/// A server's first message, taken apart.
pub(super) struct ServerFirst<'a> {
    pub nonce: &'a str,
    pub salt: Vec<u8>,
    pub iterations: u32,
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(message: &'a str) -> Option<ServerFirst<'a>> {
        let mut rest = message.split(',');
        let nonce = attribute(&mut rest, "r")?;
        let salt = decode(attribute(&mut rest, "s")?)?;
        let iterations = attribute(&mut rest, "i")?.parse().ok()?;
        Some(ServerFirst { nonce, salt, iterations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_commas_and_equals_signs() {
        for user in ["ann", "a=b", "a,b=", ",", "=2C"] {
            let name = saslname(user);
            assert!(!name.contains(','));
            assert_eq!(unsaslname(&name).as_deref(), Some(user));
        }
        for bad in ["a=", "a=2", "a=2c", "a=41"] {
            assert_eq!(unsaslname(bad), None, "{bad}");
        }
    }
}
