//! `posthaste send`.

mod sent;

use self::sent::{fate, shown, worse};
use super::account::Account;
use super::wishes::Wishes;
use crate::exit::{Exit, Failure};
use crate::submit::{Letter, Submission};
use crate::{daemon, terminal, units};
use engine::config::{SocketName, TlsMode};
use smtp::client::{Login, Outcome};
use smtp::{Body, Mailbox, Recipient, ReversePath};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Submit messages to a running daemon over its ingest socket
///
/// Line ends become CRLF; nothing else is changed. For each file one line says under which id it
/// was queued, and one each which recipients were not taken.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub struct Send {
    /// Reverse-path; "" or "<>" for none
    #[arg(long, value_name = "ADDRESS", value_parser = parse_reverse_path)]
    from: ReversePath,
    /// Recipients; what has no @ among them is taken for a FILE
    #[arg(long, value_name = "ADDRESS", required = true, num_args = 1.., value_delimiter = ',', value_parser = parse_operand)]
    to: Vec<Operand>,
    /// Messages (RFC 5322); standard input without any, or for "-"
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The ingest socket, 127.0.0.1:2525 or unix:/path; default: the first one of the daemon's configuration
    #[arg(long, value_name = "SOCKET", value_parser = daemon::parse_socket)]
    server: Option<SocketName>,
    /// Encrypt: by STARTTLS, or from the first octet; default: as the daemon's configuration says. The certificate is
    /// not verified: a server on another machine could be any
    #[arg(long, value_name = "none|starttls|implicit", value_parser = parse_tls)]
    tls: Option<Encryption>,
    /// The daemon's configuration, to find its ingest socket
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    account: Account,
    /// Print one JSON object a file, on a line of its own
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  posthaste send --from news@example.net --to user@example.com message.eml
  posthaste send --from '<>' --to a@example.com --to b@example.com *.eml
  posthaste send --from me@example.net --to you@example.com --notify success,failure message.eml
  generate | posthaste send --from me@example.net --to you@example.com --server unix:/run/in.sock

Exit codes: 0 all accepted, 66 no such file, 69 unreachable or something refused for good,
            75 refused for now";

/// `--tls`.
type Encryption = Option<TlsMode>;

fn parse_tls(text: &str) -> Result<Encryption, String> {
    match text {
        "none" => Ok(None),
        "starttls" => Ok(Some(TlsMode::StartTls)),
        "implicit" => Ok(Some(TlsMode::Implicit)),
        _ => Err("none, starttls or implicit".into()),
    }
}

/// What may follow `--to`: its values have no end, so the files come in here too.
#[derive(Clone, Debug)]
enum Operand {
    Recipient(Mailbox),
    File(PathBuf),
}

fn parse_operand(text: &str) -> Result<Operand, String> {
    if text.contains('@') { parse_mailbox(text).map(Operand::Recipient) } else { Ok(Operand::File(text.into())) }
}

fn parse_mailbox(text: &str) -> Result<Mailbox, String> {
    Mailbox::parse(units::unbracketed(text)).map_err(|error| error.to_string())
}

fn parse_reverse_path(text: &str) -> Result<ReversePath, String> {
    match text {
        "" | "<>" => Ok(ReversePath(None)),
        _ => parse_mailbox(text).map(|mailbox| ReversePath(Some(mailbox))),
    }
}

impl Send {
    /// Does it.
    pub fn run(mut self) -> Result<Exit, Failure> {
        let (socket, configured) = daemon::ingest(self.server.take(), self.config.as_ref())?;
        let tls = self.tls.unwrap_or(configured);
        let (to, files) = self.operands()?;
        let recipients: Vec<Recipient> = to.iter().map(|mailbox| self.wishes.recipient(mailbox.clone())).collect();
        let parameters = self.wishes.parameters();
        let mut submission = None;
        let mut worst = Exit::Done;
        for file in &files {
            let letter = Letter { from: &self.from, to: &recipients, parameters: &parameters, body: read(file)? };
            let outcomes = match self.submit(&mut submission, &socket, tls, &letter)? {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    let message = format!("{}: the connection was lost: {error}", file.display());
                    return Err(Failure::new(Exit::Temporary, message));
                }
            };
            let sent = sent::sent(file, &to, &outcomes);
            worst = worse(worst, sent.exit);
            if self.json { terminal::print_json(&sent)? } else { terminal::print(&sent::text(&sent))? }
        }
        if let Some(submission) = submission {
            submission.quit();
        }
        Ok(worst)
    }

    /// Over the connection that is open, or a new one where the server has closed it after an earlier message.
    fn submit(
        &self,
        submission: &mut Option<Submission>,
        socket: &SocketName,
        tls: Encryption,
        letter: &Letter<'_>,
    ) -> Result<std::io::Result<Vec<Outcome>>, Failure> {
        let open = match submission.take().filter(Submission::is_open) {
            Some(open) => open,
            None => open(socket, tls, self.login()?)?,
        };
        Ok(submission.insert(open).submit(letter))
    }

    /// For one connection.
    fn login(&self) -> Result<Option<Login>, Failure> {
        let credentials = self.account.credentials()?;
        Ok(credentials.map(|credentials| Login { credentials, nonce: engine::tls::nonce().into(), in_clear: false }))
    }

    /// The recipients, and the files: at least one of each.
    fn operands(&self) -> Result<(Vec<Mailbox>, Vec<PathBuf>), Failure> {
        let mut to = Vec::new();
        let mut files = Vec::new();
        for operand in &self.to {
            match operand {
                Operand::Recipient(mailbox) => to.push(mailbox.clone()),
                Operand::File(file) => files.push(file.clone()),
            }
        }
        files.extend_from_slice(&self.files);
        if to.is_empty() {
            let wrong = files.first().map_or_else(String::new, |file| file.display().to_string());
            return Err(Failure::new(Exit::Usage, format!("--to names no recipient: `{wrong}` has no @")));
        }
        if files.is_empty() {
            files.push("-".into());
        }
        Ok((to, files))
    }
}

