//! The side that logs in.
//!
//! ```text
//! AUTH <name> [initial_response]      ─▶
//!                                     ◀─ 334 challenge      handle_challenge gives the response
//! response                            ─▶
//!                                     ◀─ 235                handle_success has the last word
//! ```

use super::scram::{self, Keys, ServerFirst};
use super::{Mechanism, cram, decode, prepare};

/// A user and the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The authentication identity; no authorization identity is asked for.
    pub user: Box<str>,
    /// In clear text.
    pub password: Box<str>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why an exchange cannot go on. The client says `*` where the server awaits a response, and gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Ours: SASLprep prohibits something in the user name or in the password.
    #[error("the user name or the password is empty, too long, or holds characters that SASLprep (RFC 4013) prohibits")]
    CredentialsNotPreparable,
    /// The server's.
    #[error("the server sent a challenge that the mechanism does not have")]
    UnexpectedChallenge,
    /// The server's: a SCRAM message that cannot be read, or one with another nonce.
    #[error("the server sent a malformed challenge")]
    MalformedChallenge,
    /// The server's: fewer than RFC 7677 asks for, or so many that computing them would hold us up.
    #[error("the server asks for {0} iterations, which is not within 4096 to 200000")]
    IterationsOutOfRange(u32),
    /// Whoever answered does not know the password either.
    #[error("the server did not prove that it knows the password: it may be another one")]
    ServerNotProven,
}

/// One exchange, from AUTH to 235.
pub struct Exchange {
    mechanism: Mechanism,
    user: String,
    password: String,
    state: State,
}

