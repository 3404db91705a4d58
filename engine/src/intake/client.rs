//! Who is at the other end of a connection: as the socket says, or as a proxy says whom we trust (PROXY, XCLIENT).

use smtp::server::{Introduction, Told};
use std::fmt;
use std::net::IpAddr;

/// As far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub address: Address,
    /// What the address resolves to, where a proxy said so.
    pub name: Option<Box<str>>,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// On this machine, on a Unix socket.
    Local,
    /// Behind a proxy that does not know it.
    Unknown,
    /// On the network.
    Ip(IpAddr),
}

impl Client {
    pub(super) fn at(address: Address) -> Client {
        Client { address, name: None }
    }

    /// Takes over what an XCLIENT said of it.
    pub(super) fn take(&mut self, said: &Introduction) {
        if let Some(address) = &said.address {
            self.address = match address {
                Told::Known(ip) => Address::Ip(*ip),
                Told::Unknown => Address::Unknown,
            };
            // The name was that of the other one.
            self.name = None;
        }
        if let Some(name) = &said.name {
            self.name = name.clone().known();
        }
    }
}

impl fmt::Display for Client {
    /// As in a trace field: `mx.example [192.0.2.1]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} ")?;
        }
        match self.address {
            Address::Ip(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Address::Ip(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
            Address::Unknown => f.write_str("unknown address"),
            Address::Local => f.write_str("local socket"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_later_holds_and_a_name_goes_with_its_address() {
        let mut client = Client::at(Address::Ip("10.0.0.1".parse().unwrap()));
        let nothing = Introduction::default();
        for (said, expected) in [
            (Introduction { extended: Some(true), ..nothing.clone() }, "[10.0.0.1]"),
            (Introduction { name: Some(Told::Known("a.example".into())), ..nothing.clone() }, "a.example [10.0.0.1]"),
            (
                Introduction { address: Some(Told::Known("2001:db8::7".parse().unwrap())), ..nothing.clone() },
                "[IPv6:2001:db8::7]",
            ),
            (
                Introduction { name: Some(Told::Known("b.example".into())), ..nothing.clone() },
                "b.example [IPv6:2001:db8::7]",
            ),
            (Introduction { name: Some(Told::Unknown), ..nothing.clone() }, "[IPv6:2001:db8::7]"),
            (Introduction { address: Some(Told::Unknown), ..nothing.clone() }, "unknown address"),
        ] {
            client.take(&said);
            assert_eq!(client.to_string(), expected);
        }
    }
}
