//! The side that lets in. It takes the exchange apart and asks its owner what only the owner knows; it never learns how
//! passwords are kept.

use super::scram::{self, Keys};
use super::{Mechanism, cram, decode, encode, prepare};

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// Send this (334) and hand in the response.
    Challenge(Vec<u8>),
    /// Ask this, and answer with `handle_keys` or by ending the exchange.
    Ask(Inquiry),
    /// Nothing that this mechanism has: the exchange is over (501 5.5.2).
    Malformed,
    /// The user is who was asked for with [`Inquiry`], and has heard our own proof: the exchange is over (235).
    Done,
}

/// What only the owner knows. User names and passwords are prepared (SASLprep).
pub enum Inquiry {
    /// Is this the password? PLAIN and LOGIN. The answer is slow to compute, on purpose.
    Password {
        /// Who.
        user: String,
        /// In clear text.
        password: String,
    },
    /// Is this the right digest of the challenge? CRAM-MD5; see [`cram::is_right`].
    Digest {
        /// Who.
        user: String,
        /// What was to be digested.
        challenge: String,
        /// What came.
        digest: String,
    },
    /// What are this user's keys? SCRAM. For a user that does not exist: made-up ones, always the same for that name, so
    /// that nobody learns who exists (RFC 5802 §9); answered by `handle_keys`.
    Keys {
        /// Who.
        user: String,
    },
    /// The proof that this user sent is right, or is not: may the user in? SCRAM.
    Proof {
        /// Who.
        user: String,
        /// It fits the keys.
        is_right: bool,
    },
}

/// What the owner says to an [`Inquiry`].
#[derive(Debug)]
pub enum Finding {
    /// To [`Inquiry::Keys`].
    Keys(Keys),
    /// To the others: the user may in.
    Accepted,
    /// The user may not, whyever.
    Refused,
    /// Nobody could say for now.
    Unavailable,
}

impl Inquiry {
    /// Who wants in.
    pub fn user(&self) -> &str {
        match self {
            Inquiry::Password { user, .. }
            | Inquiry::Digest { user, .. }
            | Inquiry::Keys { user }
            | Inquiry::Proof { user, .. } => user,
        }
    }
}

impl std::fmt::Debug for Inquiry {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inquiry").field("user", &self.user()).finish_non_exhaustive()
    }
}

/// One exchange.
pub struct Exchange {
    mechanism: Mechanism,
    /// Unpredictable, never used before.
    nonce: String,
    state: State,
}

enum State {
    /// Awaits the first response.
    First,
    /// CRAM-MD5: the challenge was sent.
    Digest { challenge: String },
    /// LOGIN: awaits the password.
    Password { user: String },
    /// SCRAM: awaits the owner's keys.
    Keys { first: ClientFirst },
    /// SCRAM: awaits the final message.
    Final { first: ClientFirst, server_first: String, keys: Keys },
    /// SCRAM: the proof is right, ours is ready.
    Proven { server_final: String },
    /// SCRAM: ours was sent; the client has nothing more to say.
    Acknowledged,
    /// All was asked.
    Asked,
}

