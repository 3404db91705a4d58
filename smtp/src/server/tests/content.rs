//! DATA and BDAT: smuggling, limits, facts, refusals.

use super::*;

#[test]
fn smuggled_ends_of_data_are_content_and_refused() {
    for fake in [
        "\\n.\\n",
        "\\r.\\r",
        "\\n.\\r\\n",
        "\\r\\n.\\n",
        "\\r.\\r\\n",
        "\\r\\n.\\r",
        "\\n\\n.\\n\\n",
        "\\r\\r\\n.\\r\\r\\n",
        "\\r\\n.\\r\\r\\n",
        "\\n.\\r",
        "\\r\\n\\n.\\r\\n\\r",
    ] {
        check_in_transaction(
            config(),
            &format!(
                "C: DATA
                C~ Subject: x{fake}MAIL FROM:<smuggled@x>\\r\\n.\\r\\n
                C: NOOP
                S: 354 End data with <CR><LF>.<CR><LF>
                S: 550 5.6.11 Message holds a CR or LF that is not part of CR LF
                S: 250 2.0.0 Ok
                E: aborted"
            ),
        );
    }
}

#[test]
fn a_nul_hides_no_end_of_data() {
    check_in_transaction(
        config(),
        "C: DATA
        C~ a\\r\\n\\0.\\r\\nb\\r\\n.\\0\\r\\nMAIL FROM:<smuggled@x>\\r\\n.\\r\\n
        S: 354 End data with <CR><LF>.<CR><LF>
        S: 250 2.0.0 Queued
        E: message 0 to c@d e@f = a\\r\\n\\x00.\\r\\nb\\r\\n\\x00\\r\\nMAIL FROM:<smuggled@x>\\r\\n",
    );
}

#[test]
fn bare_newlines_can_be_kept() {
    check_in_transaction(
        Config { bare_newline: BareNewline::Keep, ..config() },
        "C: DATA
        C~ a\\n.\\nb\\r.\\r\\r\\n.\\r\\n
        S: 354 End data with <CR><LF>.<CR><LF>
        S: 250 2.0.0 Queued
        E: message 0 to c@d e@f = a\\n.\\nb\\r.\\r\\r\\n",
    );
}

#[test]
fn bare_newlines_can_be_made_whole() {
    let config = Config { bare_newline: BareNewline::Normalize, ..config() };
    check_in_transaction(
        config.clone(),
        "C: DATA
        C~ a\\n.\\nb\\r..\\r\\r\\n.\\r\\n
        C: NOOP
        S: 354 End data with <CR><LF>.<CR><LF>
        S: 250 2.0.0 Queued
        S: 250 2.0.0 Ok
        E: message 0 to c@d e@f = a\\r\\n.\\r\\nb\\r\\n..\\r\\n\\r\\n",
    );
    check_in_transaction(
        config,
        "C: BDAT 3
        C~ a\\nb
        C: BDAT 2 LAST
        C~ \\n\\r
        S: 250 2.0.0 Ok
        S: 250 2.0.0 Queued
        E: message 0 to c@d e@f = a\\r\\nb\\r\\n\\r\\n",
    );
}

/// RFC 3030 §3: under BODY=BINARYMIME a CR or LF is an octet like others.
#[test]
fn binary_content_is_not_made_whole() {
    let mut play = Play::new(Config { bare_newline: BareNewline::Normalize, binary_mime: true, ..config() });
    play.send(b"EHLO me\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<c@d>\r\n", usize::MAX);
    play.send(b"BDAT 3\r\na\nbBDAT 2 LAST\r\n\rc", usize::MAX);
    assert_eq!(play.messages[0].body.to_bytes().escape_ascii().to_string(), "a\\nb\\rc", "{}", play.heard);
}

#[test]
fn smuggled_ends_of_data_stay_content_when_newlines_are_made_whole() {
    for (fake, made) in [
        ("\\n.\\n", "\\r\\n.\\r\\n"),
        ("\\r.\\r", "\\r\\n.\\r\\n"),
        ("\\n.\\r\\n", "\\r\\n.\\r\\n"),
        ("\\r\\n.\\n", "\\r\\n\\r\\n"),
        ("\\r.\\r\\n", "\\r\\n.\\r\\n"),
        ("\\r\\n.\\r\\r\\n", "\\r\\n\\r\\n\\r\\n"),
    ] {
        check_in_transaction(
            Config { bare_newline: BareNewline::Normalize, ..config() },
            &format!(
                "C: DATA
                C~ x{fake}MAIL FROM:<smuggled@x>\\r\\n.\\r\\n
                C: NOOP
                S: 354 End data with <CR><LF>.<CR><LF>
                S: 250 2.0.0 Queued
                S: 250 2.0.0 Ok
                E: message 0 to c@d e@f = x{made}MAIL FROM:<smuggled@x>\\r\\n"
            ),
        );
    }
}

