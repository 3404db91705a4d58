//! The PROXY header before a client's first octet: whatever comes is taken, refused or waited for, the same however it is
//! cut, and never for long; what a proxy says is understood.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use proxy::{Header, MAX_BYTES, NoHeader};
use std::net::{IpAddr, SocketAddr};

// The engine keeps it to itself.
#[allow(dead_code, reason = "how long it may take is for the engine")]
#[path = "../../engine/src/intake/proxy.rs"]
mod proxy;

/// Of version 1, with its CRLF.
const LONGEST_LINE: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

#[derive(Arbitrary, Debug)]
enum Play {
    Raw(Vec<u8>),
    /// Behind `PROXY `.
    Line(Vec<u8>),
    /// Behind the signature of version 2.
    Binary(Vec<u8>),
    /// What a proxy says, and what the client says behind it.
    Proxy {
        version_2: bool,
        source: SocketAddr,
        port: u16,
        tlvs: Vec<u8>,
        behind: Vec<u8>,
    },
}

fn version_1(source: SocketAddr, port: u16) -> Vec<u8> {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let ip = source.ip();
    format!("PROXY {family} {ip} {ip} {} {port}\r\n", source.port()).into_bytes()
}

fn version_2(source: SocketAddr, port: u16, tlvs: &[u8]) -> Vec<u8> {
    let (family, ip) = match source.ip() {
        IpAddr::V4(ip) => (0x11, ip.octets().to_vec()),
        IpAddr::V6(ip) => (0x21, ip.octets().to_vec()),
    };
    let ports = [source.port().to_be_bytes(), port.to_be_bytes()].concat();
    let behind = [&ip[..], &ip, &ports, tlvs].concat();
    let length = u16::try_from(behind.len()).expect("inputs are short").to_be_bytes();
    [SIGNATURE, &[0x21, family], &length, &behind].concat()
}

/// As it arrives, octet by octet: what is decided first, and with how many octets. It must never be decided otherwise.
fn parse(wire: &[u8]) -> Option<(Result<Header, NoHeader>, usize)> {
    let decided = (0..=wire.len().min(MAX_BYTES)).find_map(|n| match Header::parse(&wire[..n]) {
        Ok(None) => None,
        Ok(Some(header)) => Some((Ok(header), n)),
        Err(NoHeader) => Some((Err(NoHeader), n)),
    });
    // A line is looked at when it is over, or too long.
    let is_line = wire.first() == Some(&b'P');
    let line = wire.iter().position(|octet| *octet == b'\n').map_or(LONGEST_LINE, |end| LONGEST_LINE.min(end + 1));
    match decided {
        None => assert!(wire.len() < if is_line { line } else { MAX_BYTES }, "waited for without end"),
        Some((first, n)) => {
            assert!(!is_line || n <= line, "waited for although the line was over");
            if let Ok(header) = first {
                assert_eq!(header.octets, n, "taken with its last octet");
                assert!(header.client.is_none_or(|ip| ip == ip.to_canonical()));
            }
            for more in [n + 1, n + 20, wire.len()].map(|more| more.min(wire.len())) {
                assert_eq!(Header::parse(&wire[..more]), first.map(Some), "what follows changes it");
            }
        }
    }
    decided
}

fuzz_target!(|play: Play| {
    match play {
        Play::Raw(octets) => _ = parse(&octets),
        Play::Line(octets) => _ = parse(&[b"PROXY ", &octets[..]].concat()),
        Play::Binary(octets) => _ = parse(&[SIGNATURE, &octets].concat()),
        Play::Proxy { version_2: is_binary, source, port, tlvs, behind } => {
            let header = if is_binary { version_2(source, port, &tlvs) } else { version_1(source, port) };
            if header.len() < MAX_BYTES {
                let whole = Header { client: Some(source.ip().to_canonical()), octets: header.len() };
                assert_eq!(parse(&[&header[..], &behind].concat()), Some((Ok(whole), header.len())));
            }
        }
    }
});
