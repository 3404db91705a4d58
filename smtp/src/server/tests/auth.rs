//! AUTH: exchanges, their ends, and what is refused before or behind them. (`AGFubgBzZWNyZXQ=` is ann with her password,
//! `AGFubgB3cm9uZw==` with another, `AGxhdGVyAHNlY3JldA==` one of whom nobody can say anything now.)

use super::*;
use crate::sasl::client::{Credentials, Exchange};
use crate::sasl::{Nonces, decode, encode};

const HELLO: &str = "C: HELO me
    S: 250 mx.example
    E: hello me false\n";

fn offering(mechanisms: &[Mechanism], without_tls: bool) -> Config {
    let nonces = Arc::new(Nonces::new([7; 32]));
    let auth = Auth { mechanisms: mechanisms.to_vec(), without_tls, max_failures: 3, nonces };
    Config { auth: Some(auth), ..config() }
}

fn check_behind_hello(script: &str) {
    check(offering(&Mechanism::ALL, true), &(HELLO.to_owned() + script));
}

#[test]
fn plain_and_login_with_and_without_an_initial_response() {
    check_behind_hello(
        "C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 235 2.7.0 Authentication succeeded
        E: auth PLAIN ann
        C: auth plain AGFubgBzZWNyZXQ=
        S: 503 5.5.1 Authenticated already",
    );
    check_behind_hello(
        "C: AUTH PLAIN
        S: 334\u{20}
        C: AGFubgBzZWNyZXQ=
        S: 235 2.7.0 Authentication succeeded
        E: auth PLAIN ann",
    );
    check_behind_hello(
        "C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: YW5u
        S: 334 UGFzc3dvcmQ6
        C: c2VjcmV0
        C: NOOP
        S: 235 2.7.0 Authentication succeeded
        S: 250 2.0.0 Ok
        E: auth LOGIN ann",
    );
    check_behind_hello(
        "C: AUTH LOGIN YW5u
        S: 334 UGFzc3dvcmQ6
        C: d3Jvbmc=
        S: 535 5.7.8 User name or password is wrong
        E: auth LOGIN ann",
    );
}

#[test]
fn what_ends_an_exchange_leaves_the_conversation_whole() {
    for (line, reply) in [
        ("*", "501 5.7.0 Authentication cancelled"),
        ("not base64", "501 5.5.2 Authentication ended: this is not base64"),
        ("AGFubg==", "501 5.5.2 Authentication ended: this is nothing that the mechanism has"),
        ("", "501 5.5.2 Authentication ended: this is nothing that the mechanism has"),
    ] {
        check_behind_hello(&format!("C: AUTH PLAIN\nS: 334\u{20}\nC: {line}\nC: NOOP\nS: {reply}\nS: 250 2.0.0 Ok"));
    }
    check_behind_hello(
        "C: AUTH PLAIN AGxhdGVyAHNlY3JldA==
        S: 454 4.7.0 Cannot look at this now; try again later
        E: auth PLAIN later
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 235 2.7.0 Authentication succeeded
        E: auth PLAIN ann",
    );
}

#[test]
fn commands_that_are_no_exchange() {
    for (line, reply) in [
        ("AUTH", "501 5.5.4 Syntax: AUTH mechanism [initial-response]"),
        ("AUTH XOAUTH2", "504 5.5.4 Mechanism not recognized: it was not announced in the reply to EHLO"),
        ("AUTH PLAIN !", "501 5.5.2 Authentication ended: this is not base64"),
        (
            "AUTH CRAM-MD5 YW5u",
            "501 5.7.0 This mechanism begins with a challenge, send AUTH without an initial response",
        ),
    ] {
        check_behind_hello(&format!("C: {line}\nS: {reply}"));
    }
    check(offering(&Mechanism::ALL, true), "C: AUTH PLAIN\nS: 503 5.5.1 Send EHLO first");
    check(config(), &format!("{HELLO}C: AUTH PLAIN\nS: 502 5.5.1 Command not implemented"));
    check(
        offering(&[Mechanism::ScramSha256], true),
        &format!(
            "{HELLO}C: AUTH PLAIN\nS: 504 5.5.4 Mechanism not recognized: it was not announced in the reply to EHLO"
        ),
    );
    check_behind_hello(
        "C: MAIL FROM:<a@b> AUTH=<>
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 250 2.1.0 Sender ok
        S: 503 5.5.1 Not inside a mail transaction
        E: mail <a@b> None",
    );
}

#[test]
fn without_encryption_nothing_is_offered() {
    check(
        Config { starttls: true, ..offering(&[Mechanism::Plain], false) },
        "C: EHLO me
        S= EHLO
        S: 250-STARTTLS
        S: 250 HELP
        E: hello me true
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 538 5.7.11 No authentication in clear text, send STARTTLS first
        C: STARTTLS
        S: 220 2.0.0 Ready to start TLS
        E: tls
        > tls
        C: EHLO me
        S= EHLO
        S: 250-HELP
        S: 250 AUTH PLAIN
        E: hello me true
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 235 2.7.0 Authentication succeeded
        E: auth PLAIN ann",
    );
}

