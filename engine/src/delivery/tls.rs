//! TLS towards peers: two client configurations, made once.
//!
//! Opportunistic TLS does not verify (RFC 7435: some protection beats none, and most MX certificates would fail); the
//! verifier below still checks the handshake's signatures, so the peer holds the key of the certificate it shows.

use crate::config::TlsPolicy;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;

/// Hosts whose sessions are kept, each of the two ways; the one used longest ago goes first. A session with its tickets takes
/// some KiB.
const SESSIONS: usize = 2048;

/// Shared by all connections, and with them the sessions that can be resumed.
pub(crate) struct TlsConfigs {
    unverified: Arc<ClientConfig>,
    verified: Arc<ClientConfig>,
    /// What `verified` goes by, for certificates that came over `unverified`. `None`: there are no roots.
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

/// The configured roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Unreadable, or no PEM.
    #[error("tls_ca_file {path}: {reason}")]
    CaFile {
        /// As configured.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// rustls refused.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

impl TlsConfigs {
    /// Roots from `ca_file`, else the system's. Without any, `tls = "verified"` fails at each handshake and says so.
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<TlsConfigs, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = || ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let any = Arc::new(AnyCertificate(provider.clone()));
        let mut unverified = builder()?.dangerous().with_custom_certificate_verifier(any).with_no_client_auth();
        let roots = Arc::new(roots(ca_file)?);
        let mut verified = builder()?.with_root_certificates(roots.clone()).with_no_client_auth();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build().ok();
        // Apart: what was not verified is not resumed as if it were.
        for config in [&mut unverified, &mut verified] {
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
        }
        Ok(TlsConfigs { unverified: Arc::new(unverified), verified: Arc::new(verified), verifier })
    }

    /// Whether this chain, which the peer has shown that it has the key of, proves that it is `host`.
    pub(crate) fn prove(&self, chain: &[CertificateDer<'_>], host: &str) -> bool {
        let (Some(verifier), [own, others @ ..]) = (&self.verifier, chain) else { return false };
        server_name(host)
            .is_ok_and(|name| verifier.verify_server_cert(own, others, &name, &[], UnixTime::now()).is_ok())
    }

    /// A new session towards `host`.
    pub(crate) fn connect(&self, policy: TlsPolicy, host: &str) -> Result<rustls::ClientConnection, rustls::Error> {
        let config = if policy == TlsPolicy::Verified { &self.verified } else { &self.unverified };
        rustls::ClientConnection::new(config.clone(), server_name(host)?)
    }
}

/// What rustls says; in words, too, where it has only a name for what operators meet often.
pub(super) fn describe(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(why))
            if format!("{why:?}").contains("CaUsedAsEndEntity") =>
        {
            "invalid peer certificate: it is an authority's own, as self-signed ones mostly are".into()
        }
        other => other.to_string(),
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, rustls::Error> {
    ServerName::try_from(host.trim_end_matches('.').to_owned())
        .map_err(|_| rustls::Error::General(format!("{host} cannot stand in a certificate")))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match ca_file {
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let fail = |reason: String| TlsError::CaFile { path: path.display().to_string(), reason };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| fail(e.to_string()))?;
                store.add(certificate).map_err(|e| fail(e.to_string()))?;
            }
        }
    }
    Ok(store)
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    /// As `openssl req -x509` makes it.
    #[test]
    fn a_certificate_that_signed_itself_is_refused_in_words() {
        let mut params = CertificateParams::new(["mx.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, certificate.pem()).unwrap();
        let verifier = TlsConfigs::new(Some(&file)).unwrap().verifier.unwrap();
        let name = server_name("mx.test").unwrap();
        let refused = verifier.verify_server_cert(certificate.der(), &[], &name, &[], UnixTime::now()).unwrap_err();
        assert_eq!(
            describe(&refused),
            "invalid peer certificate: it is an authority's own, as self-signed ones mostly are"
        );
    }
}
