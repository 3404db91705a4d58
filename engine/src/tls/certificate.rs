//! A listener's certificate: two files, read, and proven to belong together.

use crate::config::ListenerTls;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A chain and its key, ready for handshakes.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    not_after: i64,
}

/// Why a certificate cannot be used. Each says which file to look at.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The chain.
    #[error("tls_certificate {}: {reason}", path.display())]
    Chain {
        /// As configured.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key.
    #[error("tls_key {}: {reason}", path.display())]
    Key {
        /// As configured.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Two files of two certificates.
    #[error("tls_key {} is not the key of the first certificate in tls_certificate {}", key.display(), chain.display())]
    Mismatch {
        /// As configured.
        chain: PathBuf,
        /// As configured.
        key: PathBuf,
    },
    /// rustls refused.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

impl Certificate {
    /// Reads both files and checks that they fit.
    ///
    /// # Errors
    /// A file that cannot be read or holds nothing of use, or a key of another certificate.
    pub fn load(files: &ListenerTls) -> Result<Certificate, CertificateError> {
        let chain = read_chain(&files.certificate)
            .map_err(|reason| CertificateError::Chain { path: files.certificate.clone(), reason })?;
        let not_after =
            expiry(&chain).map_err(|reason| CertificateError::Chain { path: files.certificate.clone(), reason })?;
        let bad_key = |reason| CertificateError::Key { path: files.key.clone(), reason };
        let key = read_key(&files.key).map_err(bad_key)?;
        let provider = rustls::crypto::ring::default_provider();
        match CertifiedKey::from_der(chain, key, &provider) {
            Ok(key) => Ok(Certificate { key: Arc::new(key), not_after }),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(CertificateError::Mismatch { chain: files.certificate.clone(), key: files.key.clone() })
            }
            Err(error) => Err(bad_key(error.to_string())),
        }
    }

    /// When it expires, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("it holds no certificate in PEM form".into()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(error.to_string()),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => "it holds no private key in PEM form; an encrypted one cannot be used".into(),
        error => error.to_string(),
    })
}

/// Of the first one, which is the listener's own.
fn expiry(chain: &[CertificateDer<'_>]) -> Result<i64, String> {
    let first = chain.first().map_or(&[][..], |certificate| certificate);
    let (_, parsed) = X509Certificate::from_der(first).map_err(|error| error.to_string())?;
    Ok(parsed.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsMode;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn made() -> (String, String) {
        let mut params = CertificateParams::new(["mx.test".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2031, 2, 3);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// What is said of a pair of files with these contents.
    fn check(chain: &str, key: &str, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let files = ListenerTls {
            mode: TlsMode::StartTls,
            certificate: dir.path().join("chain.pem"),
            key: dir.path().join("key.pem"),
        };
        std::fs::write(&files.certificate, chain).unwrap();
        std::fs::write(&files.key, key).unwrap();
        let said = match Certificate::load(&files) {
            Ok(certificate) => certificate.not_after().to_string(),
            Err(error) => error.to_string().replace(&format!("{}/", dir.path().display()), ""),
        };
        assert!(said.starts_with(expected), "{said}");
    }

    #[test]
    fn a_certificate_and_its_key() {
        let ((chain, key), (other_chain, other_key)) = (made(), made());
        check(&chain, &key, "1927843200");
        check(&format!("{chain}{other_chain}"), &key, "1927843200");
        check(&chain, &format!("{chain}{key}"), "1927843200");
        let mismatch = "tls_key key.pem is not the key of the first certificate in tls_certificate chain.pem";
        check(&chain, &other_key, mismatch);
        check(&format!("{other_chain}{chain}"), &key, mismatch);
        check("", &key, "tls_certificate chain.pem: it holds no certificate");
        check(&key, &key, "tls_certificate chain.pem: it holds no certificate");
        check("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key, "tls_certificate chain.pem: ");
        check(&chain, &chain, "tls_key key.pem: it holds no private key");
        let cut = key.replace(&key[60..80], "");
        check(&chain, &cut, "tls_key key.pem: ");
    }

    #[test]
    fn a_missing_file_is_named() {
        let files = ListenerTls { mode: TlsMode::Implicit, certificate: "/nonexistent/c".into(), key: "/x".into() };
        let error = Certificate::load(&files).unwrap_err().to_string();
        assert!(error.starts_with("tls_certificate /nonexistent/c: No such file"), "{error}");
    }
}
