//! The client speaks with the server, over a wire that cuts as it likes: every transaction is reported once and in order,
//! and the server receives exactly what was sent, at every level and with every feature missing in turn.

#![allow(clippy::disallowed_methods, reason = "a conversation begins at some time")]

use bytes::{Buf, Bytes};
use posthaste_smtp::client::{self, Client, Event, Outcome, Pipelining, Report, Stage, StartTls, Transaction};
use posthaste_smtp::reply::EnhancedCode;
use posthaste_smtp::server::{self, Message, Protocol, RECIPIENT_OK, SENDER_OK, Server, Ticket};
use posthaste_smtp::{Body, MailParameters, Mailbox, Recipient, Reply, ReversePath};
use proptest::prelude::*;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

const REFUSED: Reply = Reply::fixed(550, EnhancedCode(5, 7, 1), "Refused");

/// A message and what the server is to do with it: `refused` in an address makes it refuse that command.
#[derive(Clone, Debug)]
struct Mail {
    sender_refused: bool,
    /// One a recipient: refused or not.
    recipients: Vec<bool>,
    content_refused: bool,
    content: Vec<u8>,
}

impl Mail {
    fn reverse_path(&self, id: usize) -> ReversePath {
        let refused = if self.sender_refused { "refused-" } else { "" };
        ReversePath(Some(mailbox(&format!("{refused}sender{id}@a.example"))))
    }
    fn recipients(&self, id: usize) -> Vec<Recipient> {
        let name = |(at, refused): (usize, &bool)| {
            Recipient::new(mailbox(&format!("{}rcpt{at}-{id}@b.example", if *refused { "refused-" } else { "" })))
        };
        self.recipients.iter().enumerate().map(name).collect()
    }
    fn is_delivered(&self) -> bool {
        !self.sender_refused && !self.content_refused && self.recipients.contains(&false)
    }
    /// What the report has to be.
    fn report(&self, id: usize) -> Report {
        let said = |stage, reply| Outcome::Replied(stage, reply);
        let outcome = match () {
            _ if self.sender_refused => said(Stage::Mail, REFUSED),
            _ if !self.recipients.contains(&false) => said(Stage::Rcpt, REFUSED),
            _ if self.content_refused => said(Stage::Final, REFUSED),
            _ => said(Stage::Final, accepted()),
        };
        let some = matches!(outcome, Outcome::Replied(Stage::Final, _));
        let refused = self.recipients.iter().enumerate().filter(|(_, refused)| some && **refused);
        let exceptions = refused.map(|(at, _)| (at as u32, said(Stage::Rcpt, REFUSED))).collect();
        Report { id: id as u64, outcome, exceptions }
    }
}

fn accepted() -> Reply {
    Reply::fixed(250, EnhancedCode(2, 0, 0), "Ok: queued")
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).expect("the test's addresses are well formed")
}

/// How the wire cuts, and when messages become durable.
#[derive(Clone, Debug)]
struct Wire {
    to_server: usize,
    to_client: usize,
    /// Messages are completed only when nothing else moves.
    lazy: bool,
}

/// A connection between the two, and what came of it.
struct Connection<'a> {
    mails: &'a [Mail],
    wire: Wire,
    now: Instant,
    client: Client,
    server: Server,
    submitted: usize,
    pending: Vec<(Ticket, bool)>,
    received: Vec<Message>,
    reports: Vec<Report>,
    server_closed: bool,
    closed: Option<(Stage, client::Cause)>,
}

impl Connection<'_> {
    fn run(&mut self) {
        for _ in 0..200_000 {
            if self.closed.is_some() {
                return;
            }
            let moved =
                self.submit() | self.client_events() | self.feed_server() | self.server_events() | self.feed_client();
            if moved {
                continue;
            }
            if let Some((ticket, refused)) = self.pending.pop() {
                self.server.complete(ticket, if refused { REFUSED } else { accepted() });
            } else if self.server_closed {
                self.client.handle_eof();
            } else {
                assert_eq!((self.submitted, self.client.in_flight()), (self.mails.len(), 0), "stuck");
                self.client.quit(self.now);
            }
        }
        panic!("no end");
    }

    fn submit(&mut self) -> bool {
        let mut moved = false;
        while self.client.credit() > 0 && self.submitted < self.mails.len() {
            let (id, mail) = (self.submitted, &self.mails[self.submitted]);
            let recipients = mail.recipients(id);
            let transaction = Transaction {
                id: id as u64,
                reverse_path: &mail.reverse_path(id),
                recipients: &mut recipients.iter(),
                body: &Body::new(mail.content.clone()),
                parameters: &MailParameters::default(),
                age_seconds: 0,
            };
            self.client.submit(transaction, self.now).expect("nothing here needs a feature");
            self.submitted += 1;
            moved = true;
        }
        moved
    }

    fn client_events(&mut self) -> bool {
        let mut moved = false;
        while let Some(event) = self.client.poll_event() {
            moved = true;
            match event {
                Event::Ready(_) => {}
                Event::Report(report) => self.reports.push(report),
                Event::Closed { stage, cause } => self.closed = Some((stage, cause)),
                Event::StartTls => panic!("STARTTLS is off"),
            }
        }
        moved
    }

    fn feed_server(&mut self) -> bool {
        let mut slices = [IoSlice::new(b""); 32];
        let count = self.client.transmit(&mut slices);
        let mut bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
        bytes.truncate(self.wire.to_server);
        if bytes.is_empty() || !self.server.wants_bytes() {
            return false;
        }
        self.client.advance(bytes.len(), self.now);
        self.server.handle_bytes(Bytes::from(bytes), self.now);
        true
    }

    fn server_events(&mut self) -> bool {
        let verdict = |address: &str, ok: Reply| if address.starts_with("refused") { REFUSED } else { ok };
        let mut moved = false;
        while let Some(event) = self.server.poll_event() {
            moved = true;
            match event {
                server::Event::Mail { reverse_path, .. } => {
                    self.server.answer(verdict(reverse_path.as_str(), SENDER_OK));
                }
                server::Event::Recipient(recipient) => {
                    self.server.answer(verdict(recipient.mailbox.as_str(), RECIPIENT_OK));
                }
                server::Event::Message(message) => {
                    let refused = self.is_content_refused(&message);
                    if self.wire.lazy {
                        self.pending.push((message.ticket, refused));
                    } else {
                        self.server.complete(message.ticket, if refused { REFUSED } else { accepted() });
                    }
                    self.received.push(*message);
                }
                server::Event::Closed(_) => self.server_closed = true,
                server::Event::Hello { .. } | server::Event::Aborted => {}
                server::Event::StartTls
                | server::Event::XClient(_)
                | server::Event::Etrn(_)
                | server::Event::Atrn(_)
                | server::Event::Turned
                | server::Event::Auth { .. } => panic!("they are off"),
            }
        }
        moved
    }

    fn is_content_refused(&self, message: &Message) -> bool {
        let sender = message.reverse_path.as_str();
        let id: usize = sender["sender".len()..sender.len() - "@a.example".len()].parse().expect("the sender is ours");
        self.mails[id].content_refused
    }

    fn feed_client(&mut self) -> bool {
        let out = self.server.poll_transmit();
        let count = out.len().min(self.wire.to_client);
        let bytes = out[..count].to_vec();
        out.advance(count);
        if count > 0 {
            self.client.handle_bytes(&bytes, self.now);
        }
        count > 0
    }
}

