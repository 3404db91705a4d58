//! Transactions: what is in a flight, and what the replies make of it.

use super::*;
use Pipelining::{Off, Stream, Transaction as Whole};

fn check(level: Pipelining, features: &str, script: &str) {
    super::check(config(level), &(hello(features) + script));
}

const BOTH: &str = "PIPELINING CHUNKING";

#[test]
fn one_command_at_a_time() {
    let script =
        "> submit 1 b@y c@y\nC: MAIL FROM:<a@x>\nS: 250 Ok\nC: RCPT TO:<b@y>\nS: 250 Ok\nC: RCPT TO:<c@y>\nS: 250 Ok
        C: DATA\n> wait 120\nS: 354 go\nC: body 1\nC: .\n> wait 600\nS: 250 2.0.0 Ok\nE: 1 Final 250 2.0.0 Ok";
    check(Off, "PIPELINING", script);
    // What is not announced is not used.
    check(Whole, "", script);
    check(Stream, "", script);
    let chunk = "> submit 1 b@y\nC: MAIL FROM:<a@x>\n> wait 300\nS: 250 Ok\nC: RCPT TO:<b@y>\nS: 250 Ok\nC: BDAT 8 LAST\nC: body 1
        S: 250 Ok\nE: 1 Final 250 Ok";
    check(Off, BOTH, chunk);
    check(Stream, "CHUNKING", chunk);
}

