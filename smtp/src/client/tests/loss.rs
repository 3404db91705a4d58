//! The connection ends at every stage: who is to blame, and who may have the mail.

use super::*;
use Pipelining::{Off, Stream, Transaction as Whole};

fn check(level: Pipelining, features: &str, script: &str) {
    super::check(config(level), &(hello(features) + script));
}

const BOTH: &str = "PIPELINING CHUNKING";
/// One command at a time: the stages one after another.
const STEPS: [(&str, &str); 4] = [
    ("Mail", "> submit 1 b@y\nC: MAIL FROM:<a@x>\n"),
    ("Rcpt", "S: 250 Ok\nC: RCPT TO:<b@y>\n"),
    ("Data", "S: 250 Ok\nC: DATA\n"),
    ("Final", "S: 354 go\nC: body 1\nC: .\n"),
];

#[test]
fn at_every_stage() {
    for (end, cause) in [
        ("> eof", "Eof"),
        ("> timeout", "Timeout"),
        ("> error", "Io(ConnectionReset)"),
        ("S: 421 bye", "421 bye"),
        ("S: what", "a line of the reply does not begin with a reply code"),
    ] {
        let mut script = String::new();
        for (stage, step) in STEPS {
            script += step;
            let outcome = match (stage, cause) {
                (_, "421 bye") => format!("{stage} 421 bye"),
                ("Final", _) => format!("in doubt Final {cause}"),
                _ => format!("lost {stage} {cause}"),
            };
            check(Off, "", &format!("{script}{end}\nE: 1 {outcome}\nE: closed {stage} {cause}"));
            // The one that waits behind is nobody's fault.
            let both = script.replacen("C:", "> submit 2 c@y\nC:", 1);
            check(Off, "", &format!("{both}{end}\nE: 1 {outcome}\nE: 2 not sent\nE: closed {stage} {cause}"));
        }
    }
}