#[test]
fn what_is_made_of_bare_newlines_counts_against_the_limit() {
    check_in_transaction(
        Config { bare_newline: BareNewline::Normalize, ..config() },
        &format!(
            "C: BDAT 501 LAST
            C~ {}
            S: 552 5.3.4 Message is larger than the announced SIZE
            E: aborted",
            "\\n".repeat(501)
        ),
    );
}

#[test]
fn chunks() {
    check_in_transaction(
        config(),
        "C: BDAT 9
        C~ .\\r\\na\\r\\n.\\r\\nBDAT 0\\r\\nBDAT 1\\r\\nb
        C: BDAT 2 LAST
        C~ \\r\\n
        C: NOOP
        S: 250 2.0.0 Ok
        S: 250 2.0.0 Ok
        S: 250 2.0.0 Ok
        S: 250 2.0.0 Queued
        S: 250 2.0.0 Ok
        E: message 0 to c@d e@f = .\\r\\na\\r\\n.\\r\\nb\\r\\n",
    );
    check_in_transaction(
        config(),
        "C: BDAT 3
        C~ a\\r\\n
        C: RCPT TO:<a@b>
        C: DATA
        C: bdat 0 last
        S: 250 2.0.0 Ok
        S: 503 5.5.1 BDAT has begun, send BDAT LAST or RSET
        S: 503 5.5.1 BDAT has begun, send BDAT LAST or RSET
        S: 250 2.0.0 Queued
        E: message 0 to c@d e@f = a\\r\\n
        C: BDAT 1 LAST
        C~ x
        S: 503 5.5.1 Send MAIL first",
    );
    check_in_transaction(
        config(),
        "C: BDAT 3
        C~ a\\r\\n
        C: RSET
        C: BDAT 0 LAST
        S: 250 2.0.0 Ok
        S: 250 2.0.0 Ok
        S: 503 5.5.1 Send MAIL first
        E: aborted",
    );
}

#[test]
fn a_crlf_may_lie_across_chunks_but_not_be_half() {
    check_in_transaction(
        config(),
        "C: BDAT 2\nC~ a\\r\nC: BDAT 1 LAST\nC~ \\n\nS: 250 2.0.0 Ok\nS: 250 2.0.0 Queued\nE: message 0 to c@d e@f = a\\r\\n",
    );
    check_in_transaction(
        config(),
        "C: BDAT 2 LAST
        C~ a\\r
        S: 550 5.6.11 Message holds a CR or LF that is not part of CR LF
        E: aborted",
    );
}

#[test]
fn refused_chunks_are_swallowed() {
    check(
        config(),
        "C: HELO me
        C: MAIL FROM:<a@b>
        C: RCPT TO:<nobody@b>
        C: BDAT 6 LAST
        C: QUIT
        C: BDAT 6
        C: QUIT
        C: MAIL FROM:<a@b>
        C: NOOP
        S: 250 mx.example
        S: 250 2.1.0 Sender ok
        S: 550 5.1.1 No such user
        S: 554 5.5.1 No valid recipients
        S: 503 5.5.1 Send MAIL first
        S: 250 2.1.0 Sender ok
        S: 250 2.0.0 Ok
        E: hello me false
        E: mail <a@b> None
        E: recipient nobody@b
        E: aborted
        E: mail <a@b> None",
    );
}

#[test]
fn a_chunk_of_unknown_size_ends_it() {
    check_in_transaction(
        config(),
        "C: BDAT ten LAST
        C: QUIT
        S: 421 4.5.4 Syntax: BDAT octets [LAST]; closing the connection
        E: aborted
        E: closed TooManyErrors",
    );
}

#[test]
fn data_without_a_valid_recipient() {
    check(
        config(),
        "C: HELO me
        C: MAIL FROM:<a@b>
        C: RCPT TO:<nobody@b>
        C: DATA
        C: RCPT TO:<c@d>
        C: RSET
        C: MAIL FROM:<full@b>
        S: 250 mx.example
        S: 250 2.1.0 Sender ok
        S: 550 5.1.1 No such user
        S: 554 5.5.1 No valid recipients
        S: 250 2.1.5 Recipient ok
        S: 250 2.0.0 Ok
        S: 452 4.3.1 Queue is full
        E: hello me false
        E: mail <a@b> None
        E: recipient nobody@b
        E: recipient c@d
        E: aborted
        E: mail <full@b> None",
    );
}