/// A client's first message, taken apart.
struct ClientFirst {
    /// `n,,`: comes back in the final message.
    gs2_header: String,
    bare: String,
    user: String,
    nonce: String,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Begins with the client's initial response, if it gave one. `nonce`: printable ASCII without comma, `<`, `>` or
    /// `@`, unpredictable and never used before.
    pub fn begin(mechanism: Mechanism, nonce: String, hostname: &str, initial: Option<&[u8]>) -> (Exchange, Step) {
        let mut exchange = Exchange { mechanism, nonce, state: State::First };
        let step = match (mechanism, initial) {
            (Mechanism::CramMd5, None) => {
                let challenge = cram::challenge(&exchange.nonce, hostname);
                exchange.state = State::Digest { challenge: challenge.clone() };
                Step::Challenge(challenge.into_bytes())
            }
            // The server begins (RFC 2195): there is nothing to respond to (RFC 4954 §4).
            (Mechanism::CramMd5, Some(_)) => Step::Malformed,
            (Mechanism::Login, None) => Step::Challenge(b"Username:".to_vec()),
            (_, None) => Step::Challenge(Vec::new()),
            (_, Some(response)) => exchange.handle_response(response),
        };
        (exchange, step)
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The client's response to the challenge, without base64.
    pub fn handle_response(&mut self, response: &[u8]) -> Step {
        let Ok(response) = std::str::from_utf8(response) else { return Step::Malformed };
        let step = match (std::mem::replace(&mut self.state, State::Asked), self.mechanism) {
            (State::First, Mechanism::Plain) => plain(response),
            (State::First, Mechanism::Login) => self.login(response),
            (State::First, Mechanism::ScramSha256) => self.scram_first(response),
            (State::Digest { challenge }, _) => cram_response(challenge, response),
            (State::Password { user }, _) => {
                prepare(response).map(|password| Step::Ask(Inquiry::Password { user, password: password.into() }))
            }
            (State::Final { first, server_first, keys }, _) => self.scram_final(first, &server_first, &keys, response),
            (State::Acknowledged, _) => response.is_empty().then_some(Step::Done),
            _ => None,
        };
        step.unwrap_or(Step::Malformed)
    }

    /// The answer to [`Inquiry::Keys`].
    pub fn handle_keys(&mut self, keys: Keys) -> Step {
        let State::Keys { first } = std::mem::replace(&mut self.state, State::Asked) else { return Step::Malformed };
        let server_first = format!("r={}{},s={},i={}", first.nonce, self.nonce, encode(&keys.salt), keys.iterations);
        let challenge = server_first.clone().into_bytes();
        self.state = State::Final { first, server_first, keys };
        Step::Challenge(challenge)
    }

    /// The owner lets the user in. SCRAM has one more word to say: our proof goes as a challenge, and an empty response
    /// comes back (RFC 4954 §4: 235 carries no data).
    pub fn handle_accepted(&mut self) -> Step {
        match std::mem::replace(&mut self.state, State::Acknowledged) {
            State::Proven { server_final } => Step::Challenge(server_final.into_bytes()),
            _ => Step::Done,
        }
    }

    fn login(&mut self, user: &str) -> Option<Step> {
        self.state = State::Password { user: prepare(user)?.into() };
        Some(Step::Challenge(b"Password:".to_vec()))
    }

    fn scram_first(&mut self, message: &str) -> Option<Step> {
        let first = ClientFirst::parse(message)?;
        let user = first.user.clone();
        self.state = State::Keys { first };
        Some(Step::Ask(Inquiry::Keys { user }))
    }

    fn scram_final(&mut self, first: ClientFirst, server_first: &str, keys: &Keys, message: &str) -> Option<Step> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut rest = without_proof.split(',');
        let binding = decode(scram::attribute(&mut rest, "c")?)?;
        let nonce = scram::attribute(&mut rest, "r")?;
        if binding != first.gs2_header.as_bytes() || nonce != format!("{}{}", first.nonce, self.nonce) {
            return None;
        }
        let proof = decode(proof)?;
        let auth_message = format!("{},{server_first},{without_proof}", first.bare);
        let is_right = keys.is_proven(&auth_message, &proof);
        if is_right {
            self.state = State::Proven { server_final: keys.server_final(&auth_message) };
        }
        Some(Step::Ask(Inquiry::Proof { user: first.user, is_right }))
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2); to act as someone else is nobody's right.
fn plain(message: &str) -> Option<Step> {
    let mut parts = message.split('\0');
    let (authorization, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (user, password) = (prepare(user)?, prepare(password)?);
    is_own(authorization, &user).then(|| Step::Ask(Inquiry::Password { user: user.into(), password: password.into() }))
}

fn is_own(authorization: &str, user: &str) -> bool {
    authorization.is_empty() || prepare(authorization).is_some_and(|prepared| prepared == user)
}

/// `user SP digest`; the name may hold spaces.
fn cram_response(challenge: String, message: &str) -> Option<Step> {
    let (user, digest) = message.rsplit_once(' ')?;
    let user = prepare(user)?.into();
    Some(Step::Ask(Inquiry::Digest { user, challenge, digest: digest.to_owned() }))
}

impl ClientFirst {
    /// `n,[a=authzid],n=user,r=nonce[,extensions]` (RFC 5802 §7).
    fn parse(message: &str) -> Option<ClientFirst> {
        let mut parts = message.splitn(3, ',');
        let (binding, authorization, bare) = (parts.next()?, parts.next()?, parts.next()?);
        // `y`: the client could bind to the channel, and we did not offer it. `p=`: it insists, and we cannot.
        if binding != "n" && binding != "y" {
            return None;
        }
        let mut rest = bare.split(',');
        // `m=` would be an extension that one must understand: it has no place here, and none is understood.
        let user = scram::unsaslname(scram::attribute(&mut rest, "n")?)?;
        let user: String = prepare(&user)?.into();
        let nonce = scram::attribute(&mut rest, "r")?;
        if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let authorization = match authorization {
            "" => String::new(),
            given => scram::unsaslname(given.strip_prefix("a=")?)?,
        };
        let gs2_header = message[..message.len() - bare.len()].to_owned();
        let (bare, nonce) = (bare.to_owned(), nonce.to_owned());
        is_own(&authorization, &user).then_some(ClientFirst { gs2_header, bare, user, nonce })
    }
}

#[cfg(test)]
mod tests;
