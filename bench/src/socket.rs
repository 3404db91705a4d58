//! TCP and Unix stream sockets behind one face.

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where a listener is bound or a client connects: `127.0.0.1:2525`, `[::1]:2525`, `localhost:2525`, `unix:/run/x.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

/// Why a text is no address.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is neither HOST:PORT nor unix:/path: {reason}")]
pub struct AddressError {
    text: String,
    reason: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let error = |reason: String| AddressError { text: text.to_owned(), reason };
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(error("the path is empty".into()));
            }
            return Ok(Address::Unix(path.into()));
        }
        let mut found = text.to_socket_addrs().map_err(|e| error(e.to_string()))?;
        found.next().map(Address::Tcp).ok_or_else(|| error("the name has no address".into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Tcp(address)
    }
}

/// A connected, or connecting, non-blocking stream, registered edge-triggered.
///
/// TCP is registered for both directions once: the kernel reports it writable only after a write found no room, so this
/// costs nothing. A Unix socket reports it after every read of the peer, so there it is asked for only when needed.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn connect(to: &Address) -> io::Result<Socket> {
        match to {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Address::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path)?)),
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Socket::Tcp(s) => s.register(registry, token, Interest::READABLE | Interest::WRITABLE),
            Socket::Unix(s) => s.register(registry, token, Interest::READABLE | Interest::WRITABLE),
        }
    }

    /// Asks to be told when there is room to write again, or stops asking.
    pub(crate) fn ask_writable(&mut self, registry: &Registry, token: Token, wanted: bool) -> io::Result<()> {
        let interest = if wanted { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        match self {
            Socket::Tcp(_) => Ok(()),
            Socket::Unix(s) => s.reregister(registry, token, interest),
        }
    }

    /// After the first writable event: whether the connection stands (`true`), is still being made, or failed.
    pub(crate) fn finish_connect(&self) -> io::Result<bool> {
        let (error, peer) = match self {
            Socket::Tcp(s) => (s.take_error()?, s.peer_addr().map(drop)),
            Socket::Unix(s) => (s.take_error()?, s.peer_addr().map(drop)),
        };
        match (error, peer) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(true),
            (None, Err(e)) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
            (None, Err(e)) => Err(e),
        }
    }

    /// Sends FIN; what the peer still sends can be read.
    pub(crate) fn shutdown_write(&self) {
        // The peer may be gone already: then there is nothing to shut.
        let _ = match self {
            Socket::Tcp(s) => s.shutdown(std::net::Shutdown::Write),
            Socket::Unix(s) => s.shutdown(std::net::Shutdown::Write),
        };
    }

    /// Closes so that the peer sees a reset (RST) and what is unsent is lost. On Unix sockets: a plain close.
    pub(crate) fn reset(self) {
        if let Socket::Tcp(s) = &self {
            // Without it the close is merely an orderly one.
            let _ = socket2::SockRef::from(s).set_linger(Some(Duration::ZERO));
        }
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Socket::Tcp(s) => s.peer_addr().ok(),
            Socket::Unix(_) => None,
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => s.read(buffer),
            Socket::Unix(s) => s.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => s.write(buffer),
            Socket::Unix(s) => s.write(buffer),
        }
    }
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => s.write_vectored(slices),
            Socket::Unix(s) => s.write_vectored(slices),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connections that the kernel keeps until they are accepted. Beyond it the kernel forgets the last step of the handshake:
/// the client believes to be connected and waits for a greeting that never comes, for minutes.
const LISTEN_BACKLOG: i32 = 4096;

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// A bound listening socket. A Unix socket's file is removed when it is dropped.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Binds. A Unix socket's file that nobody listens on any more is replaced.
    pub(crate) fn bind(address: &Address) -> io::Result<Listener> {
        match address {
            Address::Tcp(address) => bind_tcp(*address).map(Listener::Tcp),
            Address::Unix(path) => {
                if path.exists() && std::os::unix::net::UnixStream::connect(path).is_err() {
                    std::fs::remove_file(path)?;
                }
                Ok(Listener::Unix(UnixListener::bind(path)?, path.clone()))
            }
        }
    }

    /// The address as bound: port 0 has become a real one.
    pub(crate) fn address(&self) -> io::Result<Address> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Listener::Unix(_, path) => Ok(Address::Unix(path.clone())),
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Listener::Unix(listener, _) => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// The next waiting connection; `WouldBlock` when there is none.
    pub(crate) fn accept(&self) -> io::Result<Socket> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Listener::Unix(listener, _) => Ok(Socket::Unix(listener.accept()?.0)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, path) = self {
            // Somebody may have removed it before us; that is as good.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, shown) in [
            ("127.0.0.1:2525", Some("127.0.0.1:2525")),
            ("[::1]:25", Some("[::1]:25")),
            ("unix:/run/a.sock", Some("unix:/run/a.sock")),
            ("unix:", None),
            ("127.0.0.1", None),
            ("127.0.0.1:x", None),
        ] {
            assert_eq!(text.parse::<Address>().ok().map(|a| a.to_string()).as_deref(), shown, "{text}");
        }
    }
}
