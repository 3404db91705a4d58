//! SASL exchanges: our server against anything that a client may say, our client against anything that a server may say, and
//! both against each other. Only the right password lets in, and only a server that knows it is believed.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use smtp::sasl::client::{self, Credentials};
use smtp::sasl::scram::{Keys, MIN_ITERATIONS};
use smtp::sasl::server::{Exchange, Inquiry, Step};
use smtp::sasl::{Mechanism, cram, encode, prepare};
use std::sync::LazyLock;

const USER: &str = "user";
const PASSWORD: &str = "pencil";
static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::derive(PASSWORD, b"salt".to_vec(), MIN_ITERATIONS));
/// SCRAM has the most.
const MOST_CHALLENGES: usize = 4;

#[derive(Arbitrary, Debug)]
enum Play {
    /// Responses from anybody; the first one may come with the command.
    Server { mechanism: u8, with_initial: bool, responses: Vec<Vec<u8>> },
    /// Challenges from anybody, then a success.
    Client { mechanism: u8, user: String, password: String, challenges: Vec<Challenge>, success: String },
    /// Both are ours. Without credentials: the right ones.
    Both { mechanism: u8, with_initial: bool, credentials: Option<(String, String)> },
}

/// What a server may say that is more than noise.
#[derive(Arbitrary, Debug)]
enum Challenge {
    Raw(Vec<u8>),
    /// SCRAM's first message.
    Keys {
        nonce: String,
        salt: Vec<u8>,
        iterations: u16,
    },
    /// SCRAM's last message.
    Proof(Vec<u8>),
}

impl Challenge {
    fn octets(&self) -> Vec<u8> {
        match self {
            Challenge::Raw(octets) => octets.clone(),
            Challenge::Keys { nonce, salt, iterations } => {
                // Few more than have to be: they take time.
                let iterations = MIN_ITERATIONS - 1 + u32::from(iterations % 8);
                format!("r=cnonce{nonce},s={},i={iterations}", encode(salt)).into_bytes()
            }
            Challenge::Proof(proof) => format!("v={}", encode(proof)).into_bytes(),
        }
    }
}

fn mechanism(choice: u8) -> Mechanism {
    Mechanism::ALL[usize::from(choice) % Mechanism::ALL.len()]
}

/// What an owner says who knows one user.
fn is_right(inquiry: &Inquiry) -> bool {
    match inquiry {
        Inquiry::Password { user, password } => user == USER && password == PASSWORD,
        Inquiry::Digest { user, challenge, digest } => {
            user == USER && cram::is_right(PASSWORD, challenge.as_bytes(), digest)
        }
        Inquiry::Proof { user, is_right } => user == USER && *is_right,
        Inquiry::Keys { .. } => false,
    }
}

/// The server's side, with its owner.
struct Door {
    exchange: Exchange,
    challenges: usize,
    let_in: bool,
}

/// What the client gets to hear.
enum Heard {
    Challenge(Vec<u8>),
    Success,
    Refusal,
}

impl Door {
    fn open(mechanism: Mechanism, initial: Option<&[u8]>) -> (Door, Heard) {
        let (exchange, step) = Exchange::begin(mechanism, "snonce".into(), "server.test", initial);
        let mut door = Door { exchange, challenges: 0, let_in: false };
        let heard = door.go_on(step);
        (door, heard)
    }

    fn respond(&mut self, response: &[u8]) -> Heard {
        let step = self.exchange.handle_response(response);
        self.go_on(step)
    }

    fn go_on(&mut self, mut step: Step) -> Heard {
        loop {
            step = match step {
                Step::Challenge(challenge) => {
                    self.challenges += 1;
                    assert!(self.challenges <= MOST_CHALLENGES, "an exchange without end");
                    return Heard::Challenge(challenge);
                }
                Step::Ask(Inquiry::Keys { user }) => {
                    assert_eq!(prepare(&user).as_deref(), Some(&*user), "names are asked for in prepared form");
                    self.exchange.handle_keys(KEYS.clone())
                }
                Step::Ask(inquiry) if is_right(&inquiry) => {
                    self.let_in = true;
                    self.exchange.handle_accepted()
                }
                Step::Ask(_) | Step::Malformed => return Heard::Refusal,
                Step::Done => {
                    assert!(self.let_in, "let in without being asked");
                    return Heard::Success;
                }
            };
        }
    }
}

fn serve(mechanism: Mechanism, with_initial: bool, responses: &[Vec<u8>]) {
    let mut responses = responses.iter();
    let initial = if with_initial { responses.next() } else { None };
    let (mut door, mut heard) = Door::open(mechanism, initial.map(Vec::as_slice));
    while let Heard::Challenge(_) = heard {
        let Some(response) = responses.next() else { return };
        heard = door.respond(response);
    }
}

fn visit(mechanism: Mechanism, user: &str, password: &str, challenges: &[Challenge], success: &str) {
    let credentials = Credentials { user: user.into(), password: password.into() };
    let Ok(mut exchange) = client::Exchange::new(mechanism, &credentials, "cnonce") else { return };
    exchange.initial_response();
    for challenge in challenges {
        if exchange.handle_challenge(&challenge.octets()).is_err() {
            return;
        }
    }
    let believed = exchange.handle_success(success).is_ok();
    // The keys of these passwords are in nobody's hands, so nobody can have proven to know them.
    assert!(!believed || mechanism != Mechanism::ScramSha256, "a server is believed that proved nothing");
}

fn meet(mechanism: Mechanism, with_initial: bool, user: &str, password: &str) {
    let credentials = Credentials { user: user.into(), password: password.into() };
    let Ok(mut exchange) = client::Exchange::new(mechanism, &credentials, "cnonce") else { return };
    let mut initial = exchange.initial_response();
    let given = if with_initial { initial.take() } else { None };
    let (mut door, mut heard) = Door::open(mechanism, given.as_deref());
    let right = prepare(user).as_deref() == Some(USER) && prepare(password).as_deref() == Some(PASSWORD);
    loop {
        match heard {
            Heard::Challenge(challenge) => {
                let response = initial.take().map_or_else(|| exchange.handle_challenge(&challenge), Ok);
                heard = door.respond(&response.expect("our server's challenges are understood"));
            }
            Heard::Success => {
                assert_eq!(exchange.handle_success("2.7.0 Ok"), Ok(()));
                return assert!(right, "the wrong password lets in");
            }
            Heard::Refusal => return assert!(!right, "the right password is refused"),
        }
    }
}

fuzz_target!(|play: Play| {
    match play {
        Play::Server { mechanism: choice, with_initial, responses } => {
            serve(mechanism(choice), with_initial, &responses)
        }
        Play::Client { mechanism: choice, user, password, challenges, success } => {
            visit(mechanism(choice), &user, &password, &challenges, &success);
        }
        Play::Both { mechanism: choice, with_initial, credentials } => {
            let (user, password) = credentials.unwrap_or_else(|| (USER.into(), PASSWORD.into()));
            meet(mechanism(choice), with_initial, &user, &password);
        }
    }
});
