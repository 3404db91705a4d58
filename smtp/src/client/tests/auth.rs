//! Logging in. The examples' user is `tim`, the password `tanstaaftanstaaf`.

use super::*;
use crate::sasl::client::Credentials;
use crate::sasl::encode;

fn with(starttls: StartTls, in_clear: bool) -> Config {
    let credentials = Credentials { user: "tim".into(), password: "tanstaaftanstaaf".into() };
    let login = Some(Login { credentials, nonce: "nonce".into(), in_clear });
    Config { starttls, login, ..config(Pipelining::Transaction) }
}

/// Greeted in clear text, with these mechanisms.
fn offer(mechanisms: &str) -> String {
    format!("S: 220 mx\nC: EHLO me\nS: 250-mx\nS: 250-PIPELINING\nS: 250 AUTH {mechanisms}\n")
}

/// A server with TLS, played up to its second EHLO reply.
fn secure(mechanisms: &str) -> String {
    format!(
        "S: 220 mx\nC: EHLO me\nS: 250-mx\nS: 250-AUTH PLAIN CRAM-MD5\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nE: starttls\n\
         > trust\n> tls\nC: EHLO me\nS: 250-mx\nS: 250 AUTH {mechanisms}\n"
    )
}

fn plain() -> String {
    encode("\0tim\0tanstaaftanstaaf")
}

const CRAM: &str = "S: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\n\
                    C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\n";

#[test]
fn logs_in_with_what_the_server_offers() {
    let tls = with(StartTls::Opportunistic, false);
    check(tls.clone(), &format!("{}C: AUTH PLAIN {}\nS: 235 2.7.0 Ok\nE: ready", secure("PLAIN LOGIN"), plain()));
    let (user, password) = (encode("tim"), encode("tanstaaftanstaaf"));
    let login = format!(
        "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: {user}\nS: 334 UGFzc3dvcmQ6\nC: {password}\nS: 235 2.7.0 Ok\nE: ready\n\
         > submit 1 b@y\nC: MAIL FROM:<a@x> AUTH=<>"
    );
    check(tls.clone(), &(secure("XOAUTH2 LOGIN") + &login));
    check(tls, &format!("{}C: AUTH CRAM-MD5\n{CRAM}S: 235 Ok\nE: ready", secure("PLAIN CRAM-MD5")));
}

#[test]
fn what_was_offered_before_tls_does_not_count() {
    let script = secure("LOGIN") + "C: AUTH LOGIN\n> wait 300\n> timeout\nE: closed Auth Timeout";
    check(with(StartTls::Opportunistic, false), &script);
}

#[test]
fn the_password_does_not_cross_a_connection_in_clear_text() {
    let clear = with(StartTls::Off, false);
    check(clear.clone(), &format!("{}C: AUTH CRAM-MD5\n{CRAM}S: 235 Ok\nE: ready", offer("CRAM-MD5 PLAIN")));
    let refused = "E: closed Auth the server offers AUTH PLAIN LOGIN: these show the password, and the connection is not encrypted";
    check(clear.clone(), &(offer("PLAIN LOGIN") + refused));
    check(clear, &(offer("GSSAPI") + "E: closed Auth the server offers AUTH GSSAPI: none of these is known here"));
    check(with(StartTls::Off, true), &format!("{}C: AUTH PLAIN {}\nS: 235 Ok\nE: ready", offer("PLAIN"), plain()));
}

#[test]
fn the_password_is_not_shown_to_who_may_be_anybody() {
    let unproven = |mechanisms| secure(mechanisms).replace("> trust\n", "");
    let tls = with(StartTls::Required, false);
    let refused = "E: closed Auth the server offers AUTH PLAIN LOGIN: these show the password, and its certificate does not prove who it is";
    check(tls.clone(), &(unproven("PLAIN LOGIN") + refused));
    check(tls, &format!("{}C: AUTH CRAM-MD5\n{CRAM}S: 235 Ok\nE: ready", unproven("PLAIN CRAM-MD5")));
    let anyhow = format!("{}C: AUTH PLAIN {}\nS: 235 Ok\nE: ready", unproven("PLAIN"), plain());
    check(with(StartTls::Required, true), &anyhow);
}