#[test]
fn the_third_failure_is_the_last() {
    check_behind_hello(
        "C: AUTH PLAIN AGFubgB3cm9uZw==
        C: AUTH PLAIN AGFubgB3cm9uZw==
        C: AUTH PLAIN AGFubgB3cm9uZw==
        C: AUTH PLAIN AGFubgBzZWNyZXQ=
        S: 535 5.7.8 User name or password is wrong
        S: 535 5.7.8 User name or password is wrong
        S: 421 4.7.0 User name or password is wrong, too many times; closing the connection
        E: auth PLAIN ann
        E: auth PLAIN ann
        E: auth PLAIN ann
        E: closed TooManyErrors",
    );
}

#[test]
fn where_it_is_required_mail_waits_for_it() {
    let said = |without_tls: bool, text: &str| {
        let mut play = Play::new(Config { starttls: true, ..offering(&[Mechanism::Plain], without_tls) });
        play.server.require_auth(true);
        play.send(text.as_bytes(), usize::MAX);
        play.heard.lines().skip(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        said(true, "HELO me\r\nMAIL FROM:<a@b>\r\nAUTH PLAIN AGFubgBzZWNyZXQ=\r\nMAIL FROM:<a@b>\r\n"),
        [
            "530 5.7.0 Authentication required, send AUTH first",
            "235 2.7.0 Authentication succeeded",
            "250 2.1.0 Sender ok"
        ]
    );
    assert_eq!(
        said(false, "HELO me\r\nMAIL FROM:<a@b>\r\n"),
        ["530 5.7.0 Authentication required, send STARTTLS and then AUTH first"]
    );
}

#[test]
fn lines_of_an_exchange_may_be_long_and_not_endless() {
    let mut play = Play::new(offering(&Mechanism::ALL, true));
    play.send(b"HELO me\r\nAUTH PLAIN\r\n", usize::MAX);
    play.send(&[b'A'; 100_000], 1000);
    play.send(b"\r\nAUTH PLAIN\r\n", usize::MAX);
    play.send("A".repeat(12_284).as_bytes(), 1000);
    play.send(b"\r\n", usize::MAX);
    let heard: Vec<&str> = play.heard.lines().skip(2).collect();
    assert_eq!(
        heard,
        [
            "334 ",
            "500 5.5.6 Authentication ended: the line is too long",
            "334 ",
            "501 5.5.2 Authentication ended: this is nothing that the mechanism has"
        ]
    );
}

/// What our own client says, whatever the mechanism; returns the last reply.
fn authenticate(play: &mut Play, mechanism: Mechanism, user: &str, password: &str) -> String {
    let credentials = Credentials { user: user.into(), password: password.into() };
    let mut exchange = Exchange::new(mechanism, &credentials, "client-nonce").unwrap();
    let mut line = format!("AUTH {}", mechanism.name());
    if let Some(initial) = exchange.initial_response() {
        line = format!("{line} {}", encode(initial));
    }
    loop {
        play.heard.clear();
        play.send(format!("{line}\r\n").as_bytes(), 3);
        match play.heard.trim_end_matches("\r\n").strip_prefix("334 ") {
            Some(challenge) => line = encode(exchange.handle_challenge(&decode(challenge).unwrap()).unwrap()),
            None => return play.heard.clone(),
        }
    }
}

#[test]
fn our_own_client_gets_in_by_every_mechanism() {
    for mechanism in Mechanism::ALL {
        let mut play = Play::new(offering(&Mechanism::ALL, true));
        play.send(b"EHLO me\r\n", usize::MAX);
        assert!(play.heard.contains("250 AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN\r\n"), "{}", play.heard);
        for (user, password) in [("ann", "wrong"), ("bob", "secret")] {
            let said = authenticate(&mut play, mechanism, user, password);
            assert_eq!(said, "535 5.7.8 User name or password is wrong\r\n", "{mechanism:?}");
            assert_eq!(play.server.user(), None);
        }
        let said = authenticate(&mut play, mechanism, "ann", "secret");
        assert_eq!(said, "235 2.7.0 Authentication succeeded\r\n", "{mechanism:?}");
        assert_eq!(play.server.user(), Some("ann"));
    }
}

/// A digest that was heard is worth nothing on the next connection.
#[test]
fn challenges_do_not_come_again() {
    let config = offering(&Mechanism::ALL, true);
    let challenge = || {
        let mut play = Play::new(config.clone());
        play.send(b"HELO me\r\nAUTH CRAM-MD5\r\n", usize::MAX);
        play.heard.lines().last().unwrap().to_owned()
    };
    assert_ne!(challenge(), challenge());
}
