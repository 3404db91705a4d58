//! AUTH (RFC 4954): the exchange on the wire. Who users are, the owner knows.

use super::input::Line;
use super::session::{Phase, Question};
use super::{CloseReason, Event, Protocol, Server, answers};
use crate::Reply;
use crate::sasl::server::{Exchange, Finding, Step};
use crate::sasl::{Mechanism, Nonces, decode, encode};
use std::sync::Arc;

/// Octets of a line of an exchange with its CRLF (RFC 4954 §4.5), the AUTH command among them.
pub(super) const MAX_AUTH_LINE_BYTES: usize = 12_288;

/// What a listener offers.
#[derive(Clone, Debug)]
pub struct Auth {
    /// In the order in which they are announced.
    pub mechanisms: Vec<Mechanism>,
    /// Also in clear text: for connections that nobody else can hear.
    pub without_tls: bool,
    /// Failures on one connection; with the last of them it ends.
    pub max_failures: u32,
    /// For challenges.
    pub nonces: Arc<Nonces>,
}

impl Auth {
    pub(super) fn is_offered(&self, tls_is_up: bool) -> bool {
        tls_is_up || self.without_tls
    }
    /// `AUTH SCRAM-SHA-256 PLAIN`.
    pub(super) fn announcement(&self) -> String {
        self.mechanisms.iter().fold("AUTH".into(), |text, mechanism| text + " " + mechanism.name())
    }
}

/// How far AUTH has come on a connection.
#[derive(Debug, Default)]
pub(super) struct Authentication {
    /// Invariant: present in `Phase::Auth`, and while its question is open.
    exchange: Option<Exchange>,
    /// Whom the client wants to be.
    claimed: Option<Box<str>>,
    /// Who it is.
    user: Option<Box<str>>,
    failures: u32,
    /// Nothing is taken from this client before it has said who it is.
    required: bool,
}

impl Authentication {
    /// TLS begins, or another client is spoken for: what was known goes, what is asked for stays (RFC 3207 §4.2).
    pub(super) fn forget(&mut self) {
        *self = Authentication { failures: self.failures, required: self.required, ..Authentication::default() };
    }
    /// Somebody who is trusted says who the client is (XCLIENT's LOGIN).
    pub(super) fn vouch(&mut self, user: Box<str>) {
        self.user = Some(user);
    }
    /// The question is closed by a plain reply.
    pub(super) fn give_up(&mut self) {
        self.exchange = None;
    }
}

impl Server {
    /// Whether MAIL and ETRN are refused (530 5.7.0) until AUTH has succeeded. To be said before the client says anything,
    /// and anew when XCLIENT tells of another one.
    pub fn require_auth(&mut self, required: bool) {
        self.authentication.required = required;
    }
    /// Who the client is, once AUTH has succeeded: the user's name, prepared.
    pub fn user(&self) -> Option<&str> {
        self.authentication.user.as_deref()
    }
    /// Answers `Event::Auth`. (Where `close` was faster, its reply stands.)
    pub fn answer_auth(&mut self, finding: Finding) {
        let Some(Question::Auth) = self.question else { return };
        self.question = None;
        let Some(mut exchange) = self.authentication.exchange.take() else { return };
        match finding {
            Finding::Keys(keys) => {
                let step = exchange.handle_keys(keys);
                self.take_step(exchange, step);
            }
            Finding::Accepted => {
                let step = exchange.handle_accepted();
                self.take_step(exchange, step);
            }
            Finding::Refused => self.refuse_auth(),
            Finding::Unavailable => self.say(answers::AUTH_UNAVAILABLE),
        }
    }

    fn refuse_auth(&mut self) {
        self.authentication.failures += 1;
        let most = self.config.auth.as_ref().map_or(0, |auth| auth.max_failures);
        if self.authentication.failures >= most {
            self.end(CloseReason::TooManyErrors, Some(answers::TOO_MANY_AUTH_FAILURES));
        } else {
            self.say(answers::AUTH_FAILED);
        }
    }

    /// The error is the reply: what must come before anything is taken.
    pub(super) fn must_know_who(&self) -> Result<(), Reply> {
        if self.authentication.required { self.must_have_logged_in() } else { Ok(()) }
    }

