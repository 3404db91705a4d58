//! A connection under rules: asks them at every stage, and does what they say instead of what the machine would do.

mod answer;

use super::framer::{Framer, Unit, Verb};
use super::record::Record;
use super::rule::{Action, Circumstances, RuleSet, Stage};
use super::step::Step;
use super::{ACCEPTED, Ending};
use bytes::{Bytes, BytesMut};
use smtp::server::{Event, Message, Protocol};
use smtp::{Mailbox, ReversePath, Server};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// What a script works with, besides its own state.
pub(super) struct Scene<'a> {
    pub machine: &'a mut Server,
    pub out: &'a mut BytesMut,
    pub rules: &'a RuleSet,
    pub record: &'a Record,
    pub random: &'a mut fastrand::Rng,
    pub peer: Option<SocketAddr>,
    pub implicit_tls: bool,
    pub now: Instant,
    pub wall: SystemTime,
}

/// An answer that is held back.
struct Later {
    at: Instant,
    step: Step,
    action: Action,
    keep: bool,
}

/// A rule at `Body` that waits for its octet.
struct Watch {
    left: u64,
    delay: Duration,
    action: Action,
}

/// The state of one connection under rules.
#[derive(Default)]
pub(super) struct Script {
    framer: Framer,
    later: Vec<Later>,
    sender: Option<ReversePath>,
    recipients: Vec<Mailbox>,
    content_begun: bool,
    watch: Option<Watch>,
    /// Content of a refused BDAT is thrown away.
    discarding: bool,
    /// Messages whose final reply is held back.
    outstanding: usize,
    messages: u64,
    idle_asked: u64,
    opening: Opening,
    stalled: bool,
    starttls: bool,
    /// How the connection is to end.
    pub(super) ending: Ending,
}

/// What is still to be decided before the conversation begins.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Opening {
    #[default]
    Connect,
    /// Implicit TLS begins.
    Tls,
    Greeting,
    Done,
}

impl Script {
    /// For a connection that was greeted before there were rules.
    pub(super) fn midway(messages: u64) -> Script {
        Script { opening: Opening::Done, messages, idle_asked: messages, ..Script::default() }
    }

    pub(super) fn handle_bytes(&mut self, bytes: Bytes) {
        self.later.retain(|later| !matches!(later.step, Step::Idle));
        if !bytes.is_empty() {
            self.framer.push(bytes);
        }
    }

    /// Nothing is read while a step is held up or for ever.
    pub(super) fn wants_bytes(&self) -> bool {
        !self.held_up()
    }

    fn held_up(&self) -> bool {
        self.stalled
            || self.starttls
            || self.ending != Ending::Open
            || self.later.iter().any(|later| later.step.holds_up())
    }

    /// The rules let TLS begin; `handle_tls` follows.
    pub(super) fn awaits_tls(&self) -> bool {
        self.starttls
    }

    /// TLS is up.
    pub(super) fn handle_tls(&mut self) {
        self.starttls = false;
    }

    /// Nothing will ever happen here again unless the peer leaves.
    pub(super) fn stalled(&self) -> bool {
        self.stalled
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.later.iter().map(|later| later.at).min()
    }

    /// Does what is due, then goes on as far as it can.
    pub(super) fn run(&mut self, scene: &mut Scene<'_>) {
        while let Some(at) = self.later.iter().position(|later| later.at <= scene.now) {
            let Later { step, action, keep, .. } = self.later.remove(at);
            if let Step::Final(..) = step {
                self.outstanding -= 1;
            }
            self.perform(step, action, keep, scene);
        }
        self.open(scene);
        while !self.held_up() {
            if let Some(event) = scene.machine.poll_event() {
                self.collect(scene);
                self.handle_event(event, scene);
            } else {
                self.collect(scene);
                let Some(unit) = self.framer.next() else { break };
                if !self.handle_unit(unit, scene) {
                    break;
                }
            }
        }
        if !self.stalled {
            self.collect(scene);
        }
        self.consider_idle(scene);
    }

    fn open(&mut self, scene: &mut Scene<'_>) {
        while self.opening != Opening::Done && !self.held_up() {
            let (next, step) = match self.opening {
                Opening::Connect if scene.implicit_tls => (Opening::Tls, Step::Connect),
                Opening::Connect => (Opening::Greeting, Step::Connect),
                Opening::Tls => (Opening::Greeting, Step::StartTls),
                Opening::Greeting | Opening::Done => (Opening::Done, Step::Greet),
            };
            self.opening = next;
            self.meet(step, scene);
        }
    }

    /// Takes the machine's replies over, and learns from them whether content follows.
    fn collect(&mut self, scene: &mut Scene<'_>) {
        // Before the greeting was decided on, what the machine has to say is that greeting.
        if self.opening != Opening::Done || self.later.iter().any(|later| matches!(later.step, Step::Greet)) {
            return;
        }
        let replies = scene.machine.poll_transmit();
        let last = replies.strip_suffix(b"\r\n").unwrap_or(replies);
        let line = memchr::memrchr(b'\n', last).map_or(0, |at| at + 1);
        if last[line..].starts_with(b"354") {
            self.framer.begin_data();
        }
        scene.out.extend_from_slice(replies);
        replies.clear();
    }

