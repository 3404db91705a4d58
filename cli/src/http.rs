//! A client for the admin API: one request, one answer, one connection. HTTP/1.0, so that the answer ends where the
//! connection does; that is all that is needed, and less than any HTTP crate.

use crate::exit::{Exit, Failure};
use admin::control::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// To connect, and to hand over a request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Where nobody is.
const HINT: &str = "is `posthaste serve` running? Elsewhere: --config or --admin";
/// A page of a thousand entries is well below.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// An admin server.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// How long it may be silent before it is given up.
    pub patience: Duration,
}

impl Server {
    /// For questions that are answered from memory, or by a step of bounded length.
    pub fn new(address: SocketAddr) -> Server {
        Server { address, patience: TIMEOUT }
    }
}

/// GET.
///
/// # Errors
/// Nobody there, or what the server says is wrong.
pub fn get<T: DeserializeOwned>(server: Server, path: &str) -> Result<T, Failure> {
    exchange(server, &format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", server.address))
}

/// POST with a JSON body.
///
/// # Errors
/// Nobody there, or what the server says is wrong.
pub fn post<T: DeserializeOwned>(server: Server, path: &str, body: &impl Serialize) -> Result<T, Failure> {
    let body = serde_json::to_string(body).map_err(std::io::Error::from)?;
    let (address, length) = (server.address, body.len());
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}"
    );
    exchange(server, &format!("{head}\r\n\r\n{body}"))
}

fn exchange<T: DeserializeOwned>(server: Server, request: &str) -> Result<T, Failure> {
    let Server { address, patience } = server;
    let answer = round_trip(server, request).map_err(|error| {
        let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let (exit, message) = match is_late {
            true => (Exit::Temporary, format!("no answer from the admin server at {address} within {patience:?}")),
            false => (Exit::Unavailable, format!("no answer from the admin server at {address}: {error}; {HINT}")),
        };
        Failure::new(exit, message)
    })?;
    understand(&answer).unwrap_or_else(|| {
        Err(Failure::new(Exit::Unavailable, format!("what answers at {address} is not Posthaste's admin server")))
    })
}

fn round_trip(server: Server, request: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server.address, TIMEOUT)?;
    stream.set_read_timeout(Some(server.patience))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The answer's JSON, or the problem that it tells; `None` when it is neither.
fn understand<T: DeserializeOwned>(answer: &[u8]) -> Option<Result<T, Failure>> {
    let split = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..split]).ok()?, &answer[split + 4..]);
    let status: u16 = head.strip_prefix("HTTP/")?.split(' ').nth(1)?.parse().ok()?;
    if status == 200 {
        return Some(Ok(serde_json::from_slice(body).ok()?));
    }
    let problem: Problem = serde_json::from_slice(body).ok()?;
    let exit = match status {
        400..=499 => Exit::Data,
        503 => Exit::Temporary,
        _ => Exit::Unavailable,
    };
    Some(Err(Failure::new(exit, format!("{} ({})", problem.error, problem.hint))))
}

/// A query, `?a=1&b=2`, of what is named.
pub fn query(parts: &[(&str, Option<&str>)]) -> String {
    let mut out = String::new();
    for (name, value) in parts.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        out.push(if out.is_empty() { '?' } else { '&' });
        out += name;
        out.push('=');
        out += &escape(value);
    }
    out
}

/// RFC 3986 §2.1: all but the unreserved characters.
pub fn escape(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expected: Option<Result<u64, Exit>>) {
        let understood = understand::<u64>(answer.as_bytes());
        assert_eq!(understood.map(|result| result.map_err(|failure| failure.exit)), expected, "{answer:?}");
    }

    #[test]
    fn answers() {
        check("HTTP/1.0 200 OK\r\na: b\r\n\r\n7", Some(Ok(7)));
        check("HTTP/1.1 404 Not Found\r\n\r\n{\"error\":\"e\",\"hint\":\"h\"}", Some(Err(Exit::Data)));
        check("HTTP/1.1 503 X\r\n\r\n{\"error\":\"e\",\"hint\":\"h\"}", Some(Err(Exit::Temporary)));
        for nonsense in
            ["", "220 mta ESMTP\r\n", "HTTP/1.0 200 OK\r\n\r\n<html>", "HTTP/1.0 500 X\r\n\r\noops", "HTTP/1.0\r\n\r\n"]
        {
            check(nonsense, None);
        }
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(query(&[("a", None), ("b", Some("x@y z&ü")), ("c", Some("1"))]), "?b=x%40y%20z%26%C3%BC&c=1");
        assert_eq!(query(&[]), "");
    }

    #[test]
    fn nobody_there_is_said_with_what_to_do() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = get::<u64>(Server::new(closed), "/").unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.message.ends_with(HINT), "{}", failure.message);
    }
}
