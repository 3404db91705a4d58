//! One transaction as the wire sees it: what is still to be sent of it, which reply comes next, and what the replies so
//! far make of it.
//!
//! Its commands are numbered: MAIL is 0, the RCPTs follow, then DATA or BDAT, then (under DATA) the content. `sent` and
//! `heard` are the two cursors over them.

use super::{Cause, Outcome, Report, Stage};
use crate::{Body, Reply, reply::ReplyRef};
use bytes::Bytes;

/// A submitted transaction that is not reported yet.
#[derive(Debug)]
pub(super) struct Exchange {
    id: u64,
    recipients: u32,
    pub(super) body: Body,
    /// MAIL, RCPT… and, without CHUNKING, DATA; shrinks as it is sent.
    pub(super) commands: Bytes,
    /// `BDAT n LAST`; empty under DATA.
    pub(super) chunk: Bytes,
    /// One final reply for each accepted recipient (RFC 2033 §4.2).
    each: bool,
    /// RSET goes before MAIL.
    pub(super) reset: Reset,
    /// Where in the stream it begins, once it does.
    pub(super) start: Option<u64>,
    /// Where in the stream its content ends, once all of it is queued. `None` for the lone dot.
    pub(super) content_end: Option<u64>,
    /// Commands queued for sending, and commands whose reply has come. Invariant: `heard <= sent`.
    pub(super) sent: u32,
    heard: u32,
    mail_accepted: bool,
    accepted: u32,
    /// Recipients refused at RCPT, ascending.
    refused: Vec<(u32, Outcome)>,
    /// 354 came.
    pub(super) go_ahead: bool,
    /// What holds for the accepted recipients, once known.
    outcome: Option<Outcome>,
    finals: Finals,
}

/// Whether a RSET precedes the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    Unneeded,
    Awaited,
    Heard,
}

/// Final replies so far.
#[derive(Debug, Default)]
struct Finals {
    heard: u32,
    /// The recipient that the next one is about (LMTP), and how many of `refused` lie before it.
    recipient: u32,
    passed: usize,
    /// Those that differ from the first.
    different: Vec<(u32, Outcome)>,
    accepted: bool,
}

/// A reply that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Reset,
    Mail,
    Recipient(u32),
    Data,
    Final,
}

impl Awaited {
    pub(super) fn stage(self) -> Stage {
        match self {
            Awaited::Reset => Stage::Idle,
            Awaited::Mail => Stage::Mail,
            Awaited::Recipient(_) => Stage::Rcpt,
            Awaited::Data => Stage::Data,
            Awaited::Final => Stage::Final,
        }
    }
}

impl Exchange {
    /// `commands` holds MAIL, so many RCPTs, and DATA if `chunk` is empty. `each`: LMTP.
    pub(super) fn new(id: u64, recipients: u32, body: Body, commands: Bytes, chunk: Bytes, each: bool) -> Exchange {
        Exchange {
            id,
            recipients,
            body,
            commands,
            chunk,
            each,
            reset: Reset::Unneeded,
            start: None,
            content_end: None,
            sent: 0,
            heard: 0,
            mail_accepted: false,
            accepted: 0,
            refused: Vec::new(),
            go_ahead: false,
            outcome: None,
            finals: Finals::default(),
        }
    }

    pub(super) fn uses_data(&self) -> bool {
        self.chunk.is_empty()
    }

    /// How many commands `commands` held at first.
    pub(super) fn command_count(&self) -> u32 {
        1 + self.recipients + u32::from(self.uses_data())
    }

    /// Whose reply comes next, if one is outstanding.
    pub(super) fn awaited(&self) -> Option<Awaited> {
        match self.reset {
            Reset::Awaited => Some(Awaited::Reset),
            _ if self.heard == self.sent => None,
            _ if self.heard == 0 => Some(Awaited::Mail),
            _ if self.heard <= self.recipients => Some(Awaited::Recipient(self.heard - 1)),
            _ if self.uses_data() && self.heard == self.recipients + 1 => Some(Awaited::Data),
            _ => Some(Awaited::Final),
        }
    }

    pub(super) fn all_heard(&self) -> bool {
        self.awaited().is_none()
    }

    /// At least one octet of it was written.
    pub(super) fn is_begun(&self, written: u64) -> bool {
        self.start.is_some_and(|start| start < written)
    }

    /// Every octet of its content was written: the peer may deliver it.
    pub(super) fn is_written(&self, written: u64) -> bool {
        self.content_end.is_some_and(|end| end <= written)
    }

