//! What mail comes in by: a plain socket that says and hears exactly what a scenario wants.

use engine::config::SocketName;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::world::PATIENCE;

trait Socket: Read + Write + Send {
    fn finish(&self) -> io::Result<()>;
}
impl Socket for TcpStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
impl Socket for UnixStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl<S: Socket + ?Sized> Socket for Box<S> {
    fn finish(&self) -> io::Result<()> {
        (**self).finish()
    }
}
impl<S: Socket> Socket for StreamOwned<ClientConnection, S> {
    fn finish(&self) -> io::Result<()> {
        self.sock.finish()
    }
}

/// Writes an octet at a time.
struct Slow<S>(S);

impl<S: Socket> Socket for Slow<S> {
    fn finish(&self) -> io::Result<()> {
        self.0.finish()
    }
}
impl<S: Read> Read for Slow<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}
impl<S: Write> Write for Slow<S> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write(&octets[..octets.len().min(1)])
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A connection to a listener of the engine.
pub struct Injector {
    socket: Box<dyn Socket>,
    unread: Vec<u8>,
}

impl Injector {
    /// Connects; nothing is read yet.
    pub fn connect(to: &SocketName) -> io::Result<Injector> {
        let socket: Box<dyn Socket> = match to {
            SocketName::Tcp(address) => {
                let socket = TcpStream::connect(address)?;
                socket.set_nodelay(true)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                Box::new(socket)
            }
            SocketName::Unix(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                Box::new(socket)
            }
        };
        Ok(Injector { socket, unread: Vec::new() })
    }

    /// Shakes hands, as a client that looks at the certificate of `mta.home.test`.
    pub fn encrypt(mut self, config: Arc<ClientConfig>) -> io::Result<Injector> {
        assert!(self.unread.is_empty(), "clear text before TLS: {:?}", String::from_utf8_lossy(&self.unread));
        let name = ServerName::try_from("mta.home.test").expect("a name");
        let mut session = ClientConnection::new(config, name).expect("a session");
        while session.is_handshaking() {
            session.complete_io(&mut self.socket)?;
        }
        Ok(Injector { socket: Box::new(StreamOwned::new(session, self.socket)), unread: Vec::new() })
    }

    /// Sends an octet at a time from now on.
    pub fn slowly(self) -> Injector {
        Injector { socket: Box::new(Slow(self.socket)), unread: self.unread }
    }

    /// Sends octets as they are. That the peer has gone shows in what is heard.
    pub fn say(&mut self, octets: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(octets.as_ref());
    }

    /// The next reply, all its lines, without the last CRLF; empty at the end of the stream.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let line = self.line();
            let last = line.as_bytes().get(3) != Some(&b'-');
            reply.push_str(&line);
            if last {
                return reply;
            }
            reply.push('\n');
        }
    }

    /// Says a command, hears its reply.
    #[track_caller]
    pub fn ask(&mut self, command: &str) -> String {
        self.say(format!("{command}\r\n"));
        self.hear()
    }

    /// Says a command; its reply must begin with `expected`.
    #[track_caller]
    pub fn expect(&mut self, command: &str, expected: &str) {
        let reply = self.ask(command);
        assert!(reply.starts_with(expected), "{command}: {reply:?}, not {expected:?}");
    }

    /// Hears the greeting and says EHLO.
    #[track_caller]
    pub fn greet(mut self) -> Injector {
        let greeting = self.hear();
        assert!(greeting.starts_with("220 "), "{greeting:?}");
        self.expect("EHLO app.example", "250");
        self
    }

    /// One transaction up to the content; returns the reply to it.
    #[track_caller]
    pub fn send(&mut self, from: &str, to: &[&str], body: &[u8]) -> String {
        self.expect(&format!("MAIL FROM:<{from}> BODY=8BITMIME"), "250 ");
        for recipient in to {
            self.expect(&format!("RCPT TO:<{recipient}>"), "250 ");
        }
        self.expect("DATA", "354 ");
        self.say(stuffed(body));
        self.hear()
    }

    /// Sends FIN: nothing more will be said, but heard.
    pub fn half_close(&self) {
        // The peer may be gone already.
        let _ = self.socket.finish();
    }

    /// Everything until the peer closes.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let mut all = String::new();
        loop {
            match self.line() {
                line if line.is_empty() => return all,
                line => all = all + &line + "\n",
            }
        }
    }

    /// Whether the stream ends in good order: over TLS that is said before the connection ends.
    pub fn ends_in_order(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// A line without its CRLF; empty at the end of the stream.
    #[track_caller]
    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 2);
                return line;
            }
            let mut buffer = [0; 4096];
            match self.socket.read(&mut buffer) {
                Ok(0) => return String::new(),
                Ok(n) => self.unread.extend_from_slice(&buffer[..n]),
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("no reply in {PATIENCE:?}, only {:?}", String::from_utf8_lossy(&self.unread))
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // A reset.
                Err(_) => return String::new(),
            }
        }
    }
}

/// The id in `250 2.0.0 Ok: queued as <id>`.
#[track_caller]
pub fn queued_as(reply: &str) -> String {
    let id = reply.strip_prefix("250 2.0.0 Ok: queued as ");
    id.unwrap_or_else(|| panic!("not queued: {reply:?}")).to_owned()
}

/// The content as it travels under DATA, end included. `body` is in CRLF lines.
pub fn stuffed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 16);
    let mut line_start = true;
    for byte in body {
        if line_start && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        line_start = *byte == b'\n';
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
