use super::super::client;
use super::*;

const PASSWORD: &str = "pencil";

fn keys(password: &str) -> Keys {
    Keys::derive(password, decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096)
}

/// What an owner says who knows one user.
fn is_right(inquiry: &Inquiry) -> bool {
    match inquiry {
        Inquiry::Password { user, password } => user == "user" && password == PASSWORD,
        Inquiry::Digest { user, challenge, digest } => {
            user == "user" && cram::is_right(PASSWORD, challenge.as_bytes(), digest)
        }
        Inquiry::Proof { user, is_right } => user == "user" && *is_right,
        Inquiry::Keys { .. } => unreachable!("answered by keys"),
    }
}

/// Lets our client and our server speak; whether the client got in, and believes the server.
fn converse(mechanism: Mechanism, user: &str, password: &str, with_initial: bool) -> bool {
    let credentials = client::Credentials { user: user.into(), password: password.into() };
    let mut client = client::Exchange::new(mechanism, &credentials, "cnonce").unwrap();
    let mut initial = client.initial_response();
    let given = if with_initial { initial.take() } else { None };
    let (mut server, mut step) = Exchange::begin(mechanism, "snonce".into(), "mx.example", given.as_deref());
    loop {
        step = match step {
            Step::Challenge(challenge) => {
                let response = match initial.take() {
                    Some(response) => response,
                    None => client.handle_challenge(&challenge).unwrap(),
                };
                server.handle_response(&response)
            }
            Step::Ask(Inquiry::Keys { .. }) => server.handle_keys(keys(PASSWORD)),
            Step::Ask(inquiry) if is_right(&inquiry) => server.handle_accepted(),
            Step::Ask(_) => return false,
            Step::Done => return client.handle_success("Ok") == Ok(()),
            Step::Malformed => panic!("{mechanism:?}: our client says what our server does not understand"),
        };
    }
}

#[test]
fn both_sides_agree() {
    for mechanism in Mechanism::ALL {
        for with_initial in [false, true] {
            assert!(converse(mechanism, "user", PASSWORD, with_initial), "{mechanism:?}");
            assert!(converse(mechanism, "u\u{AD}ser", "pen\u{AD}cil", with_initial), "{mechanism:?}: SASLprep");
            assert!(!converse(mechanism, "user", "pencils", with_initial), "{mechanism:?}");
            assert!(!converse(mechanism, "us,=er", PASSWORD, with_initial), "{mechanism:?}");
        }
    }
}

#[test]
fn the_example_of_rfc_7677() {
    let server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
    let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    let (mut exchange, step) = Exchange::begin(Mechanism::ScramSha256, server_nonce, "", Some(first));
    assert!(matches!(step, Step::Ask(Inquiry::Keys { user }) if user == "user"));
    let Step::Challenge(server_first) = exchange.handle_keys(keys(PASSWORD)) else { panic!() };
    let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(String::from_utf8(server_first).unwrap(), expected);
    let client_final = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let step = exchange.handle_response(client_final);
    assert!(matches!(step, Step::Ask(Inquiry::Proof { is_right: true, .. })), "{step:?}");
    let Step::Challenge(server_final) = exchange.handle_accepted() else { panic!() };
    assert_eq!(server_final, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert!(matches!(exchange.handle_response(b""), Step::Done));
}

#[test]
fn malformed_responses() {
    use Mechanism::{CramMd5, Login, Plain, ScramSha256};
    for (mechanism, responses) in [
        (Plain, &["", "user", "\0user", "\0user\0", "\0\0pencil", "\0user\0pencil\0", "other\0user\0pencil"][..]),
        (Plain, &["\0user\0pen\u{7}cil"]),
        (Login, &["", "\u{7}"]),
        (CramMd5, &["user 00"]),
        (
            ScramSha256,
            &[
                "",
                "n,,",
                "n,,n=user",
                "n,,n=user,r=",
                "n,,r=x,n=user",
                "p=tls-unique,,n=user,r=x",
                "n,a=other,n=user,r=x",
                "n,b=user,n=user,r=x",
                "n,,m=x,n=user,r=x",
                "n,,n=us=er,r=x",
                "n,,n=,r=x",
            ],
        ),
    ] {
        for response in responses {
            let (_, step) = Exchange::begin(mechanism, "nonce".into(), "mx", Some(response.as_bytes()));
            assert!(matches!(step, Step::Malformed), "{mechanism:?} {response:?}: {step:?}");
        }
    }
    let (_, step) = Exchange::begin(Plain, "nonce".into(), "mx", Some(b"\0user\0\xff"));
    assert!(matches!(step, Step::Malformed), "not UTF-8");
    let (_, step) = Exchange::begin(Plain, "nonce".into(), "mx", Some(b"user\0user\0pencil"));
    assert!(matches!(step, Step::Ask(_)), "one may name oneself");
}

#[test]
fn names_and_passwords_may_be_long() {
    let (user, password) = ("u".repeat(255), "p".repeat(255));
    let message = format!("{user}\0{user}\0{password}");
    let (_, step) = Exchange::begin(Mechanism::Plain, "nonce".into(), "mx", Some(message.as_bytes()));
    let Step::Ask(Inquiry::Password { user: who, password: what }) = step else { panic!("{step:?}") };
    assert!(who == user && what == password);
}

#[test]
fn a_final_message_of_another_exchange_is_refused() {
    for client_final in [
        "",
        "c=biws,r=xnonce",
        "c=biws,r=other,p=AAAA",
        "c=eSws,r=xnonce,p=AAAA",
        "r=xnonce,c=biws,p=AAAA",
        "c=biws,r=xnonce,p=A",
    ] {
        let (mut exchange, _) = Exchange::begin(Mechanism::ScramSha256, "nonce".into(), "", Some(b"n,,n=user,r=x"));
        exchange.handle_keys(keys(PASSWORD));
        let step = exchange.handle_response(client_final.as_bytes());
        assert!(matches!(step, Step::Malformed), "{client_final}: {step:?}");
    }
    let (mut exchange, _) = Exchange::begin(Mechanism::ScramSha256, "nonce".into(), "", Some(b"n,,n=user,r=x"));
    exchange.handle_keys(keys(PASSWORD));
    let step = exchange.handle_response(b"c=biws,r=xnonce,p=AAAA");
    assert!(matches!(step, Step::Ask(Inquiry::Proof { is_right: false, .. })), "{step:?}");
}

#[test]
fn what_is_asked_shows_no_secret() {
    let (_, step) = Exchange::begin(Mechanism::Plain, "nonce".into(), "mx", Some(b"\0user\0pencil"));
    assert!(!format!("{step:?}").contains("pencil"));
}
