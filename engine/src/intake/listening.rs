//! Sockets to listen on, as the system gives them.

use crate::config::SocketName;
use mio::net::{TcpListener, UnixListener};
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Waiting connections that the kernel keeps for us.
const LISTEN_BACKLOG: i32 = 4096;

/// Whether nobody listens there. That SO_REUSEPORT lets our loops share a socket lets other processes of this user share it,
/// too: a second server would take part of the first one's mail.
pub(crate) fn is_free(name: &SocketName) -> io::Result<()> {
    let SocketName::Tcp(address) = *name else { return Ok(()) };
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // For what a server leaves behind that has just ended.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// One more socket for the same address, or the first.
pub(super) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Connecting takes the right to write, which a umask leaves to the daemon's user alone, or to nobody else in its group either.
/// Who may is for the socket's directory to say.
const FOR_ALL: u32 = 0o666;

/// A socket file that nobody answers is what a crash left behind: it is replaced. One that answers is somebody's.
pub(super) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            let what = "a file that is no socket is there; move it away, or choose another path";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(FOR_ALL))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another process of the same user would be let in by the system.
    #[test]
    fn a_socket_that_is_shared_among_loops_is_nobody_elses() {
        let listener = bind_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let another = bind_tcp(address).unwrap();
        let taken = is_free(&SocketName::Tcp(address)).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let everywhere = SocketAddr::new("0.0.0.0".parse().unwrap(), address.port());
        assert!(is_free(&SocketName::Tcp(everywhere)).is_err(), "part of it is taken");
        drop((listener, another));
        is_free(&SocketName::Tcp(address)).unwrap();
    }

    #[test]
    fn only_a_socket_that_nobody_answers_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = bind_unix(&path).unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666, "whoever can reach it may connect, whatever the umask is");
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        drop(bind_unix(&path).unwrap());
        let file = dir.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        let error = bind_unix(&file).unwrap_err().to_string();
        assert!(error.contains("no socket") && std::fs::read(&file).unwrap() == b"precious", "{error}");
    }
}
