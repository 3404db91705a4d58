//! A listening socket of one event loop, and who may come in.

use super::Refusal;
use super::client::Address;
use super::listening::{bind_tcp, bind_unix};
use super::transport::Transport;
use crate::config::{AuthPolicy, Listener, Mode, SocketName, TlsMode};
use crate::metrics::ListenerMetrics;
use crate::now::Now;
use crate::shell::stream::Stream;
use crate::users::{Directory, Users};
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use smtp::server::FutureRelease;
use smtp::{EnhancedCode, Reply};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const TOO_MANY: Reply = Reply::fixed(421, EnhancedCode(4, 3, 2), "Too many connections; try again later");
const TOO_MANY_OF_YOURS: Reply =
    Reply::fixed(421, EnhancedCode(4, 7, 0), "Too many connections from your address; close some, or try again later");
pub(super) const NOT_ALLOWED: Reply =
    Reply::fixed(550, EnhancedCode(5, 7, 1), "Your address may not relay here; add it to `allow` of this listener");
pub(super) const SHUTTING_DOWN: Reply = Reply::fixed(421, EnhancedCode(4, 3, 2), "Shutting down; try again later");

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// One listener as one loop sees it.
pub(crate) struct Door {
    socket: Socket,
    gate: Arc<Gate>,
    /// The last connection could not be accepted, which was logged.
    is_stuck: bool,
}

/// One listener as its connections see it, on all loops.
pub(super) struct Gate {
    /// As configured, with the real port.
    pub name: SocketName,
    pub metrics: ListenerMetrics,
    listener: Arc<Listener>,
    server: Arc<smtp::server::Config>,
    /// The same for clients that may use XCLIENT.
    trusting: Arc<smtp::server::Config>,
    tls: Option<Arc<rustls::ServerConfig>>,
    directory: Option<Arc<Directory>>,
    guests: AtomicUsize,
    /// Connections of each address that may not relay by itself.
    strangers: Mutex<HashMap<IpAddr, usize>>,
}

/// What lets a client relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    ByAddress,
    AfterAuth,
    /// Nothing does: it is heard, and each of its recipients is refused (RFC 5321 §3.6.2).
    Never,
}

/// Holds a connection's place in its listener's count.
pub(super) struct Guest {
    gate: Arc<Gate>,
    /// It counts as one of a stranger's connections.
    stranger: Option<IpAddr>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.gate.guests.fetch_sub(1, Ordering::Relaxed);
        self.gate.metrics.disconnected();
        self.leave();
    }
}

impl Guest {
    /// Takes a place among the connections of this address, if there is one left; gives back the one that it had. Whoever
    /// may relay by address has as many as the listener; a proxy, by XCLIENT, as many as its clients take.
    pub(super) fn take_place(&mut self, address: Address) -> Result<(), Refusal> {
        self.leave();
        let Address::Ip(ip) = address else { return Ok(()) };
        if is_in(&self.gate.listener.allow, ip) || is_in(&self.gate.listener.xclient, ip) {
            return Ok(());
        }
        let mut strangers = self.gate.strangers();
        let taken = strangers.entry(ip).or_default();
        if *taken >= self.gate.listener.max_connections_per_address {
            return Err(("too_many_connections_per_address", TOO_MANY_OF_YOURS));
        }
        *taken += 1;
        self.stranger = Some(ip);
        Ok(())
    }

    fn leave(&mut self) {
        let Some(ip) = self.stranger.take() else { return };
        let mut strangers = self.gate.strangers();
        if let Entry::Occupied(mut taken) = strangers.entry(ip) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }

    pub(super) fn metrics(&self) -> &ListenerMetrics {
        &self.gate.metrics
    }

    /// For handshakes; a listener that announces STARTTLS has one.
    pub(super) fn tls(&self) -> Option<Arc<rustls::ServerConfig>> {
        self.gate.tls.clone()
    }

