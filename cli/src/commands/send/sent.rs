//! What became of one file, how that is told, and which exit code it makes.

use crate::exit::Exit;
use serde::Serialize;
use smtp::client::Outcome;
use smtp::{Mailbox, Reply};
use std::path::Path;

/// What became of one file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sent {
    file: String,
    /// Under which it was queued, where the server says so.
    id: Option<String>,
    recipients: Vec<Said>,
    #[serde(skip)]
    pub exit: Exit,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Said {
    recipient: String,
    accepted: bool,
    reply: String,
}

pub(super) fn sent(file: &Path, to: &[Mailbox], outcomes: &[Outcome]) -> Sent {
    let mut exit = Exit::Done;
    let mut recipients = Vec::new();
    for (mailbox, outcome) in to.iter().zip(outcomes) {
        let (became, reply) = judge(outcome);
        exit = worse(exit, became);
        recipients.push(Said { recipient: mailbox.as_str().into(), accepted: became == Exit::Done, reply });
    }
    let id = outcomes.iter().find_map(queued_as);
    Sent { file: file.display().to_string(), id, recipients, exit }
}

/// `Ok: queued as ID`.
fn queued_as(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Replied(_, reply) if reply.is_success() => {
            reply.text.rsplit_once("queued as ").map(|(_, id)| id.trim().to_owned())
        }
        _ => None,
    }
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

/// What a reply comes to.
pub(super) fn fate(reply: &Reply) -> Exit {
    match () {
        () if reply.is_success() => Exit::Done,
        () if reply.is_permanent() => Exit::Unavailable,
        () => Exit::Temporary,
    }
}

pub(super) fn shown(reply: &Reply) -> String {
    let enhanced = reply.enhanced.map(|code| format!("{}.{}.{} ", code.0, code.1, code.2)).unwrap_or_default();
    format!("{} {enhanced}{}", reply.code, reply.text.replace('\n', " "))
}

/// Refused for good outweighs refused for now: trying again does not help.
pub(super) fn worse(one: Exit, other: Exit) -> Exit {
    let weight = |exit| match exit {
        Exit::Done => 0,
        Exit::Temporary => 1,
        _ => 2,
    };
    if weight(other) > weight(one) { other } else { one }
}

/// For people: the reply to those that were taken, and each of the others with its own.
pub(super) fn text(sent: &Sent) -> String {
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
    use smtp::EnhancedCode;
    use smtp::client::Stage;

    #[test]
    fn the_id_is_read_from_the_reply() {
        let outcome =
            |text: &'static str| Outcome::Replied(Stage::Final, Reply::fixed(250, EnhancedCode(2, 0, 0), text));
        assert_eq!(queued_as(&outcome("Ok: queued as 01HZX5W3K9QRT")).as_deref(), Some("01HZX5W3K9QRT"));
        assert_eq!((queued_as(&outcome("Ok")), queued_as(&Outcome::NotSent)), (None, None));
    }

    #[test]
    fn what_is_shown() {
        let said = |recipient: &str, accepted, reply: &str| Said {
            recipient: recipient.into(),
            accepted,
            reply: reply.into(),
        };
        let recipients = vec![said("b@x", true, "250 2.0.0 Ok: queued as 7"), said("c@x", false, "550 5.1.1 no")];
        let sent = Sent { file: "m.eml".into(), id: None, recipients, exit: Exit::Done };
        assert_eq!(text(&sent), "m.eml: 250 2.0.0 Ok: queued as 7\nm.eml: <c@x>: 550 5.1.1 no\n");
    }
}
