//! The shell: threads, sockets, clocks, files. It wires the rooms together and holds no policy.
//!
//! *Placement.* A wake-up across cores costs more than a message's own work, so a small machine gets one event loop
//! with intake, mind and delivery side by side, and the committer apart. More workers get more loops, each with intake
//! and delivery; the mind lives in the first.

pub(crate) mod arena;
mod control;
mod etrn;
mod event_loop;
mod expiry;
mod hands;
mod inbox;
mod letter;
mod mind;
mod neighbours;
mod odmr;
mod operate;
pub(crate) mod stream;
pub(crate) mod timers;
pub(crate) mod turned;
mod verifier;
mod walks;
mod watch;

pub use control::Handle;
pub use operate::{Bounds, OperateError, Operated, Selection, Step, Walk, Wish};

use crate::config::{Config, Listener, SocketName};
use crate::delivery::{Delivery, Ourselves, Settings, TlsConfigs};
use crate::dispatch::{Dispatch, Input};
use crate::events::EventLog;
use crate::intake::{self, Door, Intake, Permits, Shared};
use crate::metrics::{EngineMetrics, Handshakes};
use crate::passwords::{self, PasswordError, Passwords};
use crate::tls::Keyring;
use crate::users::Directory;
use etrn::Starter;
pub(crate) use event_loop::read_clock;
use event_loop::{EventLoop, Unstarted};
use mind::{Mind, Senses};
use neighbours::Neighbours;
use queue::service::Recovery;
use queue::{Queue, QueueError};
use smtp::sasl::Nonces;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use verifier::Verifier;
use watch::{Watch, WatchedCertificate};

/// DNS answers kept, per kind.
const DNS_CACHE_ENTRIES: usize = 100_000;
/// DNS questions under way at once.
const DNS_CONCURRENT: usize = 256;

