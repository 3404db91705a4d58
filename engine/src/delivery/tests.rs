//! Delivery against peers on real sockets that end badly, or never end.

use super::*;
use crate::config::{SocketName, TlsPolicy};
use crate::dispatch::{Manner, Peer};
use mio::{Events, Poll};
use queue::{Content, Envelope, MailParameters, MessageId, Recipient, RecipientSet};
use smtp::client::{Outcome, Pipelining, Protocol};
use smtp::{Body, Mailbox, Reply, ReversePath};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

const ID: ConnectionId = ConnectionId(7);

/// One delivery room, turned by hand.
struct Hands {
    delivery: Delivery,
    poll: Poll,
    events: Events,
    heard: Vec<Input>,
}

impl Hands {
    /// With a connection to whoever listens there.
    fn towards(peer: &TcpListener, implicit_tls: bool) -> Hands {
        let settings = Settings {
            ourselves: Ourselves { name: "mta.test".into(), listeners: Vec::new(), addresses: Vec::new() },
            connect_timeout: Duration::from_secs(30),
            timeouts: Timeouts::default(),
            tls: TlsConfigs::new(None).unwrap(),
            handshakes: Handshakes::default(),
            passwords: Passwords::default(),
        };
        let open = Open {
            connection: ID,
            site: "mx.test".into(),
            host: "mx.test".into(),
            by_mx: true,
            peer: Peer::At(SocketName::Tcp(peer.local_addr().unwrap())),
            source: None,
            protocol: Protocol::Smtp,
            tls: TlsPolicy::Opportunistic,
            implicit_tls,
            policy: None,
            manner: Manner::full(Pipelining::Stream),
            careful: false,
            window: 4,
        };
        let poll = Poll::new().unwrap();
        let mut delivery = Delivery::new(Arc::new(settings));
        delivery.open(Box::new(open), None, crate::shell::read_clock(), poll.registry(), Token);
        Hands { delivery, poll, events: Events::with_capacity(8), heard: Vec::new() }
    }

    /// Sleeps until there are events.
    fn sleep(&mut self) {
        self.poll.poll(&mut self.events, Some(Duration::from_secs(10))).unwrap();
        assert!(!self.events.is_empty(), "nothing comes any more; heard: {:?}", self.heard);
    }

    /// Tells the room of the events that there were.
    fn wake(&mut self) {
        for event in &self.events {
            self.delivery.handle_ready(event.token().0, Readiness::of(event), crate::shell::read_clock());
        }
    }

    fn flush(&mut self) {
        self.delivery.flush(crate::shell::read_clock(), self.poll.registry());
        self.heard.extend(self.delivery.take_news());
    }

    /// Ticks until that was heard.
    fn until(&mut self, heard: impl Fn(&Input) -> bool) {
        while !self.heard.iter().any(&heard) {
            self.sleep();
            self.wake();
            self.flush();
        }
    }

    fn deliver(&mut self, transaction: u64) {
        let mailbox = |text: &str| Mailbox::parse(text).unwrap();
        let envelope = Envelope {
            reverse_path: ReversePath(Some(mailbox("me@from.test"))),
            recipients: vec![Recipient::new(mailbox("you@to.test"))],
            accepted_us: 0,
            parameters: MailParameters::default(),
            tenant: None,
            campaign: None,
        };
        let content = Content { id: MessageId(1), envelope, body: Body::new("Subject: hi\r\n\r\nBody\r\n") };
        let mut recipients = RecipientSet::new();
        recipients.insert(0);
        let deliver = Deliver { connection: ID, transaction, content: Arc::new(content), recipients };
        self.delivery.deliver(&deliver, crate::shell::read_clock());
    }

    fn outcome(&self, transaction: u64) -> Option<&Outcome> {
        self.heard.iter().find_map(|input| match input {
            Input::Report(ID, report) if report.id == transaction => Some(&report.outcome),
            _ => None,
        })
    }

    #[track_caller]
    fn check_taken(&self, transaction: u64) {
        let outcome = self.outcome(transaction);
        let taken = matches!(outcome, Some(Outcome::Replied(Stage::Final, Reply { code: 250, .. })));
        assert!(taken, "{outcome:?}");
    }
}

fn is_ready(input: &Input) -> bool {
    matches!(input, Input::Ready(..))
}

fn is_closed(input: &Input) -> bool {
    matches!(input, Input::Closed(..))
}

fn read_until(stream: &mut impl Read, end: &[u8]) {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        read.extend_from_slice(&octet);
    }
}

