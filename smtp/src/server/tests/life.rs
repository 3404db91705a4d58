//! The life of a connection: pending messages, order, closing, timeouts, TLS.

use super::*;

const TWO_PENDING: &str = "C: HELO me
    C: MAIL FROM:<later@b>
    C: RCPT TO:<c@d>
    C: BDAT 1 LAST
    C~ x
    C: MAIL FROM:<later@b>
    C: RCPT TO:<c@d>
    C: BDAT 1 LAST
    C~ y
    C: NOOP
    S: 250 mx.example
    S: 250 2.1.0 Sender ok
    S: 250 2.1.5 Recipient ok
    E: hello me false
    E: mail <later@b> None
    E: recipient c@d
    E: message 0 to c@d = x
    E: mail <later@b> None
    E: recipient c@d
    E: message 1 to c@d = y\n";

fn check_with_two_pending(script: &str) {
    check(config(), &(TWO_PENDING.to_owned() + script));
}

#[test]
fn replies_keep_the_order_of_commands() {
    check_with_two_pending(
        "> complete 1 250 2.0.0 Second
        > complete 0 451 4.3.0 First
        S: 451 4.3.0 First
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        S: 250 2.0.0 Second
        S: 250 2.0.0 Ok",
    );
    check_with_two_pending(
        "> complete 0 250 2.0.0 First
        S: 250 2.0.0 First
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        > complete 1 250 2.0.0 Second
        S: 250 2.0.0 Second
        S: 250 2.0.0 Ok",
    );
}

#[test]
fn parsing_pauses_while_too_many_are_pending() {
    let mut play = Play::new(Config { max_pending_messages: 2, ..config() });
    let one = "MAIL FROM:<later@b>\r\nRCPT TO:<c@d>\r\nBDAT 1 LAST\r\nx";
    play.send(format!("HELO me\r\n{one}{one}{one}").as_bytes(), usize::MAX);
    assert_eq!((play.messages.len(), play.server.wants_bytes()), (2, false));
    play.act("complete 0 250 2.0.0 Ok");
    assert_eq!((play.messages.len(), play.server.wants_bytes()), (3, false));
    play.act("complete 2 250 2.0.0 Ok");
    assert!(play.server.wants_bytes());
}

#[test]
fn quit_waits_for_pending_messages() {
    check_with_two_pending(
        "C: QUIT
        C: NOOP
        > complete 0 250 2.0.0 First
        S: 250 2.0.0 First
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        > complete 1 250 2.0.0 Second
        S: 250 2.0.0 Second
        S: 250 2.0.0 Ok
        S: 221 2.0.0 Bye
        E: closed Quit
        > eof
        > idle
        > close",
    );
}

#[test]
fn close_waits_for_pending_messages_and_aborts_the_open_one() {
    check_with_two_pending(
        "C: MAIL FROM:<a@b>
        E: mail <a@b> None
        > close
        E: aborted
        C: NOOP
        > complete 1 250 2.0.0 Second
        > complete 0 250 2.0.0 First
        S: 250 2.0.0 First
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        S: 250 2.0.0 Second
        S: 250 2.0.0 Ok
        S: 250 2.1.0 Sender ok
        S: 421 4.3.2 Going down
        E: closed Shutdown",
    );
}

#[test]
fn close_in_the_middle_of_a_body_aborts_it() {
    for content in ["C: DATA\nC: x\nS: 354 End data with <CR><LF>.<CR><LF>\n", "C: BDAT 10\nC: x\n"] {
        check_in_transaction(
            config(),
            &format!("{content}> close\nS: 421 4.3.2 Going down\nE: aborted\nE: closed Shutdown\nC: y\nC: ."),
        );
    }
}

#[test]
fn a_half_closed_connection_gets_its_replies() {
    check_with_two_pending(
        "C: MAIL FROM:<a@b>
        C~ RCPT TO
        E: mail <a@b> None
        > eof
        E: aborted
        > complete 0 250 2.0.0 First
        S: 250 2.0.0 First
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        > complete 1 250 2.0.0 Second
        S: 250 2.0.0 Second
        S: 250 2.0.0 Ok
        S: 250 2.1.0 Sender ok
        E: closed Eof",
    );
}