#[test]
fn between_transactions() {
    check(Whole, BOTH, "> eof\nE: closed Idle Done");
    check(Whole, BOTH, "> error\nE: closed Idle Io(ConnectionReset)");
    check(Whole, BOTH, "S: 421 idle too long\nE: closed Idle 421 idle too long");
    check(Whole, BOTH, "S: 451 4.7.0 Timeout\nE: closed Idle 451 4.7.0 Timeout");
    check(Whole, BOTH, "> submit 1 b@y\n> hear 221 bye\nE: 1 not sent\nE: closed Idle 221 bye");
    check(Whole, BOTH, "S: 250 hello\nE: closed Idle a reply came without a command");
    // Submitted, and not an octet written.
    check(Whole, BOTH, "> submit 1 b@y\n> eof\nE: 1 not sent\nE: closed Idle Done");
    super::check(
        config(Whole),
        &(hello(BOTH) + "> submit 1 b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: BDAT 8 LAST\nC: body 1
        > submit 2 c@y\nS: 250 Ok\nS: 250 Ok\nS: 250 Done\nS: 421 bye\nE: 1 Final 250 Done\nE: 2 not sent\nE: closed Idle 421 bye"),
    );
}

#[test]
fn in_doubt_only_when_all_content_was_written() {
    let flight = "> submit 1 b@y\n> submit 2 c@y\n";
    let length = "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nBDAT 8 LAST\r\nbody 1\r\n".len();
    let reset = "RSET\r\n".len();
    let one = |written: usize, first: &str, second: &str, stage: &str| {
        check(
            Stream,
            BOTH,
            &format!("{flight}> write {written}\n> eof\nE: 1 {first}\nE: 2 {second}\nE: closed {stage} Eof"),
        );
    };
    one(1, "lost Mail Eof", "not sent", "Mail");
    one(length - 1, "lost Mail Eof", "not sent", "Mail");
    one(length, "in doubt Final Eof", "not sent", "Mail");
    one(2 * length + reset - 1, "in doubt Final Eof", "not sent", "Mail");
    one(2 * length + reset, "in doubt Final Eof", "in doubt Final Eof", "Mail");
    check(
        Stream,
        BOTH,
        &format!(
            "{flight}> write {}\n> hear 250 Ok\n> hear 250 Ok\n> eof\nE: 1 lost Final Eof\nE: 2 not sent\nE: closed Final Eof",
            length - 1
        ),
    );
}

#[test]
fn a_421_in_a_stream() {
    let flight = "> submit 1 b@y\n> submit 2 c@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: BDAT 8 LAST\nC: body 1\nC: RSET\nC: MAIL FROM:<a@x>\nC: RCPT TO:<c@y>\nC: BDAT 8 LAST\nC: body 2\n";
    check(
        Stream,
        BOTH,
        &format!("{flight}S: 421 bye\nE: 1 Mail 421 bye\nE: 2 in doubt Final 421 bye\nE: closed Mail 421 bye"),
    );
    check(
        Stream,
        BOTH,
        &format!(
            "{flight}S: 250 Ok\nS: 421 bye\nE: 1 Rcpt 421 bye\nE: 2 in doubt Final 421 bye\nE: closed Rcpt 421 bye"
        ),
    );
    check(
        Stream,
        BOTH,
        &format!(
            "{flight}S: 250 Ok\nS: 250 Ok\nS: 421 bye\nE: 1 Final 421 bye\nE: 2 in doubt Final 421 bye\nE: closed Final 421 bye"
        ),
    );
    check(
        Stream,
        BOTH,
        &format!(
            "{flight}S: 250 Ok\nS: 250 Ok\nS: 250 Ok\nS: 421 bye\nE: 1 Final 250 Ok\nE: 2 in doubt Final 421 bye\nE: closed Idle 421 bye"
        ),
    );
    check(
        Stream,
        BOTH,
        &format!(
            "{flight}S: 250 Ok\nS: 250 Ok\nS: 250 Ok\nS: 500 what\nE: 1 Final 250 Ok\nE: 2 in doubt Final RSET was refused\nE: closed Idle RSET was refused"
        ),
    );
    // What was refused before stays refused.
    check(
        Stream,
        BOTH,
        &format!(
            "{flight}S: 550 no\nS: 421 bye\nE: 1 Mail 550 no\nE: 2 in doubt Final 421 bye\nE: closed Rcpt 421 bye"
        ),
    );
    check(
        Stream,
        BOTH,
        &format!("{flight}S: 250 Ok\nS: 550 no\n> eof\nE: 1 Rcpt 550 no\nE: 2 in doubt Final Eof\nE: closed Final Eof"),
    );
    check(Stream, "PIPELINING", "> submit 1 b@y\n> submit 2 c@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA\nS: 250 Ok\nS: 250 Ok\nS: 354 go
        C: body 1\nC: .\nC: MAIL FROM:<a@x>\nC: RCPT TO:<c@y>\nC: DATA\nS: 421 bye\nE: 1 Final 421 bye\nE: 2 not sent\nE: closed Final 421 bye");
}

#[test]
fn replies_that_cannot_be() {
    let data = "> submit 1 b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA\n";
    let odd = "a reply came that its command does not allow";
    check(Whole, "PIPELINING", &format!("{data}S: 354 go\nE: 1 lost Mail {odd}\nE: closed Mail {odd}"));
    check(
        Whole,
        "PIPELINING",
        &format!("{data}S: 250 Ok\nS: 250 Ok\nS: 250 Ok\nE: 1 lost Data {odd}\nE: closed Data {odd}"),
    );
    let early = "the content was accepted before all of it was sent";
    check(
        Whole,
        "PIPELINING",
        &format!(
            "{data}S: 250 Ok\nS: 250 Ok\nS: 354 go\nS: 250 Done\nE: 1 lost Final {early}\nE: closed Final {early}"
        ),
    );
    check(
        Whole,
        "PIPELINING",
        &format!(
            "{data}S: 250-Ok\nS: 550 no\nE: 1 lost Mail the lines of one reply have different codes\nE: closed Mail the lines of one reply have different codes"
        ),
    );
    // Refused while it is still being sent: so be it, the rest is owed.
    check(
        Whole,
        "PIPELINING",
        &format!("{data}S: 250 Ok\nS: 250 Ok\nS: 354 go\nS: 552 too much\nE: 1 Final 552 too much\nC: body 1\nC: ."),
    );
}

#[test]
fn content_has_a_timeout_of_its_own() {
    let commands = "> submit 1 large b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA\n";
    let content = format!("{commands}S: 250 Ok\nS: 250 Ok\nS: 354 go\n> pass 100\n> wait 80\n> write 10\n> wait 180\n");
    check(Whole, "PIPELINING", &format!("{content}> timeout\nE: 1 lost Final Timeout\nE: closed Final Timeout"));
    // Once it is written, the final reply has its full time.
    let rest = large().len() + 3 - 10;
    check(
        Whole,
        "PIPELINING",
        &format!(
            "{content}> pass 170\n> write {rest}\n> wait 600\n> timeout\nE: 1 in doubt Final Timeout\nE: closed Final Timeout"
        ),
    );
}

#[test]
fn the_oldest_expected_reply_has_the_deadline() {
    check(
        Whole,
        "PIPELINING",
        "> pass 1000\n> submit 1 b@y\n> wait 180\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA\n> wait 300\n> pass 100\n> wait 200
        S: 250 Ok\n> wait 300\nS: 250 Ok\n> wait 120\n> timeout\nE: 1 lost Data Timeout\nE: closed Data Timeout",
    );
}