#[test]
fn one_transaction_in_a_flight() {
    check(Whole, "PIPELINING", "> submit 1 b@y c@y\n> submit 2 d@y\n> credit 6\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: RCPT TO:<c@y>\nC: DATA
        S: 250 Ok\nS: 250 Ok\nS: 250 Ok\nS: 354 go\nC: body 1\nC: .\nS: 250 Done\nE: 1 Final 250 Done\n> credit 7
        C: MAIL FROM:<a@x>\nC: RCPT TO:<d@y>\nC: DATA");
    check(Whole, BOTH, "> submit 1 b@y\n> submit 2 c@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: BDAT 8 LAST\nC: body 1
        S: 250 Ok\nS: 250 Ok\nS: 250 Done\nE: 1 Final 250 Done\nC: MAIL FROM:<a@x>\nC: RCPT TO:<c@y>\nC: BDAT 8 LAST\nC: body 2");
}

#[test]
fn transactions_follow_without_waiting() {
    // RFC 2920: the content waits for 354, and the next transaction goes with it.
    check(Stream, "PIPELINING", "> credit 8\n> submit 1 b@y\n> submit 2 c@y\n> submit 3 d@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA
        S: 250 Ok\nS: 250 Ok\nS: 354 go\nC: body 1\nC: .\nC: MAIL FROM:<a@x>\nC: RCPT TO:<c@y>\nC: DATA
        S: 250 Done 1\nS: 250 Ok\nS: 250 Ok\nS: 354 go\nE: 1 Final 250 Done 1\nC: body 2\nC: .\nC: MAIL FROM:<a@x>\nC: RCPT TO:<d@y>\nC: DATA");
    // RFC 3030: nothing waits; RSET keeps a BDAT's failure from the next transaction.
    check(Stream, BOTH, "> submit 1 b@y\n> submit 2 c@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: BDAT 8 LAST\nC: body 1
        C: RSET\nC: MAIL FROM:<a@x>\nC: RCPT TO:<c@y>\nC: BDAT 8 LAST\nC: body 2
        S: 250 Ok\nS: 250 Ok\nS: 250 Done 1\nS: 250 Reset\nS: 250 Ok\nS: 250 Ok\nS: 250 Done 2\nE: 1 Final 250 Done 1\nE: 2 Final 250 Done 2
        > submit 3 d@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<d@y>\nC: BDAT 8 LAST\nC: body 3");
}

#[test]
fn the_configuration_can_forbid_chunking() {
    let config = Config { chunking: false, ..config(Whole) };
    super::check(config, &(hello(BOTH) + "> submit 1 b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA"));
}

#[test]
fn careful_content_waits_whatever_its_size() {
    let careful = Config { careful: true, ..config(Pipelining::Stream) };
    let begin =
        hello("PIPELINING CHUNKING") + "> submit 1 b@y c@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: RCPT TO:<c@y>\n";
    super::check(
        careful.clone(),
        &format!(
            "{begin}S: 250 Ok\nS: 250 Ok\nS: 550 no\nC: BDAT 8 LAST\nC: body 1\nS: 250 Done\nE: 1 Final 250 Done; 1 Rcpt 550 no"
        ),
    );
    super::check(
        careful,
        &format!(
            "{begin}S: 250 Ok\nS: 550 no\nS: 550 no\nE: 1 Rcpt 550 no\n> submit 2 b@y\nC: RSET\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>"
        ),
    );
}

#[test]
fn large_content_waits_for_the_recipients() {
    let commands = "> submit 1 large b@y c@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: RCPT TO:<c@y>\n";
    for level in [Whole, Stream] {
        check(
            level,
            BOTH,
            &format!(
                "{commands}S: 250 Ok\nS: 250 Ok\nS: 550 no\nC: BDAT 307200 LAST\nC: {{large}}\nS: 250 Done\nE: 1 Final 250 Done; 1 Rcpt 550 no"
            ),
        );
        check(
            level,
            BOTH,
            &format!(
                "{commands}> submit 2 d@y\nS: 250 Ok\nS: 550 no\nS: 550 no\nE: 1 Rcpt 550 no\nC: RSET\nC: MAIL FROM:<a@x>\nC: RCPT TO:<d@y>\nC: BDAT 8 LAST\nC: body 2"
            ),
        );
        check(level, BOTH, &format!("{commands}S: 550 no\nS: 503 no\nS: 503 no\nE: 1 Mail 550 no"));
    }
}

#[test]
fn a_refused_mail() {
    check(
        Off,
        "",
        "> submit 1 b@y\n> submit 2 c@y\nC: MAIL FROM:<a@x>\nS: 550 no\nE: 1 Mail 550 no\nC: MAIL FROM:<a@x>",
    );
    check(Whole, BOTH, "> submit 1 b@y\n> submit 2 c@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: BDAT 8 LAST\nC: body 1
        S: 550 no\nS: 503 mail first\nS: 503 mail first\nE: 1 Mail 550 no\nC: MAIL FROM:<a@x>\nC: RCPT TO:<c@y>\nC: BDAT 8 LAST\nC: body 2");
    check(
        Whole,
        "PIPELINING",
        "> submit 1 b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA
        S: 450 later\nS: 503 mail first\nS: 354 go\nC: .\nS: 250 an empty message\nE: 1 Mail 450 later",
    );
}

#[test]
fn refused_recipients() {
    let commands = "> submit 1 b@y c@y d@y\n> submit 2 e@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: RCPT TO:<c@y>\nC: RCPT TO:<d@y>\n";
    let next = "C: RCPT TO:<e@y>\n";
    // Some: the others are delivered.
    check(
        Whole,
        "PIPELINING",
        &format!(
            "{commands}C: DATA\nS: 250 Ok\nS: 550 b\nS: 250 Ok\nS: 450 d\nS: 354 go\nC: body 1\nC: .
        S: 250 Done\nE: 1 Final 250 Done; 0 Rcpt 550 b; 2 Rcpt 450 d\nC: MAIL FROM:<a@x>\n{next}C: DATA"
        ),
    );
    // All, and DATA is refused: the transaction is still open, so RSET.
    check(Whole, "PIPELINING", &format!("{commands}C: DATA\nS: 250 Ok\nS: 550 no\nS: 550 no\nS: 450 d\nS: 503 no recipients
        E: 1 Rcpt 550 no; 2 Rcpt 450 d\nC: RSET\nC: MAIL FROM:<a@x>\n{next}C: DATA\nS: 250 Ok\nS: 250 Ok\nS: 250 Ok\nS: 354 go\nC: body 2\nC: .\nS: 250 Ok\nE: 2 Final 250 Ok"));
    // All, and DATA is accepted: a lone dot, whatever is said to it.
    for last in ["250 Ok", "554 no recipients"] {
        check(
            Whole,
            "PIPELINING",
            &format!(
                "{commands}C: DATA\nS: 250 Ok\nS: 550 no\nS: 550 no\nS: 550 no\nS: 354 go\nC: .
            S: {last}\nE: 1 Rcpt 550 no\nC: MAIL FROM:<a@x>\n{next}C: DATA"
            ),
        );
    }
    // All, and the chunk is refused, or even accepted.
    check(
        Whole,
        BOTH,
        &format!(
            "{commands}C: BDAT 8 LAST\nC: body 1\nS: 250 Ok\nS: 550 no\nS: 550 no\nS: 550 no\nS: 503 no recipients
        E: 1 Rcpt 550 no\nC: RSET\nC: MAIL FROM:<a@x>\n{next}C: BDAT 8 LAST\nC: body 2"
        ),
    );
    check(
        Whole,
        BOTH,
        &format!(
            "{commands}C: BDAT 8 LAST\nC: body 1\nS: 250 Ok\nS: 550 no\nS: 550 no\nS: 550 no\nS: 250 Ok
        E: 1 Rcpt 550 no\nC: MAIL FROM:<a@x>\n{next}C: BDAT 8 LAST\nC: body 2"
        ),
    );
    // All, one at a time: no DATA.
    check(
        Off,
        "",
        "> submit 1 b@y\n> submit 2 c@y\nC: MAIL FROM:<a@x>\nS: 250 Ok\nC: RCPT TO:<b@y>\nS: 550 no\nE: 1 Rcpt 550 no
        C: RSET\nS: 250 Ok\nC: MAIL FROM:<a@x>",
    );
}

#[test]
fn refused_content() {
    check(Whole, "PIPELINING", "> submit 1 b@y c@y\n> submit 2 d@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: RCPT TO:<c@y>\nC: DATA
        S: 250 Ok\nS: 250 Ok\nS: 550 c\nS: 451 not now\nE: 1 Data 451 not now; 1 Rcpt 550 c\nC: RSET\nC: MAIL FROM:<a@x>\nC: RCPT TO:<d@y>\nC: DATA");
    check(Whole, "PIPELINING", "> submit 1 b@y\n> submit 2 d@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA
        S: 250 Ok\nS: 250 Ok\nS: 354 go\nC: body 1\nC: .\nS: 554 5.7.1 spam\nE: 1 Final 554 5.7.1 spam\nC: MAIL FROM:<a@x>\nC: RCPT TO:<d@y>\nC: DATA");
    check(Whole, BOTH, "> submit 1 b@y\n> submit 2 d@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: BDAT 8 LAST\nC: body 1
        S: 250 Ok\nS: 250 Ok\nS: 554 5.7.1 spam\nE: 1 Final 554 5.7.1 spam\nC: RSET\nC: MAIL FROM:<a@x>\nC: RCPT TO:<d@y>\nC: BDAT 8 LAST\nC: body 2");
}

#[test]
fn a_chunk_that_is_no_command_to_the_peer() {
    let unknown = "BDAT was refused as unknown by a server that announced CHUNKING";
    let flight = |id: u32, to: &str| format!("C: MAIL FROM:<a@x>\nC: RCPT TO:<{to}>\nC: BDAT 8 LAST\nC: body {id}\n");
    let two = "> submit 1 b@y\n> submit 2 c@y\n";
    for code in [500, 502] {
        // What it says next answers lines of the content.
        check(
            Whole,
            BOTH,
            &format!(
                "{two}{}S: 250 Ok\nS: 250 Ok\nS: {code} what\nS: 500 what\nE: 1 Final {code} what\nE: 2 not sent\nE: closed Final {unknown}",
                flight(1, "b@y")
            ),
        );
    }
    check(
        Stream,
        BOTH,
        &format!(
            "{two}{}C: RSET\n{}S: 250 Ok\nS: 250 Ok\nS: 500 what\nE: 1 Final 500 what\nE: 2 in doubt Final {unknown}\nE: closed Final {unknown}",
            flight(1, "b@y"),
            flight(2, "c@y")
        ),
    );
    // Nobody was accepted: that is what stands.
    check(
        Whole,
        BOTH,
        &format!(
            "> submit 1 b@y\n{}S: 250 Ok\nS: 550 no\nS: 500 what\nE: 1 Rcpt 550 no\nE: closed Final {unknown}",
            flight(1, "b@y")
        ),
    );
    // Of the wrong place is another matter, and so is the end of DATA.
    check(
        Whole,
        BOTH,
        &format!("> submit 1 b@y\n{}S: 250 Ok\nS: 250 Ok\nS: 503 no\nE: 1 Final 503 no", flight(1, "b@y")),
    );
    check(
        Whole,
        "PIPELINING",
        "> submit 1 b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA\nS: 250 Ok\nS: 250 Ok\nS: 354 go\nC: body 1\nC: .\nS: 500 no\nE: 1 Final 500 no",
    );
}

#[test]
fn a_failure_in_a_stream_harms_no_other() {
    check(Stream, BOTH, "> submit 1 b@y\n> submit 2 c@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: BDAT 8 LAST\nC: body 1
        C: RSET\nC: MAIL FROM:<a@x>\nC: RCPT TO:<c@y>\nC: BDAT 8 LAST\nC: body 2
        S: 250 Ok\nS: 550 no\nS: 503 no recipients\nS: 250 Reset\nS: 250 Ok\nS: 250 Ok\nS: 250 Done\nE: 1 Rcpt 550 no\nE: 2 Final 250 Done");
    check(Stream, "PIPELINING", "> submit 1 b@y\n> submit 2 c@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA
        S: 250 Ok\nS: 550 no\nS: 503 no recipients\nE: 1 Rcpt 550 no\nC: RSET\nC: MAIL FROM:<a@x>\nC: RCPT TO:<c@y>\nC: DATA");
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let check = |features: &str, script: &str| {
        let config = Config { protocol: Protocol::Lmtp, ..config(Whole) };
        super::check(config, &(hello(features).replace("EHLO", "LHLO") + script));
    };
    let commands = "> submit 1 b@y c@y d@y e@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: RCPT TO:<c@y>\nC: RCPT TO:<d@y>\nC: RCPT TO:<e@y>\n";
    let data = format!(
        "{commands}C: DATA\nS: 250 Ok\nS: 550 b\nS: 250 Ok\nS: 250 Ok\nS: 250 Ok\nS: 354 go\nC: body 1\nC: .\n"
    );
    check(
        "PIPELINING",
        &format!("{data}S: 250 Ok\nS: 452 full\nS: 250 Ok\nE: 1 Final 250 Ok; 0 Rcpt 550 b; 2 Final 452 full"),
    );
    check(
        "PIPELINING",
        &format!(
            "{data}S: 250 Ok\n> eof\nE: 1 Final 250 Ok; 0 Rcpt 550 b; 2 in doubt Final Eof; 3 in doubt Final Eof\nE: closed Final Eof"
        ),
    );
    check(
        "PIPELINING",
        &format!(
            "{data}S: 250 Ok\nS: 421 bye\nE: 1 Final 250 Ok; 0 Rcpt 550 b; 2 Final 421 bye; 3 Final 421 bye\nE: closed Final 421 bye"
        ),
    );
    check(
        "PIPELINING",
        &format!(
            "{commands}C: DATA\nS: 250 Ok\nS: 550 b\nS: 250 Ok\nS: 550 d\nS: 250 Ok\nS: 354 go\nC: body 1\nC: .
            S: 250 Ok\nS: 452 full\nE: 1 Final 250 Ok; 0 Rcpt 550 b; 2 Rcpt 550 d; 3 Final 452 full"
        ),
    );
    let chunk = format!("{commands}C: BDAT 8 LAST\nC: body 1\n");
    check(
        BOTH,
        &format!(
            "{chunk}S: 250 Ok\nS: 250 Ok\nS: 250 Ok\nS: 550 no\nS: 250 Ok\nS: 250 A\nS: 250 B\nS: 250 A\nE: 1 Final 250 A; 1 Final 250 B; 2 Rcpt 550 no"
        ),
    );
    check(
        BOTH,
        &format!("{chunk}S: 250 Ok\nS: 550 no\nS: 550 no\nS: 550 no\nS: 550 no\nS: 503 none\nE: 1 Rcpt 550 no"),
    );
    check("PIPELINING", "> submit 1 b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA\nS: 250 Ok\nS: 550 no\nS: 354 go\nE: 1 Rcpt 550 no
        E: closed Data DATA was accepted without a recipient");
}

#[test]
fn parameters_follow_what_is_announced() {
    check(
        Whole,
        "PIPELINING SIZE=20 8BITMIME SMTPUTF8",
        "> submit 1 b@y\nC: MAIL FROM:<a@x> SIZE=8\nC: RCPT TO:<b@y>\nC: DATA",
    );
    check(
        Whole,
        "PIPELINING SIZE 8BITMIME",
        "> submit 1 eight b@y\nC: MAIL FROM:<a@x> SIZE=10 BODY=8BITMIME\nC: RCPT TO:<b@y>\nC: DATA",
    );
    check(Whole, "PIPELINING SMTPUTF8", "> submit 1 utf8 b@y\nC: MAIL FROM:<a@x> SMTPUTF8\nC: RCPT TO:<b@y>\nC: DATA");
    check(
        Whole,
        "PIPELINING SMTPUTF8",
        "> submit 1 b@y ü@y\nC: MAIL FROM:<a@x> SMTPUTF8\nC: RCPT TO:<b@y>\nC: RCPT TO:<ü@y>\nC: DATA",
    );
    check(
        Whole,
        "PIPELINING CHUNKING BINARYMIME",
        "> submit 1 binary b@y\nC: MAIL FROM:<a@x> BODY=BINARYMIME\nC: RCPT TO:<b@y>\nC: BDAT 7 LAST\nC: \nC: a\\nb",
    );
}

#[test]
fn says_what_the_peer_lacks() {
    check(Whole, "SIZE=7", "> submit 1 b@y\nE: 1 Size { limit: 7 }\n> credit 8\n> wait forever");
    check(
        Whole,
        "",
        "> submit 1 header utf8 b@y\nE: 1 Smtputf8\n> submit 2 b@y ü@y\nE: 2 Smtputf8\n> submit 3 b@y\nC: MAIL FROM:<a@x>",
    );
    // What is all ASCII but for its text goes as other mail does, whatever its sender said of it.
    check(Whole, "PIPELINING", "> submit 1 utf8 b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA");
    check(
        Whole,
        "PIPELINING 8BITMIME",
        "> submit 1 eight utf8 b@y\nC: MAIL FROM:<a@x> BODY=8BITMIME\nC: RCPT TO:<b@y>\nC: DATA\nS: 250 Ok\nS: 250 Ok\nS: 354 go\n\
         C: \nC: old ü\nC: .",
    );
    check(
        Whole,
        "PIPELINING DSN",
        "> submit 1 utf8 b@y|NEVER|utf-8;ü@x\nE: 1 Smtputf8\n> submit 2 utf8 b@y|NEVER|rfc822;c@x\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y> NOTIFY=NEVER ORCPT=rfc822;c@x\nC: DATA",
    );
    // A notice goes all the same, encoded, unless its header or its recipient would need it.
    check(
        Whole,
        "PIPELINING 8BITMIME",
        "> submit 1 eight utf8 notice b@y\nC: MAIL FROM:<>\nC: RCPT TO:<b@y>\nC: DATA\nS: 250 Ok\nS: 250 Ok\nS: 354 go\n\
         C: Content-Type: text/plain; charset=unknown-8bit\nC: Content-Transfer-Encoding: quoted-printable\n\
         C: MIME-Version: 1.0\nC: \nC: old =C3=BC\nC: .",
    );
    check(Whole, "", "> submit 1 header utf8 notice b@y\nE: 1 Smtputf8\n> submit 2 utf8 notice ü@y\nE: 2 Smtputf8");
    // Of two lacks the one is named that conversion would not help.
    check(Whole, "", "> submit 1 header utf8 b@y\nE: 1 Smtputf8");
    check(Whole, "", "> submit 1 header b@y\nE: 1 EightBit(Header)\n> credit 8\n> wait forever");
    check(Whole, "PIPELINING SMTPUTF8", "> submit 1 header b@y\nE: 1 EightBit(Header)");
    check(
        Whole,
        "PIPELINING SMTPUTF8",
        "> submit 1 header utf8 b@y\nC: MAIL FROM:<a@x> SMTPUTF8\nC: RCPT TO:<b@y>\nC: DATA",
    );
}

#[test]
fn content_is_converted_for_a_peer_that_cannot_take_it() {
    const FIELDS: &str = "C: Content-Type: text/plain; charset=unknown-8bit\nC: Content-Transfer-Encoding: quoted-printable\nC: MIME-Version: 1.0\nC: \n";
    let size = |text: &str| FIELDS.replace("C: ", "").len() + FIELDS.matches('\n').count() + text.len() + 2;
    for (kind, features, text) in
        [("eight", BOTH, "old =C3=BC"), ("binary", BOTH, "a=0Ab"), ("binary", "CHUNKING PIPELINING 8BITMIME", "a=0Ab")]
    {
        // SIZE is that of what is sent.
        let size = size(text);
        let commands = format!("> submit 1 {kind} b@y\nC: MAIL FROM:<a@x> SIZE={size}\nC: RCPT TO:<b@y>\n");
        check(Whole, &format!("{features} SIZE={size}"), &format!("{commands}C: BDAT {size} LAST\n{FIELDS}C: {text}"));
        let less = size - 1;
        check(
            Whole,
            &format!("{features} SIZE={less}"),
            &format!("> submit 1 {kind} b@y\nE: 1 Size {{ limit: {less} }}"),
        );
    }
    // Without CHUNKING, BINARYMIME is of no use.
    check(
        Whole,
        "PIPELINING BINARYMIME",
        &format!(
            "> submit 1 binary b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA\nS: 250 Ok\nS: 250 Ok\nS: 354 go\n{FIELDS}C: a=0Ab\nC: ."
        ),
    );
    let lmtp = Config { protocol: Protocol::Lmtp, ..config(Whole) };
    super::check(
        lmtp,
        &(hello("PIPELINING").replace("EHLO", "LHLO")
            + &format!(
                "> submit 1 eight b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA\nS: 250 Ok\nS: 250 Ok\nS: 354 go\n{FIELDS}C: old =C3=BC\nC: ."
            )),
    );
}

#[test]
fn leading_dots_are_doubled_under_data_only() {
    check(
        Whole,
        "PIPELINING",
        "> submit 1 dot b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: DATA\nS: 250 Ok\nS: 250 Ok\nS: 354 go\nC: ..\nC: .",
    );
    check(Whole, BOTH, "> submit 1 dot b@y\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: BDAT 3 LAST\nC: .");
}

#[test]
fn quits_when_all_is_reported() {
    check(
        Whole,
        BOTH,
        "> submit 1 b@y\n> quit\n> credit 0\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@y>\nC: BDAT 8 LAST\nC: body 1
        S: 250 Ok\nS: 250 Ok\nS: 250 Done\nE: 1 Final 250 Done\nC: QUIT\nS: 221 bye\n> eof\nE: closed Quit Done",
    );
}
