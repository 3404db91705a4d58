//! Where the running daemon is: said on the command line, or read from its configuration, or the defaults.

use crate::exit::{Exit, Failure};
use crate::terminal;
use engine::config::{self, Config, SocketName, defaults};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Reads a configuration as the daemon does.
///
/// # Errors
/// Its mistakes, rendered; exit code 78.
pub fn load(file: &Path) -> Result<Config, Failure> {
    Config::load(file).map_err(|errors| Failure::new(Exit::Config, errors.render(terminal::has_colour())))
}

/// The configuration to find the daemon by. A default file that cannot be read (it is the daemon's, not the user's) is
/// none; a file that the user named must be right.
fn known(file: Option<&PathBuf>) -> Result<Option<Config>, Failure> {
    match file {
        Some(file) => load(file).map(Some),
        None => Ok(Config::load(defaults::CONFIG_FILE.as_ref()).ok()),
    }
}

/// The admin server's address.
///
/// # Errors
/// A configuration with mistakes, or without an admin server.
pub fn admin(said: Option<SocketAddr>, file: Option<&PathBuf>) -> Result<SocketAddr, Failure> {
    match (said, known(file)?) {
        (Some(address), _) => Ok(address),
        (None, None) => Ok(defaults::ADMIN_BIND),
        (None, Some(config)) => config.admin.map(reachable).ok_or_else(|| {
            Failure::new(Exit::Unavailable, "the admin server is off: [admin] bind in the configuration says so")
        }),
    }
}

/// The ingest socket, and how TLS begins there: the first SMTP listener. A socket that
/// is said is in clear text, unless it is one of the listeners.
///
/// # Errors
/// A configuration with mistakes, or without a listener.
pub fn ingest(
    said: Option<SocketName>,
    file: Option<&PathBuf>,
) -> Result<(SocketName, Option<config::TlsMode>), Failure> {
    let config = match (said, known(file)?) {
        (Some(socket), config) => {
            let listener =
                config.and_then(|config| config.listeners.into_iter().find(|listener| listener.bind == socket));
            return Ok((socket, listener.and_then(|listener| listener.tls_mode())));
        }
        (None, None) => return Ok((SocketName::Tcp(defaults::LISTENER_BIND), None)),
        (None, Some(config)) => config,
    };
    let smtp = config.listeners.into_iter().find(|listener| listener.protocol == smtp::client::Protocol::Smtp);
    let Some(listener) = smtp else {
        let message = "the configuration has no [[listener]] that speaks SMTP; use --server";
        return Err(Failure::new(Exit::Unavailable, message));
    };
    let tls = listener.tls_mode();
    match listener.bind {
        SocketName::Tcp(address) => Ok((SocketName::Tcp(reachable(address)), tls)),
        socket => Ok((socket, tls)),
    }
}

/// Where its queue is.
///
/// # Errors
/// A configuration with mistakes.
pub fn data_dir(said: Option<PathBuf>, file: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    match said {
        Some(dir) => Ok(dir),
        None => Ok(known(file)?.map_or_else(|| defaults::DATA_DIR.into(), |config| config.data_dir)),
    }
}

/// What to connect to, to reach a server that is bound to all addresses.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

/// `HOST:PORT`, or `unix:/path`.
///
/// # Errors
/// It is neither.
pub fn parse_socket(text: &str) -> Result<SocketName, String> {
    match text.strip_prefix("unix:") {
        Some(path) => Ok(SocketName::Unix(path.into())),
        None => resolve(text).map(SocketName::Tcp).map_err(|error| format!("{error}; write HOST:PORT or unix:/path")),
    }
}

/// `HOST:PORT`.
///
/// # Errors
/// It is not, or the host has no address.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    resolve(text).map_err(|error| format!("{error}; write HOST:PORT, like {}", defaults::ADMIN_BIND))
}

/// Of a name's addresses the first one of IPv4: `localhost` has one of each kind, and our defaults are of that.
fn resolve(text: &str) -> Result<SocketAddr, String> {
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|error| error.to_string())?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| "the name has no address".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a configuration with these lines leads to.
    fn check(toml: &str, admin_at: Result<&str, Exit>, ingest_at: Result<&str, Exit>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("hostname = \"a.b\"\n{toml}")).unwrap();
        let path = file.path().to_path_buf();
        assert_eq!(
            admin(None, Some(&path)).map(|at| at.to_string()).map_err(|f| f.exit),
            admin_at.map(String::from),
            "{toml}"
        );
        assert_eq!(
            ingest(None, Some(&path)).map(|(at, _)| at.to_string()).map_err(|f| f.exit),
            ingest_at.map(String::from),
            "{toml}"
        );
    }

    #[test]
    fn the_configuration_says_where_the_daemon_is() {
        check("", Ok("127.0.0.1:8025"), Ok("127.0.0.1:2525"));
        check("[admin]\nbind = \"0.0.0.0:1\"\n[[listener]]\nbind = \"[::]:2\"", Ok("127.0.0.1:1"), Ok("[::1]:2"));
        check(
            "[[listener]]\nprotocol = \"lmtp\"\n[[listener]]\nbind = \"unix:/run/x\"",
            Ok("127.0.0.1:8025"),
            Ok("unix:/run/x"),
        );
        check(
            "[admin]\nbind = \"off\"\n[[listener]]\nprotocol = \"lmtp\"",
            Err(Exit::Unavailable),
            Err(Exit::Unavailable),
        );
        check("x = 1", Err(Exit::Config), Err(Exit::Config));
    }

    #[test]
    fn what_is_said_goes_first() {
        assert_eq!(admin(Some("127.0.0.1:9".parse().unwrap()), None).unwrap().port(), 9);
        assert_eq!(ingest(parse_socket("unix:/x").ok(), None), Ok((SocketName::Unix("/x".into()), None)));
        for wrong in ["localhost", "127.0.0.1", "::1", "nonsense", ""] {
            assert!(
                parse_socket(wrong).is_err_and(|error| error.ends_with("write HOST:PORT or unix:/path")),
                "{wrong}"
            );
            assert!(parse_address(wrong).is_err_and(|error| error.contains("write HOST:PORT")), "{wrong}");
        }
        assert_eq!(parse_address("localhost:8025"), Ok(defaults::ADMIN_BIND));
        let file = tempfile::NamedTempFile::new().unwrap();
        let tls = "bind = \"127.0.0.1:465\"\ntls = \"implicit\"\ntls_certificate = \"x.pem\"\n";
        let listeners = format!("hostname = \"a.b\"\n[[listener]]\nbind = \"127.0.0.1:25\"\n[[listener]]\n{tls}");
        std::fs::write(file.path(), listeners).unwrap();
        for (socket, tls) in [("127.0.0.1:465", Some(config::TlsMode::Implicit)), ("127.0.0.1:466", None)] {
            let (_, found) = ingest(parse_socket(socket).ok(), Some(&file.path().to_path_buf())).unwrap();
            assert_eq!(found, tls, "{socket}");
        }
    }
}
