//! What a sink under rules does on the wire, seen by a client that speaks by hand.

use posthaste_bench::Address;
use posthaste_bench::sink::{Certificate, Keep, Sink, SinkHandle, SinkOptions, Tls, TlsMode};
use rustls::pki_types::ServerName;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

fn start(rules: &[&str], options: SinkOptions) -> SinkHandle {
    let rules = rules.iter().map(|text| text.parse().unwrap()).collect();
    Sink::start(SinkOptions { rules, hostname: "sink.test".into(), ..options }).unwrap()
}

struct Peer<S> {
    stream: BufReader<S>,
}

fn connect(sink: &SinkHandle) -> Peer<TcpStream> {
    let Address::Tcp(address) = sink.addresses()[0] else { panic!("TCP was asked for") };
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Peer { stream: BufReader::new(stream) }
}

impl<S: Read + Write> Peer<S> {
    fn say(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next line begins so.
    #[track_caller]
    fn hear(&mut self, start: &str) {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        let line = String::from_utf8_lossy(&line);
        assert!(line.starts_with(start), "{line:?} instead of {start:?}");
    }

    #[track_caller]
    fn say_and_hear(&mut self, exchanges: &[(&str, &str)]) {
        for (say, hear) in exchanges {
            self.say(say);
            self.hear(hear);
        }
    }

    #[track_caller]
    fn hear_end(&mut self, reset: bool) {
        let end = self.stream.read(&mut [0; 100]);
        match reset {
            true => assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset),
            false => assert_eq!(end.unwrap(), 0),
        }
    }
}

/// Waits until something holds that another thread brings about.
#[track_caller]
fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it never came true");
        std::thread::yield_now();
    }
}

/// What is said, and how the line that answers begins.
type Exchanges = &'static [(&'static str, &'static str)];

const GREETING: (&str, &str) = ("", "220 sink.test");
const HELLO: (&str, &str) = ("HELO c\r\n", "250 ");
const MAIL: (&str, &str) = ("MAIL FROM:<a@b.test>\r\n", "250 2.1.0");
const RCPT: (&str, &str) = ("RCPT TO:<u1@d.test>\r\n", "250 2.1.5");
const DATA: (&str, &str) = ("DATA\r\n", "354");
const DOT: (&str, &str) = ("Subject: s\r\n\r\nx\r\n.\r\n", "250 2.0.0");
const MESSAGE: [(&str, &str); 4] = [MAIL, RCPT, DATA, DOT];

#[test]
fn replies_at_every_stage() {
    let cases: &[(&str, Exchanges)] = &[
        ("greeting reply 554 5.3.2 closed", &[("", "554 5.3.2 closed")]),
        ("hello first=1 reply 502 what", &[GREETING, ("EHLO c\r\n", "502 what"), HELLO, MAIL]),
        ("mail reply 451 4.3.0 no", &[GREETING, HELLO, ("MAIL FROM:<>\r\n", "451 4.3.0"), ("RSET\r\n", "250")]),
        (
            "rcpt to=x* reply 550 5.1.1 no",
            &[GREETING, HELLO, MAIL, RCPT, ("RCPT TO:<xx@y.test>\r\n", "550"), DATA, DOT],
        ),
        ("rcpt from=*@other.test reply 550 5.1.1 no", &[GREETING, HELLO, MAIL, RCPT]),
        // A refused DATA ends the transaction and content does not follow.
        ("data first=1 reply 451 4.3.0 no", &[GREETING, HELLO, MAIL, RCPT, ("DATA\r\n", "451"), MAIL, RCPT, DATA, DOT]),
        // The octets of a refused BDAT are swallowed.
        (
            "data first=1 reply 451 4.3.0 no",
            &[
                GREETING,
                HELLO,
                MAIL,
                RCPT,
                ("BDAT 6 LAST\r\nQUIT\r\n", "451"),
                MAIL,
                RCPT,
                ("BDAT 2 LAST\r\nx\n", "250 2.0.0"),
            ],
        ),
        (
            "body bytes=3 reply 451 4.3.0 early",
            &[GREETING, HELLO, MAIL, RCPT, DATA, ("hello\r\n.\r\n", "451"), ("", "250")],
        ),
        (
            "final reply 554 5.6.0 no",
            &[GREETING, HELLO, MAIL, RCPT, DATA, ("x\r\n.\r\n", "554 5.6.0"), ("NOOP\r\n", "250")],
        ),
        ("final delay=1ms reply 452 4.3.1 no", &[GREETING, HELLO, MAIL, RCPT, DATA, ("x\r\n.\r\n", "452 4.3.1")]),
        ("starttls reply 454 4.7.0 no", &[GREETING, HELLO, ("STARTTLS\r\n", "454 4.7.0"), MAIL]),
    ];
    for (rule, exchanges) in cases {
        eprintln!("{rule}");
        let sink = start(&[rule], SinkOptions::default());
        connect(&sink).say_and_hear(exchanges);
    }
}

