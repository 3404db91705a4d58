//! Places in a network: sockets, addresses, hosts to deliver to.

use super::names::domain_name;
use super::text;
use crate::config::raw::Kind;
use crate::config::{NextHop, SocketName, Via};
use ipnet::IpNet;
use smtp::client::Protocol;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

pub(in crate::config) const SOCKET: Kind<SocketName> = Kind {
    what: "a socket to listen on",
    allowed: "\"127.0.0.1:2525\", \"[::1]:2525\", or \"unix:/run/posthaste/ingest.sock\"",
    read: |value| match text(value)? {
        bind if bind.starts_with("unix:") => unix_path(&bind["unix:".len()..]).map(SocketName::Unix),
        bind => socket_address(bind).map(SocketName::Tcp),
    },
};

/// `None`: switched off.
pub(in crate::config) const ADMIN: Kind<Option<SocketAddr>> = Kind {
    what: "an address to listen on",
    allowed: "\"127.0.0.1:8025\", or \"off\"",
    read: |value| match text(value)? {
        "off" => Ok(None),
        bind => socket_address(bind).map(Some),
    },
};

pub(in crate::config) const NAMESERVER: Kind<SocketAddr> = Kind {
    what: "a name server",
    allowed: "an address with its port: \"127.0.0.1:53\", \"[2001:db8::1]:53\"",
    read: |value| socket_address(text(value)?),
};

pub(in crate::config) const ADDRESS: Kind<IpAddr> = Kind {
    what: "an address of this machine",
    allowed: "\"192.0.2.10\", \"2001:db8::10\"",
    read: |value| match text(value)?.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => Err("nothing can be sent from it".into()),
        Ok(address) => Ok(address),
        Err(_) => Err("this is no IP address".into()),
    },
};

pub(in crate::config) const NETWORK: Kind<IpNet> = Kind {
    what: "a network",
    allowed: "\"127.0.0.0/8\", \"10.1.2.3\", \"2001:db8::/32\"",
    read: |value| {
        let written = text(value)?;
        let parsed = written.parse::<IpNet>().ok().or_else(|| written.parse::<IpAddr>().ok().map(IpNet::from));
        let net = parsed.ok_or("this is neither address/prefix nor an address")?;
        if net.trunc() == net {
            Ok(net)
        } else {
            Err(format!("bits are set behind the prefix; {} is the network", net.trunc()))
        }
    },
};

pub(in crate::config) const VIA: Kind<Via> = Kind {
    what: "a way to deliver",
    allowed: "\"mx\", \"discard\", \"odmr\", \"smtp://HOST:PORT\", \"smtps://HOST:PORT\" (TLS from the start), \"lmtp://HOST:PORT\", \
              \"lmtp+unix:/path\", or a list of hosts, the preferred one first",
    read: |value| match text(value)? {
        "mx" => Ok(Via::Mx),
        "discard" => Ok(Via::Discard),
        // Whose it is, `user` says.
        "odmr" => Ok(Via::Odmr("".into())),
        hop => next_hop(hop).map(|hop| Via::Hops([hop].into())),
    },
};

pub(in crate::config) const NEXT_HOP: Kind<NextHop> = Kind {
    what: "a host to deliver to",
    allowed: "\"smtp://HOST:PORT\", \"smtps://HOST:PORT\" (TLS from the start), \"lmtp://HOST:PORT\", \"lmtp+unix:/path\"",
    read: |value| match text(value)? {
        word @ ("mx" | "discard" | "odmr") => Err(format!("\"{word}\" is no host: it stands alone, without a list")),
        hop => next_hop(hop),
    },
};

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    Err(match text.parse::<IpAddr>() {
        Ok(_) => "the port is missing".into(),
        Err(_) => "this is no address:port".to_string(),
    })
}

fn unix_path(path: &str) -> Result<PathBuf, String> {
    match path {
        path if !path.starts_with('/') => Err("the path must begin with /".into()),
        // sun_path of sockaddr_un, less the final NUL.
        path if path.len() > 107 => Err("a socket's path has at most 107 bytes".into()),
        path => Ok(path.into()),
    }
}

fn next_hop(text: &str) -> Result<NextHop, String> {
    if let Some(path) = text.strip_prefix("lmtp+unix:") {
        return unix_path(path).map(NextHop::Unix);
    }
    let (scheme, rest) = text.split_once("://").ok_or("it names no way to get there")?;
    let (protocol, implicit_tls) = match scheme {
        "smtp" => (Protocol::Smtp, false),
        "smtps" => (Protocol::Smtp, true),
        "lmtp" => (Protocol::Lmtp, false),
        _ => return Err(format!("`{scheme}` is no protocol for mail")),
    };
    let (host, port) = host_and_port(rest)?;
    if protocol == Protocol::Lmtp && port == 25 {
        // RFC 2033 §5.
        return Err("LMTP is never spoken on port 25".into());
    }
    Ok(NextHop::Tcp { protocol, implicit_tls, host, port })
}

fn host_and_port(text: &str) -> Result<(Arc<str>, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or("the port is a number from 1 to 65535")?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(literal) if literal.parse::<std::net::Ipv6Addr>().is_ok() => literal.to_string(),
        Some(_) => return Err("what stands in brackets is an IPv6 address".into()),
        None if host.parse::<std::net::Ipv4Addr>().is_ok() => host.to_string(),
        None => {
            domain_name(host)?;
            host.to_lowercase()
        }
    };
    Ok((host.into(), port))
}
