//! A server, and a client that says anything.

use arbitrary::Arbitrary;
use posthaste_fuzz::order::ServerOrder;
use posthaste_fuzz::settings::{ServerSettings, protocol, tls_info};
use smtp::reply::ReplyParser;
use smtp::server::{Event, Message, Server};
use smtp::{EnhancedCode, Reply};
use std::time::{Duration, Instant};

/// The most that waits to be written: what the machine allows itself, and the replies to one more portion of commands.
const MOST_UNSENT: usize = (64 << 10) + PORTION / SHORTEST * LONGEST_REPLY;
const SHORTEST: usize = "NOOP\r\n".len();
const LONGEST_REPLY: usize = 1024;
const SHUTTING_DOWN: Reply = Reply::fixed(421, EnhancedCode(4, 3, 2), "Shutting down");
/// What is handed over at a time.
const PORTION: usize = 2048;

/// Of memory, the octets of this harness included: messages that wait to be completed and one that is coming, what waits to be
/// written, and what is said at a time.
pub fn most_bytes(play: &Play) -> u64 {
    let config = play.settings.config(protocol(play.lmtp));
    let messages = (config.max_pending_messages + 1) * 2 * config.max_message_bytes.min(MOST_CONTENT);
    (messages + (1 << 20)) as u64
}

/// Of one message that this harness can say: more comes only with a longer input.
const MOST_CONTENT: usize = 256 << 10;

#[derive(Arbitrary, Debug)]
pub struct Play {
    lmtp: bool,
    settings: ServerSettings,
    /// To questions, in turn.
    answers: Vec<u8>,
    acts: Vec<Act>,
}

#[derive(Arbitrary, Debug)]
enum Act {
    /// In portions of so many octets.
    Say(Words, u8),
    /// So many octets are written out.
    Write(u16),
    Complete(u8, u8),
    Wait(u16),
    /// In good order; the second one, at once.
    Close,
    Tls,
    End,
}

#[derive(Arbitrary, Debug)]
enum Words {
    /// One of the lines that clients send, so many times.
    Line(u8, u8),
    /// A whole transaction under DATA, or BDAT, with this content.
    Data(Vec<u8>),
    Bdat(Vec<u8>, bool),
    Raw(Vec<u8>),
    /// Content, or a line, without end.
    Endless,
}

const LINES: [&str; 26] = [
    "XCLIENT NAME=x.test ADDR=192.0.2.1 HELO=h.test\r\n",
    "XCLIENT PROTO=SMTP LOGIN=[UNAVAILABLE]\r\n",
    "EHLO c.test\r\n",
    "HELO c.test\r\n",
    "LHLO c.test\r\n",
    "MAIL FROM:<a@c.test>\r\n",
    "MAIL FROM:<> SIZE=100 BODY=8BITMIME SMTPUTF8\r\n",
    "RCPT TO:<b@s.test>\r\n",
    "RCPT TO:<postmaster>\r\n",
    "DATA\r\n",
    "\r\n.\r\n",
    "BDAT 3\r\nabc",
    "BDAT 0 LAST\r\n",
    "BDAT 99999999999\r\n",
    "RSET\r\n",
    "NOOP x\r\n",
    "VRFY u\r\n",
    "HELP\r\n",
    "STARTTLS\r\n",
    "QUIT\r\n",
    "ETRN c.test\r\n",
    "AUTH PLAIN AGEAYg==\r\n",
    "\n.\n",
    "XYZZY\r\n",
    "MAIL FROM:<a@c.test> BODY=BINARYMIME RET=HDRS ENVID=x MT-PRIORITY=3 BY=9;R HOLDFOR=1\r\n",
    "RCPT TO:<b@s.test> NOTIFY=NEVER ORCPT=rfc822;b@s.test\r\n",
];
const OPENING: &str = "EHLO c.test\r\nRSET\r\nMAIL FROM:<a@c.test>\r\nRCPT TO:<b@s.test>\r\n";

impl Words {
    fn octets(&self) -> Vec<u8> {
        match self {
            Words::Line(which, times) => {
                LINES[usize::from(*which) % LINES.len()].repeat(usize::from(times % 64) + 1).into_bytes()
            }
            Words::Data(content) => [OPENING.as_bytes(), b"DATA\r\n", content, b"\r\n.\r\n"].concat(),
            Words::Bdat(content, last) => {
                let last = if *last { " LAST" } else { "" };
                [format!("{OPENING}BDAT {}{last}\r\n", content.len()).as_bytes(), content].concat()
            }
            Words::Raw(octets) => octets.clone(),
            Words::Endless => vec![b'x'; 10_000],
        }
    }
}

