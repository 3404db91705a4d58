//! A thread that looks after files which may change while the engine runs: certificates of listeners, the users file.
//!
//! Files are looked at once a second, and read when they look different or when an operator asks (SIGHUP). What cannot be
//! used is logged once, and what was read before stays in force.

use super::read_clock;
use crate::config::{Config, ListenerTls, SocketName};
use crate::metrics::ListenerMetrics;
use crate::tls::{Keyring, Renewal};
use crate::users::{self, Directory};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks at the files.
const INTERVAL: Duration = Duration::from_secs(1);
/// Before a certificate expires, somebody has to hear of it: once a day.
const WARN_BEFORE_SECONDS: i64 = 14 * DAY_SECONDS;
const DAY_SECONDS: i64 = 86_400;

/// What the thread is asked for.
enum Order {
    /// Read everything again, as this configuration says.
    Reload(Arc<Config>),
    Stop,
}

/// The way to the thread; cheap to clone.
#[derive(Clone)]
pub(super) struct Watch(Sender<Order>);

/// A listener's certificate.
pub(super) struct WatchedCertificate {
    /// As configured: a reload finds the listener by it.
    pub listener: SocketName,
    pub keyring: Arc<Keyring>,
    pub metrics: ListenerMetrics,
    /// The day on which its expiry was last warned of.
    pub warned_day: i64,
}

impl Watch {
    pub(super) fn start(
        certificates: Vec<WatchedCertificate>,
        directory: Option<Arc<Directory>>,
    ) -> io::Result<(Watch, JoinHandle<()>)> {
        let (orders, taken) = unbounded();
        let run = move || Watcher { certificates, directory }.run(&taken);
        let thread = std::thread::Builder::new().name("watch".into()).spawn(run)?;
        Ok((Watch(orders), thread))
    }

    pub(super) fn reload(&self, config: Arc<Config>) {
        // It may have ended, and then the engine is ending too.
        let _ = self.0.send(Order::Reload(config));
    }

    pub(super) fn stop(&self) {
        let _ = self.0.send(Order::Stop);
    }
}

struct Watcher {
    certificates: Vec<WatchedCertificate>,
    directory: Option<Arc<Directory>>,
}

impl Watcher {
    fn run(mut self, orders: &Receiver<Order>) {
        self.certificates.iter_mut().for_each(WatchedCertificate::look_at_expiry);
        loop {
            match orders.recv_timeout(INTERVAL) {
                Ok(Order::Reload(config)) => self.reload(&config),
                Err(RecvTimeoutError::Timeout) => self.refresh(),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn reload(&mut self, config: &Config) {
        self.refresh_users(Some(&config.auth.users));
        for certificate in &mut self.certificates {
            let listener = config.listeners.iter().find(|listener| listener.bind == certificate.listener);
            match listener.and_then(|listener| listener.tls.as_ref()) {
                Some(files) => certificate.reload(files),
                None => tracing::warn!(listener = %certificate.listener, "its TLS changes with a restart only"),
            }
        }
    }

    fn refresh(&mut self) {
        self.refresh_users(None);
        for certificate in &mut self.certificates {
            let renewal = certificate.keyring.refresh();
            certificate.tell(renewal);
        }
    }

    fn refresh_users(&self, path: Option<&Path>) {
        let Some(directory) = &self.directory else { return };
        match directory.refresh(path) {
            users::Renewal::Unchanged => {}
            users::Renewal::Renewed(count) => tracing::info!(count, "users read anew"),
            users::Renewal::Failed(error) => {
                tracing::error!(%error, "the new users file cannot be used; the old one stays")
            }
        }
    }
}

impl WatchedCertificate {
    fn reload(&mut self, files: &ListenerTls) {
        let renewal = self.keyring.reload(files);
        self.tell(renewal);
    }

    fn tell(&mut self, renewal: Renewal) {
        match renewal {
            Renewal::Unchanged => {}
            Renewal::Renewed => {
                tracing::info!(listener = %self.listener, "certificate read anew");
                self.warned_day = 0;
            }
            Renewal::Failed(error) => {
                tracing::error!(%error, listener = %self.listener, "the new certificate cannot be used; the old one stays");
            }
        }
        self.look_at_expiry();
    }

    fn look_at_expiry(&mut self) {
        let not_after = self.keyring.not_after();
        self.metrics.certificate_expires(not_after);
        let now = (read_clock().wall_us / 1_000_000) as i64;
        let (left, today) = (not_after - now, now / DAY_SECONDS);
        if left < WARN_BEFORE_SECONDS && self.warned_day != today {
            self.warned_day = today;
            let (listener, days) = (&self.listener, left / DAY_SECONDS);
            match left {
                ..=0 => tracing::error!(%listener, "the certificate has expired: clients that verify it will not come"),
                _ => tracing::warn!(%listener, days, "the certificate expires soon"),
            }
        }
    }
}
