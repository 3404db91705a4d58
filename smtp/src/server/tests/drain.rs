//! An orderly end: a transaction that is open comes to its end, nothing new is taken.

use super::*;

#[test]
fn without_a_transaction_it_is_over_at_once() {
    check(
        config(),
        "C: HELO me\nS: 250 mx.example\nE: hello me false\n> drain\nS: 421 4.3.2 Going down\nE: closed Shutdown",
    );
}

#[test]
fn an_open_transaction_comes_to_its_end_and_what_is_behind_it_is_not_taken() {
    let behind = "C: MAIL FROM:<a@b>\nC: RCPT TO:<c@d>\nC: BDAT 1 LAST\nC~ z\n";
    let end = "S: 421 4.3.2 Going down\nE: closed Shutdown\nC: NOOP";
    let took = "S: 250 2.0.0 Queued\n";
    for (before, rest, said, seen) in [
        (
            "",
            "C: RCPT TO:<e@d>\nC: DATA\nC: x\nC: .\n",
            "S: 250 2.1.5 Recipient ok\nS: 354 End data with <CR><LF>.<CR><LF>\nS: 250 2.0.0 Queued\n",
            "E: recipient e@d\nE: message 0 to c@d e@f e@d = x\\r\\n\n",
        ),
        (
            "C: DATA\nC: x\nS: 354 End data with <CR><LF>.<CR><LF>\n",
            "C: y\nC: .\n",
            took,
            "E: message 0 to c@d e@f = x\\r\\ny\\r\\n\n",
        ),
        ("C: BDAT 1\nC~ x\nS: 250 2.0.0 Ok\n", "C: BDAT 2 LAST\nC~ yz\n", took, "E: message 0 to c@d e@f = xyz\n"),
        ("C: BDAT 3 LAST\nC~ x\n", "C~ yz\n", took, "E: message 0 to c@d e@f = xyz\n"),
        ("", "C: NOOP\nC: RSET\n", "S: 250 2.0.0 Ok\nS: 250 2.0.0 Ok\n", "E: aborted\n"),
        ("", "C: HELO again\n", "S: 250 mx.example\n", "E: aborted\nE: hello again false\n"),
        (
            "C: BDAT 3 LAST\nC~ x\n",
            "C~ \\nz\n",
            "S: 550 5.6.11 Message holds a CR or LF that is not part of CR LF\n",
            "E: aborted\n",
        ),
    ] {
        check_in_transaction(config(), &format!("{before}> drain\n{rest}{behind}{said}{seen}{end}"));
    }
    // QUIT has an end of its own.
    check_in_transaction(config(), "> drain\nC: QUIT\nS: 221 2.0.0 Bye\nE: aborted\nE: closed Quit");
    check_in_transaction(config(), "> drain\n> eof\nE: aborted\nE: closed Eof");
    // Whoever has no time left closes.
    check_in_transaction(config(), "> drain\n> close\nE: aborted\nS: 421 4.3.2 Going down\nE: closed Shutdown");
}

#[test]
fn the_last_words_come_behind_the_replies_to_all_messages() {
    check_in_transaction(
        config(),
        "C: RSET
        C: MAIL FROM:<later@b>
        C: RCPT TO:<c@d>
        C: BDAT 1 LAST
        C~ x
        C: MAIL FROM:<later@b>
        C: RCPT TO:<c@d>
        C: BDAT 2 LAST
        C~ y
        S: 250 2.0.0 Ok
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        E: aborted
        E: mail <later@b> None
        E: recipient c@d
        E: message 0 to c@d = x
        E: mail <later@b> None
        E: recipient c@d
        > drain
        > complete 0 250 2.0.0 First
        S: 250 2.0.0 First
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        C~ z
        E: message 1 to c@d = yz
        > complete 1 451 4.3.0 Second
        S: 451 4.3.0 Second
        S: 421 4.3.2 Going down
        E: closed Shutdown",
    );
    // Nothing is open: what was parsed is answered, what was not is not.
    check(
        config(),
        "C: HELO me
        C: MAIL FROM:<later@b>
        C: RCPT TO:<c@d>
        C: BDAT 1 LAST
        C~ x
        S: 250 mx.example
        S: 250 2.1.0 Sender ok
        S: 250 2.1.5 Recipient ok
        E: hello me false
        E: mail <later@b> None
        E: recipient c@d
        E: message 0 to c@d = x
        > drain
        C: MAIL FROM:<a@b>
        > complete 0 250 2.0.0 First
        S: 250 2.0.0 First
        S: 421 4.3.2 Going down
        E: closed Shutdown",
    );
}

#[test]
fn a_mail_that_is_being_thought_about_is_within_one() {
    let now = Instant::now();
    let mut server = Server::new(Arc::new(config()), now);
    server.handle_bytes(Bytes::from_static(b"HELO me\r\nMAIL FROM:<a@b>\r\nRSET\r\nNOOP\r\n"), now);
    assert!(matches!(server.poll_event(), Some(Event::Hello { .. })));
    assert!(matches!(server.poll_event(), Some(Event::Mail { .. })));
    server.drain(reply("421 4.3.2 Down"), now);
    server.answer(SENDER_OK);
    assert!(matches!(server.poll_event(), Some(Event::Aborted)));
    assert!(matches!(server.poll_event(), Some(Event::Closed(CloseReason::Shutdown))));
    assert!(server.poll_transmit().ends_with(b"250 2.1.0 Sender ok\r\n250 2.0.0 Ok\r\n421 4.3.2 Down\r\n"));
}

/// From the last octet of content, or the last whole command.
#[test]
fn silence_within_it_is_not_waited_for_long() {
    for (begun, goes_on) in [("DATA\r\n", "x"), ("BDAT 900\r\n", "x"), ("", "NOOP\r\n")] {
        let mut play = Play::new(config());
        play.send(format!("HELO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n{begun}").as_bytes(), usize::MAX);
        play.now += Duration::from_secs(100);
        play.act("drain");
        for _ in 0..5 {
            assert_eq!(play.server.poll_timeout(), Some(play.now + Duration::from_secs(10)), "{begun}");
            play.now += Duration::from_secs(9);
            play.server.handle_bytes(Bytes::copy_from_slice(goes_on.as_bytes()), play.now);
            play.drain();
        }
        play.act("idle");
        assert!(play.heard.ends_with("421 4.3.2 Going down\r\n"), "{}", play.heard);
        assert_eq!(play.seen[play.seen.len() - 2..], ["aborted", "closed Shutdown"]);
        assert_eq!(play.server.take_refusals(), [], "it is our own wish");
    }
    // A listener that waits less does so to the end.
    let mut play = Play::new(Config { idle_timeout: Duration::from_secs(3), ..config() });
    play.send(b"HELO me\r\nMAIL FROM:<a@b>\r\n", usize::MAX);
    play.act("drain");
    assert!(play.server.poll_timeout().unwrap() <= play.now + Duration::from_secs(3));
}

#[test]
fn where_nothing_can_be_said_nothing_is_waited_for() {
    let tls = Config { starttls: true, ..config() };
    check(tls, "C: STARTTLS\nS: 220 2.0.0 Ready to start TLS\nE: tls\n> drain\nE: closed Shutdown");
}
