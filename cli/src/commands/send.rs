//! `posthaste send`.

use crate::exit::{Exit, Failure};
use crate::submit::{Letter, Submission};
use crate::{daemon, terminal};
use engine::config::SocketName;
use serde::Serialize;
use smtp::client::Outcome;
use smtp::{Body, Mailbox, Reply, ReversePath};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Submit messages to a running daemon over its ingest socket
///
/// Line ends become CRLF; nothing else is changed. Prints one line for each file and recipient that was not taken, and one
/// for each file that was.
#[derive(Debug, clap::Args)]
pub struct Send {
    /// Reverse-path; "" for none
    #[arg(long, value_name = "ADDRESS", value_parser = parse_reverse_path)]
    from: ReversePath,
    /// Recipients
    #[arg(long, value_name = "ADDRESS", required = true, num_args = 1.., value_delimiter = ',', value_parser = parse_mailbox)]
    to: Vec<Mailbox>,
    /// Messages (RFC 5322); standard input without any, or for "-"
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The ingest socket, ADDRESS:PORT or unix:/path; default: the first one of the daemon's configuration
    #[arg(long, value_name = "SOCKET", value_parser = daemon::parse_socket)]
    via: Option<SocketName>,
    /// The daemon's configuration, to find its ingest socket
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object a file
    #[arg(long)]
    json: bool,
}

/// What became of one file.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Sent {
    file: String,
    recipients: Vec<Said>,
    #[serde(skip)]
    exit: Option<Exit>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Said {
    recipient: String,
    accepted: bool,
    reply: String,
}

fn parse_mailbox(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(text).map_err(|error| error.to_string())
}

fn parse_reverse_path(text: &str) -> Result<ReversePath, String> {
    if text.is_empty() { Ok(ReversePath(None)) } else { parse_mailbox(text).map(|mailbox| ReversePath(Some(mailbox))) }
}

impl Send {
    /// Does it.
    pub fn run(mut self) -> Result<Exit, Failure> {
        let socket = daemon::ingest(self.via.take(), self.config.as_ref())?;
        if self.files.is_empty() {
            self.files.push("-".into());
        }
        let unreachable = |error: std::io::Error| {
            let hint = "is `posthaste serve` running?";
            Failure::new(Exit::Unavailable, format!("no answer from the ingest socket at {socket}: {error}; {hint}"))
        };
        let mut submission = match Submission::open(&socket, "localhost").map_err(unreachable)? {
            Ok(submission) => submission,
            Err(reply) => return Err(Failure::new(fate(&reply), format!("{socket} refuses: {}", shown(&reply)))),
        };
        let mut worst = Exit::Done;
        for file in &self.files {
            let letter = Letter { from: &self.from, to: &self.to, body: read(file)? };
            let outcomes = match submission.submit(&letter) {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    let message = format!("{}: the connection was lost: {error}", file.display());
                    return Err(Failure::new(Exit::Temporary, message));
                }
            };
            let sent = sent(file, &self.to, &outcomes);
            worst = worse(worst, sent.exit.unwrap_or(Exit::Done));
            if self.json { terminal::print_json(&sent)? } else { terminal::print(&text(&sent))? }
        }
        submission.quit();
        Ok(worst)
    }
}

fn read(file: &Path) -> Result<Body, Failure> {
    let mut text = Vec::new();
    let result = match file.as_os_str() == "-" {
        true => std::io::stdin().lock().read_to_end(&mut text),
        false => std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut text)),
    };
    result.map_err(|error| Failure::new(Exit::NoInput, format!("{}: {error}", file.display())))?;
    Ok(Body::new(bench::load::normalise(&text)))
}

fn sent(file: &Path, to: &[Mailbox], outcomes: &[Outcome]) -> Sent {
    let mut exit = Exit::Done;
    let mut recipients = Vec::new();
    for (mailbox, outcome) in to.iter().zip(outcomes) {
        let (became, reply) = judge(outcome);
        exit = worse(exit, became);
        recipients.push(Said { recipient: mailbox.as_str().into(), accepted: became == Exit::Done, reply });
    }
    Sent { file: file.display().to_string(), recipients, exit: Some(exit) }
}

/// What an outcome means for a recipient, and in which words.
fn judge(outcome: &Outcome) -> (Exit, String) {
    match outcome {
        Outcome::Replied(_, reply) => (fate(reply), shown(reply)),
        Outcome::Lost { in_doubt: true, .. } => {
            (Exit::Temporary, "the answer never came: it may have been taken".into())
        }
        Outcome::Lost { .. } => (Exit::Temporary, "the connection was lost".into()),
        Outcome::NotSent => (Exit::Temporary, "not sent".into()),
        Outcome::Unsupported(lacking) => (Exit::Unavailable, lacking.to_string()),
    }
}

