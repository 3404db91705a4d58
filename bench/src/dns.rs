//! A small DNS server on loopback, for the demo, load tests and scenario tests.
//!
//! One thread answers UDP and TCP on one port from a [`Zone`] that may change while it runs, and counts. It plays the
//! recursive resolver that the engine asks: it follows aliases within the zone and knows nothing outside.
//! Not for the open network: no rate limits, no zone transfers, no DNSSEC.

mod answer;
mod server;
mod zone;

pub use zone::{Rule, Zone};

use hickory_proto::rr::RecordType;
use server::Server;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

/// A running server; it stops when dropped.
pub struct LocalDns {
    address: SocketAddr,
    zone: Arc<RwLock<Zone>>,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    waker: mio::Waker,
    thread: Option<JoinHandle<()>>,
}

/// Questions that came in, by kind; repeated ones count again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// For MX records.
    pub mx: u64,
    /// For A records.
    pub a: u64,
    /// For AAAA records.
    pub aaaa: u64,
    /// For anything else.
    pub other: u64,
    /// Of all these, those over TCP.
    pub tcp: u64,
}

impl Questions {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.mx + self.a + self.aaaa + self.other
    }
}

#[derive(Default)]
struct Tally {
    mx: AtomicU64,
    a: AtomicU64,
    aaaa: AtomicU64,
    other: AtomicU64,
    tcp: AtomicU64,
}

impl Tally {
    fn count(&self, kind: RecordType, transport: answer::Transport) {
        let counter = match kind {
            RecordType::MX => &self.mx,
            RecordType::A => &self.a,
            RecordType::AAAA => &self.aaaa,
            _ => &self.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if transport == answer::Transport::Tcp {
            self.tcp.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl LocalDns {
    /// Starts a server on `bind`; port 0 picks a free one. Errors: the address cannot be bound, no thread or poll.
    pub fn start(bind: SocketAddr, zone: Zone) -> io::Result<LocalDns> {
        let zone = Arc::new(RwLock::new(zone));
        let tally = Arc::new(Tally::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (server, waker) = Server::bind(bind, zone.clone(), tally.clone(), stop.clone())?;
        let address = server.address();
        let thread = std::thread::Builder::new().name("local-dns".into()).spawn(move || server.run())?;
        Ok(LocalDns { address, zone, tally, stop, waker, thread: Some(thread) })
    }

    /// Where it listens, UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it answers from; changes count from the next question on.
    pub fn zone(&self) -> &Arc<RwLock<Zone>> {
        &self.zone
    }

    /// Adds or replaces a rule. See [`Zone::set`].
    pub fn set(&self, pattern: &str, rule: Rule) {
        self.zone.write().unwrap_or_else(|poisoned| poisoned.into_inner()).set(pattern, rule);
    }

    /// What has been asked so far.
    pub fn questions(&self) -> Questions {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Tally { mx, a, aaaa, other, tcp } = &*self.tally;
        Questions { mx: read(mx), a: read(a), aaaa: read(aaaa), other: read(other), tcp: read(tcp) }
    }
}

impl Drop for LocalDns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Without the wake-up there is nobody to wait for.
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}