#[test]
fn without_auth_there_is_no_mail() {
    let none = "E: closed Auth a user is configured, and the server offers no AUTH";
    let clear = with(StartTls::Off, true);
    check(clear.clone(), &format!("S: 220 mx\nC: EHLO me\nS: 250 mx\n{none}"));
    check(
        clear.clone(),
        &format!("S: 220 mx\nC: EHLO me\nS: 502 what\nC: HELO me\nS: 250-mx\nS: 250 AUTH PLAIN\n{none}"),
    );
    check(Config { protocol: Protocol::Lmtp, ..clear }, &format!("S: 220 mx\nC: LHLO me\nS: 250 mx\n{none}"));
}

#[test]
fn a_refusal_is_told_with_the_server_s_words() {
    let clear = with(StartTls::Off, true);
    let asked = format!("{}C: AUTH PLAIN {}\n", offer("PLAIN"), plain());
    for reply in ["535 5.7.8 no", "454 4.7.0 not now"] {
        check(clear.clone(), &format!("{asked}S: {reply}\nE: closed Auth {reply}\nC: QUIT"));
    }
    check(clear.clone(), &format!("{asked}S: 421 4.3.2 bye\nE: closed Auth 421 4.3.2 bye"));
    check(clear.clone(), &format!("{asked}> eof\nE: closed Auth Eof"));
    check(clear, &format!("{asked}S: 354 go\nE: closed Auth an intermediate reply came where none is allowed"));
}

#[test]
fn an_exchange_that_makes_no_sense_is_given_up() {
    let given_up = |mechanisms: &str, from: &str, why: &str| {
        let end = format!("C: *\nS: 501 5.7.0 given up\nE: closed Auth {why}");
        check(with(StartTls::Off, true), &format!("{}{from}\n{end}", offer(mechanisms)));
    };
    given_up("CRAM-MD5", "C: AUTH CRAM-MD5\nS: 334 what?", "the server's challenge is no base64");
    let more = format!("C: AUTH PLAIN {}\nS: 334 ", plain());
    given_up("PLAIN", &more, "the server sent a challenge that the mechanism does not have");
    let first = encode("n,,n=tim,r=nonce");
    let weak = encode("r=nonce+,s=AAAA,i=1");
    given_up(
        "SCRAM-SHA-256 PLAIN",
        &format!("C: AUTH SCRAM-SHA-256 {first}\nS: 334 {weak}"),
        "the server asks for 1 iterations, which is not within 4096 to 200000",
    );
}

#[test]
fn a_server_that_lets_in_without_its_proof_gets_no_mail() {
    let first = encode("n,,n=tim,r=nonce");
    check(
        with(StartTls::Off, false),
        &format!(
            "{}C: AUTH SCRAM-SHA-256 {first}\nS: 235 welcome\n\
             E: closed Auth the server did not prove that it knows the password: it may be another one",
            offer("SCRAM-SHA-256")
        ),
    );
}

#[test]
fn a_long_initial_response_waits_for_the_challenge() {
    let password = "p".repeat(500);
    let credentials = Credentials { user: "tim".into(), password: password.clone().into() };
    let login = Some(Login { credentials, nonce: "nonce".into(), in_clear: true });
    let response = encode(format!("\0tim\0{password}"));
    check(
        Config { login, ..with(StartTls::Off, true) },
        &format!("{}C: AUTH PLAIN\nS: 334 \nC: {response}\nS: 235 Ok\nE: ready", offer("PLAIN")),
    );
}

#[test]
fn a_quit_in_the_middle_ends_it() {
    let script = format!("{}C: AUTH PLAIN {}\n> quit\nE: closed Quit Done", offer("PLAIN"), plain());
    check(with(StartTls::Off, true), &script);
}