    /// Takes the reply to `awaited`; 421 is not for here. `written`: how far the stream is written.
    pub(super) fn reply(&mut self, awaited: Awaited, reply: ReplyRef<'_>, written: u64) -> Result<(), &'static str> {
        let success = reply.code / 100 == 2;
        if (reply.code / 100 == 3) != (awaited == Awaited::Data && reply.code / 100 < 4) {
            return Err("a reply came that its command does not allow");
        }
        match awaited {
            Awaited::Reset if success => self.reset = Reset::Heard,
            Awaited::Reset => return Err("RSET was refused"),
            Awaited::Mail if success => self.mail_accepted = true,
            Awaited::Mail => self.outcome = Some(Outcome::Replied(Stage::Mail, reply.to_reply())),
            Awaited::Recipient(_) if !self.mail_accepted => {}
            Awaited::Recipient(_) if success => self.accepted += 1,
            Awaited::Recipient(at) => self.refused.push((at, Outcome::Replied(Stage::Rcpt, reply.to_reply()))),
            Awaited::Data if reply.code / 100 == 3 && self.each && self.accepted == 0 => {
                // RFC 2033 §4.2: no accepted recipient, no final reply; such a 354 leaves no way to go on.
                return Err("DATA was accepted without a recipient");
            }
            Awaited::Data if reply.code / 100 == 3 => self.go_ahead = true,
            Awaited::Data if self.accepted > 0 => {
                self.outcome = Some(Outcome::Replied(Stage::Data, reply.to_reply()));
            }
            Awaited::Data => {}
            Awaited::Final => return self.final_reply(reply, written),
        }
        if awaited != Awaited::Reset {
            self.heard += 1;
        }
        Ok(())
    }

    fn final_reply(&mut self, reply: ReplyRef<'_>, written: u64) -> Result<(), &'static str> {
        let success = reply.code / 100 == 2;
        if success && self.content_end.is_some_and(|end| end > written) {
            return Err("the content was accepted before all of it was sent");
        }
        self.finals.accepted |= success;
        if self.accepted > 0 {
            let recipient = self.next_recipient();
            let outcome = Outcome::Replied(Stage::Final, reply.to_reply());
            match &self.outcome {
                None => self.outcome = Some(outcome),
                Some(first) if *first == outcome => {}
                Some(_) => self.finals.different.push((recipient, outcome)),
            }
        }
        self.finals.heard += 1;
        if !self.each || self.finals.heard >= self.accepted {
            self.heard += 1;
        }
        Ok(())
    }

    /// The accepted recipient that the next final reply is about.
    fn next_recipient(&mut self) -> u32 {
        while self.refused.get(self.finals.passed).is_some_and(|(refused, _)| *refused == self.finals.recipient) {
            self.finals.passed += 1;
            self.finals.recipient += 1;
        }
        self.finals.recipient += 1;
        self.finals.recipient - 1
    }

    /// Nothing of it can be delivered any more, by what was said before the content.
    pub(super) fn is_refused(&self) -> bool {
        match self.outcome {
            Some(Outcome::Replied(stage, _)) => stage != Stage::Final,
            _ => self.heard > self.recipients && self.accepted == 0,
        }
    }

    /// All replies are in: it can be reported. (After a 354 the content, or a lone dot, is owed all the same.)
    pub(super) fn is_over(&self) -> bool {
        self.all_heard() && (self.finals.heard > 0 || (self.is_refused() && !self.go_ahead))
    }

    /// Whether the peer may still hold a transaction open after this one, so that the next MAIL needs a RSET before it.
    /// The end of DATA closes one whatever the reply (RFC 5321 §4.1.1.4); a refused BDAT may not (RFC 3030 §2).
    pub(super) fn leaves_open(&self) -> bool {
        self.mail_accepted && !(self.go_ahead || self.finals.accepted)
    }

    /// The report, after all replies are in.
    pub(super) fn report(self) -> Report {
        let Exchange { id, mut refused, finals, .. } = self;
        let Some(outcome) = self.outcome else {
            // Nobody was accepted: the first refusal stands for all that are alike.
            let outcome = refused.remove(0).1;
            refused.retain(|(_, other)| *other != outcome);
            return Report { id, outcome, exceptions: refused };
        };
        if !finals.different.is_empty() {
            refused.extend(finals.different);
            refused.sort_by_key(|(recipient, _)| *recipient);
        }
        Report { id, outcome, exceptions: refused }
    }

    /// The report when the connection ends. `hit`: it was this transaction's turn to be answered, and with `said` (a 421)
    /// it was.
    pub(super) fn lose(mut self, cause: &Cause, hit: bool, said: Option<&Reply>, written: u64) -> Report {
        let awaited = self.awaited().filter(|awaited| hit && *awaited != Awaited::Reset);
        let in_doubt = self.is_written(written);
        if self.is_refused() {
            return self.report();
        }
        let outcome = match (awaited, said) {
            (Some(awaited), Some(reply)) => Outcome::Replied(awaited.stage(), reply.clone()),
            (_, _) if in_doubt => Outcome::Lost { stage: Stage::Final, cause: cause.clone(), in_doubt },
            (Some(awaited), None) => Outcome::Lost { stage: awaited.stage(), cause: cause.clone(), in_doubt },
            (None, _) => Outcome::NotSent,
        };
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
        } else {
            // LMTP: some recipients had their final reply already.
            while self.finals.heard < self.accepted {
                let recipient = self.next_recipient();
                self.finals.different.push((recipient, outcome.clone()));
                self.finals.heard += 1;
            }
        }
        self.report()
    }
}