#[test]
fn connections_end_as_the_rule_says() {
    let before: &[(&str, Exchanges, &str)] = &[
        ("connect", &[], ""),
        ("greeting", &[], ""),
        ("hello", &[GREETING], "EHLO c\r\n"),
        ("starttls", &[GREETING, HELLO], "STARTTLS\r\n"),
        ("mail", &[GREETING, HELLO], "MAIL FROM:<>\r\n"),
        ("rcpt", &[GREETING, HELLO, MAIL], "RCPT TO:<a@b.test>\r\n"),
        ("data", &[GREETING, HELLO, MAIL, RCPT], "DATA\r\n"),
        ("body bytes=3", &[GREETING, HELLO, MAIL, RCPT, DATA], "hello\r\n"),
        ("final", &[GREETING, HELLO, MAIL, RCPT, DATA], "hello\r\n.\r\n"),
    ];
    for (stage, exchanges, last) in before {
        for action in ["close", "reset", "delay=1ms close", "delay=1ms reset"] {
            eprintln!("{stage} {action}");
            let sink = start(&[&format!("{stage} {action}")], SinkOptions::default());
            let mut peer = connect(&sink);
            peer.say_and_hear(exchanges);
            if !last.is_empty() {
                peer.say(last);
            }
            peer.hear_end(action.ends_with("reset"));
            assert_eq!(sink.stop().unwrap().counters.messages, 0);
        }
    }
}

#[test]
fn a_message_taken_without_a_reply_is_kept() {
    let sink = start(&["final keep close"], SinkOptions::default());
    let mut peer = connect(&sink);
    peer.say_and_hear(&[GREETING, HELLO, MAIL, RCPT, DATA]);
    peer.say("x\r\n.\r\n");
    peer.hear_end(false);
    assert_eq!(sink.counters().messages, 1);
}

#[test]
fn a_421_is_followed_by_the_end() {
    for (rule, exchanges) in [
        ("mail reply 421 4.3.0 bye", vec![GREETING, HELLO, ("MAIL FROM:<>\r\n", "421 4.3.0 bye")]),
        ("hello reply 421 4.3.0 bye", vec![GREETING, ("EHLO c\r\n", "421 4.3.0 bye")]),
        (
            "idle messages=2 reply 421 4.7.0 bye",
            [&[GREETING, HELLO][..], &MESSAGE, &MESSAGE, &[("", "421 4.7.0")]].concat(),
        ),
    ] {
        let sink = start(&[rule], SinkOptions::default());
        let mut peer = connect(&sink);
        peer.say_and_hear(&exchanges);
        peer.hear_end(false);
    }
}

#[test]
fn an_idle_connection_is_closed_after_its_silence() {
    let sink = start(&["idle delay=20ms close"], SinkOptions::default());
    let mut peer = connect(&sink);
    peer.say_and_hear(&[GREETING, HELLO]);
    peer.say_and_hear(&MESSAGE);
    peer.hear_end(false);
}

