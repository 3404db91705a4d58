//! TLS (rustls) of both sides: certificates of listeners, and sessions above a stream. Who is asked for which policy is
//! decided elsewhere: [`crate::config`] for listeners, `delivery` towards peers.

mod certificate;
mod keyring;
mod session;

pub use certificate::{Certificate, CertificateError};
pub(crate) use keyring::{Keyring, Renewal};
pub(crate) use session::Session;

/// Octets that nobody can guess.
///
/// # Panics
/// If the system has none to give: then nothing here is safe.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut octets).expect("the system gives random octets");
    octets
}

/// What nobody can guess, for a login by SCRAM: base64.
///
/// # Panics
/// If the system has no random octets to give.
pub fn nonce() -> String {
    smtp::sasl::encode(random::<24>())
}
