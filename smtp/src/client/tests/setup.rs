//! From the greeting to `Ready`.

use super::*;

fn with(starttls: StartTls) -> Config {
    Config { starttls, ..config(Pipelining::Transaction) }
}

fn lmtp() -> Config {
    Config { protocol: Protocol::Lmtp, ..config(Pipelining::Transaction) }
}

#[test]
fn greets() {
    let check = |script| check(with(StartTls::Off), script);
    check("> wait 300\nS: 220-mx\nS: 220 ESMTP\nC: EHLO me\nS: 250 mx\nE: ready\n> credit 8\n> wait forever");
    check("S: 554 5.7.1 no\nE: closed Greeting 554 5.7.1 no\nC: QUIT");
    check("S: 421 4.3.2 later\nE: closed Greeting 421 4.3.2 later");
    check("S: 220 mx\nC: EHLO me\nS: 502 what\nC: HELO me\nS: 250-mx\nS: 250 PIPELINING\nE: ready");
    check("S: 220 mx\nC: EHLO me\nS: 502 what\nC: HELO me\nS: 502 what\nE: closed Hello 502 what\nC: QUIT");
    check("S: 220 mx\nC: EHLO me\nS: 450 busy\nE: closed Hello 450 busy\nC: QUIT");
    check("S: 220 mx\nC: EHLO me\nS: 421 busy\nE: closed Hello 421 busy");
    check("S: 354 go\nE: closed Greeting an intermediate reply came where none is allowed");
    check("S: SSH-2.0\nE: closed Greeting a line of the reply does not begin with a reply code");
    check("> eof\nE: closed Greeting Eof");
    check("> error\nE: closed Greeting Io(ConnectionReset)");
    check("> timeout\nE: closed Greeting Timeout\n> wait forever");
    check("S: 220 mx\nC: EHLO me\n> timeout\nE: closed Hello Timeout\n> eof\n> error\nS: 250 mx");
}

#[test]
fn helo_at_once_where_ehlo_is_not_wanted() {
    let plain = Config { extended: false, ..with(StartTls::Opportunistic) };
    check(
        plain.clone(),
        "S: 220 mx\nC: HELO me\nS: 250-mx\nS: 250 STARTTLS\nE: ready\n> submit 1 b@y\nC: MAIL FROM:<a@x>",
    );
    check(plain.clone(), "S: 220 mx\nC: HELO me\nS: 502 what\nE: closed Hello 502 what\nC: QUIT");
    let required = Config { starttls: StartTls::Required, ..plain };
    check(
        required,
        "S: 220 mx\nC: HELO me\nS: 250 mx\nE: closed StartTls STARTTLS is required and the server does not offer it",
    );
}

#[test]
fn bears_with_odd_replies() {
    // Without text, without CR, with empty lines of text, with a tab: wherever lines can be told apart.
    for (greeting, hello) in [
        ("220\r\n", "250\r\n"),
        ("220\n", "250-mx\n250 PIPELINING\n"),
        ("220-\r\n220-welcome\n220\r\n", "250-\r\n250-\r\n250 \r\n"),
        ("220\tmx\r\n", "250\tmx\r\n"),
        ("220 caf\u{e9} \u{0}\r\n", "250-mx\r\n250-\u{1b}\r\n250 X\r\n"),
    ] {
        for step in [1, usize::MAX] {
            let mut theatre = Theatre::new(with(StartTls::Off), false);
            let hear = |theatre: &mut Theatre, wire: &str| {
                wire.as_bytes().chunks(step).for_each(|bytes| theatre.client.handle_bytes(bytes, theatre.now));
            };
            hear(&mut theatre, greeting);
            assert_eq!(theatre.flight(), ["EHLO me"], "{greeting:?}");
            hear(&mut theatre, hello);
            assert_eq!(theatre.events(), ["ready"], "{hello:?}");
        }
    }
    // Said before it was asked: the commands that follow are sent all the same.
    check(with(StartTls::Off), "S: 220 mx\nS: 250 mx\nE: ready\nC: EHLO me");
    let codes = "the lines of one reply have different codes";
    check(with(StartTls::Off), &format!("S: 220-mx\nS: 554 no\nE: closed Greeting {codes}"));
    check(with(StartTls::Off), &format!("S: 220 mx\nC: EHLO me\nS: 250-mx\nS: 220 STARTTLS\nE: closed Hello {codes}"));
}

