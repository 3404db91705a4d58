//! Single commands: order, syntax, parameters, limits.

use super::*;

#[test]
fn a_whole_conversation() {
    check(
        config(),
        "C: EHLO client.example
        S: 250-mx.example
        S: 250-SIZE 1000
        S: 250-PIPELINING
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-CHUNKING
        S: 250-ENHANCEDSTATUSCODES
        S: 250 HELP
        E: hello client.example true
        C: mail from:<ann@a.example> size=20 BODY=8BITMIME
        S: 250 2.1.0 Sender ok
        E: mail <ann@a.example> Some(20)
        C: rcpt to: <bob@b.example>
        S: 250 2.1.5 Recipient ok
        E: recipient bob@b.example
        C: data
        S: 354 End data with <CR><LF>.<CR><LF>
        C: Subject: x
        C:
        C: ..dot
        C: .
        S: 250 2.0.0 Queued
        E: message 0 to bob@b.example = Subject: x\\r\\n\\r\\n.dot\\r\\n
        C: quit
        S: 221 2.0.0 Bye
        E: closed Quit",
    );
}

#[test]
fn commands_without_a_transaction() {
    check(
        config(),
        "C: NOOP
        C: RSET
        C: VRFY ann
        C: EXPN list
        C: HELP
        C: AUTH PLAIN x
        C: STARTTLS
        C: XYZZY
        C: LHLO me
        S: 250 2.0.0 Ok
        S: 250 2.0.0 Ok
        S: 252 2.5.0 Cannot verify, but will take mail for it and try
        S: 502 5.5.1 There are no lists here that could be expanded
        S: 214-2.0.0 Commands: EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT
        S: 214 2.0.0 Extensions are announced in the reply to EHLO; see RFC 5321
        S: 502 5.5.1 Command not implemented
        S: 502 5.5.1 Command not implemented
        S: 500 5.5.1 Command not recognized
        S: 500 5.5.1 This is SMTP, send EHLO",
    );
}

#[test]
fn bad_order() {
    check(
        config(),
        "C: MAIL FROM:<a@b>
        C: RCPT TO:<a@b>
        C: DATA
        S: 503 5.5.1 Send EHLO first
        S: 503 5.5.1 Send MAIL first
        S: 503 5.5.1 Send MAIL first
        C: HELO me
        C: RCPT TO:<a@b>
        S: 250 mx.example
        S: 503 5.5.1 Send MAIL first
        E: hello me false
        C: MAIL FROM:<>
        C: MAIL FROM:<>
        S: 250 2.1.0 Sender ok
        S: 503 5.5.1 MAIL was already given, send RSET to begin anew
        E: mail <> None
        C: DATA
        C: RCPT TO:<c@d>
        S: 503 5.5.1 Send RCPT first
        S: 250 2.1.5 Recipient ok
        E: recipient c@d
        C: RSET
        C: MAIL FROM:<>
        S: 250 2.0.0 Ok
        S: 250 2.1.0 Sender ok
        E: aborted
        E: mail <> None
        C: BDAT 3
        C~ abc
        S: 503 5.5.1 Send RCPT first
        E: aborted",
    );
}

#[test]
fn bad_syntax() {
    check(
        config(),
        "C~ NOOP\\nNO\\0OP\\r\\nNOOP\\rNOOP\\r\\nN\\xffOP\\r\\n
        S: 500 5.5.2 Command lines must end with CR LF, this one ended with LF alone
        S: 500 5.5.2 Command line holds a control character
        S: 500 5.5.2 Command line holds a control character
        S: 500 5.5.2 Command line is neither ASCII nor UTF-8
        C: HELO
        C: QUIT now
        C: VRFY
        S: 501 5.5.4 Give one host name or address literal
        S: 501 5.5.4 This command takes no argument
        S: 501 5.5.4 This command needs an argument",
    );
    let long = "x".repeat(5000);
    check(
        config(),
        &format!(
            "C: NOOP {long}
        C: NOOP
        S: 500 5.5.2 Command line is too long
        S: 250 2.0.0 Ok"
        ),
    );
}

#[test]
fn a_bad_hello_changes_nothing() {
    check_in_transaction(
        config(),
        "C: EHLO
        C: HELO a b
        C: LHLO a
        S: 501 5.5.4 Give one host name or address literal
        S: 501 5.5.4 Give one host name or address literal
        S: 500 5.5.1 This is SMTP, send EHLO
        C: RCPT TO:<c@d>
        S: 250 2.1.5 Recipient ok
        E: recipient c@d",
    );
}

#[test]
fn addresses() {
    check_in_transaction(
        config(),
        "C: RCPT TO:<>
        C: RCPT TO:<a>
        C: RCPT TO:<a@b..c>
        C: RCPT TO:a@b
        C: RCPT TO:<nobody@b>
        C: RCPT TO:<Postmaster>
        C: RCPT TO:<@x,@y:a@[192.0.2.1]>
        C: RCPT TO:<ä@b>
        S: 501 5.1.3 Bad recipient address syntax, it has the form <local-part@domain>
        S: 501 5.1.3 Bad recipient address syntax, it has the form <local-part@domain>
        S: 501 5.1.3 Bad recipient address syntax, it has the form <local-part@domain>
        S: 501 5.5.2 Syntax: RCPT TO:<address> [parameters]
        S: 550 5.1.1 No such user
        S: 250 2.1.5 Recipient ok
        S: 250 2.1.5 Recipient ok
        S: 553 5.6.7 An address that is not ASCII needs the SMTPUTF8 parameter of MAIL
        E: recipient nobody@b
        E: recipient Postmaster@mx.example
        E: recipient a@[192.0.2.1]
        C: RSET
        C: MAIL FROM:<a>
        C: MAIL FROM:<ä@b>
        C: MAIL FROM:<ä@b> SMTPUTF8
        C: RCPT TO:<ö@b>
        S: 250 2.0.0 Ok
        S: 501 5.1.7 Bad sender address syntax, it has the form <local-part@domain>
        S: 553 5.6.7 An address that is not ASCII needs the SMTPUTF8 parameter of MAIL
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        E: aborted
        E: mail <ä@b> None
        E: recipient ö@b",
    );
}