    fn handle_event(&mut self, event: Event, scene: &mut Scene<'_>) {
        match event {
            Event::Hello { .. } => {}
            Event::Mail { reverse_path, .. } => {
                self.forget();
                self.sender = Some(reverse_path);
                self.meet(Step::Mail, scene);
            }
            Event::Recipient(recipient) => self.meet(Step::Rcpt(recipient.mailbox), scene),
            Event::Message(message) => {
                self.meet_final(message, scene);
                self.forget();
            }
            Event::Aborted => self.forget(),
            // Not announced, so the machine refuses them by itself.
            Event::XClient(_) | Event::Etrn(_) | Event::Atrn(_) | Event::Turned | Event::Auth { .. } => {}
            Event::StartTls => {
                self.framer.clear();
                self.meet(Step::StartTls, scene);
            }
            Event::Closed(_) => self.ending = Ending::Close,
        }
    }

    fn forget(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.content_begun = false;
        self.watch = None;
    }

    /// False when it has to wait.
    fn handle_unit(&mut self, unit: Unit, scene: &mut Scene<'_>) -> bool {
        match unit {
            Unit::Content(_) if self.discarding => {}
            Unit::Content(bytes) => self.handle_content(bytes, scene),
            Unit::Line(line) => {
                self.discarding = false;
                let verb = Verb::of(&line);
                let ruled = match verb {
                    Verb::Hello | Verb::StartTls => true,
                    Verb::Data | Verb::Bdat(..) => !self.recipients.is_empty() && !self.content_begun,
                    Verb::Other => false,
                };
                if ruled && self.outstanding > 0 {
                    // Its reply might be ours, and must not overtake those that the machine holds.
                    self.framer.unread(line);
                    return false;
                }
                let step = Step::Line(line, verb);
                if ruled { self.meet(step, scene) } else { self.perform(step, Action::Proceed, false, scene) }
            }
        }
        true
    }

    fn handle_content(&mut self, mut bytes: Bytes, scene: &mut Scene<'_>) {
        if !self.content_begun {
            self.content_begun = true;
            let rule = scene.rules.decide(Stage::Body, self.circumstances(), scene.random);
            self.watch = rule.map(|r| Watch { left: r.body_bytes, delay: r.delay, action: r.action.clone() });
        }
        if let Some(watch) = &mut self.watch {
            if watch.left >= bytes.len() as u64 {
                watch.left -= bytes.len() as u64;
            } else {
                let before = bytes.split_to(watch.left as usize);
                let (delay, action) = (watch.delay, watch.action.clone());
                self.watch = None;
                scene.machine.handle_bytes(before, scene.now);
                return self.act(Step::Content(bytes), action, delay, false, scene);
            }
        }
        scene.machine.handle_bytes(bytes, scene.now);
    }

    fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            sender: self.sender.as_ref().map(ReversePath::as_str),
            recipients: &self.recipients,
            messages: self.messages,
        }
    }

    /// Asks the rules about a step and answers it, now or later.
    fn meet(&mut self, step: Step, scene: &mut Scene<'_>) {
        let mut met = self.circumstances();
        if let Step::Rcpt(mailbox) = &step {
            met.recipients = std::slice::from_ref(mailbox);
        }
        match scene.rules.decide(step.stage(), met, scene.random) {
            None => self.perform(step, Action::Proceed, false, scene),
            Some(rule) => self.act(step, rule.action.clone(), rule.delay, rule.keep, scene),
        }
    }

    /// A whole message. Under LMTP each recipient is asked about, and each has its own reply.
    fn meet_final(&mut self, message: Box<Message>, scene: &mut Scene<'_>) {
        if scene.machine.config().protocol == Protocol::Smtp {
            return self.meet(Step::Final(message, None), scene);
        }
        let mut replies = Vec::with_capacity(message.recipients.len());
        let (mut delay, mut action, mut keep) = (Duration::ZERO, Action::Proceed, false);
        for recipient in &message.recipients {
            let met = Circumstances { recipients: std::slice::from_ref(&recipient.mailbox), ..self.circumstances() };
            let rule = scene.rules.decide(Stage::Final, met, scene.random);
            replies.push(match rule.map(|r| &r.action) {
                Some(Action::Reply(reply)) => reply.clone(),
                _ => ACCEPTED,
            });
            let Some(rule) = rule else { continue };
            delay = delay.max(rule.delay);
            keep |= rule.keep;
            if !matches!(rule.action, Action::Reply(_) | Action::Proceed) {
                action = rule.action.clone();
            }
        }
        self.act(Step::Final(message, Some(replies)), action, delay, keep, scene);
    }

    fn act(&mut self, step: Step, action: Action, delay: Duration, keep: bool, scene: &mut Scene<'_>) {
        if let (Step::Final(message, _), true) = (&step, keep) {
            answer::take(message, scene);
        }
        if delay.is_zero() {
            return self.perform(step, action, keep, scene);
        }
        if let Step::Final(..) = step {
            self.outstanding += 1;
        }
        self.later.push(Later { at: scene.now + delay, step, action, keep });
    }

    fn consider_idle(&mut self, scene: &mut Scene<'_>) {
        let idle = self.sender.is_none() && self.outstanding == 0 && !self.held_up();
        if idle && self.messages > self.idle_asked {
            self.idle_asked = self.messages;
            self.meet(Step::Idle, scene);
        }
    }
}
