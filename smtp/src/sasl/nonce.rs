//! Nonces of a server: unpredictable by whoever does not know the secret, and never the same twice.

use super::scram::hmac;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the exchanges of a listener get theirs; shared by its connections.
#[derive(Debug)]
pub struct Nonces {
    secret: Secret,
    issued: AtomicU64,
}

struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Nonces {
    /// `secret`: random, and of this run of the program only.
    pub fn new(secret: [u8; 32]) -> Nonces {
        Nonces { secret: Secret(secret), issued: AtomicU64::new(0) }
    }

    /// 32 hexadecimal digits.
    pub fn issue(&self) -> String {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let octets = hmac(&self.secret.0, &number.to_be_bytes());
        octets[..16].iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_comes_twice() {
        let (nonces, others) = (Nonces::new([77; 32]), Nonces::new([2; 32]));
        let issued: std::collections::HashSet<String> =
            (0..100).flat_map(|_| [nonces.issue(), others.issue()]).collect();
        assert_eq!(issued.len(), 200);
        assert!(issued.iter().all(|nonce| nonce.len() == 32));
        assert!(!format!("{nonces:?}").contains("77"));
    }
}
