//! Certificates of authorities that exist for one test.

use bench::sink::Certificate;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::path::Path;

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
