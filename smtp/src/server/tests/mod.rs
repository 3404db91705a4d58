//! Conversations as scripts. Lines of a script:
//!
//! ```text
//! C: text      the client sends text CRLF; adjacent C lines are one flight
//! C~ text      the client sends text as it stands, \r \n \0 \x80 meaning what they mean in Rust
//! S: text      a line of reply; all replies to what came before must be listed
//! S= EHLO      the lines of its reply up to those extensions that are not always announced
//! E: text      an event; likewise
//! > verb ...   the owner or the world acts: complete TICKET CODE X.Y.Z TEXT, each TICKET CODE..., answer CODE..., eof, idle,
//!              drain, close, tls
//! ```
//! Each script is played with its flights cut in several ways, which must make no difference.

mod atrn;
mod auth;
mod commands;
mod content;
mod corpus;
mod drain;
mod etrn;
mod life;
mod parameters;
mod xclient;

use super::*;
use crate::sasl::scram::Keys;
use crate::sasl::server::Finding;
use std::time::Duration;

fn config() -> Config {
    Config { hostname: "mx.example".into(), max_message_bytes: 1000, ..Config::default() }
}

const EHLO: &str = "250-mx.example\r
250-SIZE 1000\r
250-PIPELINING\r
250-8BITMIME\r
250-SMTPUTF8\r
250-CHUNKING\r
250-ENHANCEDSTATUSCODES\r
";

fn reply(text: &str) -> Reply {
    let mut words = text.splitn(3, ' ');
    let code = words.next().unwrap().parse().unwrap();
    let enhanced: Vec<u16> = words.next().unwrap().split('.').map(|number| number.parse().unwrap()).collect();
    let enhanced = EnhancedCode(enhanced[0] as u8, enhanced[1], enhanced[2]);
    Reply::new(code, enhanced, words.next().unwrap().to_owned())
}

/// A machine and an owner who takes any mail but that from `full`, and any recipient but `nobody`. Messages are
/// completed at once unless their sender is `later`.
struct Play {
    server: Server,
    now: Instant,
    heard: String,
    seen: Vec<String>,
    messages: Vec<Message>,
}

