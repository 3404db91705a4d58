//! The two machines and what lies between them.

use crate::account::Account;
use crate::{Act, Answer, Play};
use bytes::Bytes;
use posthaste_fuzz::mail::{Mail, recipient_of};
use posthaste_fuzz::order::{ClientOrder, ServerOrder};
use posthaste_fuzz::settings::{protocol, tls_info};
use smtp::client::{self, Cause, Client};
use smtp::server::{Message, Protocol, Server};
use smtp::{EnhancedCode, Reply};
use std::io::{ErrorKind, IoSlice};
use std::time::{Duration, Instant};

/// Enough for a window of large messages; beyond, it is the fuzzer that is slow.
const MOST_SUBMITTED: u64 = 24;

/// One direction of the stream.
#[derive(Default)]
struct Pipe {
    written: Vec<u8>,
    /// Nothing follows.
    ended: bool,
    /// That was told.
    told: bool,
}

pub struct Stage {
    client: Client,
    server: Server,
    to_server: Pipe,
    to_client: Pipe,
    answers: Vec<Answer>,
    next_answer: usize,
    waiting: Vec<Message>,
    client_order: ClientOrder,
    server_order: ServerOrder,
    /// Each side awaits the handshake.
    handshake: (bool, bool),
    account: Account,
    now: Instant,
}

impl Stage {
    pub fn new(play: &Play) -> Stage {
        let (now, protocol) = (Instant::now(), protocol(play.lmtp));
        let server = play.server.config(protocol);
        Stage {
            client: Client::new(play.client.config(protocol), now),
            server: Server::new(server.clone(), now),
            to_server: Pipe::default(),
            to_client: Pipe::default(),
            answers: play.answers.clone(),
            next_answer: 0,
            waiting: Vec::new(),
            client_order: ClientOrder::default(),
            server_order: ServerOrder::default(),
            handshake: (false, false),
            account: Account::new(server, play.client.is_extended(protocol)),
            now,
        }
    }

    pub fn act(&mut self, act: &Act) {
        match act {
            Act::Submit(mail) => self.submit(mail),
            Act::Write(client, server) => {
                self.client_writes((*client).into());
                self.server_writes((*server).into());
            }
            Act::Arrive(server, client) => {
                self.server_hears((*server).into());
                self.client_hears((*client).into());
            }
            Act::Flow => self.flow(),
            Act::Complete(which, answers) => self.complete((*which).into(), answers),
            Act::Wait(seconds) => self.wait(Duration::from_secs((*seconds).into())),
            Act::Quit => self.client.quit(self.now),
            Act::Dismiss => {
                let reply = Reply::fixed(421, EnhancedCode(4, 3, 2), "Dismissed");
                match self.server_order.drain() {
                    true => self.server.drain(reply, self.now),
                    false => self.server.close(reply),
                }
                self.listen_to_server();
            }
            Act::EndOfClient => self.to_server.ended = true,
            Act::EndOfServer => self.to_client.ended = true,
            Act::Reset => self.reset(),
        }
        self.listen_to_client();
    }

    /// All that can happen happens, then the client leaves, and the account is closed.
    pub fn finish(mut self) {
        while !self.waiting.is_empty() || self.client.in_flight() > 0 && !self.client_order.closed {
            let before = (self.waiting.len(), self.client.in_flight());
            self.flow();
            self.complete(0, &[]);
            self.flow();
            if before == (self.waiting.len(), self.client.in_flight()) {
                // One side is deaf for good: the other waits as long as it waits for anything.
                self.wait(Duration::from_secs(1000));
            }
        }
        self.client.quit(self.now);
        self.listen_to_client();
        self.flow();
        self.reset();
        self.listen_to_client();
        self.client_order.finish();
        assert!(self.server_order.closed, "the end of the connection is the end of the conversation");
        self.account.balance();
    }

    fn submit(&mut self, mail: &Mail) {
        let id = self.client_order.next_id();
        if self.client.credit() == 0 || id == MOST_SUBMITTED {
            return;
        }
        if let Some((recipients, body, parameters)) = mail.submit(&mut self.client, id, self.now) {
            self.client_order.submitted();
            self.account.submitted(id, recipients, body, parameters);
        }
    }

    fn flow(&mut self) {
        loop {
            let moved = self.client_writes(usize::MAX)
                | self.server_hears(usize::MAX)
                | self.server_writes(usize::MAX)
                | self.client_hears(usize::MAX);
            if !moved {
                return;
            }
        }
    }

    fn client_writes(&mut self, octets: usize) -> bool {
        if self.to_server.ended || self.handshake.0 {
            return false;
        }
        let mut slices = [IoSlice::new(&[]); 8];
        let count = self.client.transmit(&mut slices);
        let shown: usize = slices[..count].iter().map(|slice| slice.len()).sum();
        let octets = octets.min(shown);
        let mut left = octets;
        for slice in &slices[..count] {
            let part = left.min(slice.len());
            self.to_server.written.extend_from_slice(&slice[..part]);
            left -= part;
        }
        if octets > 0 {
            self.client.advance(octets, self.now);
        }
        octets > 0
    }

    fn server_writes(&mut self, octets: usize) -> bool {
        if self.to_client.ended {
            return false;
        }
        let out = self.server.poll_transmit();
        let octets = octets.min(out.len());
        self.to_client.written.extend_from_slice(&out.split_to(octets));
        octets > 0
    }