#[test]
fn what_came_before_eof_is_parsed_once_there_is_room() {
    let mut play = Play::new(Config { max_pending_messages: 1, ..config() });
    let one = "MAIL FROM:<later@b>\r\nRCPT TO:<c@d>\r\nBDAT 1 LAST\r\nx";
    play.send(format!("HELO me\r\n{one}{one}").as_bytes(), usize::MAX);
    play.act("eof");
    play.act("complete 0 250 2.0.0 Ok");
    assert_eq!(play.messages.len(), 2);
    play.act("complete 1 250 2.0.0 Ok");
    assert_eq!(play.seen.last().unwrap(), "closed Eof");
}

#[test]
fn eof_in_content_aborts() {
    check_in_transaction(
        config(),
        "C: DATA\nC: x\nC~ .\\r\nS: 354 End data with <CR><LF>.<CR><LF>\n> eof\nE: aborted\nE: closed Eof",
    );
    check_in_transaction(config(), "C: BDAT 9 LAST\nC: x\n> eof\nE: aborted\nE: closed Eof");
}

#[test]
fn silence_ends_it() {
    check_in_transaction(
        config(),
        "> idle\nS: 421 4.4.2 Nothing came for too long; closing the connection\nE: aborted\nE: closed Timeout\n> idle",
    );
}

#[test]
fn our_own_slowness_is_no_silence_of_the_client() {
    let mut play = Play::new(config());
    play.send(b"HELO me\r\nMAIL FROM:<later@b>\r\nRCPT TO:<c@d>\r\nBDAT 1 LAST\r\nx", usize::MAX);
    assert_eq!(play.server.poll_timeout(), None);
    play.now += Duration::from_secs(1000);
    play.act("complete 0 250 2.0.0 Ok");
    play.act("idle");
    assert_eq!(play.server.poll_timeout(), Some(play.now + Duration::from_secs(300)));
    play.server.handle_timeout(play.now + Duration::from_secs(299));
    play.act("idle");
    assert_eq!(play.seen.last().unwrap(), "closed Timeout");
}

#[test]
fn nothing_that_came_behind_starttls_survives_it() {
    let tls = Config { starttls: true, smtputf8: false, ..config() };
    check(
        tls.clone(),
        "C: EHLO before
        S: 250-mx.example
        S: 250-SIZE 1000
        S: 250-PIPELINING
        S: 250-8BITMIME
        S: 250-CHUNKING
        S: 250-ENHANCEDSTATUSCODES
        S: 250-STARTTLS
        S: 250 HELP
        E: hello before true
        C: STARTTLS
        C: EHLO injected
        C~ RSET
        S: 220 2.0.0 Ready to start TLS
        E: tls
        C: injected
        > tls
        C: MAIL FROM:<a@b>
        S: 503 5.5.1 Send EHLO first
        C: EHLO behind
        C: STARTTLS
        S: 250-mx.example
        S: 250-SIZE 1000
        S: 250-PIPELINING
        S: 250-8BITMIME
        S: 250-CHUNKING
        S: 250-ENHANCEDSTATUSCODES
        S: 250 HELP
        S: 503 5.5.1 TLS is up already
        E: hello behind true",
    );
    check_in_transaction(tls.clone(), "C: STARTTLS\nS: 503 5.5.1 Not inside a mail transaction");
    check(tls.clone(), "C: STARTTLS\nS: 220 2.0.0 Ready to start TLS\nE: tls\n> idle\nE: closed Timeout");
    check(tls.clone(), "C: STARTTLS\nS: 220 2.0.0 Ready to start TLS\nE: tls\n> close\nE: closed Shutdown");
    check(
        tls,
        &format!(
            "{TWO_PENDING}C: STARTTLS\nC: NOOP\n> complete 1 250 2.0.0 Second\n> complete 0 250 2.0.0 First\nS: 250 2.0.0 First\nS: 250 2.1.0 Sender ok\nS: 250 2.1.5 Recipient ok\nS: 250 2.0.0 Second\nS: 250 2.0.0 Ok\nS: 220 2.0.0 Ready to start TLS\nE: tls"
        ),
    );
}

