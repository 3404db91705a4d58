//! What the two machines allocate once a conversation runs, counted. A command costs nothing; a message costs the few
//! things that outlive it: its envelope, its content, what the peer said of it.
//!
//! The counts are exact, so that a new one is noticed here and argued for.

#![allow(clippy::disallowed_methods, reason = "a conversation begins at some time")]

use allocation_counter::measure;
use bytes::{Buf, Bytes};
use smtp::client::{self, Client, Pipelining, StartTls, Transaction};
use smtp::server::{Config, Event, RECIPIENT_OK, SENDER_OK, Server};
use smtp::{Body, EnhancedCode, MailParameters, Mailbox, Recipient, Reply, ReversePath};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

const QUEUED: Reply = Reply::fixed(250, EnhancedCode(2, 0, 0), "Ok");
const MAIL: &str = "MAIL FROM:<news-4711@bounces.sender.example> SIZE=10240 BODY=8BITMIME\r\n";
const RCPT: &str = "RCPT TO:<a.reader.of.news@receiver.example>\r\n";

/// A server and its owner, who says yes to everything.
struct Ingest {
    server: Server,
    now: Instant,
    messages: usize,
}

impl Ingest {
    /// Greeted, and warm: every buffer has the size that the conversation needs.
    fn new() -> Ingest {
        let now = Instant::now();
        let config = Config { max_errors: u32::MAX, ..Config::default() };
        let mut ingest = Ingest { server: Server::new(Arc::new(config), now), now, messages: 0 };
        ingest.answers(Bytes::from_static(b"EHLO client.example\r\n"));
        ingest
    }

    /// Octets as they come from a socket.
    fn take(&mut self, octets: Bytes) {
        self.server.handle_bytes(octets, self.now);
        while let Some(event) = self.server.poll_event() {
            match event {
                Event::Mail { .. } => self.server.answer(SENDER_OK),
                Event::Recipient(_) => self.server.answer(RECIPIENT_OK),
                Event::Message(message) => {
                    self.messages += 1;
                    self.server.complete(message.ticket, QUEUED);
                }
                _ => {}
            }
        }
    }

    /// The replies written, as far as there are any.
    fn written(&mut self) {
        let out = self.server.poll_transmit();
        out.advance(out.len());
    }

    /// What it says to these octets.
    fn answers(&mut self, octets: Bytes) -> Vec<u8> {
        self.take(octets);
        let replies = self.server.poll_transmit().to_vec();
        self.written();
        replies
    }

    /// Allocations for these octets, which arrive in pieces of this size; the same were taken before.
    fn cost(&mut self, octets: &str, piece: usize) -> u64 {
        let octets = Bytes::copy_from_slice(octets.as_bytes());
        // Slices of one buffer, as a read of a socket gives them.
        let pieces: Vec<Bytes> =
            (0..octets.len()).step_by(piece).map(|at| octets.slice(at..octets.len().min(at + piece))).collect();
        let mut costs = [0; 3];
        for cost in &mut costs {
            let pieces = pieces.clone();
            let taking = measure(|| {
                for piece in pieces {
                    self.take(piece);
                    self.written();
                }
            });
            *cost = taking.count_total;
        }
        assert_eq!(costs[1], costs[2], "the first time may grow buffers, then the count is steady: {costs:?}");
        costs[2]
    }

    fn check(&mut self, octets: &str, allocations: u64) {
        assert_eq!(self.cost(octets, usize::MAX), allocations, "{:?}", octets.get(..300).unwrap_or(octets));
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![1u8; 100]))).count_total, 1);
}

#[test]
fn a_command_to_the_server_allocates_nothing() {
    let mut ingest = Ingest::new();
    for command in ["NOOP\r\n", "RSET\r\n", "VRFY ann\r\n", "XYZZY\r\n", "DATA\r\n", "MAIL\r\n", "RCPT\r\n"] {
        ingest.check(command, 0);
    }
    ingest.check(&format!("{MAIL}RSET\r\n"), 0);
    ingest.check("MAIL FROM:<>\r\nRSET\r\n", 0);
    ingest.check(&format!("{MAIL}RCPT TO:<no address>\r\n{MAIL}RSET\r\n"), 0);
    // Nobody asks for it but people: its text is put together each time.
    ingest.check("HELP\r\n", 3);
}

#[test]
fn a_command_cut_in_pieces_allocates_nothing() {
    let mut ingest = Ingest::new();
    assert_eq!(ingest.cost(&format!("NOOP\r\n{MAIL}RSET\r\n"), 7), 0);
}

