//! The certificate that a listener shows, replaced while it runs: what has shaken hands keeps what it was shown.

use super::certificate::{Certificate, CertificateError};
use crate::config::ListenerTls;
use crate::look::Look;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto::ring};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// One listener's, shared by its handshakes (which read) and the watch (which replaces).
#[derive(Debug)]
pub(crate) struct Keyring {
    current: RwLock<Certificate>,
    source: Mutex<Source>,
}

/// The files, and how they looked when they were last read.
#[derive(Debug)]
struct Source {
    files: ListenerTls,
    seen: Look,
}

/// What came of a look at the files.
#[derive(Debug)]
pub(crate) enum Renewal {
    /// They are as they were.
    Unchanged,
    /// New handshakes see the new one.
    Renewed,
    /// They have changed and cannot be used: the old one stays.
    Failed(CertificateError),
}

impl Keyring {
    pub(crate) fn load(files: &ListenerTls) -> Result<Arc<Keyring>, CertificateError> {
        // Looked at before they are read: a change in between shows the next time.
        let source = Source { seen: look(files), files: files.clone() };
        let current = RwLock::new(Certificate::load(files)?);
        Ok(Arc::new(Keyring { current, source: Mutex::new(source) }))
    }

    /// Reads other files from now on, and reads them in any case.
    pub(crate) fn reload(&self, files: &ListenerTls) -> Renewal {
        let mut source = self.source();
        *source = Source { seen: look(files), files: files.clone() };
        self.read(&source)
    }

    /// Reads the files again if they look different.
    pub(crate) fn refresh(&self) -> Renewal {
        let mut source = self.source();
        let seen = look(&source.files);
        if source.seen == seen {
            return Renewal::Unchanged;
        }
        source.seen = seen;
        self.read(&source)
    }

    fn read(&self, source: &Source) -> Renewal {
        match Certificate::load(&source.files) {
            Ok(certificate) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = certificate;
                Renewal::Renewed
            }
            Err(error) => Renewal::Failed(error),
        }
    }

    /// When what is shown now expires, in seconds since 1970.
    pub(crate) fn not_after(&self) -> i64 {
        self.current.read().unwrap_or_else(PoisonError::into_inner).not_after()
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the listener's handshakes: TLS 1.2 and 1.3, sessions resumed by tickets, so that they cost no memory here.
    pub(crate) fn server_config(self: &Arc<Keyring>) -> Result<Arc<ServerConfig>, CertificateError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(self.clone());
        config.ticketer = ring::Ticketer::new()?;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Keyring {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

fn look(files: &ListenerTls) -> Look {
    Look::at(&[&files.certificate, &files.key])
}
