//! How a step is answered: as a rule says, or as the machine would.

use super::{Scene, Script};
use crate::sink::framer::Verb;
use crate::sink::record::Origin;
use crate::sink::rule::Action;
use crate::sink::step::Step;
use crate::sink::{ACCEPTED, Ending};
use bytes::Bytes;
use smtp::server::{Message, RECIPIENT_OK, SENDER_OK};
use smtp::{Reply, Server};

/// No reply of any protocol.
const GARBAGE: &[u8] = b"\x16\x03\x00\xff\xfe~~ \x00no reply at all\r\n9\xc3\x28-\r\n\x00\x00\r\n";

impl Script {
    pub(super) fn perform(&mut self, step: Step, action: Action, kept: bool, scene: &mut Scene<'_>) {
        if action != Action::Proceed {
            scene.record.refused(step.stage());
        }
        if let (Step::Greet, false) = (&step, action == Action::Proceed) {
            // The machine's own greeting is not said.
            scene.machine.poll_transmit().clear();
        }
        match action {
            Action::Proceed | Action::Lose => self.proceed(step, kept || action == Action::Lose, scene),
            Action::Reply(reply) => self.reply(step, reply, scene),
            Action::Stall => self.stalled = true,
            Action::Close => self.ending = Ending::Close,
            Action::Reset => self.ending = Ending::Reset,
            Action::Garbage => {
                scene.out.extend_from_slice(GARBAGE);
                self.stalled = true;
            }
        }
    }

    /// As if there were no rule. `kept`: a final message needs no taking (any more).
    fn proceed(&mut self, step: Step, kept: bool, scene: &mut Scene<'_>) {
        match step {
            Step::Connect | Step::Greet | Step::Idle => {}
            Step::StartTls => self.starttls = true,
            Step::Line(line, verb) => {
                scene.machine.handle_bytes(line, scene.now);
                if let Verb::Bdat(octets, _) = verb {
                    self.framer.begin_chunk(octets);
                }
            }
            Step::Mail => scene.machine.answer(SENDER_OK),
            Step::Rcpt(mailbox) => {
                self.recipients.push(mailbox);
                scene.machine.answer(RECIPIENT_OK);
            }
            Step::Content(bytes) => scene.machine.handle_bytes(bytes, scene.now),
            Step::Final(mut message, replies) => {
                self.messages += 1;
                let replies = replies.unwrap_or_default();
                let mut accepted = replies.iter().map(Reply::is_success);
                message.recipients.retain(|_| accepted.next().unwrap_or(true));
                if !kept && !message.recipients.is_empty() {
                    take(&message, scene);
                }
                match replies.is_empty() {
                    true => scene.machine.complete(message.ticket, ACCEPTED),
                    false => scene.machine.complete_each(message.ticket, replies),
                }
            }
        }
    }

    fn reply(&mut self, step: Step, reply: Reply, scene: &mut Scene<'_>) {
        let last = reply.code == 421;
        match step {
            Step::Connect | Step::StartTls => {}
            Step::Greet => {
                let config = std::sync::Arc::new(scene.machine.config().clone());
                *scene.machine = Server::refuse(config, reply, scene.now);
                return;
            }
            Step::Line(_, verb) => {
                reply.encode(scene.out);
                if let Verb::Data | Verb::Bdat(..) = verb {
                    self.abandon(scene);
                }
                if let Verb::Bdat(octets, _) = verb {
                    self.framer.begin_chunk(octets);
                    self.discarding = true;
                }
            }
            Step::Mail => {
                if !reply.is_success() {
                    self.sender = None;
                }
                scene.machine.answer(reply);
            }
            Step::Rcpt(mailbox) => {
                if reply.is_success() {
                    self.recipients.push(mailbox);
                }
                scene.machine.answer(reply);
            }
            Step::Content(bytes) => {
                reply.encode(scene.out);
                scene.machine.handle_bytes(bytes, scene.now);
            }
            Step::Final(message, _) => {
                self.messages += 1;
                scene.machine.complete(message.ticket, reply);
            }
            Step::Idle => reply.encode(scene.out),
        }
        if last {
            self.collect(scene);
            self.ending = Ending::Close;
        }
    }

    /// Ends the machine's transaction without the client seeing it.
    fn abandon(&mut self, scene: &mut Scene<'_>) {
        scene.machine.handle_bytes(Bytes::from_static(b"RSET\r\n"), scene.now);
        while scene.machine.poll_event().is_some() {}
        scene.machine.poll_transmit().clear();
        self.forget();
    }
}

/// Into the record.
pub(super) fn take(message: &Message, scene: &mut Scene<'_>) {
    let origin = Origin { peer: scene.peer, tls: scene.machine.tls(), hello: scene.machine.hello_name().unwrap_or("") };
    scene.record.take(message, origin, scene.wall);
}
