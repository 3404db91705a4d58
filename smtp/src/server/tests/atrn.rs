//! ATRN: a customer comes for its mail.

use super::*;
use crate::sasl::Nonces;

const LOGIN: &str = "C: HELO me
    C: AUTH PLAIN AGFubgBzZWNyZXQ=
    S: 250 mx.example
    S: 235 2.7.0 Authentication succeeded
    E: hello me false
    E: auth PLAIN ann\n";

fn config(without_tls: bool) -> Config {
    let nonces = Arc::new(Nonces::new([7; 32]));
    let auth = Auth { mechanisms: vec![Mechanism::Plain], without_tls, max_failures: 3, nonces };
    Config { atrn: true, auth: Some(auth), ..super::config() }
}

#[test]
fn it_is_announced_with_auth_and_refused_before_it() {
    check(
        config(true),
        "C: ATRN
        C: EHLO me
        C: ATRN
        C: ATRN a.example
        S: 503 5.5.1 Send EHLO first
        S= EHLO
        S: 250-ATRN
        S: 250-HELP
        S: 250 AUTH PLAIN
        S: 530 5.7.0 Authentication required, send AUTH first
        S: 530 5.7.0 Authentication required, send AUTH first
        E: hello me true",
    );
    check(
        config(false),
        "C: HELO me
        C: ATRN
        S: 250 mx.example
        S: 530 5.7.0 Authentication required, send STARTTLS and then AUTH first
        E: hello me false",
    );
}

#[test]
fn after_250_the_client_is_the_server_and_nothing_is_a_command() {
    let script = LOGIN.to_owned()
        + "C: ATRN A.example,b.example
        C: NOOP
        C: MAIL FROM:<a@b>
        S: 250 2.0.0 Reversing
        E: atrn ann a.example b.example
        E: turned
        C: 220 customer.example
        > idle
        > close
        E: closed Shutdown";
    check(config(true), &script);
}

#[test]
fn what_is_refused_leaves_the_conversation_as_it_was() {
    let script = LOGIN.to_owned()
        + "C: ATRN other.test
        C: ATRN a.example,
        C: ATRN a.example b.example
        C: NOOP
        S: 450 4.7.1 Not yours
        S: 501 5.5.4 Syntax: ATRN [domain{,domain}]
        S: 501 5.5.4 Syntax: ATRN [domain{,domain}]
        S: 250 2.0.0 Ok
        E: atrn ann other.test
        C: MAIL FROM:<a@b>
        C: ATRN
        C: RSET
        C: ATRN
        S: 250 2.1.0 Sender ok
        S: 503 5.5.1 Not inside a mail transaction
        S: 250 2.0.0 Ok
        S: 250 2.0.0 Reversing
        E: mail <a@b> None
        E: aborted
        E: atrn ann
        E: turned";
    check(config(true), &script);
}

#[test]
fn the_connection_turns_when_all_before_it_is_answered() {
    let script = LOGIN.to_owned()
        + "C: MAIL FROM:<later@b>
        C: RCPT TO:<c@d>
        C: BDAT 0 LAST
        C: ATRN
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        E: mail <later@b> None
        E: recipient c@d
        E: message 0 to c@d =
        E: atrn ann
        > complete 0 250 2.0.0 Queued
        S: 250 2.0.0 Queued
        S: 250 2.0.0 Reversing
        E: turned";
    check(config(true), &script);
}

#[test]
fn where_nobody_can_log_in_it_is_not_implemented() {
    let lmtp = Config { protocol: Protocol::Lmtp, ..config(true) };
    for config in [Config { auth: None, ..config(true) }, Config { atrn: false, ..config(true) }, lmtp] {
        check(config, "C: ATRN\nS: 502 5.5.1 Command not implemented");
    }
}
