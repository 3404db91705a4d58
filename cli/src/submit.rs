//! One message over one connection, blocking: the `smtp` client machine on a std socket.

use engine::config::{SocketName, TlsMode};
use rustls::{ClientConnection, StreamOwned};
use smtp::client::{
    Cause, Client, Config, Event, Login, Outcome, Pipelining, Protocol, Report, StartTls, Timeouts, Transaction,
};
use smtp::server::TlsInfo;
use smtp::{Body, MailParameters, Recipient, Reply, ReversePath};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than RFC 5321's for a peer across the internet: this one is a daemon of ours.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// What is submitted.
pub struct Letter<'a> {
    /// MAIL FROM.
    pub from: &'a ReversePath,
    /// RCPT TO.
    pub to: &'a [Recipient],
    /// What else MAIL says; SMTPUTF8 is added where an address needs it.
    pub parameters: &'a MailParameters,
    /// Its content, with CRLF line ends.
    pub body: Body,
}

/// A connection to a daemon's ingest socket.
pub struct Submission {
    stream: Stream,
    client: Client,
    ready: bool,
    report: Option<Report>,
    closed: Option<Cause>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, Stream>>),
    /// For the moment in which TLS is put above one.
    Nothing,
}

impl Submission {
    /// Connects and says EHLO.
    ///
    /// # Errors
    /// Nobody there, or somebody who refuses: then `Ok` holds the refusal.
    pub fn open(
        to: &SocketName,
        tls: Option<TlsMode>,
        login: Option<Login>,
        hello_name: &str,
    ) -> io::Result<Result<Submission, Reply>> {
        let mut stream = match to {
            SocketName::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, CONNECT_TIMEOUT)?;
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
                Stream::Tcp(stream)
            }
            SocketName::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
                Stream::Unix(stream)
            }
        };
        let encrypted = if tls == Some(TlsMode::Implicit) { stream.encrypt()? } else { None };
        let config = Config {
            hello_name: hello_name.into(),
            protocol: Protocol::Smtp,
            extended: true,
            starttls: match tls {
                Some(TlsMode::StartTls | TlsMode::Required) => StartTls::Required,
                Some(TlsMode::Implicit) | None => StartTls::Off,
            },
            pipelining: Pipelining::Transaction,
            window: 1,
            chunking: true,
            login,
            careful: false,
            timeouts: Timeouts { greeting: REPLY_TIMEOUT, command: REPLY_TIMEOUT, ..Timeouts::default() },
        };
        let mut client = Client::new(Arc::new(config), Instant::now());
        if let Some(info) = encrypted {
            trust(&mut client, info);
        }
        let mut submission = Submission { stream, client, ready: false, report: None, closed: None };
        submission.run_until(|submission| submission.ready)?;
        match submission.closed.take() {
            None => Ok(Ok(submission)),
            Some(Cause::Replied(reply)) => Ok(Err(reply)),
            Some(cause) => Err(lost(&cause)),
        }
    }

    /// Submits one message; call it again for another one. The outcomes are in the order of the recipients.
    ///
    /// # Errors
    /// The connection was lost before (after an earlier message).
    pub fn submit(&mut self, letter: &Letter<'_>) -> io::Result<Vec<Outcome>> {
        if let Some(cause) = &self.closed {
            return Err(lost(cause));
        }
        let smtputf8 = letter.to.iter().map(|to| &to.mailbox).chain(&letter.from.0).any(|mailbox| !mailbox.is_ascii());
        let transaction = Transaction {
            id: 0,
            reverse_path: letter.from,
            recipients: &mut letter.to.iter(),
            body: &letter.body,
            parameters: &MailParameters { smtputf8, ..letter.parameters.clone() },
            age_seconds: 0,
        };
        let everyone = letter.to.len();
        if let Err(lacking) = self.client.submit(transaction, Instant::now()) {
            return Ok(vec![Outcome::Unsupported(lacking); everyone]);
        }
        self.run_until(|submission| submission.report.is_some())?;
        let Some(report) = self.report.take() else {
            return Err(self.closed.as_ref().map_or_else(|| ErrorKind::ConnectionAborted.into(), lost));
        };
        let mut outcomes = vec![report.outcome; everyone];
        for (position, outcome) in report.exceptions {
            if let Some(slot) = outcomes.get_mut(position as usize) {
                *slot = outcome;
            }
        }
        Ok(outcomes)
    }

    /// Whether another message can be submitted.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Says QUIT. What comes of it changes nothing.
    pub fn quit(mut self) {
        self.client.quit(Instant::now());
        let _ = self.run_until(|submission| submission.closed.is_some());
    }

    /// Drives the machine until something is so, or the connection is over.
    fn run_until(&mut self, done: impl Fn(&Submission) -> bool) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            while let Some(event) = self.client.poll_event() {
                match event {
                    Event::Ready(_) => self.ready = true,
                    Event::Report(report) => self.report = Some(report),
                    Event::Closed { cause, .. } => self.closed = Some(cause),
                    Event::StartTls => self.start_tls(),
                }
            }
            if let Err(error) = self.write() {
                // A server that closes in the middle has said why before.
                while self.stream.read(&mut buffer).is_ok_and(|bytes| {
                    self.client.handle_bytes(&buffer[..bytes], Instant::now());
                    bytes > 0
                }) {}
                self.client.handle_error(Cause::Io(error.kind()));
                continue;
            }
            if done(self) || self.closed.is_some() {
                return Ok(());
            }
            self.read(&mut buffer)?;
        }
    }

    fn start_tls(&mut self) {
        match self.stream.encrypt() {
            Ok(Some(info)) => trust(&mut self.client, info),
            Ok(None) => self.client.handle_error(Cause::Io(ErrorKind::UnexpectedEof)),
            Err(error) => self.client.handle_error(Cause::Tls(error.to_string().into())),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        loop {
            let mut slices = [IoSlice::new(&[]); 16];
            let count = self.client.transmit(&mut slices);
            if count == 0 {
                return Ok(());
            }
            let written = match self.stream.write_vectored(&slices[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.client.advance(written, Instant::now());
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let wait = self.client.poll_timeout().map(|at| at.saturating_duration_since(Instant::now()));
        // Zero would mean for ever.
        self.stream.set_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
        let result = self.stream.read(buffer);
        let now = Instant::now();
        match result {
            Ok(0) => self.client.handle_eof(),
            Ok(bytes) => self.client.handle_bytes(&buffer[..bytes], now),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if self.client.poll_timeout().is_some_and(|at| at <= now) {
                    self.client.handle_timeout(now);
                }
            }
            Err(error) => self.client.handle_error(Cause::Io(error.kind())),
        }
        Ok(())
    }
}

/// TLS is up. This is a tool for trying things, which looks at no certificate: who names the server answers for it.
fn trust(client: &mut Client, info: TlsInfo) {
    client.trust();
    client.handle_tls(info, Instant::now());
}

fn lost(cause: &Cause) -> io::Error {
    match cause {
        Cause::Io(kind) => (*kind).into(),
        Cause::Timeout => ErrorKind::TimedOut.into(),
        Cause::Protocol(what) => io::Error::new(ErrorKind::InvalidData, *what),
        Cause::Replied(reply) => io::Error::other(format!("{} {}", reply.code, reply.text)),
        Cause::Tls(what) => io::Error::other(what.to_string()),
        Cause::Auth(error) => io::Error::other(error.to_string()),
        Cause::Done | Cause::Eof => io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"),
    }
}

impl Stream {
    /// Shakes hands. The certificate is not verified.
    fn encrypt(&mut self) -> io::Result<Option<TlsInfo>> {
        let config = bench::tls::client_config().map_err(io::Error::other)?;
        let mut session = ClientConnection::new(config, bench::tls::nameless()).map_err(io::Error::other)?;
        self.set_timeout(Some(REPLY_TIMEOUT))?;
        while session.is_handshaking() {
            session.complete_io(self)?;
        }
        let info = bench::tls::info(&session);
        let clear = std::mem::replace(self, Stream::Nothing);
        *self = Stream::Tls(Box::new(StreamOwned::new(session, clear)));
        Ok(info)
    }
    fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(timeout),
            Stream::Unix(stream) => stream.set_read_timeout(timeout),
            Stream::Tls(tls) => tls.sock.set_timeout(timeout),
            Stream::Nothing => Ok(()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tls(tls) => tls.read(buffer),
            Stream::Nothing => Ok(0),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buffer)])
    }
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(slices),
            Stream::Unix(stream) => stream.write_vectored(slices),
            Stream::Tls(tls) => tls.write_vectored(slices),
            Stream::Nothing => Ok(0),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tls(tls) => tls.flush(),
            // Nothing is kept back.
            _ => Ok(()),
        }
    }
}