impl Play {
    fn new(config: Config) -> Play {
        let now = Instant::now();
        let server = Server::new(Arc::new(config), now);
        Play { server, now, heard: String::new(), seen: Vec::new(), messages: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8], cut: usize) {
        for piece in bytes.chunks(cut) {
            self.now += Duration::from_millis(1);
            self.server.handle_bytes(Bytes::copy_from_slice(piece), self.now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(event) = self.server.poll_event() {
            let text = self.own(event);
            self.seen.push(text);
        }
        let out = self.server.poll_transmit().split();
        self.heard.push_str(std::str::from_utf8(&out).unwrap());
    }

    fn own(&mut self, event: Event) -> String {
        match event {
            Event::Hello { name, extended } => format!("hello {name} {extended}"),
            Event::Mail { reverse_path, declared_bytes, parameters } => {
                let full = reverse_path.as_str().starts_with("full@");
                self.server.answer(if full { reply("452 4.3.1 Queue is full") } else { SENDER_OK });
                let mut said = format!("mail <{}> {declared_bytes:?}", reverse_path.as_str());
                if parameters != (MailParameters { smtputf8: parameters.smtputf8, ..MailParameters::default() }) {
                    said += &format!(" {}", parameters_text(&parameters));
                }
                said
            }
            Event::Recipient(recipient) => {
                let nobody = recipient.mailbox.local_part() == "nobody";
                self.server.answer(if nobody { reply("550 5.1.1 No such user") } else { RECIPIENT_OK });
                recipient_text(&recipient)
            }
            Event::Message(message) => {
                if !message.reverse_path.as_str().starts_with("later@") {
                    self.server.complete(message.ticket, reply("250 2.0.0 Queued"));
                }
                let recipients: Vec<&str> = message.recipients.iter().map(|to| to.mailbox.as_str()).collect();
                let content = message.body.to_bytes().escape_ascii().to_string();
                let text = format!("message {} to {} = {content}", message.ticket.0, recipients.join(" "))
                    .trim_end()
                    .to_owned();
                self.messages.push(*message);
                text
            }
            Event::XClient(said) => {
                let stranger = said.address == Some(Told::Known("192.0.2.66".parse().unwrap()));
                self.server.answer(if stranger { reply("550 5.7.1 Not you") } else { reply("250 2.0.0 Ok") });
                format!("xclient {:?} {:?}", said.address, said.hello)
            }
            Event::Etrn(node) => {
                if &*node.domain != "later.example" {
                    self.server.answer(reply("253 2.0.0 2 pending messages started"));
                }
                format!("etrn {node}")
            }
            Event::Atrn(domains) => {
                let user = self.server.user().unwrap_or("nobody").to_owned();
                let own = domains.iter().all(|domain| domain.ends_with(".example"));
                self.server.answer(reply(if own { "250 2.0.0 Reversing" } else { "450 4.7.1 Not yours" }));
                format!("atrn {user} {}", domains.join(" ")).trim_end().to_owned()
            }
            Event::Turned => "turned".into(),
            Event::Auth { mechanism, inquiry } => {
                let text = format!("auth {} {}", mechanism.name(), inquiry.user());
                let asks_for_keys = matches!(inquiry, Inquiry::Keys { .. });
                self.server.answer_auth(finding(&inquiry));
                if asks_for_keys { text.replace("auth", "keys") } else { text }
            }
            Event::Aborted => "aborted".into(),
            Event::StartTls => "tls".into(),
            Event::Closed(reason) => format!("closed {reason:?}"),
        }
    }

    fn act(&mut self, action: &str) {
        let (verb, rest) = action.split_once(' ').unwrap_or((action, ""));
        match verb {
            "complete" => {
                let (ticket, text) = rest.split_once(' ').unwrap();
                self.server.complete(Ticket(ticket.parse().unwrap()), reply(text));
            }
            "each" => {
                let (ticket, replies) = rest.split_once(' ').unwrap();
                self.server.complete_each(Ticket(ticket.parse().unwrap()), replies.split(" | ").map(reply).collect());
            }
            "answer" => self.server.answer(reply(rest)),
            "eof" => self.server.handle_eof(),
            "idle" => {
                if let Some(deadline) = self.server.poll_timeout() {
                    self.now = self.now.max(deadline);
                    self.server.handle_timeout(self.now);
                }
            }
            "drain" => self.server.drain(reply("421 4.3.2 Going down"), self.now),
            "close" => self.server.close(reply("421 4.3.2 Going down")),
            "tls" => self.server.handle_tls(TlsInfo { version: "TLSv1.3", cipher: "X".into() }),
            _ => panic!("{action}?"),
        }
        self.drain();
    }
}

/// What of it is not the default.
fn parameters_text(parameters: &MailParameters) -> String {
    let MailParameters { require_tls, ret, envid, priority, deliver_by, hold, .. } = parameters;
    let by = deliver_by.map(|by| format!("by={};{}", by.seconds, by.mode_keyword()));
    let said = [
        require_tls.then(|| "requiretls".to_owned()),
        ret.map(|ret| format!("{ret:?}")),
        envid.as_ref().map(|envid| format!("envid={envid}")),
        (*priority != 0).then(|| format!("priority={priority}")),
        by,
        hold.map(|hold| hold.field()),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn recipient_text(recipient: &Recipient) -> String {
    let mut text = format!("recipient {}", recipient.mailbox);
    let notify: Vec<_> = recipient.notify.words().collect();
    if !notify.is_empty() {
        text += &format!(" notify={}", notify.join(","));
    }
    if let Some(orcpt) = &recipient.orcpt {
        text += &format!(" orcpt={orcpt}");
    }
    text
}

/// Ann's password is `secret`.
fn finding(inquiry: &Inquiry) -> Finding {
    let is_right = match inquiry {
        Inquiry::Keys { .. } => return Finding::Keys(Keys::derive("secret", vec![1; 16], 4096)),
        Inquiry::Password { password, .. } => password == "secret",
        Inquiry::Digest { challenge, digest, .. } => {
            crate::sasl::cram::is_right("secret", challenge.as_bytes(), digest)
        }
        Inquiry::Proof { is_right, .. } => *is_right,
    };
    match inquiry.user() {
        "later" => Finding::Unavailable,
        "ann" if is_right => Finding::Accepted,
        _ => Finding::Refused,
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        out.push(match (byte, byte == b'\\') {
            (_, false) => byte,
            _ => match rest.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b'0' => 0,
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("\\{}?", other as char),
            },
        });
    }
    out
}

/// Plays a script behind the greeting.
fn check(config: Config, script: &str) {
    for cut in [usize::MAX, 1, 2, 3, 5, 17] {
        let mut play = Play::new(config.clone());
        play.drain();
        play.heard.clear();
        let (mut flight, mut replies, mut events) = (Vec::new(), String::new(), Vec::new());
        let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty());
        for line in lines.chain(["."]) {
            let (kind, rest) = line.split_at(line.len().min(2));
            let text = rest.strip_prefix(' ').unwrap_or(rest);
            let stage = format!("before {line:?}, cut by {cut}, in {script}");
            let sends = matches!(kind, "C:" | "C~");
            if !sends && !flight.is_empty() {
                play.send(&std::mem::take(&mut flight), cut);
            }
            let hears = matches!(kind, "S:" | "S=" | "E:");
            if !hears && (!sends || flight.is_empty()) {
                assert_eq!(play.heard, replies, "replies {stage}");
                assert_eq!(play.seen, events, "events {stage}");
                play.heard.clear();
                play.seen.clear();
                replies.clear();
                events.clear();
            }
            match kind {
                "C:" => flight.extend_from_slice(format!("{text}\r\n").as_bytes()),
                "C~" => flight.extend_from_slice(&unescape(text)),
                "S:" => replies.push_str(&format!("{text}\r\n")),
                "S=" => replies.push_str(EHLO),
                "E:" => events.push(text.to_owned()),
                "> " => play.act(text),
                "." => {}
                _ => panic!("{line}?"),
            }
        }
    }
}

/// The same, for what happens behind EHLO, MAIL and two RCPTs.
fn check_in_transaction(config: Config, script: &str) {
    const OPEN: &str = "C: HELO me
        C: MAIL FROM:<a@b>
        C: RCPT TO:<c@d>
        C: RCPT TO:<e@f>
        S: 250 mx.example
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        S: 250 2.1.5 Recipient ok
        E: hello me false
        E: mail <a@b> None
        E: recipient c@d
        E: recipient e@f\n";
    check(config, &(OPEN.to_owned() + script));
}
