//! What was submitted, taken, decided and reported; and whether it adds up.

use posthaste_fuzz::mail::{message_of, recipient_of};
use smtp::client::{Outcome, Report, Stage};
use smtp::server::{BareNewline, Config, Message};
use smtp::{Body, MailParameters, Recipient, Reply, ReversePath};
use std::collections::HashMap;
use std::sync::Arc;

pub struct Account {
    server: Arc<Config>,
    /// The client knows DSN.
    dsn: bool,
    mails: HashMap<u64, Entry>,
    /// The message of the transaction that is open at the server, and the recipients accepted for it.
    open: Option<(u64, Vec<Recipient>)>,
}

struct Entry {
    recipients: Vec<Recipient>,
    body: Body,
    parameters: MailParameters,
    taken: bool,
    /// What the server's owner said in the end, by recipient.
    decided: HashMap<u32, Reply>,
    report: Option<Report>,
}

impl Account {
    /// `extended`: the client hears what the server announces.
    pub fn new(server: Arc<Config>, extended: bool) -> Account {
        Account { dsn: server.dsn && extended, server, mails: HashMap::new(), open: None }
    }

    pub fn submitted(&mut self, id: u64, recipients: Vec<Recipient>, body: Body, parameters: MailParameters) {
        let entry = Entry { recipients, body, parameters, taken: false, decided: HashMap::new(), report: None };
        self.mails.insert(id, entry);
    }

    pub fn opened(&mut self, sender: &ReversePath) {
        self.open = Some((message_of(sender.as_str()), Vec::new()));
    }

    pub fn asked(&mut self, recipient: &Recipient, accepted: bool) {
        let (id, accepted_before) = self.open.as_mut().expect("RCPT follows MAIL");
        assert_eq!(recipient_of(recipient.mailbox.as_str()).0, *id, "a recipient in another message's transaction");
        if accepted {
            accepted_before.push(recipient.clone());
        }
    }

    pub fn taken(&mut self, message: &Message) {
        let id = message_of(message.reverse_path.as_str());
        let (open, accepted) = self.open.take().expect("a message follows MAIL");
        assert_eq!(open, id);
        assert_eq!(message.recipients, accepted, "the recipients that were accepted, in order");
        let entry = self.mails.get_mut(&id).expect("submitted");
        assert!(!std::mem::replace(&mut entry.taken, true), "taken twice");
        for recipient in &message.recipients {
            let given = &entry.recipients[recipient_of(recipient.mailbox.as_str()).1 as usize];
            assert_eq!(recipient.mailbox, given.mailbox);
            if self.dsn {
                // A host that does not watch the time is to tell of what is late (RFC 2852 §4.1.4.2).
                let watched = entry.parameters.deliver_by.is_none() || self.server.deliver_by;
                let notify = if watched { given.notify } else { given.notify.with_delay() };
                assert_eq!(recipient, &Recipient { notify, ..given.clone() }, "what RCPT said");
            }
        }
        entry.check_parameters(message, self.dsn);
        entry.check_content(message, &self.server);
    }

    pub fn decided(&mut self, (id, position): (u64, u32), reply: &Reply) {
        let entry = self.mails.get_mut(&id).expect("submitted");
        assert!(entry.decided.insert(position, reply.clone()).is_none(), "decided twice");
    }

    pub fn reported(&mut self, report: &Report) {
        self.mails.get_mut(&report.id).expect("submitted").report = Some(report.clone());
    }

    pub fn balance(&self) {
        for (id, entry) in &self.mails {
            for position in 0..entry.recipients.len() as u32 {
                entry.check_fate(*id, position);
            }
        }
    }
}

impl Entry {
    fn check_parameters(&self, message: &Message, dsn: bool) {
        let (got, given) = (&message.parameters, &self.parameters);
        assert_eq!(got.require_tls, given.require_tls, "REQUIRETLS is kept or not sent");
        if dsn {
            assert_eq!((got.ret, &got.envid), (given.ret, &given.envid));
        }
        if given.smtputf8 {
            let needless = self.body.seven_bit().is_ok();
            assert!(got.smtputf8 || needless, "SMTPUTF8 is kept, or not sent where it is needed");
        }
    }

    fn check_content(&self, message: &Message, server: &Config) {
        let got = message.body.to_bytes();
        let facts = self.body.facts();
        let is = |sent: &Body| {
            let sent = sent.to_bytes();
            got == sent || got == [&sent[..], b"\r\n"].concat()
        };
        let converted = || (facts.eight_bit || facts.binary) && self.body.seven_bit().is_ok_and(is);
        let repaired = facts.binary && server.bare_newline == BareNewline::Normalize;
        assert!(is(&self.body) || converted() || repaired, "other content: {:?}", got.escape_ascii().to_string());
    }

    fn check_fate(&self, id: u64, position: u32) {
        let report = self.report.as_ref().expect("every transaction is reported");
        let exception = report.exceptions.iter().find(|(at, _)| *at == position).map(|(_, outcome)| outcome);
        let outcome = exception.unwrap_or(&report.outcome);
        let decided = self.decided.get(&position);
        match outcome {
            Outcome::Replied(Stage::Final, reply) if reply.is_success() => {
                let decided =
                    decided.unwrap_or_else(|| panic!("success of {id}.{position}, of which nothing was said"));
                // Replies are ASCII, whatever they quote.
                let said = decided.text.replace(|c: char| !c.is_ascii(), "?");
                assert_eq!((reply.code, &*reply.text), (decided.code, &*said), "the reply of another one");
            }
            Outcome::Lost { in_doubt: true, .. } => {}
            other => {
                let accepted = decided.is_some_and(Reply::is_success);
                assert!(!accepted, "{id}.{position} was accepted, and would be sent again: {other:?}");
            }
        }
    }
}