fn check(mails: &[Mail], wire: Wire, client: client::Config, server: server::Config) {
    let now = Instant::now();
    let takes_eight_bits = server.eight_bit_mime;
    let mut connection = Connection {
        mails,
        wire,
        now,
        client: Client::new(Arc::new(client), now),
        server: Server::new(Arc::new(server), now),
        submitted: 0,
        pending: Vec::new(),
        received: Vec::new(),
        reports: Vec::new(),
        server_closed: false,
        closed: None,
    };
    connection.run();
    assert_eq!(connection.closed, Some((Stage::Quit, client::Cause::Done)));
    let wanted: Vec<Report> = mails.iter().enumerate().map(|(id, mail)| mail.report(id)).collect();
    assert_eq!(connection.reports, wanted);

    let taken = mails.iter().enumerate().filter(|(_, mail)| mail.is_delivered());
    let received = connection.received.iter().filter(|message| !connection.is_content_refused(message));
    let summary = |message: &Message| {
        (message.reverse_path.clone(), message.recipients.clone(), message.body.to_bytes().to_vec())
    };
    let received: Vec<_> = received.map(summary).collect();
    let sent: Vec<_> = taken
        .map(|(id, mail)| {
            let recipients =
                mail.recipients(id).into_iter().filter(|to| !to.mailbox.as_str().starts_with("refused")).collect();
            let body = Body::new(mail.content.clone());
            let content = if takes_eight_bits { &body } else { body.seven_bit().expect("it can be converted") };
            (mail.reverse_path(id), recipients, content.to_bytes().to_vec())
        })
        .collect();
    assert!(received == sent, "what was received is not what was sent: {received:?} {sent:?}");
}

fn mail() -> impl Strategy<Value = Mail> {
    let line = prop::sample::select(vec![
        "\r\n",
        ".\r\n",
        "..\r\n",
        ".x\r\n",
        "text\r\n",
        "caf\u{e9}\r\n",
        "RSET\r\n",
        "QUIT\r\n",
    ]);
    let content = prop_oneof![
        20 => prop::collection::vec(line, 1..20).prop_map(|lines| format!("\r\n{}", lines.concat()).into_bytes()),
        1 => Just("a large message\r\n".repeat(client::LARGE_BODY_BYTES / 16).into_bytes()),
    ];
    let recipients = prop::collection::vec(prop::bool::weighted(0.3), 1..5);
    (prop::bool::weighted(0.1), recipients, prop::bool::weighted(0.1), content).prop_map(
        |(sender_refused, recipients, content_refused, content)| Mail {
            sender_refused,
            recipients,
            content_refused,
            content,
        },
    )
}

fn wire() -> impl Strategy<Value = Wire> {
    let cut = || prop_oneof![Just(1usize), 2usize..50, Just(usize::MAX)];
    // A large message an octet at a time says nothing more, slowly.
    (cut(), cut(), any::<bool>()).prop_map(|(to_server, to_client, lazy)| Wire { to_server, to_client, lazy })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn what_is_sent_is_received(
        mails in prop::collection::vec(mail(), 0..8),
        mut wire in wire(),
        pipelining in prop::sample::select(vec![Pipelining::Off, Pipelining::Transaction, Pipelining::Stream]),
        offers in any::<(bool, bool, bool)>(),
        lmtp in any::<bool>(),
        window in 1usize..10,
    ) {
        if mails.iter().any(|mail| mail.content.len() > client::LARGE_BODY_BYTES) {
            wire.to_server = wire.to_server.max(10_000);
        }
        let protocol = if lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        let client = client::Config {
            hello_name: "client.example".into(),
            protocol,
            extended: true,
            starttls: StartTls::Off,
            pipelining,
            window,
            chunking: true,
            login: None,
 careful: false,
            timeouts: client::Timeouts::default(),
        };
        let server = server::Config {
            protocol,
            pipelining: offers.0,
            chunking: offers.1,
            eight_bit_mime: offers.2,
            max_errors: 1000,
            ..server::Config::default()
        };
        check(&mails, wire, client, server);
    }
}
