//! A smart host that wants a login, small enough to be read: one thread, one connection at a time, every octet in clear text
//! or behind TLS. The exchanges are those of `smtp::sasl`'s other side.

use bench::sink::Certificate;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use smtp::sasl::scram::Keys;
use smtp::sasl::server::{Exchange, Inquiry, Step};
use smtp::sasl::{Mechanism, cram, decode, encode};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What it knows and has seen.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    mechanisms: &'static str,
    tls: Option<Arc<ServerConfig>>,
    password: Mutex<String>,
    /// The mechanism of each login, and whether it was right.
    logins: Mutex<Vec<(&'static str, bool)>>,
    /// Recipients whose mail was taken, with the user that it came from.
    taken: Mutex<Vec<(String, Option<String>)>>,
    stop: AtomicBool,
}

/// TLS with this certificate.
pub fn tls(certificate: &Certificate) -> Arc<ServerConfig> {
    let Certificate::Files { chain, key } = certificate else { panic!("files") };
    let chain = CertificateDer::pem_file_iter(chain).expect("a chain").collect::<Result<Vec<_>, _>>().expect("a chain");
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key).expect("a key")).expect("a pair"))
}

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

impl Relay {
    /// Listens at a free port of 127.0.0.1. Its user is `alice`.
    pub fn start(mechanisms: &'static str, tls: Option<Arc<ServerConfig>>, password: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let shared = Arc::new(Shared {
            mechanisms,
            tls,
            password: Mutex::new(password.into()),
            logins: Mutex::default(),
            taken: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let address = listener.local_addr().expect("it is bound");
        let theirs = shared.clone();
        let thread = std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if theirs.stop.load(Ordering::Relaxed) {
                    return;
                }
                // A client that leaves is no concern of this one.
                let _ = theirs.serve(socket);
            }
        });
        Relay { address, shared, thread: Some(thread) }
    }
    pub fn port(&self) -> u16 {
        self.address.port()
    }
    pub fn logins(&self) -> Vec<(&'static str, bool)> {
        self.shared.logins.lock().expect("no thread panicked").clone()
    }
    pub fn taken(&self) -> Vec<(String, Option<String>)> {
        self.shared.taken.lock().expect("no thread panicked").clone()
    }
    pub fn set_password(&self, password: &str) {
        *self.shared.password.lock().expect("no thread panicked") = password.into();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, socket: TcpStream) -> std::io::Result<()> {
        socket.set_read_timeout(Some(super::world::PATIENCE))?;
        let stream: Box<dyn Duplex> = match &self.tls {
            None => Box::new(socket),
            Some(config) => {
                let tls = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
                Box::new(StreamOwned::new(tls, socket))
            }
        };
        let mut talk = Talk { stream: BufReader::new(stream), user: None, recipients: Vec::new() };
        talk.say("220 relay.test")?;
        loop {
            let line = talk.hear()?;
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb {
                "EHLO" => talk.say(&format!("250-relay.test\r\n250-PIPELINING\r\n250 AUTH {}", self.mechanisms))?,
                "AUTH" => self.authenticate(&mut talk, rest)?,
                "MAIL" if talk.user.is_none() => talk.say("530 5.7.0 log in first")?,
                "MAIL" => talk.say("250 2.1.0 Ok")?,
                "RCPT" => {
                    let recipient = rest.trim_start_matches("TO:<").split('>').next().unwrap_or_default();
                    talk.recipients.push(recipient.to_owned());
                    talk.say("250 2.1.5 Ok")?;
                }
                "DATA" => {
                    talk.say("354 go ahead")?;
                    while talk.hear()? != "." {}
                    let taken = talk.recipients.drain(..).map(|recipient| (recipient, talk.user.clone()));
                    self.taken.lock().expect("no thread panicked").extend(taken);
                    talk.say("250 2.0.0 Ok")?;
                }
                "QUIT" => return talk.say("221 2.0.0 bye"),
                _ => talk.say("250 2.0.0 Ok")?,
            }
        }
    }

    fn authenticate(&self, talk: &mut Talk, rest: &str) -> std::io::Result<()> {
        let password = self.password.lock().expect("no thread panicked").clone();
        let mut words = rest.split(' ');
        let mechanism = words.next().and_then(Mechanism::parse).expect("one that was announced");
        let initial = words.next().map(|word| decode(word).expect("base64"));
        let (mut exchange, mut step) =
            Exchange::begin(mechanism, "servers-nonce".into(), "relay.test", initial.as_deref());
        let mut right = true;
        loop {
            step = match step {
                Step::Challenge(challenge) => {
                    talk.say(&format!("334 {}", encode(challenge)))?;
                    let response = talk.hear()?;
                    exchange.handle_response(&decode(response).expect("base64"))
                }
                Step::Ask(Inquiry::Keys { .. }) => {
                    exchange.handle_keys(Keys::derive(&password, b"salt".to_vec(), 4096))
                }
                Step::Ask(inquiry) => {
                    right &= inquiry.user() == "alice";
                    right &= match &inquiry {
                        Inquiry::Password { password: said, .. } => *said == password,
                        Inquiry::Digest { challenge, digest, .. } => {
                            cram::is_right(&password, challenge.as_bytes(), digest)
                        }
                        Inquiry::Proof { is_right, .. } => *is_right,
                        Inquiry::Keys { .. } => false,
                    };
                    if right { exchange.handle_accepted() } else { Step::Done }
                }
                Step::Malformed => {
                    right = false;
                    Step::Done
                }
                Step::Done => break,
            };
        }
        self.logins.lock().expect("no thread panicked").push((mechanism.name(), right));
        if right {
            talk.user = Some("alice".into());
            talk.say("235 2.7.0 welcome")
        } else {
            talk.say("535 5.7.8 who are you")
        }
    }
}

struct Talk {
    stream: BufReader<Box<dyn Duplex>>,
    user: Option<String>,
    recipients: Vec<String>,
}

impl Talk {
    fn say(&mut self, reply: &str) -> std::io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{reply}\r\n").as_bytes())?;
        stream.flush()
    }
    /// The next line, without its end; an error at the end of the stream.
    fn hear(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }
}
