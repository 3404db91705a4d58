//! XCLIENT: who may, when, and how the session begins anew.

use super::*;

fn trusted() -> Config {
    Config { xclient: true, ..config() }
}

#[test]
fn the_session_begins_anew() {
    check(
        trusted(),
        "C: EHLO proxy.example
        S= EHLO
        S: 250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT
        S: 250 HELP
        E: hello proxy.example true
        C: XCLIENT NAME=spike.example ADDR=192.0.2.7
        C: MAIL FROM:<a@b>
        C: HELO client.example
        C: MAIL FROM:<a@b>
        S: 220 mx.example ESMTP
        S: 503 5.5.1 Send EHLO first
        S: 250 mx.example
        S: 250 2.1.0 Sender ok
        E: xclient Some(Known(192.0.2.7)) None
        E: hello client.example false
        E: mail <a@b> None",
    );
}

#[test]
fn helo_can_be_said_for_the_client() {
    check(
        trusted(),
        "C: XCLIENT PROTO=SMTP HELO=client.example
        C: XCLIENT ADDR=IPV6:2001:db8::7 HELO=client.example
        C: MAIL FROM:<a@b>
        S: 220 mx.example ESMTP
        S: 220 mx.example ESMTP
        S: 250 2.1.0 Sender ok
        E: xclient None Some(Known(\"client.example\"))
        E: xclient Some(Known(2001:db8::7)) Some(Known(\"client.example\"))
        E: mail <a@b> None",
    );
    check(
        trusted(),
        "C: XCLIENT HELO=[UNAVAILABLE]
        C: MAIL FROM:<a@b>
        S: 220 mx.example ESMTP
        S: 503 5.5.1 Send EHLO first
        E: xclient None Some(Unknown)",
    );
}

#[test]
fn a_client_that_is_not_wanted_ends_it() {
    check(
        trusted(),
        "C: XCLIENT ADDR=192.0.2.66
        C: EHLO me
        S: 550 5.7.1 Not you
        E: xclient Some(Known(192.0.2.66)) None
        E: closed Shutdown",
    );
}

#[test]
fn not_inside_a_transaction_not_malformed_and_not_by_strangers() {
    check_in_transaction(
        trusted(),
        "C: XCLIENT ADDR=192.0.2.7
        C: RSET
        C: XCLIENT
        C: XCLIENT COLOUR=red
        C: XCLIENT NAME=a+0D+0AX-Forged:+20b
        S: 503 5.5.1 Not inside a mail transaction
        S: 250 2.0.0 Ok
        S: 501 5.5.4 Syntax: XCLIENT attribute=value ..., attributes as announced, values in xtext
        S: 501 5.5.4 Syntax: XCLIENT attribute=value ..., attributes as announced, values in xtext
        S: 501 5.5.4 Syntax: XCLIENT attribute=value ..., attributes as announced, values in xtext
        E: aborted",
    );
    check(
        config(),
        "C: XCLIENT ADDR=127.0.0.1
        S: 550 5.7.1 Your address may not use XCLIENT; add it to `xclient` of this listener",
    );
}
