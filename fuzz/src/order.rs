//! The order in which the machines may tell their events; anything else is a finding.

use smtp::{client, server};
use std::collections::HashSet;

/// Of a server.
#[derive(Debug, Default)]
pub struct ServerOrder {
    hello: bool,
    encrypted: bool,
    encrypting: bool,
    /// Recipients accepted, once a MAIL was.
    open: Option<usize>,
    draining: bool,
    pub closed: bool,
}

impl ServerOrder {
    /// The next event. Answers are told with `mail` and `recipient`.
    pub fn see(&mut self, event: &server::Event) {
        assert!(!self.closed, "an event behind Closed");
        match event {
            server::Event::Hello { .. } => {
                assert!(self.open.is_none(), "EHLO leaves a transaction open");
                self.hello = true;
            }
            server::Event::Mail { .. } => {
                assert!(self.hello && self.open.is_none(), "MAIL out of order");
                assert!(!self.draining, "MAIL behind the end");
            }
            server::Event::Recipient(_) => assert!(self.open.is_some(), "RCPT outside a transaction"),
            server::Event::XClient(_) => assert!(self.open.is_none(), "XCLIENT inside a transaction"),
            server::Event::Message(message) => {
                assert!(!message.recipients.is_empty(), "a message for nobody");
                assert_eq!(self.open.take(), Some(message.recipients.len()), "recipients that were not accepted");
            }
            server::Event::Aborted => assert!(self.open.take().is_some(), "no transaction to abort"),
            server::Event::StartTls => {
                assert!(self.open.is_none() && !self.encrypted && !self.encrypting, "STARTTLS out of order");
                self.encrypting = true;
            }
            server::Event::Closed(_) => {
                assert!(self.open.is_none(), "closed with a transaction open");
                self.closed = true;
            }
            _ => {}
        }
    }

    /// Nothing new may be taken from now on. False: that was said before.
    pub fn drain(&mut self) -> bool {
        !std::mem::replace(&mut self.draining, true)
    }

    /// The answer to MAIL took effect.
    pub fn mail(&mut self, accepted: bool) {
        self.open = accepted.then_some(0);
    }

    /// The answer to XCLIENT took effect: the session begins anew, perhaps with a name.
    pub fn introduced(&mut self, said: &server::Introduction) {
        self.hello = matches!(said.hello, Some(server::Told::Known(_)));
    }

    /// The answer to RCPT took effect.
    pub fn recipient(&mut self, accepted: bool) {
        if let Some(recipients) = &mut self.open {
            *recipients += usize::from(accepted);
        }
    }

    /// 220 was said to STARTTLS.
    pub fn awaits_tls(&self) -> bool {
        self.encrypting && !self.closed
    }

    /// TLS is up.
    pub fn encrypted(&mut self) {
        (self.encrypted, self.encrypting, self.hello) = (true, false, false);
    }
}

/// Of a client.
#[derive(Debug, Default)]
pub struct ClientOrder {
    ready: bool,
    encrypting: bool,
    submitted: u64,
    reported: HashSet<u64>,
    last: Option<u64>,
    pub closed: bool,
}

impl ClientOrder {
    /// The number of the next transaction.
    pub fn next_id(&self) -> u64 {
        self.submitted
    }

    /// It was submitted.
    pub fn submitted(&mut self) {
        self.submitted += 1;
    }

    /// The next event.
    pub fn see(&mut self, event: &client::Event) {
        assert!(!self.closed, "an event behind Closed");
        match event {
            client::Event::StartTls => {
                assert!(!self.ready && !self.encrypting, "STARTTLS out of order");
                self.encrypting = true;
            }
            client::Event::Ready(_) => assert!(!std::mem::replace(&mut self.ready, true), "Ready twice"),
            client::Event::Report(report) => {
                assert!(self.ready && report.id < self.submitted, "a report of nothing");
                assert!(self.reported.insert(report.id), "reported twice");
                assert!(self.last.replace(report.id).is_none_or(|last| last < report.id), "reported out of order");
            }
            client::Event::Closed { .. } => self.closed = true,
        }
    }

    /// The conversation is over: every transaction was reported.
    pub fn finish(&self) {
        assert!(self.closed, "the end of the connection is the end of the conversation");
        assert_eq!(self.reported.len() as u64, self.submitted, "a transaction without a report");
    }
}