struct Run<'a> {
    play: &'a Play,
    server: Server,
    order: ServerOrder,
    next_answer: usize,
    waiting: Vec<Message>,
    ear: ReplyParser,
    replies: usize,
    now: Instant,
}

pub fn run(play: &Play) {
    let now = Instant::now();
    let server = Server::new(play.settings.config(protocol(play.lmtp)), now);
    let order = ServerOrder::default();
    let mut run =
        Run { play, server, order, next_answer: 0, waiting: Vec::new(), ear: ReplyParser::default(), replies: 0, now };
    for act in &play.acts {
        run.act(act);
        run.listen();
        assert!(run.server.poll_transmit().len() <= MOST_UNSENT, "too much waits to be written");
        assert!(run.waiting.len() <= run.server.config().max_pending_messages, "too many messages wait");
    }
    run.server.handle_eof();
    run.listen();
    while !run.waiting.is_empty() {
        run.complete(0, 0);
        run.listen();
    }
    assert!(run.order.closed, "the end of the connection is the end of the conversation");
    run.write(usize::MAX);
    assert!(run.replies > 0, "not even a greeting");
    let next = run.ear.parse(&mut &b"299 end\r\n"[..]).expect("the last reply was whole").map(|reply| reply.code);
    assert_eq!(next, Some(299));
}

impl Run<'_> {
    fn act(&mut self, act: &Act) {
        match act {
            Act::Say(words, portion) => {
                for heard in words.octets().chunks((usize::from(*portion) * 8).clamp(1, PORTION)) {
                    // The contract: a socket is not read while the machine does not want to.
                    if !self.server.wants_bytes() {
                        return;
                    }
                    self.server.handle_bytes(heard.to_vec().into(), self.now);
                    self.listen();
                }
            }
            Act::Write(octets) => self.write((*octets).into()),
            Act::Complete(which, answer) => self.complete((*which).into(), *answer),
            Act::Wait(seconds) => {
                self.now += Duration::from_secs((*seconds).into());
                self.server.handle_timeout(self.now);
            }
            Act::Close if self.order.drain() => self.server.drain(SHUTTING_DOWN, self.now),
            Act::Close => self.server.close(SHUTTING_DOWN),
            Act::Tls if self.order.awaits_tls() => {
                self.server.handle_tls(tls_info());
                self.order.encrypted();
            }
            Act::Tls => {}
            Act::End => self.server.handle_eof(),
        }
    }

    fn listen(&mut self) {
        while let Some(event) = self.server.poll_event() {
            self.order.see(&event);
            match event {
                Event::Mail { .. } => {
                    let reply = self.next_reply();
                    self.order.mail(reply.is_success());
                    self.server.answer(reply);
                }
                Event::Recipient(_) => {
                    let reply = self.next_reply();
                    self.order.recipient(reply.is_success());
                    self.server.answer(reply);
                }
                Event::XClient(said) => {
                    let reply = self.next_reply();
                    if reply.is_success() {
                        self.order.introduced(&said);
                    }
                    self.server.answer(reply);
                }
                Event::Etrn(_) => {
                    let reply = self.next_reply();
                    self.server.answer(reply);
                }
                Event::Message(message) => {
                    let config = self.server.config();
                    assert!(message.recipients.len() <= config.max_recipients);
                    assert!(message.body.len() <= config.max_message_bytes);
                    self.waiting.push(*message);
                }
                _ => {}
            }
        }
    }

    fn complete(&mut self, which: usize, answer: u8) {
        if !self.waiting.is_empty() {
            let message = self.waiting.remove(which % self.waiting.len());
            self.server.complete(message.ticket, reply(answer));
        }
    }

    fn write(&mut self, octets: usize) {
        let out = self.server.poll_transmit();
        let octets = octets.min(out.len());
        let said = out.split_to(octets);
        let mut rest = &said[..];
        while let Some(reply) = self.ear.parse(&mut rest).expect("what is said is replies, and nothing else") {
            assert!((200..600).contains(&reply.code));
            self.replies += 1;
        }
    }

    fn next_reply(&mut self) -> Reply {
        let answers = &self.play.answers;
        let answer = if answers.is_empty() { 0 } else { answers[self.next_answer % answers.len()] };
        self.next_answer += 1;
        reply(answer)
    }
}

fn reply(answer: u8) -> Reply {
    let (code, class) = [(250, 2), (250, 2), (450, 4), (550, 5)][usize::from(answer) % 4];
    Reply { code, enhanced: Some(EnhancedCode(class, 0, 0)), text: "so be it".into() }
}
