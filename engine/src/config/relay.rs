//! Who may relay: no `allow`, and no trust in what a proxy says, may make an open relay.
//!
//! A listener relays for whoever connects from an allowed address, so an `allow` that lets the internet in is refused,
//! however it is spelled: a public network wider than /8 (IPv4) or /16 (IPv6), the IPv4 internet in its IPv6 clothes
//! (`::ffff:0:0/96`), or many networks that together are everything. Private networks (RFC 1918, RFC 4193) may be as wide
//! as they are.

use super::raw::{At, Document};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::Ipv6Addr;

/// The widest public networks that may be allowed, as prefix lengths.
const MIN_PREFIX_V4: u8 = 8;
const MIN_PREFIX_V6: u8 = 16;
/// How much of the IPv4 internet all entries may add up to: a sixteenth.
const MIN_SUM_PREFIX: u8 = 4;

/// Notes every entry that opens the relay.
pub(super) fn check(document: &Document<'_>, key: &str, allow: &At<Vec<At<IpNet>>>) {
    let mut refused = false;
    for At { value, span } in &allow.value {
        if lets_everyone_in(value) {
            refused = true;
            note(document, key, span.clone(), format!("{value} is open to strangers"));
        }
    }
    let nets: Vec<IpNet> = allow.value.iter().map(|at| at.value).collect();
    let sum = IpNet::aggregate(&nets);
    if let Some(wide) = sum.iter().find(|net| net.prefix_len() < MIN_SUM_PREFIX).filter(|_| !refused) {
        note(document, key, allow.span.clone(), format!("together these are {wide}"));
    }
}

fn note(document: &Document<'_>, key: &str, span: std::ops::Range<usize>, label: String) {
    let help = format!(
        "loopback, private networks, or specific networks of yours (IPv4 from /{MIN_PREFIX_V4}, IPv6 from /{MIN_PREFIX_V6})"
    );
    document.note(span, format!("this `{key}` makes an open relay"), label, Some(help));
}

fn lets_everyone_in(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => net.prefix_len() < MIN_PREFIX_V4,
        IpNet::V6(net) => match mapped(net) {
            Some(net) => net.prefix_len() < MIN_PREFIX_V4,
            None => (net.prefix_len() < MIN_PREFIX_V6 && !is_private(net)) || net.contains(&MAPPED_NET),
        },
    }
}

const MAPPED_NET: Ipv6Net = match Ipv6Net::new(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96) {
    Ok(net) => net,
    Err(_) => unreachable!(),
};

/// The IPv4 network behind `::ffff:a.b.c.d/n`.
fn mapped(net: &Ipv6Net) -> Option<Ipv4Net> {
    let address = net.network().to_ipv4_mapped()?;
    Ipv4Net::new(address, net.prefix_len().checked_sub(96)?).ok()
}

/// fc00::/7 (RFC 4193) and fe80::/10.
fn is_private(net: &Ipv6Net) -> bool {
    let address = net.network();
    (net.prefix_len() >= 7 && address.is_unique_local()) || (net.prefix_len() >= 10 && address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_net(net: &str, open: bool) {
        assert_eq!(lets_everyone_in(&net.parse().unwrap()), open, "{net}");
    }

    #[test]
    fn the_internet_is_refused_however_it_is_spelled() {
        for net in
            ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/2", "2000::/3", "::ffff:0:0/96", "::/64", "::ffff:0:0/97"]
        {
            check_net(net, true);
        }
    }

    #[test]
    fn networks_of_ones_own_are_not() {
        let own =
            ["127.0.0.0/8", "10.0.0.0/8", "::1/128", "fc00::/7", "fe80::/10", "2001:db8::/32", "::ffff:10.0.0.0/104"];
        for net in own {
            check_net(net, false);
        }
    }
}