#[test]
fn a_new_hello_and_rset_end_the_transaction() {
    check_in_transaction(
        config(),
        "C: HELO again\nS: 250 mx.example\nE: aborted\nE: hello again false\nC: RSET\nS: 250 2.0.0 Ok",
    );
    check_in_transaction(config(), "C: BDAT 1\nC~ x\nC: RSET\nS: 250 2.0.0 Ok\nS: 250 2.0.0 Ok\nE: aborted");
}

#[test]
fn an_unwanted_connection_gets_its_reply_and_closes() {
    let now = Instant::now();
    let mut server = Server::refuse(Arc::new(config()), reply("421 4.3.2 Full"), now);
    server.handle_bytes(Bytes::from_static(b"HELO me\r\n"), now);
    assert!(matches!(server.poll_event(), Some(Event::Closed(CloseReason::Shutdown))));
    assert!(server.poll_event().is_none() && server.poll_timeout().is_none() && !server.wants_bytes());
    assert_eq!(server.poll_transmit(), &b"421 4.3.2 Full\r\n"[..]);
}

#[test]
fn who_is_turned_away_may_say_quit_and_nothing_else() {
    let now = Instant::now();
    let refuse = || Server::refuse(Arc::new(config()), reply("554 5.7.1 Not you"), now);
    let hear = |server: &mut Server, said: &'static [u8]| {
        server.handle_bytes(Bytes::from_static(said), now);
        let closed = std::iter::from_fn(|| server.poll_event()).map(|event| format!("{event:?}")).collect::<String>();
        (String::from_utf8(server.poll_transmit().split().to_vec()).unwrap(), closed)
    };
    let mut server = refuse();
    assert_eq!(hear(&mut server, b""), ("554 5.7.1 Not you\r\n".into(), String::new()));
    let refusal = format!("{}\r\n", answers::TURNED_AWAY);
    assert_eq!(hear(&mut server, b"EHLO me\r\nMAIL FROM:<a@b>\r\n"), (refusal.repeat(2), String::new()));
    assert_eq!(hear(&mut server, b"quit\r\n"), ("221 2.0.0 Bye\r\n".into(), "Closed(Quit)".into()));
    // It is not waited for as long as others are, nor as patiently.
    let mut server = refuse();
    assert_eq!(server.poll_timeout(), Some(now + TURNED_AWAY_TIMEOUT));
    let (said, closed) = hear(&mut server, b"DATA\r\n.\r\nBDAT 1\r\nx\r\nQUIT\r\n");
    assert!(said.ends_with(&format!("{refusal}421 4.7.0 Too many errors, closing the connection\r\n")), "{said}");
    assert_eq!(closed, "Closed(TooManyErrors)");
}

#[test]
fn where_tls_comes_first_nothing_is_taken_before_it() {
    let refusals: String = ["HELO me", "MAIL FROM:<a@b>", "RSET", "VRFY a", "HELP", "AUTH PLAIN", "ETRN a.example"]
        .iter()
        .map(|line| format!("C: {line}\nS: 530 5.7.0 Must issue a STARTTLS command first\n"))
        .collect();
    check(
        Config { starttls: true, tls_first: true, max_errors: 20, ..config() },
        &format!(
            "{refusals}C: NOOP
            S: 250 2.0.0 Ok
            C: BDAT 2
            C~ ab
            S: 503 5.5.1 Send MAIL first
            C: STARTTLS
            S: 220 2.0.0 Ready to start TLS
            E: tls
            > tls
            C: HELO me
            C: MAIL FROM:<a@b>
            S: 250 mx.example
            S: 250 2.1.0 Sender ok
            E: hello me false
            E: mail <a@b> None"
        ),
    );
}

