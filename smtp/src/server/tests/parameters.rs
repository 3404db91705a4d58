//! Parameters of MAIL and RCPT: what is announced is understood, what is not is refused.

use super::*;

fn all() -> Config {
    let now = Instant::now();
    let wall = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Config {
        binary_mime: true,
        dsn: true,
        require_tls: true,
        mt_priority: true,
        deliver_by: true,
        future_release: Some(FutureRelease { longest: Duration::from_secs(3600), mono: now, wall }),
        limits: true,
        ..config()
    }
}

/// `lines` are the conversation behind EHLO.
fn check_mail(config: Config, lines: &str) {
    check(config, &format!("C: HELO me\nS: 250 mx.example\nE: hello me false\n{lines}"));
}

#[test]
fn extensions_are_announced() {
    let mut play = Play::new(all());
    play.send(b"EHLO me\r\n", usize::MAX);
    for keyword in [
        "BINARYMIME",
        "DSN",
        "MT-PRIORITY",
        "DELIVERBY",
        "FUTURERELEASE 3600 2027-01-15T09:00:00Z",
        "LIMITS RCPTMAX=1000",
    ] {
        let said = play.heard.lines().any(|line| line.get(4..) == Some(keyword));
        assert!(said, "{keyword} is not in {}", play.heard);
    }
    assert!(!play.heard.contains("REQUIRETLS"), "not before TLS");
    play.server.handle_tls(TlsInfo { version: "TLSv1.3", cipher: "X".into() });
    play.send(b"EHLO me\r\n", usize::MAX);
    assert!(play.heard.contains("250-REQUIRETLS\r\n"), "{}", play.heard);
}

#[test]
fn what_was_not_announced_is_refused() {
    for parameter in [
        "BODY=BINARYMIME",
        "RET=FULL",
        "ENVID=x",
        "REQUIRETLS",
        "MT-PRIORITY=1",
        "BY=60;N",
        "HOLDFOR=60",
        "HOLDUNTIL=2027-01-15T08:00:00Z",
        "X=1",
    ] {
        let refusal = "S: 555 5.5.4 Parameter not recognized: it was not announced in the reply to EHLO";
        check_mail(config(), &format!("C: MAIL FROM:<a@b> {parameter}\n{refusal}"));
    }
    check_mail(
        config(),
        "C: MAIL FROM:<a@b>
        S: 250 2.1.0 Sender ok
        E: mail <a@b> None
        C: RCPT TO:<c@d> NOTIFY=NEVER
        C: RCPT TO:<c@d> ORCPT=rfc822;c@d
        S: 555 5.5.4 Parameter not recognized: it was not announced in the reply to EHLO
        S: 555 5.5.4 Parameter not recognized: it was not announced in the reply to EHLO",
    );
    // BINARYMIME can only travel by BDAT.
    check_mail(
        Config { chunking: false, ..all() },
        "C: MAIL FROM:<a@b> BODY=BINARYMIME
        S: 555 5.5.4 Parameter not recognized: it was not announced in the reply to EHLO",
    );
}

#[test]
fn values_are_checked() {
    for parameter in [
        "SIZE=x",
        "BODY",
        "BODY=9BIT",
        "SMTPUTF8=1",
        "RET=ALL",
        "RET",
        "ENVID=",
        "ENVID=a=b",
        "MT-PRIORITY=10",
        "MT-PRIORITY=-10",
        "MT-PRIORITY=",
        "MT-PRIORITY=+1",
        "MT-PRIORITY=-0",
        "MT-PRIORITY=01",
        "BY=0;R",
        "BY=1",
        "HOLDFOR=3601",
        "HOLDFOR=",
        "HOLDUNTIL=tomorrow",
        "HOLDFOR=1 HOLDUNTIL=2027-01-15T08:00:00Z",
        "SIZE=1 size=1",
        "RET=FULL RET=FULL",
    ] {
        let refusal = "S: 501 5.5.4 Bad parameter value, or a parameter given twice";
        check_mail(all(), &format!("C: MAIL FROM:<a@b> {parameter}\n{refusal}"));
    }
    for parameter in ["NOTIFY=", "NOTIFY=NEVER,DELAY", "ORCPT=c@d", "ORCPT", "NOTIFY=DELAY NOTIFY=DELAY"] {
        check_mail(
            all(),
            &format!(
                "C: MAIL FROM:<a@b>
                S: 250 2.1.0 Sender ok
                E: mail <a@b> None
                C: RCPT TO:<c@d> {parameter}
                S: 501 5.5.4 Bad parameter value, or a parameter given twice"
            ),
        );
    }
}

#[test]
fn what_was_said_is_told() {
    check_mail(
        all(),
        "C: MAIL FROM:<a@b> RET=hdrs ENVID=QQ+2B1 MT-PRIORITY=-9 BY=120;rt HOLDFOR=60
        S: 250 2.1.0 Sender ok
        E: mail <a@b> None Headers envid=QQ+2B1 priority=-9 by=120;RT for;60
        C: RCPT TO:<c@d> NOTIFY=success,delay ORCPT=rfc822;Carl+2B@d
        S: 250 2.1.5 Recipient ok
        E: recipient c@d notify=SUCCESS,DELAY orcpt=rfc822;Carl+2B@d",
    );
    check(
        all(),
        "C: STARTTLS
        S: 502 5.5.1 Command not implemented
        > tls
        C: HELO me
        S: 250 mx.example
        E: hello me false
        C: MAIL FROM:<a@b> REQUIRETLS
        S: 250 2.1.0 Sender ok
        E: mail <a@b> None requiretls",
    );
}

#[test]
fn the_message_carries_what_was_said() {
    let mut play = Play::new(all());
    play.send(b"HELO me\r\nMAIL FROM:<a@b> ENVID=e HOLDFOR=9\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\n", 1);
    play.send(b"DATA\r\n\r\n.\r\n", 1);
    let message = &play.messages[0];
    let hold = Some(crate::parameters::Hold::For(Duration::from_secs(9)));
    assert_eq!(message.parameters, MailParameters { envid: Some("e".into()), hold, ..MailParameters::default() });
    assert_eq!(recipient_text(&message.recipients[0]), "recipient c@d notify=NEVER");
}

#[test]
fn binary_content_comes_in_chunks() {
    check_mail(
        all(),
        "C: MAIL FROM:<a@b> BODY=BINARYMIME
        S: 250 2.1.0 Sender ok
        E: mail <a@b> None
        C: RCPT TO:<c@d>
        S: 250 2.1.5 Recipient ok
        E: recipient c@d
        C: DATA
        S: 503 5.5.1 BODY=BINARYMIME needs BDAT, not DATA
        C~ BDAT 5 LAST\\r\\na\\nb\\r\\0
        S: 250 2.0.0 Queued
        E: message 0 to c@d = a\\nb\\r\\x00",
    );
}