#[test]
fn content_over_the_limit_is_refused_behind_its_end() {
    let line = "x".repeat(98);
    let full = format!("C: {line}\n").repeat(10);
    check_in_transaction(
        config(),
        &format!(
            "C: DATA\n{full}C: .
            C: NOOP
            S: 354 End data with <CR><LF>.<CR><LF>
            S: 250 2.0.0 Queued
            S: 250 2.0.0 Ok
            E: message 0 to c@d e@f = {}",
            (line.clone() + "\\r\\n").repeat(10)
        ),
    );
    check_in_transaction(
        config(),
        &format!(
            "C: DATA\n{full}C: x
            C: .
            C: NOOP
            S: 354 End data with <CR><LF>.<CR><LF>
            S: 552 5.3.4 Message is larger than the announced SIZE
            S: 250 2.0.0 Ok
            E: aborted"
        ),
    );
    check_in_transaction(
        config(),
        &format!(
            "C: BDAT 1000\n{full}C: BDAT 3
            C: x
            C: BDAT 3 LAST
            C: x
            C: NOOP
            S: 250 2.0.0 Ok
            S: 552 5.3.4 Message is larger than the announced SIZE
            S: 503 5.5.1 Send MAIL first
            S: 250 2.0.0 Ok
            E: aborted"
        ),
    );
}

#[test]
fn content_far_over_the_limit_ends_it() {
    let far = "421 4.7.0 The message goes on far beyond the announced SIZE; closing the connection";
    for size in [1_050_577, u64::MAX] {
        check_in_transaction(config(), &format!("C: BDAT {size}\nC: x\nS: {far}\nE: aborted\nE: closed TooManyErrors"));
    }
    let mut play = Play::new(config());
    play.send(b"HELO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", usize::MAX);
    for _ in 0..17 {
        play.send(&[b'x'; 64 << 10], usize::MAX);
    }
    assert!(play.heard.ends_with(&format!("{far}\r\n")), "{}", play.heard);
    assert_eq!(play.seen[3..], ["aborted", "closed TooManyErrors"]);
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let open = "C: EHLO me
        C: MAIL FROM:<later@b>
        C: LHLO me
        C: MAIL FROM:<later@b>
        C: RCPT TO:<c@d>
        C: RCPT TO:<nobody@d>
        C: RCPT TO:<e@f>
        S: 500 5.5.1 This is LMTP, send LHLO
        S: 503 5.5.1 Send LHLO first
        S= EHLO
        S: 250 HELP
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        S: 550 5.1.1 No such user
        S: 250 2.1.5 Recipient ok
        E: hello me true
        E: mail <later@b> None
        E: recipient c@d
        E: recipient nobody@d
        E: recipient e@f\n";
    let lmtp = Config { protocol: Protocol::Lmtp, ..config() };
    for (action, first, second) in [
        ("each 0 250 2.0.0 One | 550 5.2.1 Two", "250 2.0.0 One", "550 5.2.1 Two"),
        ("complete 0 250 2.0.0 Both", "250 2.0.0 Both", "250 2.0.0 Both"),
    ] {
        let rest = format!("C: BDAT 1 LAST\nC~ x\nE: message 0 to c@d e@f = x\n> {action}\nS: {first}\nS: {second}\n");
        check(lmtp.clone(), &(open.to_owned() + &rest));
    }
    let refused = "550 5.6.11 Message holds a CR or LF that is not part of CR LF";
    check(lmtp, &format!("{open}C: BDAT 1 LAST\nC~ \\n\nS: {refused}\nS: {refused}\nE: aborted"));
}

#[test]
fn lmtp_content_for_nobody_is_out_of_order() {
    for (content, end) in [("C: DATA\n", ""), ("C: BDAT 3 LAST\nC: x\n", "\nE: aborted")] {
        check(
            Config { protocol: Protocol::Lmtp, ..config() },
            &format!(
                "C: LHLO me
                S= EHLO
                S: 250 HELP
                E: hello me true
                C: MAIL FROM:<a@b>
                C: RCPT TO:<nobody@b>
                {content}S: 250 2.1.0 Sender ok
                S: 550 5.1.1 No such user
                S: 503 5.5.1 No valid recipients
                E: mail <a@b> None
                E: recipient nobody@b{end}"
            ),
        );
    }
}

#[test]
fn a_message_tells_all_that_was_found() {
    for bare_newline in [BareNewline::Reject, BareNewline::Keep, BareNewline::Normalize] {
        let mut play = Play::new(Config { bare_newline, ..config() });
        let content = "Received: a\r\nReceived: b\r\n\r\n.ä\r\n";
        play.send(b"HELO me\r\nMAIL FROM:<a@b> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<c@d>\r\n", 1);
        play.send(format!("BDAT {} LAST\r\n{content}", content.len()).as_bytes(), 1);
        let message = &play.messages[0];
        assert!(message.parameters.smtputf8);
        assert_eq!((message.received_count, message.body_bytes), (2, content.len()));
        assert_eq!(message.body.facts(), Body::new(content).facts(), "{bare_newline:?}");
    }
}

#[test]
fn discarded_content_is_counted() {
    let mut play = Play::new(Config { discard_content: true, ..config() });
    play.send(b"HELO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nReceived: x\r\n.\r\n", usize::MAX);
    let message = &play.messages[0];
    assert_eq!((message.body_bytes, message.body.len(), message.received_count), (13, 0, 1));
}
