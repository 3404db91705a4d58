//! TLS (rustls) of both sides: certificates of listeners, and sessions above a stream. Who is asked for which policy is
//! decided elsewhere: [`crate::config`] for listeners, `delivery` towards peers.

mod certificate;
mod keyring;
mod session;

pub use certificate::{Certificate, CertificateError};
pub(crate) use keyring::{Keyring, Renewal};
pub(crate) use session::Session;