#[test]
fn a_message_to_the_server_costs_its_envelope_and_its_body() {
    let mut ingest = Ingest::new();
    // The list of recipients, the shared body, the message that holds both.
    ingest.check(&data(1, 10_000), 3);
    ingest.check(&bdat(1, 10_000), 3);
    ingest.check(&data(1, 1_000_000), 3);
    // The list grows by doubling: 4, 8, 16, 32, 64, 128. None of the recipients costs anything of its own.
    ingest.check(&data(100, 10_000), 3 + 5);
    ingest.check(&bdat(100, 10_000), 3 + 5);
    ingest.check(&format!("{MAIL}{}RSET\r\n", RCPT.repeat(100)), 1 + 5);
    // What is shorter than a segment is worth is copied out of the read buffer: a buffer, and its count of references.
    ingest.check(&data(1, 100), 3 + 2);
    assert_eq!(ingest.messages, 6 * 3);
}

#[test]
fn an_address_that_is_too_long_to_be_kept_in_place_costs_one() {
    let mut ingest = Ingest::new();
    let long = format!("RCPT TO:<{}@receiver.example>\r\n", "l".repeat(64));
    ingest.check(&format!("{MAIL}{}RSET\r\n", RCPT.repeat(4)), 1);
    ingest.check(&format!("{MAIL}{}RSET\r\n", long.repeat(4)), 1 + 4);
}

#[test]
fn a_transaction_of_the_client_costs_the_text_of_its_final_reply() {
    for pipelining in [Pipelining::Off, Pipelining::Transaction, Pipelining::Stream] {
        for chunking in [false, true] {
            for recipients in [1, 100] {
                let costs: Vec<u64> = client_costs(pipelining, chunking, recipients).collect();
                assert_eq!(costs, [64; 4], "64 transactions, {pipelining:?}, {chunking}, {recipients}");
            }
        }
    }
}

fn text(octets: usize) -> String {
    let line = "Seventy-two columns of text, as they come from people and from programs\r\n";
    format!("Subject: s\r\n\r\n{}", line.repeat(octets / line.len()))
}

fn data(recipients: usize, octets: usize) -> String {
    format!("{MAIL}{}DATA\r\n{}.\r\n", RCPT.repeat(recipients), text(octets))
}

fn bdat(recipients: usize, octets: usize) -> String {
    let text = text(octets);
    format!("{MAIL}{}BDAT {} LAST\r\n{text}", RCPT.repeat(recipients), text.len())
}

/// Allocations of the client for 64 transactions, again and again; the first round, in which buffers grow, is left out.
fn client_costs(pipelining: Pipelining, chunking: bool, recipients: usize) -> impl Iterator<Item = u64> {
    let now = Instant::now();
    let config = client::Config {
        hello_name: "client.example".into(),
        protocol: client::Protocol::Smtp,
        extended: true,
        starttls: StartTls::Off,
        pipelining,
        window: 16,
        chunking,
        login: None,
        careful: false,
        timeouts: client::Timeouts::default(),
    };
    let mailbox = |text| Mailbox::parse(text).expect("well formed");
    let mut delivery = Delivery {
        client: Client::new(Arc::new(config), now),
        peer: Ingest { server: Server::new(Arc::new(Config::default()), now), now, messages: 0 },
        now,
        reports: 0,
    };
    let reverse_path = ReversePath(Some(mailbox("news-4711@bounces.sender.example")));
    let recipients = vec![Recipient::new(mailbox("a.reader.of.news@receiver.example")); recipients];
    let body = Body::new(text(10_000));
    let mut round = move || (0..64).map(|_| delivery.deliver(&reverse_path, &recipients, &body)).sum();
    let _: u64 = round();
    (0..4).map(move |_| round())
}

/// A client and its peer, and the wire between them, whose allocations do not count.
struct Delivery {
    client: Client,
    peer: Ingest,
    now: Instant,
    reports: usize,
}

impl Delivery {
    fn deliver(&mut self, reverse_path: &ReversePath, recipients: &[Recipient], body: &Body) -> u64 {
        self.exchange_until(|delivery| delivery.client.credit() > 0);
        let (enough, messages) = (self.reports + 1, self.peer.messages);
        let recipients = &mut recipients.iter();
        let parameters = &MailParameters::default();
        let transaction = Transaction { id: 1, reverse_path, recipients, body, parameters, age_seconds: 0 };
        let submitting = measure(|| self.client.submit(transaction, self.now).expect("nothing is missing"));
        let cost = submitting.count_total + self.exchange_until(|delivery| delivery.reports == enough);
        assert_eq!(self.peer.messages, messages + 1);
        cost
    }

    fn exchange_until(&mut self, done: impl Fn(&Delivery) -> bool) -> u64 {
        let mut cost = 0;
        while !done(self) {
            let mut slices = [IoSlice::new(b""); 16];
            let count = self.client.transmit(&mut slices);
            let octets: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            cost += measure(|| self.client.advance(octets.len(), self.now)).count_total;
            let replies = self.peer.answers(octets.into());
            let heard = measure(|| {
                self.client.handle_bytes(&replies, self.now);
                while let Some(event) = self.client.poll_event() {
                    self.reports += usize::from(matches!(event, client::Event::Report(_)));
                }
            });
            cost += heard.count_total;
        }
        cost
    }
}
