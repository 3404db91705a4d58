//! AUTH (RFC 4954): logging in where the owner says so, after EHLO and TLS, with the strongest mechanism that both have.
//!
//! A login that fails ends the connection: mail that was to go with it must not go without. There is one attempt, with one
//! mechanism: a server that refuses the strongest is not asked for a weaker one.

use super::setup::{Channel, Command, Setup, Step};
use super::{Cause, Features, Stage};
use crate::reply::ReplyRef;
use crate::sasl::client::{Credentials, Exchange, ExchangeError};
use crate::sasl::{self, Mechanism};

/// RFC 5321 §4.5.3.1.4: a command line, its end included. What is longer goes as a response of its own.
const MAX_COMMAND_BYTES: usize = 512;

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Who, and the password.
    pub credentials: Credentials,
    /// Printable ASCII without a comma, unpredictable, and for one connection only (RFC 5802 §5.1).
    pub nonce: Box<str>,
    /// The password itself may be shown without TLS, and to a server that has not proven who it is (RFC 4954 §4 and §14
    /// forbid it: for what never leaves the machine).
    pub in_clear: bool,
}

/// Why there is no logging in, where the server has not said so itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Neither in clear text nor, if it came to that, over TLS.
    #[error("a user is configured, and the server offers no AUTH")]
    NotOffered,
    /// None of those is both known and allowed.
    #[error("the server offers AUTH {offered}: {reason}")]
    NoMechanism {
        /// As announced.
        offered: Box<str>,
        /// What is in the way.
        reason: &'static str,
    },
    /// What came behind 334.
    #[error("the server's challenge is no base64")]
    NotBase64,
    /// The mechanism's own reason.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Dialogue {
    exchange: Exchange,
    /// The initial response, if the command line had no room for it.
    held: Option<String>,
    /// It was given up, and the server told so by `*`.
    failed: Option<AuthError>,
    features: Features,
}

/// Says AUTH; or closes, where that is no use.
pub(super) fn begin(login: &Login, features: Features, channel: Channel) -> Step {
    match Dialogue::begin(login, features, channel) {
        Ok((line, dialogue)) => Step::Say(Command::Line(line), Setup::Auth(Box::new(dialogue))),
        Err(error) => fail(error),
    }
}

fn fail(error: AuthError) -> Step {
    Step::Close(Stage::Auth, Cause::Auth(error))
}

impl Dialogue {
    fn begin(login: &Login, features: Features, channel: Channel) -> Result<(String, Dialogue), AuthError> {
        let mechanism = choose(&features, channel, login.in_clear)?;
        let mut exchange = Exchange::new(mechanism, &login.credentials, &login.nonce)?;
        let mut line = format!("AUTH {}", mechanism.name());
        let mut held = None;
        if let Some(response) = exchange.initial_response() {
            let response = sasl::encode(response);
            if line.len() + 1 + response.len() + 2 <= MAX_COMMAND_BYTES {
                line = line + " " + &response;
            } else {
                held = Some(response);
            }
        }
        Ok((line, Dialogue { exchange, held, failed: None, features }))
    }

    /// The server's next word.
    pub(super) fn handle_reply(mut self: Box<Self>, reply: ReplyRef<'_>) -> Step {
        match (reply.code, self.failed.take()) {
            (334, None) => match self.respond(reply.text) {
                Ok(response) => Step::Say(Command::Line(response), Setup::Auth(self)),
                Err(error) => {
                    // RFC 4954 §4: this is how an exchange is given up; the server answers with 501.
                    self.failed = Some(error);
                    Step::Say(Command::Line("*".into()), Setup::Auth(self))
                }
            },
            (_, Some(error)) => fail(error),
            (200..300, None) => match self.exchange.handle_success(reply.text) {
                Ok(()) => Step::Ready(self.features),
                Err(error) => fail(error.into()),
            },
            (300..400, None) => {
                Step::Close(Stage::Auth, Cause::Protocol("an intermediate reply came where none is allowed"))
            }
            (_, None) => Step::Close(Stage::Auth, Cause::Replied(reply.to_reply())),
        }
    }

    fn respond(&mut self, challenge: &str) -> Result<String, AuthError> {
        let challenge = sasl::decode(challenge.trim()).ok_or(AuthError::NotBase64)?;
        match self.held.take() {
            Some(response) => Ok(response),
            None => Ok(sasl::encode(self.exchange.handle_challenge(&challenge)?)),
        }
    }
}

/// `in_clear`: a password may be shown to anyone.
fn choose(features: &Features, channel: Channel, in_clear: bool) -> Result<Mechanism, AuthError> {
    let shown = in_clear || channel == Channel::Proven;
    let announced = || features.auth.iter().map(|name| &**name);
    if features.auth.is_empty() {
        return Err(AuthError::NotOffered);
    }
    Mechanism::choose(announced(), shown).ok_or_else(|| AuthError::NoMechanism {
        offered: features.auth.join(" ").into(),
        reason: match Mechanism::choose(announced(), true) {
            Some(_) if channel == Channel::Clear => "these show the password, and the connection is not encrypted",
            Some(_) => "these show the password, and its certificate does not prove who it is",
            None => "none of these is known here",
        },
    })
}
