//! Certificates that exist for one scenario: of authorities, and of the engine's own listeners.

use bench::sink::Certificate;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::client::{ClientConfig, Resumption};
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::sync::Arc;

/// Names in a configuration; `DIR` is the world's directory.
pub const FILES: &str = "tls_certificate = \"DIR/chain.pem\"\ntls_key = \"DIR/key.pem\"\n";

/// A certificate for `mta.home.test`, signed by itself.
pub struct Made {
    pub chain: String,
    pub key: String,
    der: CertificateDer<'static>,
}

impl Made {
    pub fn new() -> Made {
        let params = CertificateParams::new(["mta.home.test".to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Made { chain: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }

    /// The files that [`FILES`] names.
    pub fn write(&self, dir: &Path) {
        std::fs::write(dir.join("chain.pem"), &self.chain).expect("a writable directory");
        std::fs::write(dir.join("key.pem"), &self.key).expect("a writable directory");
    }

    /// A client that trusts this certificate and no other, and begins anew each time.
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client_of(rustls::ALL_VERSIONS)
    }

    pub fn client_of(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }
}

/// An authority of our own, `ca.pem` in this directory; chain and key, there too, of a server of that name.
pub fn authority(dir: &Path, server: &str) -> Certificate {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let root = params.self_signed(&key).expect("a root");
    let issuer = Issuer::new(params, key);
    let server_key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new([server.to_owned()]).expect("a name").signed_by(&server_key, &issuer);
    let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
    std::fs::write(dir.join("ca.pem"), root.pem()).expect("a writable directory");
    std::fs::write(&chain, leaf.expect("a leaf").pem()).expect("a writable directory");
    std::fs::write(&key, server_key.serialize_pem()).expect("a writable directory");
    Certificate::Files { chain, key }
}
