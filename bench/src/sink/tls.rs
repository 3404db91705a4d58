//! Certificates of a sink.

pub use crate::tls::TlsMode;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, crypto::ring};
use std::path::PathBuf;
use std::sync::Arc;

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Made at start for the sink's hostname, signed by itself.
    SelfSigned,
    /// PEM files.
    Files {
        /// The chain, the sink's own certificate first.
        chain: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

/// TLS of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate.
    pub certificate: Certificate,
    /// How it begins.
    pub mode: TlsMode,
}

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// Making one.
    #[error("making a certificate for {hostname:?}: {source}")]
    Make {
        /// For this name.
        hostname: String,
        /// Why.
        source: rcgen::Error,
    },
    /// Certificate and key do not go together, or the like.
    #[error("the certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// `resumption`: clients that come again may go on with their session.
pub(super) fn server_config(
    certificate: &Certificate,
    hostname: &str,
    resumption: bool,
) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = match certificate {
        Certificate::SelfSigned => self_signed(hostname)?,
        Certificate::Files { chain, key } => {
            let file = |path: &PathBuf| {
                let path = path.clone();
                move |source| TlsError::File { path, source }
            };
            let certificates = CertificateDer::pem_file_iter(chain).map_err(file(chain))?;
            let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(file(chain))?;
            (certificates, PrivateKeyDer::from_pem_file(key).map_err(file(key))?)
        }
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key)?;
    if !resumption {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

fn self_signed(hostname: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let made = rcgen::generate_simple_self_signed([hostname.to_owned()])
        .map_err(|source| TlsError::Make { hostname: hostname.to_owned(), source })?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}