#[test]
fn says_lhlo_without_fallback() {
    check(lmtp(), "S: 220 mx\nC: LHLO me\nS: 250 mx\nE: ready");
    check(lmtp(), "S: 220 mx\nC: LHLO me\nS: 500 what\nE: closed Hello 500 what\nC: QUIT");
}

const OFFER: &str = "S: 220 mx\nC: EHLO me\nS: 250-mx\nS: 250-PIPELINING\nS: 250 STARTTLS\n";
const NO_OFFER: &str = "S: 220 mx\nC: EHLO me\nS: 250 mx\n";

#[test]
fn follows_the_starttls_policy() {
    let check = |policy, offer: &str, script: &str| check(with(policy), &(offer.to_owned() + script));
    use StartTls::*;
    check(Off, OFFER, "E: ready");
    check(Opportunistic, NO_OFFER, "E: ready");
    check(Required, NO_OFFER, "E: closed StartTls STARTTLS is required and the server does not offer it");
    check(Opportunistic, OFFER, "C: STARTTLS\nS: 454 4.7.0 no\nE: ready");
    check(Required, OFFER, "C: STARTTLS\nS: 454 4.7.0 no\nE: closed StartTls 454 4.7.0 no\nC: QUIT");
    check(Opportunistic, OFFER, "C: STARTTLS\nS: 421 bye\nE: closed StartTls 421 bye");
    for policy in [Opportunistic, Required] {
        check(
            policy,
            OFFER,
            "C: STARTTLS\nS: 220 go\nE: starttls\n> wait 300\n> tls\nC: EHLO me\nS: 250-mx\nS: 250 STARTTLS\nE: ready",
        );
        check(policy, OFFER, "C: STARTTLS\nS: 220 go\nE: starttls\n> error\nE: closed Tls Io(ConnectionReset)");
        check(policy, OFFER, "C: STARTTLS\nS: 220 go\nE: starttls\n> quit\nE: closed Quit Done");
        check(policy, OFFER, "C: STARTTLS\nS: 220 go\nE: starttls\n> timeout\nE: closed Tls Timeout");
    }
}

#[test]
fn forgets_what_was_said_in_clear_text() {
    let script = OFFER.to_owned()
        + "C: STARTTLS\nS: 220 go\nE: starttls\n> tls\nC: EHLO me\nS: 250 mx\nE: ready\n> submit 1 b@y\nC: MAIL FROM:<a@x>\nS: 250 Ok\nC: RCPT TO:<b@y>";
    check(with(StartTls::Required), &script);
}

#[test]
fn refuses_clear_text_behind_starttls() {
    let now = Instant::now();
    for (glued, later) in [("220 go\r\n250 injected\r\n", ""), ("220 go\r\n2", ""), ("220 go\r\n", "2")] {
        let mut client = Client::new(Arc::new(with(StartTls::Opportunistic)), now);
        for bytes in ["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", glued, later] {
            client.handle_bytes(bytes.as_bytes(), now);
        }
        let last = std::iter::from_fn(|| client.poll_event()).last().unwrap();
        assert!(matches!(last, Event::Closed { cause: Cause::Protocol(_), .. }), "{glued:?} {last:?}");
    }
}

#[test]
fn implicit_tls_never_asks_for_starttls() {
    check(with(StartTls::Required), &format!("> tls\n{OFFER}E: ready"));
}

#[test]
fn quits() {
    check(with(StartTls::Off), "> quit\nE: closed Quit Done");
    let quit = "S: 220 mx\nC: EHLO me\n> quit\nC: QUIT\n> wait 2\nS: 250 mx\n";
    check(with(StartTls::Off), &format!("{quit}S: 221 bye\n> eof\nE: closed Quit Done"));
    for end in ["> eof", "> timeout", "> error", "S: what", "S: 421 bye\n> eof"] {
        check(
            with(StartTls::Off),
            &format!("{NO_OFFER}E: ready\n> quit\nC: QUIT\n{end}\nE: closed Quit Done\n> credit 0"),
        );
    }
}
