//! What a message's sender asked for, as the peer is told of it.

use super::*;

/// What goes out for this submission to a peer with these features, of which PIPELINING is one.
fn check_sent(features: &str, submission: &str, sent: &[&str]) {
    let mut theatre = Theatre::new(config(Pipelining::Transaction), false);
    theatre.play(&hello(&format!("PIPELINING {features}")));
    let words: Vec<&str> = submission.split_whitespace().collect();
    theatre.submit(1, &words);
    assert_eq!(theatre.flight(), sent, "{features}: {submission}");
}

/// Nothing of it can go to a peer with these features.
fn check_unsupported(features: &str, submission: &str, lack: Unsupported) {
    let mut theatre = Theatre::new(config(Pipelining::Transaction), false);
    theatre.play(&hello(features));
    theatre.submit(1, &submission.split_whitespace().collect::<Vec<_>>());
    assert_eq!(theatre.flight(), [""; 0]);
    let report = Report { id: 1, outcome: Outcome::Unsupported(lack), exceptions: Vec::new() };
    assert_eq!(theatre.events(), [describe(&Event::Report(report))]);
}

#[test]
fn dsn_is_passed_on() {
    let submission = "b@y|SUCCESS,DELAY|rfc822;B+2B@y c@y|NEVER d@y ret=HDRS envid=QQ+2B1";
    check_sent(
        "DSN",
        submission,
        &[
            "MAIL FROM:<a@x> RET=HDRS ENVID=QQ+2B1",
            "RCPT TO:<b@y> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2B@y",
            "RCPT TO:<c@y> NOTIFY=NEVER",
            "RCPT TO:<d@y>",
            "DATA",
        ],
    );
    check_sent("", submission, &["MAIL FROM:<a@x>", "RCPT TO:<b@y>", "RCPT TO:<c@y>", "RCPT TO:<d@y>", "DATA"]);
}

#[test]
fn priority_is_passed_on() {
    check_sent("MT-PRIORITY", "b@y priority=-3", &["MAIL FROM:<a@x> MT-PRIORITY=-3", "RCPT TO:<b@y>", "DATA"]);
    check_sent("MT-PRIORITY", "b@y priority=0", &["MAIL FROM:<a@x> MT-PRIORITY=0", "RCPT TO:<b@y>", "DATA"]);
    check_sent("", "b@y priority=9", &["MAIL FROM:<a@x>", "RCPT TO:<b@y>", "DATA"]);
}

#[test]
fn requiretls_needs_a_peer_that_promises_it() {
    check_sent("REQUIRETLS", "b@y requiretls", &["MAIL FROM:<a@x> REQUIRETLS", "RCPT TO:<b@y>", "DATA"]);
    check_unsupported("", "b@y requiretls", Unsupported::RequireTls);
    check_sent("REQUIRETLS", "b@y requiretls notice", &["MAIL FROM:<> REQUIRETLS", "RCPT TO:<b@y>", "DATA"]);
    check_sent("", "b@y requiretls notice", &["MAIL FROM:<>", "RCPT TO:<b@y>", "DATA"]);
}

#[test]
fn the_time_to_deliver_runs() {
    check_sent("DELIVERBY", "b@y by=120;RT age=20", &["MAIL FROM:<a@x> BY=100;RT", "RCPT TO:<b@y>", "DATA"]);
    check_sent("DELIVERBY", "b@y by=120;N age=121", &["MAIL FROM:<a@x> BY=-1;N", "RCPT TO:<b@y>", "DATA"]);
    check_sent("DELIVERBY=100", "b@y by=120;R age=20", &["MAIL FROM:<a@x> BY=100;R", "RCPT TO:<b@y>", "DATA"]);
    check_sent("", "b@y by=120;N", &["MAIL FROM:<a@x>", "RCPT TO:<b@y>", "DATA"]);
    // Who does not watch the time is asked to tell of delays (RFC 2852 §4.1.4.2).
    let all = "b@y c@y|NEVER d@y|SUCCESS by=120;N";
    let told = [
        "MAIL FROM:<a@x>",
        "RCPT TO:<b@y> NOTIFY=FAILURE,DELAY",
        "RCPT TO:<c@y> NOTIFY=NEVER",
        "RCPT TO:<d@y> NOTIFY=SUCCESS,DELAY",
        "DATA",
    ];
    check_sent("DSN", all, &told);
    check_sent("DSN DELIVERBY", "b@y by=120;N", &["MAIL FROM:<a@x> BY=120;N", "RCPT TO:<b@y>", "DATA"]);
    check_unsupported("DELIVERBY=101", "b@y by=120;R age=20", Unsupported::TooLate);
    check_unsupported("DELIVERBY", "b@y by=120;R age=120", Unsupported::TooLate);
    check_unsupported("", "b@y by=120;R", Unsupported::DeliverBy);
    check_unsupported("", "b@y by=120;R age=120", Unsupported::TooLate);
}
