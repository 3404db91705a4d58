//! Which peers are this server itself (RFC 5321 §5.1, §6.3).

use crate::config::SocketName;
use std::net::IpAddr;

/// What this server can be reached by.
pub(crate) struct Ourselves {
    /// The EHLO name.
    pub name: std::sync::Arc<str>,
    /// As bound.
    pub listeners: Vec<SocketName>,
    /// Addresses known to be this machine's.
    pub addresses: Vec<IpAddr>,
}

impl Ourselves {
    /// Whether a connection from `local` to `peer` has ended at one of the listeners.
    pub(crate) fn listen_at(&self, peer: &SocketName, local: Option<IpAddr>) -> bool {
        self.listeners.iter().any(|bound| match (bound, peer) {
            (SocketName::Unix(bound), SocketName::Unix(peer)) => bound == peer,
            (SocketName::Tcp(bound), SocketName::Tcp(peer)) => {
                let ip = peer.ip();
                let all = bound.ip().is_unspecified() && (bound.is_ipv4() == peer.is_ipv4() || bound.is_ipv6());
                // From one of its own addresses to another, the kernel goes from the same to the same, unless told where from.
                let ours = || ip.is_loopback() || local == Some(ip) || self.addresses.contains(&ip);
                bound.port() == peer.port() && (bound.ip() == ip || (all && ours()))
            }
            _ => false,
        })
    }
    /// Whether a peer calls itself by our name.
    pub(crate) fn are_called(&self, peer_name: &str) -> bool {
        self.name.eq_ignore_ascii_case(peer_name.trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_known_by_their_sockets() {
        let tcp = |text: &str| SocketName::Tcp(text.parse().unwrap());
        let ourselves = Ourselves {
            name: "mta.test".into(),
            listeners: vec![tcp("127.0.0.1:2525"), tcp("0.0.0.0:25"), SocketName::Unix("/run/x".into())],
            addresses: vec!["192.0.2.7".parse().unwrap()],
        };
        for (peer, local, expected) in [
            (tcp("127.0.0.1:2525"), Some("127.0.0.1"), true),
            (tcp("127.0.0.2:2525"), Some("127.0.0.1"), false),
            (tcp("127.0.0.1:2526"), Some("127.0.0.1"), false),
            (tcp("127.0.0.9:25"), Some("127.0.0.1"), true),
            (tcp("192.0.2.1:25"), Some("192.0.2.1"), true),
            (tcp("192.0.2.1:25"), Some("192.0.2.9"), false),
            (tcp("192.0.2.7:25"), Some("192.0.2.9"), true),
            (tcp("[2001:db8::1]:25"), Some("2001:db8::1"), false),
            (SocketName::Unix("/run/x".into()), None, true),
            (SocketName::Unix("/run/y".into()), None, false),
        ] {
            assert_eq!(ourselves.listen_at(&peer, local.map(|ip| ip.parse().unwrap())), expected, "{peer}");
        }
        assert!(ourselves.are_called("MTA.test."));
        assert!(!ourselves.are_called("mta.test.example"));
    }
}
