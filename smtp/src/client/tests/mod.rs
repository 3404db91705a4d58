//! Conversations as scripts, one `check` for all.
//!
//! ```text
//! S: …   the server's lines; those that stand together arrive glued, and once more an octet at a time
//! C: …   the client's lines; those that stand together are one flight: exactly what `transmit` shows
//! E: …   events, all that there are
//! > …    what the owner does: submit ID RECIPIENT…, eof, error, timeout, quit, tls,
//!        write N (octets), hear REPLY (while there is more to write), pass SECONDS; and what holds then: credit N, wait SECONDS
//! ```
//! What a step brings forth (flights, events) has to be asked for in the script before the next server line or deed.

mod auth;
mod loss;
mod mail;
mod parameters;
mod random;
mod setup;

use super::*;
use crate::parameters::{DeliverBy, Notify, Return};
use crate::{Mailbox, Reply};
use std::time::Duration;

/// A body of 300 KiB; `C: {large}` in scripts.
fn large() -> String {
    "large line of text\r\n".repeat(15 * 1024)
}

fn config(level: Pipelining) -> Config {
    Config {
        hello_name: "me".into(),
        protocol: Protocol::Smtp,
        extended: true,
        starttls: StartTls::Opportunistic,
        pipelining: level,
        window: 8,
        chunking: true,
        login: None,
        careful: false,
        timeouts: Timeouts::default(),
    }
}

/// The script of a set-up with these features.
fn hello(features: &str) -> String {
    let lines: String =
        features.split_whitespace().map(|word| format!("S: 250-{}\n", word.replace('=', " "))).collect();
    format!("S: 220 mx\nC: EHLO me\nS: 250-mx\n{lines}S: 250 HELP\nE: ready\n")
}

fn check(config: Config, script: &str) {
    for octets in [false, true] {
        Theatre::new(config.clone(), octets).play(script);
    }
}

/// Where a script is played.
struct Theatre {
    client: Client,
    now: Instant,
    octets: bool,
}

impl Theatre {
    fn new(config: Config, octets: bool) -> Theatre {
        let now = Instant::now();
        Theatre { client: Client::new(Arc::new(config), now), now, octets }
    }

    fn play(&mut self, script: &str) {
        let lines: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        for lines in lines.chunk_by(|a, b| a[..1] == b[..1] && !a.starts_with('>')) {
            let texts: Vec<&str> = lines.iter().map(|line| line.get(3..).unwrap_or("")).collect();
            let at = lines[0];
            match &at[..1] {
                "C" => assert_eq!(self.flight(), texts, "flight at {at:?} in\n{script}"),
                "E" => assert_eq!(self.events(), texts, "events at {at:?} in\n{script}"),
                "S" => {
                    self.all_was_asked_for(at, script);
                    let wire: String = texts.iter().map(|text| format!("{text}\r\n")).collect();
                    let step = if self.octets { 1 } else { wire.len() };
                    wire.as_bytes().chunks(step).for_each(|bytes| self.client.handle_bytes(bytes, self.now));
                }
                ">" => self.deed(&at[2..]),
                _ => panic!("what is {at:?}?"),
            }
        }
        self.all_was_asked_for("the end", script);
    }

    fn all_was_asked_for(&mut self, at: &str, script: &str) {
        let none: [&str; 0] = [];
        assert_eq!(self.events(), none, "events before {at:?} in\n{script}");
        assert_eq!(self.flight(), none, "flight before {at:?} in\n{script}");
    }

    fn deed(&mut self, deed: &str) {
        let words: Vec<&str> = deed.split(' ').collect();
        match words[..] {
            ["submit", id, ref rest @ ..] => self.submit(id.parse().unwrap(), rest),
            ["hear", ref words @ ..] => self.client.handle_bytes((words.join(" ") + "\r\n").as_bytes(), self.now),
            ["eof"] => self.client.handle_eof(),
            ["error"] => self.client.handle_error(Cause::Io(std::io::ErrorKind::ConnectionReset)),
            ["quit"] => self.client.quit(self.now),
            ["trust"] => self.client.trust(),
            ["tls"] => self.client.handle_tls(TlsInfo { version: "TLSv1.3", cipher: "C".into() }, self.now),
            ["write", octets] => self.client.advance(octets.parse().unwrap(), self.now),
            ["credit", credit] => assert_eq!(self.client.credit(), credit.parse::<usize>().unwrap()),
            ["pass", seconds] => self.now += Duration::from_secs(seconds.parse().unwrap()),
            ["wait", "forever"] => assert_eq!(self.client.poll_timeout(), None),
            ["wait", seconds] => {
                let wait = self.client.poll_timeout().map(|deadline| (deadline - self.now).as_secs());
                assert_eq!(wait, Some(seconds.parse().unwrap()));
            }
            ["timeout"] => {
                let deadline = self.client.poll_timeout().expect("there is a timeout");
                self.client.handle_timeout(deadline - Duration::from_millis(1));
                assert!(self.client.events.is_empty());
                self.client.handle_timeout(deadline);
            }
            _ => panic!("what is {deed:?}?"),
        }
    }