#[test]
fn a_stalled_connection_is_silent_until_the_client_leaves() {
    for (rule, exchanges, last) in [
        ("greeting stall", vec![], ""),
        ("mail stall", vec![GREETING, HELLO], "MAIL FROM:<>\r\n"),
        ("data stall", vec![GREETING, HELLO, MAIL, RCPT], "DATA\r\n"),
        ("body bytes=2 stall", vec![GREETING, HELLO, MAIL, RCPT, DATA], "hello\r\n.\r\n"),
        ("final stall", vec![GREETING, HELLO, MAIL, RCPT, DATA], "hello\r\n.\r\n"),
    ] {
        eprintln!("{rule}");
        let sink = start(&[rule], SinkOptions::default());
        let mut peer = connect(&sink);
        peer.say_and_hear(&exchanges);
        peer.say(last);
        until(|| sink.counters().refused.values().sum::<u64>() == 1);
        peer.say("NOOP\r\n");
        peer.stream.get_ref().set_nonblocking(true).unwrap();
        assert_eq!(peer.stream.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(peer);
        until(|| sink.counters().connections == 0);
    }
}

#[test]
fn garbage_is_no_reply() {
    for (rule, exchanges, last) in [
        ("greeting garbage", vec![], ""),
        ("mail garbage", vec![GREETING, HELLO], "MAIL FROM:<>\r\n"),
        ("final garbage", vec![GREETING, HELLO, MAIL, RCPT, DATA], "x\r\n.\r\n"),
    ] {
        let sink = start(&[rule], SinkOptions::default());
        let mut peer = connect(&sink);
        peer.say_and_hear(&exchanges);
        peer.say(last);
        let mut line = Vec::new();
        peer.stream.read_until(b'\n', &mut line).unwrap();
        assert!(!line[0].is_ascii_digit(), "{rule}: {line:?}");
    }
}

#[test]
fn connections_beyond_the_limit_are_refused() {
    let sink = start(&[], SinkOptions { max_connections: 1, ..SinkOptions::default() });
    let mut first = connect(&sink);
    first.say_and_hear(&[GREETING]);
    let mut second = connect(&sink);
    second.say_and_hear(&[("", "421 4.3.2")]);
    second.hear_end(false);
    first.say_and_hear(&[HELLO]);
    first.say_and_hear(&MESSAGE);
    drop((first, second));
    until(|| sink.counters().connections == 0);
    connect(&sink).say_and_hear(&[GREETING]);
    assert_eq!(sink.counters().connections_peak, 2);
}

/// A certificate in files, and a client that trusts it and nothing else.
fn trust(directory: &std::path::Path) -> (Certificate, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["sink.test".to_owned()]).unwrap();
    let (chain, key) = (directory.join("chain.pem"), directory.join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    (Certificate::Files { chain, key }, Arc::new(builder.with_no_client_auth()))
}

type Encrypted = Peer<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>;

fn encrypt(peer: Peer<TcpStream>, config: Arc<rustls::ClientConfig>) -> Encrypted {
    let tls = rustls::ClientConnection::new(config, ServerName::try_from("sink.test").unwrap()).unwrap();
    Peer { stream: BufReader::new(rustls::StreamOwned::new(tls, peer.stream.into_inner())) }
}

#[test]
fn tls_works_both_ways_with_and_without_rules() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, client) = trust(directory.path());
    for mode in [TlsMode::StartTls, TlsMode::Implicit] {
        for rules in [&[][..], &["rcpt to=nobody reply 550 no"], &["tls delay=1ms ok", "greeting delay=1ms ok"]] {
            let (sender, received) = crossbeam_channel::unbounded();
            let keep = Keep { channel: Some(sender), ..Keep::default() };
            let tls = Some(Tls { certificate: certificate.clone(), mode });
            let sink = start(rules, SinkOptions { tls, keep, ..SinkOptions::default() });
            let mut peer = connect(&sink);
            if mode == TlsMode::StartTls {
                peer.say_and_hear(&[GREETING, HELLO, ("STARTTLS\r\n", "220")]);
            }
            let mut peer = encrypt(peer, client.clone());
            if mode == TlsMode::Implicit {
                peer.say_and_hear(&[GREETING]);
            }
            peer.say_and_hear(&[("HELO c2\r\n", "250")]);
            peer.say_and_hear(&MESSAGE);
            peer.say_and_hear(&[("QUIT\r\n", "221")]);
            peer.hear_end(false);
            let message = received.recv_timeout(PATIENCE).unwrap();
            assert_eq!((&*message.hello, message.reverse_path.as_str()), ("c2", "a@b.test"));
            assert_eq!(message.recipients, ["u1@d.test"]);
            assert_eq!(message.tls.unwrap().version, "TLSv1.3");
            assert_eq!(&message.body[..], b"Subject: s\r\n\r\nx\r\n");
            assert!(message.peer.is_some());
        }
    }
}

