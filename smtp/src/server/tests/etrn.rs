//! ETRN and TURN, and a question that is answered later.

use super::*;

fn config() -> Config {
    Config { etrn: true, ..super::config() }
}

#[test]
fn mail_is_asked_for_between_transactions() {
    check(
        config(),
        "C: ETRN b.example
        C: EHLO me
        C: etrn B.example
        C: ETRN @b.example
        C: ETRN #b
        C: ETRN
        C: ETRN b@c
        C: TURN
        S: 503 5.5.1 Send EHLO first
        S= EHLO
        S: 250-ETRN
        S: 250 HELP
        S: 253 2.0.0 2 pending messages started
        S: 253 2.0.0 2 pending messages started
        S: 459 4.7.1 Node not allowed: queues have no names here, give a domain
        S: 501 5.5.4 This command needs an argument
        S: 501 5.5.4 Syntax: ETRN domain, or ETRN @domain for those below it too
        S: 502 5.5.1 TURN would hand mail to whoever asks for it; use ATRN or ETRN
        E: hello me true
        E: etrn b.example
        E: etrn @b.example
        C: MAIL FROM:<a@b>
        C: ETRN b.example
        S: 250 2.1.0 Sender ok
        S: 503 5.5.1 Not inside a mail transaction
        E: mail <a@b> None",
    );
}

#[test]
fn replies_are_ascii_whatever_they_quote() {
    let mut play = Play::new(Config { etrn: true, ..config() });
    play.send("EHLO me\r\nETRN later.example\r\n".as_bytes(), 100);
    play.act("answer 251 2.0.0 nothing for gr\u{fc}n.example");
    assert!(play.heard.ends_with("251 2.0.0 nothing for gr?n.example\r\n"), "{}", play.heard);
}

#[test]
fn what_follows_waits_for_the_answer() {
    check(
        config(),
        "C: HELO me
        C: ETRN later.example
        C: NOOP
        S: 250 mx.example
        E: hello me false
        E: etrn later.example
        > answer 251 2.0.0 OK, no messages waiting
        S: 251 2.0.0 OK, no messages waiting
        S: 250 2.0.0 Ok",
    );
    let mut play = Play::new(config());
    play.send(b"HELO me\r\nETRN later.example\r\n", usize::MAX);
    assert!(!play.server.wants_bytes(), "what comes meanwhile stays in the socket");
    play.act("answer 251 2.0.0 None");
    assert!(play.server.wants_bytes());
}

#[test]
fn an_answer_that_comes_too_late_is_not_given() {
    check(
        config(),
        "C: HELO me
        C: ETRN later.example
        S: 250 mx.example
        E: hello me false
        E: etrn later.example
        > close
        S: 421 4.3.2 Going down
        E: closed Shutdown
        > answer 251 2.0.0 None",
    );
}

#[test]
fn where_it_is_off_or_would_make_no_sense_it_is_not_implemented() {
    for config in [super::config(), Config { protocol: Protocol::Lmtp, ..config() }] {
        check(config, "C: ETRN b.example\nS: 502 5.5.1 Command not implemented");
    }
}