    /// `utf8`, `large`, `binary`, `eight`, `header`, `dot` among the recipients ask for such a message, `notice` for one with
    /// the null reverse-path; so do `requiretls`, and `ret`, `envid`, `priority`, `by` and `age` with `=` and a value.
    fn submit(&mut self, id: u64, words: &[&str]) {
        let has = |word: &str| words.contains(&word);
        let content = match () {
            _ if has("large") => large(),
            _ if has("binary") => "\r\na\nb\r\n".into(),
            _ if has("eight") => "\r\nold ü\r\n".into(),
            _ if has("header") => "A: ü\r\n\r\n".into(),
            _ if has("dot") => ".\r\n".into(),
            _ => format!("body {id}\r\n"),
        };
        let recipients: Vec<Recipient> =
            words.iter().filter(|word| word.contains('@')).map(|word| recipient(word)).collect();
        let transaction = Transaction {
            id,
            reverse_path: &ReversePath((!has("notice")).then(|| Mailbox::parse("a@x").unwrap())),
            recipients: &mut recipients.iter(),
            body: &Body::new(content),
            parameters: &parameters(words),
            age_seconds: value(words, "age").map_or(0, |age| age.parse().unwrap()),
        };
        if let Err(lack) = self.client.submit(transaction, self.now) {
            self.client.events.push_back(Event::Report(Report {
                id,
                outcome: Outcome::Unsupported(lack),
                exceptions: Vec::new(),
            }));
        }
    }

    fn flight(&mut self) -> Vec<String> {
        let wire = String::from_utf8(shown(&self.client)).unwrap();
        self.client.advance(wire.len(), self.now);
        let wire = if wire.len() > LARGE_BODY_BYTES { wire.replace(&large(), "{large}\r\n") } else { wire };
        wire.split_terminator("\r\n").map(|line| line.replace('\n', "\\n")).collect()
    }

    fn events(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.client.poll_event()).map(|event| describe(&event)).collect()
    }
}

/// `address|NOTIFY|ORCPT`, of which the latter two may be left out.
fn recipient(word: &str) -> Recipient {
    let mut parts = word.split('|');
    let mut recipient = Recipient::new(Mailbox::parse(parts.next().unwrap()).unwrap());
    recipient.notify = parts.next().map(|notify| Notify::parse(notify).unwrap()).unwrap_or_default();
    recipient.orcpt = parts.next().map(Into::into);
    recipient
}

/// What stands behind `name=`.
fn value<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn parameters(words: &[&str]) -> MailParameters {
    let value = |name| value(words, name);
    MailParameters {
        smtputf8: words.contains(&"utf8"),
        require_tls: words.contains(&"requiretls"),
        ret: value("ret").map(|ret| Return::parse(ret).unwrap()),
        envid: value("envid").map(Into::into),
        priority: value("priority").map_or(0, |priority| priority.parse().unwrap()),
        deliver_by: value("by").map(|by| DeliverBy::parse(by).unwrap()),
        hold: None,
    }
}

/// All that waits to be written.
fn shown(client: &Client) -> Vec<u8> {
    let mut slices = [IoSlice::new(b""); 64];
    let count = client.transmit(&mut slices);
    slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
}

fn describe(event: &Event) -> String {
    match event {
        Event::Ready(_) => "ready".into(),
        Event::StartTls => "starttls".into(),
        Event::Report(Report { id, outcome, exceptions }) => {
            exceptions.iter().fold(format!("{id} {}", of_outcome(outcome)), |text, (at, other)| {
                format!("{text}; {at} {}", of_outcome(other))
            })
        }
        Event::Closed { stage, cause } => format!("closed {stage:?} {}", of_cause(cause)),
    }
}

fn of_outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Replied(stage, reply) => format!("{stage:?} {reply}"),
        Outcome::Lost { stage, cause, in_doubt: true } => format!("in doubt {stage:?} {}", of_cause(cause)),
        Outcome::Lost { stage, cause, in_doubt: false } => format!("lost {stage:?} {}", of_cause(cause)),
        Outcome::NotSent => "not sent".into(),
        Outcome::Unsupported(lack) => format!("{lack:?}"),
    }
}

fn of_cause(cause: &Cause) -> String {
    match cause {
        Cause::Replied(reply) => Reply::to_string(reply),
        Cause::Protocol(sentence) => (*sentence).to_owned(),
        Cause::Tls(sentence) => sentence.to_string(),
        Cause::Auth(error) => error.to_string(),
        other => format!("{other:?}"),
    }
}
