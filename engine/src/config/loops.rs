//! Routes that lead back to this server, as far as the configuration alone can tell. What it cannot (another name for this
//! machine, a proxy in between) shows when a connection is made, see [`crate::dispatch`].

use super::raw::Document;
use super::route::Surroundings;
use super::{NextHop, SocketName};
use std::net::IpAddr;
use std::ops::Range;

/// Notes a next hop that is a listener of ours.
pub(super) fn check(document: &Document<'_>, hop: &NextHop, span: &Range<usize>, around: &Surroundings<'_>) {
    let Some(listener) = around.listeners.iter().find(|listener| leads_to(hop, &listener.bind, around)) else { return };
    document.note(
        span.clone(),
        "this [[route]] leads back to this server",
        format!("{} is a [[listener]]: what it accepts would be sent to it again and again", listener.bind),
        Some("another host or port; `via = \"mx\"` for the domain's mail exchangers".into()),
    );
}

fn leads_to(hop: &NextHop, bind: &SocketName, around: &Surroundings<'_>) -> bool {
    match (hop, bind) {
        (NextHop::Unix(path), SocketName::Unix(bound)) => path == bound,
        (NextHop::Tcp { host, port, .. }, SocketName::Tcp(bound)) if *port == bound.port() => {
            match host.parse::<IpAddr>() {
                Ok(ip) => is_reached_at(bound.ip(), ip, around.sources),
                Err(_) if **host == *"localhost" => bound.ip().is_loopback() || bound.ip().is_unspecified(),
                Err(_) => around.hostname.is_some_and(|own| own == &**host) && !bound.ip().is_loopback(),
            }
        }
        _ => false,
    }
}

/// Whether a socket bound to `bound` takes connections to `ip`. Which addresses the machine has is not asked here: some are
/// known without asking.
fn is_reached_at(bound: IpAddr, ip: IpAddr, ours: &[IpAddr]) -> bool {
    // An IPv6 socket for all addresses takes IPv4, too.
    let all = bound.is_unspecified() && (bound.is_ipv4() == ip.is_ipv4() || bound.is_ipv6());
    bound == ip || (all && (ip.is_loopback() || ip.is_unspecified() || ours.contains(&ip)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_for_all_addresses_are_reached_at_each() {
        let ours = ["192.0.2.1".parse().unwrap()];
        for (bound, ip, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0", "127.0.0.2", true),
            ("0.0.0.0", "192.0.2.1", true),
            ("0.0.0.0", "192.0.2.2", false),
            ("0.0.0.0", "::1", false),
            ("::", "::1", true),
            ("::", "192.0.2.1", true),
        ] {
            assert_eq!(is_reached_at(bound.parse().unwrap(), ip.parse().unwrap(), &ours), expected, "{bound} {ip}");
        }
    }
}