#[test]
fn close_answers_an_open_question() {
    let now = Instant::now();
    let mut server = Server::new(Arc::new(config()), now);
    server.poll_transmit().clear();
    server.handle_bytes(Bytes::from_static(b"HELO me\r\nMAIL FROM:<a@b>\r\nNOOP\r\n"), now);
    assert!(matches!(server.poll_event(), Some(Event::Hello { .. })));
    assert!(matches!(server.poll_event(), Some(Event::Mail { .. })));
    assert!(server.poll_event().is_none(), "a question stops parsing");
    server.close(reply("421 4.3.2 Down"));
    server.answer(SENDER_OK);
    assert!(matches!(server.poll_event(), Some(Event::Closed(CloseReason::Shutdown))));
    assert_eq!(server.poll_transmit(), &b"250 mx.example\r\n421 4.3.2 Down\r\n"[..]);
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let mut server = Server::new(Arc::new(config()), Instant::now());
    server.handle_bytes(Bytes::from("NOOP\r\n".repeat(10_000)), Instant::now());
    assert!(server.poll_event().is_none() && !server.wants_bytes());
    server.poll_transmit().clear();
    assert!(server.wants_bytes());
}

/// An octet now and then is no command: the silence goes on until a whole one has come.
#[test]
fn half_a_command_is_silence() {
    let mut play = Play::new(config());
    let begun = play.now;
    play.send(b"EHLO me\r\nNO", usize::MAX);
    for octet in b"OP and so on" {
        play.now += Duration::from_secs(60);
        play.server.handle_bytes(Bytes::copy_from_slice(&[*octet]), play.now);
        play.drain();
        play.server.handle_timeout(play.now);
        play.drain();
        if play.server.poll_timeout().is_none() {
            break;
        }
    }
    assert!(play.heard.ends_with("421 4.4.2 Nothing came for too long; closing the connection\r\n"), "{}", play.heard);
    assert_eq!(play.seen.last().unwrap(), "closed Timeout");
    assert!(play.now - begun < Duration::from_secs(400), "it did not take an octet each time for more");
}

/// A busy client has an hour for a transaction, whether it sends content or RCPT after RCPT.
#[test]
fn a_transaction_ends_some_time() {
    for octets in [&b"x\r\n"[..], b"RCPT TO:<nobody@d>\r\n"] {
        let mut play = Play::new(Config { max_errors: 1_000_000, ..config() });
        play.send(b"HELO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", usize::MAX);
        if octets.starts_with(b"x") {
            play.send(b"BDAT 999\r\n", usize::MAX);
        }
        let begun = play.now;
        while play.seen.last().unwrap() != "closed Timeout" {
            play.now += Duration::from_secs(60);
            assert!(play.now - begun < Duration::from_secs(4000), "{}", play.heard);
            play.server.handle_bytes(Bytes::copy_from_slice(octets), play.now);
            play.drain();
            play.server.handle_timeout(play.now);
            play.drain();
        }
        assert!(play.heard.ends_with("421 4.4.2 The transaction takes too long; closing the connection\r\n"));
        assert!(play.now - begun >= Duration::from_secs(3540));
        assert_eq!(play.server.take_refusals().last(), Some(&("timeout", 1)));
    }
}

#[test]
fn refusals_are_counted_by_reason_until_they_are_taken() {
    let mut play = Play::new(Config { max_recipients: 1, max_errors: 6, ..config() });
    play.send(b"HELO me\r\nMAIL FROM:<not>\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", usize::MAX);
    play.send(b"RCPT TO:<e@f>\r\nRCPT TO:<g@h>\r\nRCPT TO:<nobody@d>\r\nDATA\r\nx\n.\r\n.\r\n", usize::MAX);
    let taken = play.server.take_refusals();
    assert_eq!(taken, [("bad_sender", 1), ("too_many_recipients", 3), ("bare_newline", 1)]);
    assert_eq!(play.server.take_refusals(), []);
    play.send(&b"WHAT\r\n".repeat(10), usize::MAX);
    assert_eq!(play.server.take_refusals(), [("too_many_errors", 1)]);
}
