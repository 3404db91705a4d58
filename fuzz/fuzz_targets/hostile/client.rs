//! A client, and a server that says anything.

use arbitrary::Arbitrary;
use posthaste_fuzz::mail::Mail;
use posthaste_fuzz::order::ClientOrder;
use posthaste_fuzz::settings::{ClientSettings, protocol, tls_info};
use smtp::client::{self, Cause, Client, Event, Login, Outcome, Report};
use smtp::sasl::client::Credentials;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of memory, the octets of this harness included: conversions of the content in flight, what the parser keeps of a reply, and
/// what is said at a time.
pub const MOST_BYTES: u64 = 2 << 20;
/// Of a text that a report keeps.
const MOST_TEXT: usize = 8 << 10;
/// What commands and their parameters take, each transaction's together.
const COMMANDS: usize = 4 << 10;

#[derive(Arbitrary, Debug)]
pub struct Play {
    lmtp: bool,
    settings: ClientSettings,
    login: bool,
    acts: Vec<Act>,
}

#[derive(Arbitrary, Debug)]
enum Act {
    /// The server says this, in portions of so many octets.
    Say(Words, u8),
    Submit(Mail),
    Write(u16),
    Wait(u16),
    Quit,
    Tls,
    End,
    Break,
}

#[derive(Arbitrary, Debug)]
enum Words {
    /// A greeting, and all that EHLO may announce.
    Welcome(u16),
    /// One of the replies that servers give, so many times.
    Reply(u8, u8),
    Raw(Vec<u8>),
    /// A line, or a reply, without end.
    Endless(bool),
}

const KEYWORDS: [&str; 13] = [
    "PIPELINING",
    "CHUNKING",
    "8BITMIME",
    "SMTPUTF8",
    "STARTTLS",
    "BINARYMIME",
    "DSN",
    "REQUIRETLS",
    "MT-PRIORITY",
    "DELIVERBY 3",
    "SIZE 1000",
    "LIMITS MAILMAX=1 RCPTMAX=0",
    "AUTH PLAIN LOGIN CRAM-MD5",
];
const REPLIES: [&str; 15] = [
    "250 2.0.0 Ok\r\n",
    "354 go\r\n",
    "250-a\r\n250 b\r\n",
    "421 4.3.2 later\r\n",
    "450 4.2.1 wait\r\n",
    "500 what\r\n",
    "502 no\r\n",
    "550-5.1.1 who\r\n550 5.1.1 is it\r\n",
    "220 go\r\n",
    "221 bye\r\n",
    "250\r\n",
    "250 2.1.5 Ok\n",
    "334 \r\n",
    "235 2.7.0 in\r\n",
    "535 5.7.8 out\r\n",
];

impl Words {
    fn octets(&self) -> Vec<u8> {
        match self {
            Words::Welcome(announced) => {
                let known = (0..).zip(KEYWORDS).filter(|(bit, _)| announced >> bit & 1 == 0);
                let lines: String = known.map(|(_, keyword)| format!("250-{keyword}\r\n")).collect();
                format!("220 server.test\r\n250-server.test\r\n{lines}250 HELP\r\n").into_bytes()
            }
            Words::Reply(which, times) => {
                REPLIES[usize::from(*which) % REPLIES.len()].repeat(usize::from(times % 16) + 1).into_bytes()
            }
            Words::Raw(octets) => octets.clone(),
            Words::Endless(true) => vec![b'2'; 70_000],
            Words::Endless(false) => b"250-and more\r\n".repeat(6000),
        }
    }
}

struct Run {
    client: Client,
    order: ClientOrder,
    /// Octets of the content in flight, by transaction.
    in_flight: Vec<(u64, usize)>,
    window: usize,
    now: Instant,
}

pub fn run(play: &Play) {
    let now = Instant::now();
    let mut config = client::Config::clone(&play.settings.config(protocol(play.lmtp)));
    config.login = play.login.then(|| Login {
        credentials: Credentials { user: "user".into(), password: "pencil".into() },
        nonce: "cnonce".into(),
        in_clear: true,
    });
    let window = config.window;
    let client = Client::new(Arc::new(config), now);
    let mut run = Run { client, order: ClientOrder::default(), in_flight: Vec::new(), window, now };
    for act in &play.acts {
        run.act(act);
        run.listen();
        run.check_bounds();
        if run.order.closed {
            break;
        }
    }
    run.client.handle_eof();
    run.listen();
    run.order.finish();
    assert_eq!((run.client.credit(), run.client.poll_timeout()), (0, None), "nothing follows the end");
}

impl Run {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Say(words, portion) => {
                for heard in words.octets().chunks(usize::from(*portion).max(1) * 16) {
                    self.client.handle_bytes(heard, self.now);
                    self.listen();
                }
            }
            Act::Submit(mail) => self.submit(mail),
            Act::Write(octets) => self.write((*octets).into()),
            Act::Wait(seconds) => {
                self.now += Duration::from_secs((*seconds).into());
                self.client.handle_timeout(self.now);
            }
            Act::Quit => self.client.quit(self.now),
            Act::Tls => self.client.handle_tls(tls_info(), self.now),
            Act::End => self.client.handle_eof(),
            Act::Break => self.client.handle_error(Cause::Io(ErrorKind::ConnectionReset)),
        }
    }

    fn submit(&mut self, mail: &Mail) {
        if self.client.credit() == 0 {
            return;
        }
        let id = self.order.next_id();
        if let Some((_, body, _)) = mail.submit(&mut self.client, id, self.now) {
            self.order.submitted();
            self.in_flight.push((id, body.len()));
        }
    }

    fn write(&mut self, octets: usize) {
        let mut slices = [IoSlice::new(&[]); 8];
        let count = self.client.transmit(&mut slices);
        let shown: usize = slices[..count].iter().map(|slice| slice.len()).sum();
        if shown > 0 {
            self.client.advance(octets.min(shown), self.now);
        }
    }

    fn listen(&mut self) {
        while let Some(event) = self.client.poll_event() {
            self.order.see(&event);
            if let Event::Report(report) = event {
                self.in_flight.retain(|(id, _)| *id != report.id);
                check_report(&report);
            }
        }
    }

    fn check_bounds(&self) {
        assert!(self.client.in_flight() <= self.window);
        let mut slices = [IoSlice::new(&[]); 256];
        let count = self.client.transmit(&mut slices);
        let waiting: usize = slices[..count].iter().map(|slice| slice.len()).sum();
        // Dots may be doubled, and a conversion adds to that: six times is more than either does.
        let content: usize = self.in_flight.iter().map(|(_, octets)| octets * 6 + COMMANDS).sum();
        assert!(waiting <= content + COMMANDS, "{waiting} octets wait to be written");
    }
}

fn check_report(report: &Report) {
    let outcomes = report.exceptions.iter().map(|(_, outcome)| outcome).chain([&report.outcome]);
    for outcome in outcomes {
        if let Outcome::Replied(_, reply) = outcome {
            assert!((200..600).contains(&reply.code) && reply.text.len() <= MOST_TEXT);
        }
    }
    assert!(report.exceptions.is_sorted_by_key(|(at, _)| *at));
}