/// Why the engine cannot start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The queue.
    #[error("{}{}", .0, queue_remedy(.0))]
    Queue(#[from] QueueError),
    /// A listening socket.
    #[error("cannot listen on {name}: {source}{}", listen_remedy(.source))]
    Listen {
        /// As configured.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// TLS roots.
    #[error(transparent)]
    Tls(#[from] crate::delivery::TlsError),
    /// A listener's certificate.
    #[error("the listener {name} cannot speak TLS: {source}")]
    Certificate {
        /// As configured.
        name: String,
        /// Which file, and what is wrong with it.
        source: crate::tls::CertificateError,
    },
    /// The users file.
    #[error("{0}; `posthaste user add NAME` makes it")]
    Users(#[from] crate::users::UsersError),
    /// A login.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The event log.
    #[error("cannot write the event log {path}: {source}")]
    EventLog {
        /// Where.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Threads, pollers, the resolver.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// What to do about a queue that cannot be opened, where that is not said already.
fn queue_remedy(error: &QueueError) -> &'static str {
    match error {
        full if full.is_full() => "; make room on that disk",
        QueueError::Io { .. } => "; `data_dir` must be a directory in which this user may write",
        QueueError::Version { .. } => "; let the version that wrote it deliver what is queued, then move it away",
        _ => "",
    }
}

/// What to do about a socket that cannot be had.
fn listen_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program has it",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        io::ErrorKind::PermissionDenied => {
            "; a port below 1024 needs CAP_NET_BIND_SERVICE, a Unix socket a directory in which this user may write"
        }
        io::ErrorKind::NotFound => "; its directory has to exist",
        _ => "",
    }
}

/// A running engine.
pub struct Engine {
    handle: Handle,
    threads: Vec<JoinHandle<io::Result<()>>>,
    watch: JoinHandle<()>,
    queue: Queue,
    recovery: Recovery,
    addresses: Vec<SocketName>,
}

impl Engine {
    /// Opens the queue, recovers, listens, starts the threads. When this returns, mail is accepted.
    pub fn start(config: Arc<Config>) -> Result<Engine, StartError> {
        let (queue, recovery) = Queue::open(queue_options(&config))?;
        let metrics = Arc::new(EngineMetrics::new(&config));
        let shared = Arc::new(Shared {
            queue: queue.clone(),
            permits: Permits::new(config.queue.clone(), queue.clone()),
            max_hops: config.delivery.max_hops,
            failure_delay: config.auth.failure_delay,
        });
        let unstarted = (0..config.delivery.workers).map(|_| Unstarted::new()).collect::<io::Result<Vec<_>>>()?;
        let loops: Vec<_> = unstarted.iter().map(|one| one.address().clone()).collect();
        let keyrings = load_keyrings(&config)?;
        let directory = load_directory(&config)?;
        let (addresses, mut doors) = bind(&config, &metrics, &keyrings, directory.as_ref())?;
        let (watch, watch_thread) = Watch::start(watched(&config, &metrics, keyrings), directory.clone())?;
        let settings = Arc::new(settings(&config, &addresses)?);
        let failed = Arc::new(AtomicBool::new(false));
        let resolver = start_resolver(&config, metrics.clone())?;
        let senses = Senses {
            queue: queue.clone(),
            resolver: resolver.clone(),
            metrics: metrics.clone(),
            events: open_events(&config)?,
            intake: shared.clone(),
            failed: failed.clone(),
            home: loops[0].clone(),
        };
        let mut mind = Some(start_mind(&config, senses)?);
        let handle =
            Handle::new(config.clone(), shared.clone(), resolver, loops.clone(), watch, failed, settings.clone());
        let (starter, thread) = Starter::start(handle.clone())?;
        let (alive, expiry) = expiry::start(handle.clone())?;
        let mut threads = vec![thread, expiry];
        let verifier = directory.as_ref().map(Verifier::start).transpose()?;
        let verifier = verifier.map(|(verifier, more)| {
            threads.extend(more);
            verifier
        });
        let neighbours = Neighbours {
            mind: loops[0].clone(),
            loops: loops.clone(),
            queue: queue.clone(),
            starter,
            alive,
            verifier,
            metrics,
            awaited: Arc::new(AtomicUsize::new(loops.len() - 1)),
        };
        for (index, unstarted) in unstarted.into_iter().enumerate() {
            let intake = Intake::new(shared.clone(), &config.hostname, std::mem::take(&mut doors[index]));
            let delivery = Delivery::new(settings.clone());
            let event_loop = EventLoop::new(unstarted, index, neighbours.clone(), intake, delivery, mind.take())?;
            let name = format!("loop-{index}");
            threads.push(std::thread::Builder::new().name(name).spawn(move || event_loop.run())?);
        }
        Ok(Engine { handle, threads, watch: watch_thread, queue, recovery, addresses })
    }

    /// For operators' questions and wishes; outlives the engine harmlessly.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What recovery found at the start.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Where the listeners are bound, in the order of the configuration; port 0 has become a number.
    pub fn addresses(&self) -> &[SocketName] {
        &self.addresses
    }

    /// Accepts nothing new, lets what is in flight finish for at most `patience`, settles, closes the queue. What is
    /// queued stays queued.
    pub fn shut_down(self, patience: Duration) -> Result<(), StartError> {
        self.handle.drain(self.threads[0].is_finished());
        self.wait(patience);
        self.handle.stop();
        let ends: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
        // It holds nothing that could be lost, whatever it ended with.
        let _ = self.watch.join();
        // Even if a loop ended badly: what it settled last would otherwise be delivered again.
        let closed = self.queue.close();
        for end in ends {
            match end {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        closed?;
        Ok(())
    }

    /// Until every loop has ended, at most `patience`.
    #[allow(clippy::disallowed_methods, reason = "this is the caller's thread, not a loop's")]
    fn wait(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && !self.threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether a loop, or a thread of the queue, has ended by itself: something is badly wrong, and the process should end.
    pub fn is_broken(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished) || self.queue.is_broken()
    }
}

fn queue_options(config: &Config) -> queue::Options {
    let prepare_bytes = config.queue.prepare_bytes;
    queue::Options { prepare_bytes, ..queue::Options::new(config.data_dir.join("queue")) }
}

/// In the order of the listeners; `None` for one without TLS.
type Keyrings = Vec<Option<Arc<Keyring>>>;

fn load_keyrings(config: &Config) -> Result<Keyrings, StartError> {
    let load = |listener: &Listener| {
        let load = |files| {
            Keyring::load(files).map_err(|source| StartError::Certificate { name: listener.bind.to_string(), source })
        };
        listener.tls.as_ref().map(load).transpose()
    };
    config.listeners.iter().map(load).collect()
}

/// Only read where somebody can log in.
fn load_directory(config: &Config) -> Result<Option<Arc<Directory>>, StartError> {
    let is_needed = config.listeners.iter().any(Listener::has_auth);
    Ok(is_needed.then(|| Directory::load(&config.auth.users)).transpose()?)
}

fn watched(config: &Config, metrics: &EngineMetrics, keyrings: Keyrings) -> Vec<WatchedCertificate> {
    let watched = |(n, keyring): (usize, Option<Arc<Keyring>>)| {
        let listener = config.listeners[n].bind.clone();
        Some(WatchedCertificate { listener, keyring: keyring?, metrics: metrics.listener(n).clone(), warned_day: 0 })
    };
    keyrings.into_iter().enumerate().filter_map(watched).collect()
}

/// What AUTH is like wherever it is offered.
fn offer(config: &Config) -> smtp::server::Auth {
    smtp::server::Auth {
        mechanisms: config.auth.mechanisms.clone(),
        without_tls: false,
        max_failures: config.auth.max_failures,
        nonces: Arc::new(Nonces::new(crate::tls::random())),
    }
}

/// Binds every listener; the doors come back by loop.
fn bind(
    config: &Config,
    metrics: &EngineMetrics,
    keyrings: &Keyrings,
    directory: Option<&Arc<Directory>>,
) -> Result<(Vec<SocketName>, Vec<Vec<Door>>), StartError> {
    let loops = config.delivery.workers;
    let mut by_loop: Vec<Vec<Door>> = (0..loops).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    let auth = directory.map(|directory| (directory.clone(), offer(config)));
    // All of them before the first is bound: one of ours may be part of another (0.0.0.0 and 127.0.0.1).
    for Listener { bind, .. } in &config.listeners {
        intake::is_free(bind).map_err(|source| StartError::Listen { name: bind.to_string(), source })?;
    }
    for (n, listener) in config.listeners.iter().enumerate() {
        let name = || listener.bind.to_string();
        let tls = keyrings[n].as_ref().map(Keyring::server_config).transpose();
        let tls = tls.map_err(|source| StartError::Certificate { name: name(), source })?;
        let (bound, doors) = Door::bind(
            &Arc::new(listener.clone()),
            &config.hostname,
            metrics.listener(n),
            tls,
            auth.clone(),
            loops,
            read_clock(),
        )
        .map_err(|source| StartError::Listen { name: name(), source })?;
        addresses.push(bound);
        doors.into_iter().zip(&mut by_loop).for_each(|(door, room)| room.push(door));
    }
    Ok((addresses, by_loop))
}

/// What all delivery rooms share.
fn settings(config: &Config, addresses: &[SocketName]) -> Result<Settings, StartError> {
    let passwords = Passwords::default();
    passwords.replace(passwords::read(config)?);
    Ok(Settings {
        ourselves: Ourselves {
            name: config.hostname.clone(),
            listeners: addresses.to_vec(),
            addresses: config.delivery.source_addresses.clone(),
        },
        connect_timeout: config.delivery.connect_timeout,
        timeouts: config.delivery.timeouts.clone(),
        passwords,
        handshakes: Handshakes::default(),
        tls: TlsConfigs::new(config.delivery.tls_ca_file.as_deref())?,
    })
}

fn start_mind(config: &Arc<Config>, senses: Senses) -> Result<Mind, StartError> {
    let now = read_clock();
    let seed = now.wall_us;
    let ids = senses.queue.clone();
    let mut dispatch = Dispatch::new(config.clone(), Box::new(move || ids.next_id()), seed, now);
    dispatch.handle(now, Input::Backlog(senses.queue.backlog()?));
    Ok(Mind::new(dispatch, senses, now))
}

fn open_events(config: &Config) -> Result<Option<EventLog>, StartError> {
    let open = |path: &PathBuf| {
        EventLog::open(path).map_err(|source| StartError::EventLog { path: path.display().to_string(), source })
    };
    config.log.events.as_ref().map(open).transpose()
}

fn start_resolver(config: &Config, metrics: Arc<EngineMetrics>) -> io::Result<dns::Resolver> {
    dns::Resolver::start(
        dns::Options {
            nameservers: config.dns.nameservers.clone(),
            timeout: config.dns.timeout,
            ip_family: config.delivery.ip_family,
            own_names: vec![config.hostname.to_string()],
            cache_entries: DNS_CACHE_ENTRIES,
            min_ttl: Duration::from_secs(30),
            max_ttl: Duration::from_secs(86_400),
            max_stale: Duration::from_secs(86_400),
            max_concurrent: DNS_CONCURRENT,
            seed: read_clock().wall_us,
        },
        Box::new(move |lookup| metrics.dns(lookup)),
    )
}