enum State {
    /// Nothing was sent.
    Begin,
    /// LOGIN: the name was sent.
    NameSent,
    /// SCRAM: its first message was sent.
    FirstSent { bare: String, nonce: String },
    /// SCRAM: its final message was sent.
    FinalSent { server_final: String },
    /// The server has nothing to ask any more.
    End,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Nothing is sent yet. `nonce`: printable ASCII without a comma, unpredictable and never used before (RFC 5802
    /// §5.1); only SCRAM uses it.
    ///
    /// # Errors
    /// The credentials cannot be prepared.
    pub fn new(mechanism: Mechanism, credentials: &Credentials, nonce: &str) -> Result<Exchange, ExchangeError> {
        let prepared = |text| prepare(text).map(String::from).ok_or(ExchangeError::CredentialsNotPreparable);
        let (user, password) = (prepared(&credentials.user)?, prepared(&credentials.password)?);
        let state = match mechanism {
            Mechanism::ScramSha256 => {
                let bare = format!("n={},r={nonce}", scram::saslname(&user));
                State::FirstSent { bare, nonce: nonce.to_owned() }
            }
            _ => State::Begin,
        };
        Ok(Exchange { mechanism, user, password, state })
    }

    /// The mechanism.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What goes with the AUTH command, before base64; `None`: nothing, the server begins. If it is too long for the
    /// command line, send AUTH alone, and this as the response to an empty challenge (RFC 4954 §4).
    pub fn initial_response(&mut self) -> Option<Vec<u8>> {
        match &self.state {
            State::Begin if self.mechanism == Mechanism::Plain => {
                self.state = State::End;
                Some(format!("\0{}\0{}", self.user, self.password).into_bytes())
            }
            State::FirstSent { bare, .. } => Some(format!("n,,{bare}").into_bytes()),
            _ => None,
        }
    }

    /// The response to a challenge, both without base64.
    ///
    /// # Errors
    /// The exchange cannot go on.
    pub fn handle_challenge(&mut self, challenge: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        match (std::mem::replace(&mut self.state, State::End), self.mechanism) {
            // The prompts differ from server to server; their order does not.
            (State::Begin, Mechanism::Login) => {
                self.state = State::NameSent;
                Ok(self.user.clone().into_bytes())
            }
            (State::NameSent, _) => Ok(self.password.clone().into_bytes()),
            (State::Begin, Mechanism::CramMd5) => {
                Ok(format!("{} {}", self.user, cram::digest(&self.password, challenge)).into_bytes())
            }
            (State::FirstSent { bare, nonce }, _) => self.prove(&bare, &nonce, challenge),
            (State::FinalSent { server_final }, _) => {
                let proven = challenge == server_final.as_bytes();
                // What comes next is 235, and nothing is left to check.
                if proven { Ok(Vec::new()) } else { Err(ExchangeError::ServerNotProven) }
            }
            _ => Err(ExchangeError::UnexpectedChallenge),
        }
    }

    fn prove(&mut self, bare: &str, nonce: &str, challenge: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let server_first = std::str::from_utf8(challenge).map_err(|_| ExchangeError::MalformedChallenge)?;
        let first = ServerFirst::parse(server_first).ok_or(ExchangeError::MalformedChallenge)?;
        if !first.nonce.starts_with(nonce) || first.nonce.len() == nonce.len() {
            return Err(ExchangeError::MalformedChallenge);
        }
        if !(scram::MIN_ITERATIONS..=scram::MAX_ITERATIONS).contains(&first.iterations) {
            return Err(ExchangeError::IterationsOutOfRange(first.iterations));
        }
        let salted = scram::salted_password(&self.password, &first.salt, first.iterations);
        let client_key = scram::hmac(&salted, b"Client Key");
        let stored_key = scram::hash(&client_key);
        let server_key = scram::hmac(&salted, b"Server Key");
        let without_proof = format!("c=biws,r={}", first.nonce);
        let auth_message = format!("{bare},{server_first},{without_proof}");
        let proof = scram::xor(&client_key, &scram::hmac(&stored_key, auth_message.as_bytes()));
        let keys = Keys { salt: first.salt, iterations: first.iterations, stored_key, server_key };
        self.state = State::FinalSent { server_final: keys.server_final(&auth_message) };
        Ok(format!("{without_proof},p={}", super::encode(proof)).into_bytes())
    }

    /// 235 has come, with this text behind the codes (some servers put SCRAM's last message there).
    ///
    /// # Errors
    /// The server skipped the proof that SCRAM asks of it.
    pub fn handle_success(&mut self, text: &str) -> Result<(), ExchangeError> {
        match &self.state {
            State::End => Ok(()),
            State::FinalSent { server_final } => {
                let in_text = decode(text.split(' ').next_back().unwrap_or_default());
                let proven = in_text.is_some_and(|octets| octets == server_final.as_bytes());
                if proven { Ok(()) } else { Err(ExchangeError::ServerNotProven) }
            }
            _ => Err(ExchangeError::ServerNotProven),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(mechanism: Mechanism, user: &str, password: &str, nonce: &str) -> Exchange {
        let credentials = Credentials { user: user.into(), password: password.into() };
        Exchange::new(mechanism, &credentials, nonce).unwrap()
    }

    #[test]
    fn plain_and_login() {
        let mut plain = exchange(Mechanism::Plain, "tim", "tanstaaftanstaaf", "");
        assert_eq!(plain.initial_response().unwrap(), b"\0tim\0tanstaaftanstaaf");
        assert_eq!(plain.handle_challenge(b""), Err(ExchangeError::UnexpectedChallenge));
        let mut login = exchange(Mechanism::Login, "tim", "secret", "");
        assert_eq!(login.initial_response(), None);
        assert_eq!(login.handle_challenge(b"Username:").unwrap(), b"tim");
        assert_eq!(login.handle_challenge(b"Password:").unwrap(), b"secret");
        assert_eq!(login.handle_success("Ok"), Ok(()));
        assert_eq!(login.handle_challenge(b"More:"), Err(ExchangeError::UnexpectedChallenge));
    }

    #[test]
    fn the_example_of_rfc_2195() {
        let mut cram = exchange(Mechanism::CramMd5, "tim", "tanstaaftanstaaf", "");
        assert_eq!(cram.initial_response(), None);
        let challenge = decode("PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+").unwrap();
        let response = cram.handle_challenge(&challenge).unwrap();
        assert_eq!(super::super::encode(response), "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw");
    }

    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    #[test]
    fn the_example_of_rfc_7677() {
        let mut scram = exchange(Mechanism::ScramSha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(scram.initial_response().unwrap(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(scram.handle_challenge(SERVER_FIRST.as_bytes()).unwrap(), expected.as_bytes());
        assert_eq!(scram.handle_success("Ok"), Err(ExchangeError::ServerNotProven), "no proof so far");
        let server_final = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(scram.handle_challenge(server_final).unwrap(), b"");
        assert_eq!(scram.handle_success("Ok"), Ok(()));
    }

    #[test]
    fn the_servers_proof_may_come_with_235() {
        let mut scram = exchange(Mechanism::ScramSha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        scram.handle_challenge(SERVER_FIRST.as_bytes()).unwrap();
        let text = super::super::encode("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(scram.handle_success(&format!("Ok {text}")), Ok(()));
    }

    #[test]
    fn a_server_that_is_none_is_not_believed() {
        for (challenge, error) in [
            ("r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", ExchangeError::MalformedChallenge),
            ("r=mine,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", ExchangeError::MalformedChallenge),
            ("r=mine+,s=W22ZaJ0SNY7soEsUEjb6gQ,i=4096", ExchangeError::MalformedChallenge),
            ("r=mine+,s=AAAA,i=0", ExchangeError::IterationsOutOfRange(0)),
            ("r=mine+,s=AAAA,i=4000000000", ExchangeError::IterationsOutOfRange(4_000_000_000)),
            ("m=x,r=mine+,s=AAAA,i=4096", ExchangeError::MalformedChallenge),
            ("", ExchangeError::MalformedChallenge),
        ] {
            let mut scram = exchange(Mechanism::ScramSha256, "user", "pencil", "mine");
            assert_eq!(scram.handle_challenge(challenge.as_bytes()), Err(error), "{challenge}");
        }
        let mut scram = exchange(Mechanism::ScramSha256, "user", "pencil", "rOprNGfwEbeRWgbNEkqO");
        scram.handle_challenge(SERVER_FIRST.as_bytes()).unwrap();
        assert_eq!(scram.handle_challenge(b"v=AAAA"), Err(ExchangeError::ServerNotProven));
    }
}