fn fate(reply: &Reply) -> Exit {
    match () {
        () if reply.is_success() => Exit::Done,
        () if reply.is_permanent() => Exit::Unavailable,
        () => Exit::Temporary,
    }
}

fn shown(reply: &Reply) -> String {
    let enhanced = reply.enhanced.map(|code| format!("{}.{}.{} ", code.0, code.1, code.2)).unwrap_or_default();
    format!("{} {enhanced}{}", reply.code, reply.text.replace('\n', " "))
}

/// Refused for good outweighs refused for now: trying again does not help.
fn worse(one: Exit, other: Exit) -> Exit {
    let weight = |exit| match exit {
        Exit::Done => 0,
        Exit::Temporary => 1,
        _ => 2,
    };
    if weight(other) > weight(one) { other } else { one }
}

fn text(sent: &Sent) -> String {
    let mut out = String::new();
    if let Some(accepted) = sent.recipients.iter().find(|said| said.accepted) {
        out += &format!("{}: {}\n", sent.file, accepted.reply);
    }
    for said in sent.recipients.iter().filter(|said| !said.accepted) {
        out += &format!("{}: <{}>: {}\n", sent.file, said.recipient, said.reply);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use bench::Address;
    use bench::sink::{Keep, Received, Rule, Sink, SinkHandle, SinkOptions};
    use crossbeam_channel::Receiver;

    fn start(rules: &[&str]) -> (SinkHandle, SocketName, Receiver<Received>) {
        let (sender, received) = crossbeam_channel::unbounded();
        let rules = rules.iter().map(|rule| rule.parse::<Rule>().unwrap()).collect();
        let keep = Keep { channel: Some(sender), ..Keep::default() };
        let sink = Sink::start(SinkOptions { rules, keep, ..SinkOptions::default() }).unwrap();
        let Address::Tcp(address) = sink.addresses()[0].clone() else { unreachable!("the sink was bound to TCP") };
        (sink, SocketName::Tcp(address), received)
    }

    /// Sends one file to two recipients, and says how it ended.
    fn send(via: SocketName, content: &[u8]) -> Result<Exit, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let to = ["b@x.example", "c@x.example"].map(|text| Mailbox::parse(text).unwrap()).into();
        let from = parse_reverse_path("a@x.example").unwrap();
        Send { from, to, files: vec![file.path().into()], via: Some(via), config: None, json: false }.run()
    }

    #[test]
    fn a_file_arrives_with_crlf() {
        let (_sink, via, received) = start(&[]);
        assert_eq!(send(via, b"Subject: x\n\n.dot\nend"), Ok(Exit::Done));
        let message = received.try_recv().unwrap();
        assert_eq!(&message.body[..], b"Subject: x\r\n\r\n.dot\r\nend\r\n");
        assert_eq!(message.recipients, ["b@x.example", "c@x.example"]);
    }

    #[test]
    fn refusals_decide_the_exit_code() {
        for (rule, expected) in [
            ("rcpt to=c@* reply 550 5.1.1 no", Exit::Unavailable),
            ("rcpt to=c@* reply 450 4.2.1 later", Exit::Temporary),
            ("mail reply 452 4.3.1 full", Exit::Temporary),
            ("final reply 554 5.6.0 no", Exit::Unavailable),
            ("final close", Exit::Temporary),
        ] {
            let (_sink, via, _received) = start(&[rule]);
            assert_eq!(send(via, b"x"), Ok(expected), "{rule}");
        }
        let (_sink, via, _received) = start(&["greeting reply 554 5.7.1 go away"]);
        let failure = send(via, b"x").unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable, "{}", failure.message);
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(send(SocketName::Tcp(closed), b"x").unwrap_err().exit, Exit::Unavailable);
    }

    #[test]
    fn what_is_shown() {
        let said = |recipient: &str, accepted, reply: &str| Said {
            recipient: recipient.into(),
            accepted,
            reply: reply.into(),
        };
        let recipients = vec![said("b@x", true, "250 2.0.0 Ok: queued as 7"), said("c@x", false, "550 5.1.1 no")];
        let sent = Sent { file: "m.eml".into(), recipients, exit: None };
        assert_eq!(text(&sent), "m.eml: 250 2.0.0 Ok: queued as 7\nm.eml: <c@x>: 550 5.1.1 no\n");
    }
}