    /// See [`Gate::trust`].
    pub(super) fn trust(&self, address: Address) -> Trust {
        self.gate.trust(address)
    }
    /// See [`Gate::receive`].
    pub(super) fn receive(&self, address: Address, now: Now) -> smtp::Server {
        self.gate.receive(address, now)
    }
    /// Who may log in; nobody where there is no AUTH.
    pub(super) fn users(&self) -> Arc<Users> {
        self.gate.directory.as_ref().map(|directory| directory.users()).unwrap_or_default()
    }

    /// See [`Gate::server_config`].
    pub(super) fn server_config(&self, address: Address) -> Arc<smtp::server::Config> {
        self.gate.server_config(address)
    }

    pub(super) fn is_submission(&self) -> bool {
        self.gate.listener.mode == Mode::Submission
    }
}

impl Gate {
    fn strangers(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this client may relay, by its address or by what it proves.
    fn trust(&self, address: Address) -> Trust {
        let by_address = match address {
            Address::Local => true,
            Address::Ip(ip) => is_in(&self.listener.allow, ip),
            Address::Unknown => false,
        };
        match (self.listener.auth, by_address) {
            (AuthPolicy::Required, _) | (AuthPolicy::Optional, false) => Trust::AfterAuth,
            (_, true) => Trust::ByAddress,
            (AuthPolicy::None, false) => Trust::Never,
        }
    }

    /// The conversation with a client there.
    fn receive(&self, address: Address, now: Now) -> smtp::Server {
        let mut server = smtp::Server::new(self.server_config(address), now.mono);
        server.require_auth(self.trust(address) == Trust::AfterAuth);
        server
    }

    fn server_config(&self, address: Address) -> Arc<smtp::server::Config> {
        match address {
            Address::Ip(ip) if is_in(&self.listener.xclient, ip) => self.trusting.clone(),
            _ => self.server.clone(),
        }
    }
}

fn is_in(networks: &[ipnet::IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

impl Door {
    /// Binds one socket per loop where the kernel can share an address (TCP), else one for the first loop.
    pub(crate) fn bind(
        listener: &Arc<Listener>,
        hostname: &str,
        metrics: &ListenerMetrics,
        tls: Option<Arc<rustls::ServerConfig>>,
        auth: Option<(Arc<Directory>, smtp::server::Auth)>,
        loops: usize,
        now: Now,
    ) -> io::Result<(SocketName, Vec<Door>)> {
        let mut bound = listener.bind.clone();
        let mut sockets = Vec::new();
        match &listener.bind {
            SocketName::Unix(path) => sockets.push(Socket::Unix(bind_unix(path)?)),
            SocketName::Tcp(address) => {
                let mut address = *address;
                for _ in 0..loops {
                    let socket = bind_tcp(address)?;
                    address = socket.local_addr()?; // Port 0 becomes a number, the same for all.
                    sockets.push(Socket::Tcp(socket));
                }
                bound = SocketName::Tcp(address);
            }
        }
        let (directory, auth) = auth.filter(|_| listener.has_auth()).unzip();
        let auth = auth.map(|auth| smtp::server::Auth { without_tls: listener.auth_without_tls, ..auth });
        let server = smtp::server::Config { auth, ..server_config(listener, hostname, now) };
        let gate = Arc::new(Gate {
            name: bound.clone(),
            metrics: metrics.clone(),
            listener: listener.clone(),
            trusting: Arc::new(smtp::server::Config { xclient: true, ..server.clone() }),
            server: Arc::new(server),
            tls,
            directory,
            guests: AtomicUsize::new(0),
            strangers: Mutex::default(),
        });
        let doors = sockets.into_iter().map(|socket| Door { socket, gate: gate.clone(), is_stuck: false }).collect();
        Ok((bound, doors))
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(s) => registry.register(s, token, Interest::READABLE),
            Socket::Unix(s) => registry.register(s, token, Interest::READABLE),
        }
    }

    /// Stops listening; a Unix socket's name goes away.
    pub(super) fn close(&mut self, registry: &Registry) {
        let _ = match &mut self.socket {
            Socket::Tcp(s) => registry.deregister(s),
            Socket::Unix(s) => registry.deregister(s),
        };
        if let SocketName::Unix(path) = &self.gate.listener.bind {
            let _ = std::fs::remove_file(path);
        }
    }

    /// The next connection, if one is waiting, and where it comes from.
    pub(super) fn accept(&mut self) -> io::Result<Option<(Transport, Address)>> {
        let accepted = match &self.socket {
            Socket::Tcp(s) => {
                s.accept().map(|(stream, peer)| (Stream::Tcp(stream), Address::Ip(peer.ip().to_canonical())))
            }
            Socket::Unix(s) => s.accept().map(|(stream, _)| (Stream::Unix(stream), Address::Local)),
        };
        match accepted {
            Ok((stream, peer)) => {
                self.is_stuck = false;
                self.prepared(stream).map(|transport| Some((transport, peer)))
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Logs the first of failures to accept: it is tried again and again.
    pub(super) fn note_failure(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_stuck, true) {
            tracing::warn!(%error, listener = %self.gate.name, "cannot accept connections");
        }
    }

    fn prepared(&self, stream: Stream) -> io::Result<Transport> {
        stream.set_nodelay();
        let mut transport = Transport::new(stream);
        if let (Some(config), Some(TlsMode::Implicit)) = (&self.gate.tls, self.gate.listener.tls_mode()) {
            transport.begin_with_tls(config.clone())?;
        }
        Ok(transport)
    }

    /// Whether there is a place for one more.
    pub(super) fn admit(&self, draining: bool) -> Result<(), Refusal> {
        if draining {
            return Err(("shutting_down", SHUTTING_DOWN));
        }
        match self.gate.guests.load(Ordering::Relaxed) {
            guests if guests >= self.gate.listener.max_connections => Err(("too_many_connections", TOO_MANY)),
            _ => Ok(()),
        }
    }

    /// Whether what comes from there begins with a PROXY header.
    pub(super) fn expects_header(&self, address: Address) -> bool {
        matches!(address, Address::Ip(ip) if is_in(&self.gate.listener.proxy_protocol, ip))
    }

    /// Counts one more connection, until the value is dropped.
    pub(super) fn guest(&self) -> Guest {
        self.gate.guests.fetch_add(1, Ordering::Relaxed);
        self.gate.metrics.connected();
        Guest { gate: self.gate.clone(), stranger: None }
    }

    pub(super) fn metrics(&self) -> &ListenerMetrics {
        &self.gate.metrics
    }

    pub(super) fn server_config(&self, address: Address) -> Arc<smtp::server::Config> {
        self.gate.server_config(address)
    }

    /// See [`Gate::receive`].
    pub(super) fn receive(&self, address: Address, now: Now) -> smtp::Server {
        self.gate.receive(address, now)
    }
}

fn server_config(listener: &Listener, hostname: &str, now: Now) -> smtp::server::Config {
    smtp::server::Config {
        hostname: hostname.to_owned(),
        protocol: listener.protocol,
        max_message_bytes: listener.max_message_bytes,
        max_recipients: listener.max_recipients,
        max_errors: listener.max_errors,
        idle_timeout: listener.idle_timeout,
        transaction_timeout: listener.transaction_timeout,
        bare_newline: listener.bare_newline,
        // RFC 6409 §7.
        etrn: listener.mode != Mode::Submission,
        atrn: listener.has_atrn(),
        binary_mime: true,
        dsn: true,
        deliver_by: true,
        mt_priority: true,
        // Announced over TLS only, and kept by delivery: see docs/delivery.md.
        require_tls: true,
        future_release: (!listener.max_hold.is_zero()).then(|| FutureRelease {
            longest: listener.max_hold,
            mono: now.mono,
            wall: now.wall(),
        }),
        limits: true,
        starttls: matches!(listener.tls_mode(), Some(TlsMode::StartTls | TlsMode::Required)),
        tls_first: listener.tls_mode() == Some(TlsMode::Required),
        ..smtp::server::Config::default()
    }
}