fn open(socket: &SocketName, tls: Encryption, login: Option<Login>) -> Result<Submission, Failure> {
    match Submission::open(socket, tls, login, "localhost") {
        Ok(Ok(submission)) => Ok(submission),
        Ok(Err(reply)) => Err(Failure::new(fate(&reply), format!("{socket} refuses: {}", shown(&reply)))),
        // Somebody answered, but not as is needed.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::Other) => {
            let message = format!("the ingest socket at {socket} does not serve this: {error}");
            Err(Failure::new(Exit::Unavailable, message))
        }
        Err(error) => {
            let hint = "is `posthaste serve` running? Elsewhere: --config or --server";
            let message = format!("no answer from the ingest socket at {socket}: {error}; {hint}");
            Err(Failure::new(Exit::Unavailable, message))
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use bench::Address;
    use bench::sink::{Certificate, Keep, Received, Rule, Sink, SinkHandle, SinkOptions, Tls};
    use crossbeam_channel::Receiver;

    fn start(rules: &[&str]) -> (SinkHandle, SocketName, Receiver<Received>) {
        start_with(rules, None)
    }

    fn start_with(rules: &[&str], tls: Option<Tls>) -> (SinkHandle, SocketName, Receiver<Received>) {
        let (sender, received) = crossbeam_channel::unbounded();
        let rules = rules.iter().map(|rule| rule.parse::<Rule>().unwrap()).collect();
        let keep = Keep { channel: Some(sender), ..Keep::default() };
        let sink = Sink::start(SinkOptions { rules, keep, tls, ..SinkOptions::default() }).unwrap();
        let Address::Tcp(address) = sink.addresses()[0].clone() else { unreachable!("the sink was bound to TCP") };
        (sink, SocketName::Tcp(address), received)
    }

    /// Sends one file to two recipients, and says how it ended.
    fn send(via: SocketName, content: &[u8]) -> Result<Exit, Failure> {
        send_with(via, None, content)
    }

    fn send_with(via: SocketName, tls: Option<Encryption>, content: &[u8]) -> Result<Exit, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let to = ["b@x.example", "c@x.example"].map(|text| parse_operand(text).unwrap()).into();
        let from = parse_reverse_path("a@x.example").unwrap();
        Send {
            from,
            to,
            files: vec![file.path().into()],
            server: Some(via),
            tls,
            config: None,
            wishes: Wishes::default(),
            account: Account::default(),
            json: false,
        }
        .run()
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
    fn tls_begins_as_asked() {
        for (asked, mode) in [("starttls", bench::tls::TlsMode::StartTls), ("implicit", bench::tls::TlsMode::Implicit)]
        {
            let tls = Tls { certificate: Certificate::SelfSigned, mode };
            let (_sink, via, received) = start_with(&[], Some(tls));
            let content = format!("{}\r\n", "x".repeat(70)).repeat(4000);
            assert_eq!(send_with(via, parse_tls(asked).ok(), content.as_bytes()), Ok(Exit::Done), "{asked}");
            let message = received.try_recv().unwrap();
            assert!(message.tls.is_some() && message.body[..] == *content.as_bytes(), "{asked}");
        }
        // Asked for and not to be had: nothing is sent.
        let (_sink, via, received) = start(&[]);
        assert!(send_with(via, parse_tls("starttls").ok(), b"x").is_err());
        assert!(received.try_recv().is_err());
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
    fn what_follows_the_recipients_are_files() {
        let parse = |to: &[&str]| {
            let to = to.iter().map(|text| parse_operand(text).unwrap()).collect();
            Send {
                from: ReversePath(None),
                to,
                files: vec!["z".into()],
                server: None,
                tls: None,
                config: None,
                wishes: Wishes::default(),
                account: Account::default(),
                json: false,
            }
            .operands()
        };
        let (to, files) = parse(&["a@x.test", "m.eml", "b@x.test", "-"]).unwrap();
        assert_eq!(to.iter().map(Mailbox::as_str).collect::<Vec<_>>(), ["a@x.test", "b@x.test"]);
        assert_eq!(files, ["m.eml", "-", "z"].map(PathBuf::from));
        assert_eq!(parse(&["m.eml"]).unwrap_err().exit, Exit::Usage);
        assert!(parse_operand("a@b..c").is_err());
    }
}