#[test]
fn parameters() {
    let unknown = "555 5.5.4 Parameter not recognized: it was not announced in the reply to EHLO";
    let bad = "501 5.5.4 Bad parameter value, or a parameter given twice";
    let ok = "250 2.1.0 Sender ok";
    let bare = Config { eight_bit_mime: false, smtputf8: false, ..config() };
    for (config, parameters, reply) in [
        (config(), "SIZE=1000", ok),
        (config(), "SIZE=1001", "552 5.3.4 Message is larger than the announced SIZE"),
        (config(), "SIZE=x", bad),
        (config(), "SIZE=", bad),
        (config(), "SIZE", bad),
        (config(), "SIZE=1 SIZE=1", bad),
        (config(), "BODY=7bit", ok),
        (config(), "body=8bitMIME smtputf8", ok),
        (config(), "BODY=7BIT BODY=8BITMIME", bad),
        (config(), "BODY=X", bad),
        (config(), "BODY=BINARYMIME", unknown),
        (config(), "SMTPUTF8=1", bad),
        (config(), "RET=HDRS", unknown),
        (config(), "AUTH=<>", unknown),
        (bare.clone(), "BODY=8BITMIME", unknown),
        (bare.clone(), "SMTPUTF8", unknown),
    ] {
        let declared = parameters.strip_prefix("SIZE=").map(str::parse::<u64>).and_then(Result::ok);
        let event = if reply == ok { format!("E: mail <> {declared:?}") } else { String::new() };
        check(
            config,
            &format!(
                "C: HELO me\nC: MAIL FROM:<> {parameters}\nS: 250 mx.example\nS: {reply}\nE: hello me false\n{event}"
            ),
        );
    }
    check_in_transaction(config(), &format!("C: RCPT TO:<a@b> NOTIFY=NEVER\nS: {unknown}"));
}

#[test]
fn too_many_recipients_are_deferred() {
    check_in_transaction(
        Config { max_recipients: 2, ..config() },
        "C: RCPT TO:<g@h>
        C: DATA
        C: .
        S: 452 4.5.3 Too many recipients, send the rest in another transaction
        S: 354 End data with <CR><LF>.<CR><LF>
        S: 250 2.0.0 Queued
        E: message 0 to c@d e@f =",
    );
}

#[test]
fn too_many_errors_end_it() {
    check(
        Config { max_errors: 2, ..config() },
        "C: HELO me
        C: MAIL FROM:<a@b>
        C: RCPT TO:<nobody@b>
        C: A
        C: RCPT TO:<nobody@b>
        C: NOOP
        S: 250 mx.example
        S: 250 2.1.0 Sender ok
        S: 550 5.1.1 No such user
        S: 500 5.5.1 Command not recognized
        S: 421 4.7.0 Too many errors, closing the connection
        E: hello me false
        E: mail <a@b> None
        E: recipient nobody@b
        E: recipient nobody@b
        E: aborted
        E: closed TooManyErrors",
    );
}

#[test]
fn a_whole_message_clears_the_errors() {
    check_in_transaction(
        Config { max_errors: 1, ..config() },
        "C: A
        C: BDAT 0 LAST
        C: A
        C: A
        S: 500 5.5.1 Command not recognized
        S: 250 2.0.0 Queued
        S: 500 5.5.1 Command not recognized
        S: 421 4.7.0 Too many errors, closing the connection
        E: message 0 to c@d e@f =
        E: closed TooManyErrors",
    );
}

/// Whoever speaks next through that proxy would be taken for the proxy.
#[test]
fn a_proxy_header_where_none_is_wanted_ends_it() {
    let refusal =
        "421 4.7.0 PROXY headers are taken from addresses in `proxy_protocol` of this listener; closing the connection";
    check(
        config(),
        &format!("C: PROXY TCP4 192.0.2.7 10.0.0.1 49152 25\nC: EHLO me\nS: {refusal}\nE: closed TooManyErrors"),
    );
    check(
        config(),
        &format!(
            "C~ \\r\\n\\r\\n\\0\\r\\nQUIT\\n!..\\0..................EHLO me\\r\\n
            S: 500 5.5.1 Command not recognized
            S: 500 5.5.1 Command not recognized
            S: {refusal}
            E: closed TooManyErrors"
        ),
    );
}

#[test]
fn http_is_shown_the_door() {
    check(
        config(),
        "C: POST / HTTP/1.1
        C: Host: mx.example
        C:
        C: MAIL FROM:<a@b>
        S: 421 4.7.0 This is SMTP, not HTTP; closing the connection
        E: closed TooManyErrors",
    );
}

#[test]
fn without_enhanced_codes_there_are_none() {
    check(
        Config { enhanced_status_codes: false, pipelining: false, chunking: false, ..config() },
        "C: EHLO me
        C: NOOP
        C: BDAT 6
        C: QUIT
        S: 250-mx.example
        S: 250-SIZE 1000
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250 HELP
        S: 250 Ok
        S: 502 Command not implemented
        E: hello me true",
    );
}