    /// The error is the reply.
    pub(super) fn must_have_logged_in(&self) -> Result<(), Reply> {
        let offered = self.config.auth.as_ref().is_some_and(|auth| auth.is_offered(self.tls.is_some()));
        match (&self.authentication.user, offered) {
            (Some(_), _) => Ok(()),
            (None, true) => Err(answers::AUTH_FIRST),
            (None, false) => Err(answers::TLS_FIRST),
        }
    }

    pub(super) fn must_have_said_hello(&self) -> Result<(), Reply> {
        match (&self.hello, self.config.protocol) {
            (Some(_), _) => Ok(()),
            (None, Protocol::Smtp) => Err(answers::HELLO_FIRST),
            (None, Protocol::Lmtp) => Err(answers::LHLO_FIRST),
        }
    }

    /// `mechanism [initial-response]`.
    pub(super) fn auth(&mut self, argument: &str) -> Result<(), Reply> {
        let auth = self.config.auth.as_ref().ok_or(answers::NOT_IMPLEMENTED)?;
        self.must_have_said_hello()?;
        if self.transaction.is_some() {
            return Err(answers::IN_TRANSACTION);
        }
        if self.authentication.user.is_some() {
            return Err(answers::AUTHENTICATED);
        }
        if !auth.is_offered(self.tls.is_some()) {
            return Err(answers::ENCRYPT_FIRST);
        }
        let (name, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        if name.is_empty() {
            return Err(answers::AUTH_SYNTAX);
        }
        let known = Mechanism::parse(name).filter(|mechanism| auth.mechanisms.contains(mechanism));
        let mechanism = known.ok_or(answers::NO_SUCH_MECHANISM)?;
        let initial = match initial.trim_start_matches(' ') {
            "" => None,
            "=" => Some(Vec::new()),
            text => Some(decode(text).ok_or(answers::NOT_BASE64)?),
        };
        if mechanism == Mechanism::CramMd5 && initial.is_some() {
            return Err(answers::NO_INITIAL_RESPONSE);
        }
        let nonce = auth.nonces.issue();
        let (exchange, step) = Exchange::begin(mechanism, nonce, &self.config.hostname, initial.as_deref());
        self.take_step(exchange, step);
        Ok(())
    }

    /// The next line of the exchange.
    pub(super) fn step_auth(&mut self) -> bool {
        let Some(line) = self.input.next_line(MAX_AUTH_LINE_BYTES) else { return false };
        self.deadline = self.heard_at + self.patience();
        self.phase = Phase::Commands;
        let Some(mut exchange) = self.authentication.exchange.take() else { return true };
        match response(&line) {
            Ok(response) => {
                let step = exchange.handle_response(&response);
                self.take_step(exchange, step);
            }
            Err(reply) => self.say(reply),
        }
        true
    }

    fn take_step(&mut self, exchange: Exchange, step: Step) {
        match step {
            Step::Challenge(challenge) => {
                self.outbox.push(Reply { code: 334, enhanced: None, text: encode(challenge).into() });
                self.authentication.exchange = Some(exchange);
                self.phase = Phase::Auth;
            }
            Step::Ask(inquiry) => {
                self.authentication.claimed = Some(inquiry.user().into());
                self.question = Some(Question::Auth);
                self.events.push_back(Event::Auth { mechanism: exchange.mechanism(), inquiry });
                self.authentication.exchange = Some(exchange);
            }
            Step::Malformed => self.say(answers::BAD_EXCHANGE),
            Step::Done => {
                self.authentication.user = self.authentication.claimed.take();
                self.say(answers::AUTH_OK);
            }
        }
    }
}

/// The octets of a client's line; the error is the reply.
fn response(line: &Line) -> Result<Vec<u8>, Reply> {
    let Line::Whole(line) = line else { return Err(answers::AUTH_LINE_TOO_LONG) };
    match line.strip_suffix(b"\r\n").ok_or(answers::BARE_LINE_FEED)? {
        b"*" => Err(answers::AUTH_CANCELLED),
        text => decode(text).ok_or(answers::NOT_BASE64),
    }
}
