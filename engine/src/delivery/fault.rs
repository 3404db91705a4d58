//! Whose fault it is that a connection cannot even be begun.

use crate::config::SocketName;
use crate::dispatch::{Open, OwnFault, Peer};
use rustix::io::Errno;
use std::io;

/// What of a connection's ends has to do with it.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    is_bound: bool,
    is_ipv4: bool,
}

impl Ends {
    pub(super) fn of(open: &Open) -> Ends {
        let is_ipv4 = matches!(&open.peer, Peer::At(SocketName::Tcp(peer)) if peer.is_ipv4());
        Ends { is_bound: open.source.is_some(), is_ipv4 }
    }

    /// The fault, if it is ours; else it is the peer's, or that of the way to it (socket(7), ip(7), connect(2)).
    pub(super) fn own_fault(self, error: &io::Error) -> Option<OwnFault> {
        let errno = Errno::from_io_error(error)?;
        let is_ours = match errno {
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC => true,
            // Rules of this machine; no port left for a source address.
            Errno::ACCESS | Errno::PERM | Errno::ADDRINUSE => true,
            // The source address is away; without one, no port is left. But where IPv6 is off, so is the way.
            Errno::ADDRNOTAVAIL => self.is_bound || self.is_ipv4,
            _ => false,
        };
        let is_source_away = self.is_bound && errno == Errno::ADDRNOTAVAIL;
        is_ours.then(|| OwnFault { is_source_away, why: error.to_string().into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::stream::Stream;
    use std::net::TcpListener;

    #[test]
    fn a_source_address_that_is_away_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = SocketName::Tcp(listener.local_addr().unwrap());
        // TEST-NET-1 is nobody's (RFC 5737).
        let error = Stream::connect(&peer, Some("192.0.2.1".parse().unwrap())).unwrap_err();
        let fault = Ends { is_bound: true, is_ipv4: true }.own_fault(&error).unwrap();
        assert!(fault.is_source_away && !fault.why.is_empty(), "{fault:?}");
        Stream::connect(&peer, Some("127.0.0.1".parse().unwrap())).unwrap();
    }

    #[test]
    fn what_the_peer_and_the_way_do_is_theirs() {
        let check = |errno: Errno, is_bound, is_ipv4, expected: Option<bool>| {
            let fault = Ends { is_bound, is_ipv4 }.own_fault(&errno.into());
            assert_eq!(fault.map(|fault| fault.is_source_away), expected, "{errno:?} {is_bound} {is_ipv4}");
        };
        for errno in [Errno::CONNREFUSED, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::CONNRESET] {
            check(errno, true, true, None);
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::ACCESS, Errno::PERM] {
            check(errno, true, true, Some(false));
        }
        check(Errno::ADDRNOTAVAIL, true, false, Some(true));
        check(Errno::ADDRNOTAVAIL, false, true, Some(false));
        check(Errno::ADDRNOTAVAIL, false, false, None);
    }
}
