//! The PROXY header: what a proxy in front of us says of the client that it speaks for, before the client's first octet.
//! (haproxy.org/download/2.8/doc/proxy-protocol.txt, versions 1 and 2.)
//!
//! Only addresses in `proxy_protocol` are asked for one, and they must send it. A proxy that speaks for itself (LOCAL, as
//! health checks do) or for a client that has no IP address (UNKNOWN, UNIX) is the client. What else a header holds, its
//! TLVs, is not looked at.

use proxy_header::{Error, ParseConfig, ProxyHeader};
use std::net::IpAddr;
use std::time::Duration;

/// A proxy sends the header at once; one retransmission of TCP takes up to 3 seconds (§2 of the document).
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Of a header. Version 1 has at most 107 octets; version 2 could have 65,551, but no proxy has so much to tell.
pub(super) const MAX_BYTES: usize = 4096;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// `None`: the proxy itself.
    pub client: Option<IpAddr>,
    /// Of the header.
    pub octets: usize,
}

/// What was sent is no PROXY header, or a longer one than [`MAX_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoHeader;

impl Header {
    /// Reads what has arrived, from its beginning. `Ok(None)`: the header is not whole yet.
    pub(super) fn parse(arrived: &[u8]) -> Result<Option<Header>, NoHeader> {
        let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
        match ProxyHeader::parse(arrived, config) {
            Ok((header, octets)) => {
                let client = header.proxied_address().map(|address| address.source.ip().to_canonical());
                Ok(Some(Header { client, octets }))
            }
            Err(Error::BufferTooShort) if could_become_one(arrived) => Ok(None),
            Err(_) => Err(NoHeader),
        }
    }
}

/// The parser wants the shortest header's length before it looks, and does not see that a line of version 1 is over.
fn could_become_one(arrived: &[u8]) -> bool {
    const SIGNATURES: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];
    let is_version_1 = arrived.first() == Some(&b'P');
    arrived.len() < MAX_BYTES
        && SIGNATURES.iter().any(|signature| arrived.iter().zip(*signature).all(|(octet, expected)| octet == expected))
        && !(is_version_1 && arrived.contains(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As it arrives, octet by octet: who the client is and what is left; `Err(n)`: refused with the n-th octet;
    /// `Err(0)`: waited for.
    #[track_caller]
    fn check(wire: &[u8], expected: Result<(Option<&str>, &[u8]), usize>) {
        let arrivals = (0..=wire.len()).map(|n| (n, Header::parse(&wire[..n])));
        let first = arrivals.into_iter().find(|(_, result)| *result != Ok(None));
        let got = match first {
            None => Err(0),
            Some((n, Err(NoHeader))) => Err(n),
            Some((n, Ok(header))) => {
                assert_eq!(Header::parse(wire), Ok(header), "all at once");
                let Header { client, octets } = header.unwrap();
                assert_eq!(octets, n, "taken with its last octet");
                Ok((client, &wire[octets..]))
            }
        };
        let expected = expected.map(|(client, rest)| (client.map(|ip| ip.parse().unwrap()), rest));
        assert_eq!(got, expected, "{}", wire.escape_ascii());
    }

    /// A header of version 2: command, family and protocol, what follows the length.
    fn v2(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
        let length = u16::try_from(behind.len()).unwrap().to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length, behind].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0xc0, 0x00, 0, 25];
    /// Of an unknown type, and cut off by the end of the header.
    const TLV: [u8; 5] = [0xe5, 0x00, 0x09, 1, 2];

    #[test]
    fn version_1() {
        check(b"PROXY TCP4 192.0.2.7 10.0.0.1 49152 25\r\nEHLO a\r\n", Ok((Some("192.0.2.7"), b"EHLO a\r\n")));
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 49152 25\r\n", Ok((Some("2001:db8::7"), b"")));
        check(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 49152 25\r\n\x16\x03", Ok((Some("192.0.2.7"), b"\x16\x03")));
        check(b"PROXY UNKNOWN\r\n", Ok((None, b"")));
        check(b"PROXY UNKNOWN ffff::1 ::1 1 2\r\nQUIT\r\n", Ok((None, b"QUIT\r\n")));
    }

    #[test]
    fn version_2() {
        check(&v2(0x21, 0x11, &V4), Ok((Some("192.0.2.7"), b"")));
        check(
            &[v2(0x21, 0x11, &[&V4[..], &TLV].concat()), b"EHLO a".to_vec()].concat(),
            Ok((Some("192.0.2.7"), b"EHLO a")),
        );
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &V4[8..]].concat();
        check(&v2(0x21, 0x21, &v6), Ok((Some("2001:db8::7"), b"")));
        check(&v2(0x20, 0x00, b""), Ok((None, b"")));
        check(&v2(0x20, 0x11, &V4), Ok((None, b"")));
        check(&v2(0x21, 0x00, &TLV), Ok((None, b"")));
        check(&v2(0x21, 0x31, &[7; 216]), Ok((None, b"")));
    }

    #[test]
    fn what_is_no_header_is_known_by_its_first_wrong_octet_or_its_length() {
        check(b"EHLO a\r\n", Err(1));
        check(b"PROXIES", Err(5));
        check(b"\r\n\r\n\r\n", Err(5));
        check(b"\x16\x03\x01", Err(1));
        check(b"PROXY TCP4 192.0.2.7 10.0.0.1 49152\r\n", Err(37));
        check(b"PROXY TCP4 2001:db8::7 10.0.0.1 49152 25\r\n", Err(23));
        check(b"PROXY UDP4 192.0.2.7 10.0.0.1 49152 25\r\n", Err(15));
        check(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat(), Err(107));
        check(&v2(0x31, 0x11, &V4), Err(16));
        check(&v2(0x22, 0x11, &V4), Err(16));
        check(&v2(0x21, 0x41, &V4), Err(28));
        check(&[&v2(0x21, 0x11, &V4[..8])[..], b"EHLO a"].concat(), Err(28));
        check(&v2(0x21, 0x31, &[7; 100]), Err(116));
        check(&v2(0x21, 0x11, &[7; MAX_BYTES]), Err(MAX_BYTES));
    }

    #[test]
    fn a_header_that_is_not_whole_is_waited_for() {
        check(b"PROXY TCP4 192.0.2.7 10", Err(0));
        check(&v2(0x21, 0x11, &V4)[..27], Err(0));
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_panics(start in 0..3usize, behind in prop::collection::vec(any::<u8>(), 0..300)) {
            let start: &[u8] = [b"".as_slice(), b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"][start];
            let wire = [start, &behind].concat();
            if let Ok(Some(header)) = Header::parse(&wire) {
                prop_assert!(header.octets <= wire.len());
            }
        }
    }
}