#[test]
fn large_content_passes_through_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, client) = trust(directory.path());
    let tls = Some(Tls { certificate, mode: TlsMode::Implicit });
    let sink = start(&["idle close"], SinkOptions { tls, ..SinkOptions::default() });
    let mut peer = encrypt(connect(&sink), client);
    peer.say_and_hear(&[GREETING, HELLO, MAIL, RCPT, DATA]);
    let line = "x".repeat(98) + "\r\n";
    peer.say_and_hear(&[(&(line.repeat(10_000) + ".\r\n"), "250")]);
    peer.hear_end(false);
    assert_eq!(sink.counters().bytes, 1_000_000);
}

#[test]
fn sessions_are_resumed_unless_told_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, client) = trust(directory.path());
    for (tls_resumption, resumed) in [(true, 2), (false, 0)] {
        let tls = Some(Tls { certificate: certificate.clone(), mode: TlsMode::Implicit });
        let sink = start(&[], SinkOptions { tls, tls_resumption, ..SinkOptions::default() });
        for _ in 0..3 {
            let mut peer = encrypt(connect(&sink), client.clone());
            peer.say_and_hear(&[GREETING, HELLO, ("QUIT\r\n", "221")]);
        }
        let counters = sink.counters();
        assert_eq!((counters.tls_handshakes, counters.tls_resumed), (3, resumed));
    }
}

#[test]
fn a_self_signed_certificate_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let (_, client) = trust(directory.path());
    let tls = Some(Tls { certificate: Certificate::SelfSigned, mode: TlsMode::Implicit });
    let sink = start(&[], SinkOptions { tls, ..SinkOptions::default() });
    let mut peer = encrypt(connect(&sink), client);
    let error = peer.stream.read(&mut [0; 9]).unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    until(|| sink.counters().connections == 0);
}

#[test]
fn the_handshake_can_be_spoilt() {
    for (rule, reset) in [("tls close", false), ("tls reset", true)] {
        let tls = Some(Tls { certificate: Certificate::SelfSigned, mode: TlsMode::StartTls });
        let sink = start(&[rule], SinkOptions { tls, ..SinkOptions::default() });
        let mut peer = connect(&sink);
        peer.say_and_hear(&[GREETING, HELLO, ("STARTTLS\r\n", "220")]);
        peer.hear_end(reset);
    }
}

#[test]
fn what_cannot_be_bound_or_read_is_said() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = vec![Address::Tcp(busy.local_addr().unwrap())];
    let error = Sink::start(SinkOptions { bind, ..SinkOptions::default() }).err().unwrap().to_string();
    assert!(error.contains("cannot listen on 127.0.0.1"), "{error}");
    let certificate = Certificate::Files { chain: "/nowhere/chain.pem".into(), key: "/nowhere/key.pem".into() };
    let tls = Some(Tls { certificate, mode: TlsMode::StartTls });
    let error = Sink::start(SinkOptions { tls, ..SinkOptions::default() }).err().unwrap().to_string();
    assert!(error.contains("/nowhere/chain.pem"), "{error}");
}