    fn server_hears(&mut self, octets: usize) -> bool {
        if !self.server.wants_bytes() && !self.to_server.written.is_empty() {
            return false;
        }
        let octets = octets.min(self.to_server.written.len());
        let heard: Bytes = self.to_server.written.drain(..octets).collect::<Vec<u8>>().into();
        let end = self.to_server.ends();
        if octets > 0 {
            self.server.handle_bytes(heard, self.now);
        }
        if end {
            self.server.handle_eof();
        }
        self.listen_to_server();
        octets > 0 || end
    }

    fn client_hears(&mut self, octets: usize) -> bool {
        let octets = octets.min(self.to_client.written.len());
        let heard: Vec<u8> = self.to_client.written.drain(..octets).collect();
        let end = self.to_client.ends();
        if octets > 0 {
            self.client.handle_bytes(&heard, self.now);
        }
        self.listen_to_client();
        if end {
            self.client.handle_eof();
            self.listen_to_client();
        }
        octets > 0 || end
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        if self.client.poll_timeout().is_some_and(|at| at <= self.now) {
            self.client.handle_timeout(self.now);
        }
        if self.server.poll_timeout().is_some_and(|at| at <= self.now) {
            self.server.handle_timeout(self.now);
        }
        self.listen_to_client();
        self.listen_to_server();
    }

    fn reset(&mut self) {
        for pipe in [&mut self.to_server, &mut self.to_client] {
            pipe.written.clear();
            (pipe.ended, pipe.told) = (true, true);
        }
        self.client.handle_error(Cause::Io(ErrorKind::ConnectionReset));
        self.listen_to_client();
        self.server.handle_eof();
        self.listen_to_server();
        while !self.waiting.is_empty() {
            self.complete(0, &[]);
        }
    }

    fn listen_to_client(&mut self) {
        while let Some(event) = self.client.poll_event() {
            self.client_order.see(&event);
            match event {
                client::Event::StartTls => self.handshake.0 = true,
                client::Event::Report(report) => self.account.reported(&report),
                client::Event::Closed { cause: Cause::Protocol(sentence), .. } => {
                    panic!("the client does not understand our server: {sentence}")
                }
                client::Event::Closed { .. } => self.to_server.ended = true,
                _ => {}
            }
        }
        self.shake_hands();
    }

    fn listen_to_server(&mut self) {
        use smtp::server::Event;
        while let Some(event) = self.server.poll_event() {
            self.server_order.see(&event);
            match event {
                Event::Mail { reverse_path, .. } => {
                    let reply = self.next_reply(format!("mail {}", reverse_path.as_str()));
                    self.server_order.mail(reply.is_success());
                    self.account.opened(&reverse_path);
                    self.server.answer(reply);
                }
                Event::Recipient(recipient) => {
                    let reply = self.next_reply(format!("rcpt {}", recipient.mailbox.as_str()));
                    self.server_order.recipient(reply.is_success());
                    self.account.asked(&recipient, reply.is_success());
                    self.server.answer(reply);
                }
                Event::Message(message) => {
                    self.account.taken(&message);
                    self.waiting.push(*message);
                }
                Event::StartTls => self.handshake.1 = true,
                Event::Closed(_) => self.to_client.ended |= self.server.poll_transmit().is_empty(),
                _ => {}
            }
        }
        self.shake_hands();
    }

    /// As soon as both sides are at it.
    fn shake_hands(&mut self) {
        if self.handshake == (true, true) {
            self.handshake = (false, false);
            assert!(
                self.to_server.written.is_empty() && self.to_client.written.is_empty(),
                "clear text behind STARTTLS"
            );
            self.server.handle_tls(tls_info());
            self.server_order.encrypted();
            self.client.handle_tls(tls_info(), self.now);
        }
    }

    fn complete(&mut self, which: usize, answers: &[Answer]) {
        if self.waiting.is_empty() {
            return;
        }
        let message = self.waiting.remove(which % self.waiting.len());
        let answer = |n: usize| answers.get(n).copied().unwrap_or(Answer::Yes);
        let (protocol, ticket) = (self.server.config().protocol, message.ticket);
        if protocol == Protocol::Smtp {
            let reply = answer(0).reply(format!("final {}", message.reverse_path.as_str()));
            message.recipients.iter().for_each(|r| self.account.decided(recipient_of(r.mailbox.as_str()), &reply));
            self.server.complete(ticket, reply);
        } else {
            let mut replies = Vec::new();
            for (n, recipient) in message.recipients.iter().enumerate() {
                let reply = answer(n).reply(format!("final {}", recipient.mailbox.as_str()));
                self.account.decided(recipient_of(recipient.mailbox.as_str()), &reply);
                replies.push(reply);
            }
            self.server.complete_each(ticket, replies);
        }
        self.listen_to_server();
    }

    fn next_reply(&mut self, text: String) -> Reply {
        let answer = match self.answers.len() {
            0 => Answer::Yes,
            many => self.answers[self.next_answer % many],
        };
        self.next_answer += 1;
        answer.reply(text)
    }
}

impl Pipe {
    /// The end is reached, and told this once.
    fn ends(&mut self) -> bool {
        let now = self.ended && self.written.is_empty() && !self.told;
        self.told |= now;
        now
    }
}

impl Answer {
    fn reply(self, text: String) -> Reply {
        let (code, class) = match self {
            Answer::Yes | Answer::Indeed => (250, 2),
            Answer::NotNow => (450, 4),
            Answer::No => (550, 5),
        };
        Reply { code, enhanced: Some(EnhancedCode(class, 0, 0)), text: text.into() }
    }
}