/// An exchanger, up to the final dot of the first message.
fn take_mail(mut stream: impl Read + Write) {
    stream.write_all(b"220 mx.test\r\n").unwrap();
    read_until(&mut stream, b"EHLO mta.test\r\n");
    stream.write_all(b"250-mx.test\r\n250 PIPELINING\r\n").unwrap();
    read_until(&mut stream, b"DATA\r\n");
    stream.write_all(b"250 Ok\r\n250 Ok\r\n354 Go on\r\n").unwrap();
    read_until(&mut stream, b"\r\n.\r\n");
}

#[test]
fn a_reply_is_heard_although_the_connection_broke_behind_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut hands = Hands::towards(&listener, false);
    let (has_content, content) = mpsc::channel();
    let (go_on, wait) = mpsc::channel();
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        take_mail(&stream);
        has_content.send(()).unwrap();
        wait.recv().unwrap();
        stream.write_all(b"250 Taken\r\n").unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    hands.until(is_ready);
    hands.deliver(1);
    hands.flush();
    while content.try_recv().is_err() {
        hands.poll.poll(&mut hands.events, Some(Duration::from_millis(10))).unwrap();
        hands.wake();
        hands.flush();
    }
    go_on.send(()).unwrap();
    peer.join().unwrap();
    // The reply and the reset are there, and before they are looked at something is written.
    while !hands.events.iter().any(|event| event.is_error()) {
        hands.sleep();
    }
    hands.deliver(2);
    hands.flush();
    hands.check_taken(1);
    assert_eq!(hands.outcome(2), Some(&Outcome::NotSent));
    assert!(hands.heard.iter().any(is_closed));
}

#[test]
fn a_reply_is_heard_although_tls_broke_behind_it() {
    let made = rcgen::generate_simple_self_signed(["mx.test".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
    let mut session = rustls::ServerConnection::new(Arc::new(config)).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut hands = Hands::towards(&listener, true);
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        take_mail(rustls::Stream::new(&mut session, &mut stream));
        session.writer().write_all(b"250 Taken\r\n").unwrap();
        let mut octets = Vec::new();
        session.write_tls(&mut octets).unwrap();
        // A record that nobody can decipher.
        octets.extend_from_slice(&[23, 3, 3, 0, 32]);
        octets.extend_from_slice(&[0; 32]);
        stream.write_all(&octets).unwrap();
        stream
    });
    hands.until(is_ready);
    hands.deliver(1);
    hands.flush();
    hands.until(is_closed);
    hands.check_taken(1);
    let cause = hands.heard.iter().find_map(|input| match input {
        Input::Closed(_, _, cause) => Some(cause),
        _ => None,
    });
    assert!(matches!(cause, Some(Cause::Tls(_))), "{cause:?}");
    drop(peer.join().unwrap());
}

/// Connected to a peer that has said this, which can be read in pieces of 16 octets; the room knows nothing of it yet.
fn told(said: &str) -> (Hands, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut hands = Hands::towards(&listener, false);
    hands.delivery.buffer = vec![0; 16];
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(said.as_bytes()).unwrap();
    while !hands.events.iter().any(|event| event.is_readable()) {
        hands.sleep();
    }
    (hands, peer)
}

#[test]
fn what_a_peer_says_at_length_is_heard_over_many_ticks_without_another_event() {
    let (mut hands, mut peer) = told(&("220-Welcome to this exchanger\r\n".repeat(50) + "220 mx.test\r\n"));
    hands.wake();
    let mut ticks = 1;
    while hands.delivery.has_backlog() {
        hands.flush();
        hands.delivery.handle_backlog(crate::shell::read_clock());
        ticks += 1;
    }
    assert!(ticks >= 50 * 31 / (8 * 16), "{ticks}: others got their turn");
    hands.flush();
    read_until(&mut peer, b"EHLO mta.test\r\n");
}

#[test]
fn an_end_behind_much_talk_is_seen_without_another_event() {
    let (mut hands, peer) = told(&"220-Welcome to this exchanger\r\n".repeat(50));
    drop(peer);
    while !hands.events.iter().any(|event| event.is_read_closed()) {
        hands.sleep();
    }
    hands.wake();
    while hands.delivery.has_backlog() {
        hands.delivery.handle_backlog(crate::shell::read_clock());
    }
    hands.flush();
    let end = hands.heard.last();
    assert!(matches!(end, Some(Input::Closed(ID, Stage::Greeting, Cause::Eof))), "{end:?}");
}

#[test]
fn nobody_listens_to_a_peer_once_the_connection_is_over() {
    let (mut hands, _peer) = told(&("nonsense\r\n".to_owned() + &"220-and so on\r\n".repeat(1000)));
    hands.wake();
    assert!(!hands.delivery.has_backlog());
    hands.flush();
    assert!(matches!(hands.heard[..], [Input::Closed(ID, Stage::Greeting, Cause::Protocol(_))]), "{:?}", hands.heard);
}
