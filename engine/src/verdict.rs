//! The one table that decides the fate of mail: stage × cause × reply class.
//!
//! | what came | fate |
//! |---|---|
//! | 2xx to the content | delivered |
//! | 500, 502 or 503 to BDAT from a host that announced CHUNKING | soon, with DATA |
//! | 530 in clear text, from a host that offers STARTTLS and may have it | soon, with TLS |
//! | 421 anywhere | soon |
//! | 4xx to RCPT; 452 and 552 there mean "too many recipients" (RFC 5321 §4.5.3.1.10) | retry |
//! | 5xx to RCPT | bounce |
//! | 4xx to MAIL, DATA or the content | retry |
//! | 5xx to MAIL, DATA or the content | bounce |
//! | any refusal before MAIL (greeting, EHLO, STARTTLS, AUTH), also 5xx | next host, then retry |
//! | the connection ended, outcome known to be "not taken" | soon |
//! | the connection ended after the content (in doubt) | retry |
//! | nothing was sent | again |
//! | no connection could be opened, for a reason of our own | waits; after a minute of that, retry |
//! | the peer lacks what the message needs (SMTPUTF8: 5.6.7; SIZE: 5.3.4; 8BITMIME or BINARYMIME, when the content cannot be converted either: 5.6.3; REQUIRETLS: 5.7.30; DELIVERBY with return: 5.3.3) | bounce; REQUIRETLS: first the site's other hosts |
//! | too little is left of the sender's time (DELIVERBY) | retry, which gives up when it is over |
//! | no such domain, null MX, mail loop | bounce |
//! | DNS gave no answer | retry |
//!
//! What becomes of the connection is decided where that is known: `smtp::client` ends it over a 421, a set-up that leads
//! nowhere, and a reply out of step; dispatch (`note_answer`) over the two lines that go on with DATA or with TLS. How its
//! end reflects on the host is [`on_closed`]'s to say; any other reply to a transaction speaks for the host, since it answers.
//!
//! *In doubt* is a matter of octets, not of likelihood. The common case is an idle connection that the peer closes just
//! when a transaction, content and all, leaves in one flight: FIN or RST arrives, and no reply. The peer has most likely
//! read nothing; but a peer that read all of it, delivered it and then died looks the same, octet for octet, also to the
//! kernel: what is acknowledged was received by a host, not read by a program, and after a reset not even that is known.
//! So such a loss is told apart from none of the others, and waits for its turn in the schedule. Closing an idle
//! connection before the peer does (`idle_timeout`) is what keeps it rare.
//!
//! *Soon* is another try at once, over another connection, that counts as no attempt, a few times at most; then it is a
//! retry. *Again* is the same without a bound, since nothing was tried. A 5xx greeting never bounces: like Postfix's
//! `smtp_skip_5xx_greeting` the next host is tried, and if there is none, later.

use dns::MxFailure;
use smtp::Reply;
use smtp::client::{Cause, Outcome, Stage, Unsupported};
use smtp::reply::EnhancedCode;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::ErrorKind;

/// What becomes of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The peer took it.
    Delivered,
    /// Refused for good.
    Bounce,
    /// Tried again after a step of the schedule.
    Retry,
    /// Tried again at once, a few times; then like `Retry`.
    Soon,
    /// Tried again at once: nothing happened to it.
    Again,
}

/// The verdict on [`is_unknown_chunk`]: the same again without CHUNKING.
pub const ON_UNKNOWN_CHUNK: Fate = Fate::Soon;

/// A reply that says of BDAT, if that was used, that it is no command (of this place): nothing about the content.
pub fn is_unknown_chunk(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Replied(Stage::Final, Reply { code: 500 | 502 | 503, .. }))
}

/// The verdict on [`is_tls_first`] in clear text: the same again with TLS.
pub const ON_TLS_FIRST: Fate = Fate::Soon;

/// "Must issue a STARTTLS command first" (RFC 3207 §4): nothing about the message.
pub fn is_tls_first(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Replied(_, Reply { code: 530, .. }))
}

/// Some servers end the connection over EHLO, and would take HELO.
pub fn is_closed_at_hello(stage: Stage, cause: &Cause) -> bool {
    stage == Stage::Hello && matches!(cause, Cause::Eof | Cause::Io(_))
}

/// What becomes of a recipient for whom a transaction came to this.
pub fn on_outcome(outcome: &Outcome) -> Fate {
    match outcome {
        Outcome::Replied(stage, reply) => on_reply(*stage, reply),
        Outcome::Lost { in_doubt: true, .. } => Fate::Retry,
        Outcome::Lost { in_doubt: false, .. } => Fate::Soon,
        Outcome::NotSent => Fate::Again,
        Outcome::Unsupported(Unsupported::TooLate) => Fate::Retry,
        Outcome::Unsupported(_) => Fate::Bounce,
    }
}

fn on_reply(stage: Stage, reply: &Reply) -> Fate {
    use Stage::*;
    match (stage, reply.code / 100) {
        (_, _) if reply.code == 421 => Fate::Soon,
        (Final, 2) => Fate::Delivered,
        (Rcpt, 4) => Fate::Retry,
        (Rcpt, 5) if is_too_many_recipients(reply) => Fate::Retry,
        (Rcpt, 5) => Fate::Bounce,
        (Mail | Data | Final, 4) => Fate::Retry,
        (Mail | Data | Final, 5) => Fate::Bounce,
        (Connect | Greeting | Hello | StartTls | Tls | Auth, _) => Fate::Soon,
        // A reply that makes no sense here: the peer is out of step.
        _ => Fate::Soon,
    }
}

/// "Too many recipients in this transaction", which says nothing about the recipient (RFC 5321 §4.5.3.1.10).
pub fn is_too_many_recipients(reply: &Reply) -> bool {
    match reply.enhanced {
        Some(EnhancedCode(_, 5, 3)) => true,
        Some(_) => false,
        None => reply.code == 452 || reply.code == 552,
    }
}

/// The verdict on a domain that could not be routed, and what to tell about it.
pub fn on_route(failure: &MxFailure) -> (Fate, Reply) {
    let (fate, code, enhanced) = match failure {
        MxFailure::NoSuchDomain => (Fate::Bounce, 550, EnhancedCode(5, 1, 2)),
        MxFailure::NullMx => (Fate::Bounce, 556, EnhancedCode(5, 1, 10)),
        MxFailure::Loop => (Fate::Bounce, 554, EnhancedCode(5, 4, 6)),
        MxFailure::Temporary(_) => (Fate::Retry, 451, EnhancedCode(4, 4, 3)),
    };
    (fate, Reply::new(code, enhanced, failure.to_string()))
}

/// What to tell about a host without addresses. When no host of a site exists at all, this is what bounces.
pub fn on_host(host: &str, failure: &MxFailure) -> Reply {
    match failure {
        MxFailure::NoSuchDomain => {
            Reply::new(550, EnhancedCode(5, 4, 4), format!("{host}: the mail server does not exist"))
        }
        other => Reply::new(451, EnhancedCode(4, 4, 3), format!("{host}: {other}")),
    }
}

/// How a connection's end reflects on the host that it led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing to hold against it.
    Fair,
    /// TLS did not come up.
    TlsFailed,
    /// It took the connection and then no mail; if that happens again, it failed.
    HostSuspect,
    /// It is not to be used for a while.
    HostFailed,
}

/// How far a connection had come when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It never took mail.
    SetUp,
    /// It had become ready just before.
    JustReady,
    /// It took mail, if there was any.
    Ready,
    /// Some transaction was answered on it.
    Use,
}

/// The verdict on a connection that ended.
pub fn on_closed(stage: Stage, cause: &Cause, reached: Reached) -> End {
    match (stage, cause) {
        (Stage::Tls, _) => End::TlsFailed,
        // Under TLS 1.3 the peer may refuse what ended the handshake while we already await its first replies. Once mail went over
        // it, TLS works: garbage on the way is no reason to do without.
        (_, Cause::Tls(_)) if reached != Reached::Use => End::TlsFailed,
        // It offered TLS and broke down over it, unless it said why not.
        (Stage::StartTls, cause) if !matches!(cause, Cause::Replied(_)) => End::TlsFailed,
        _ if reached == Reached::SetUp => End::HostFailed,
        // Having worked, it may end for any reason: the next connection tells whether something is wrong.
        _ if reached == Reached::Use => End::Fair,
        // It answers EHLO and wants no mail: the next connection would end as this one, as fast as it can be opened.
        _ if reached == Reached::JustReady => End::HostSuspect,
        (Stage::Idle | Stage::Quit, Cause::Done | Cause::Eof | Cause::Timeout) => End::Fair,
        // "You said nothing for too long": true, when content had to be read from disk first.
        (Stage::Idle, Cause::Replied(Reply { enhanced: Some(EnhancedCode(4, 4, 2)), .. })) => End::Fair,
        _ => End::HostSuspect,
    }
}

/// What to tell about an outcome: the peer's words, or ours in the same form.
pub fn tell(outcome: &Outcome) -> Cow<'_, Reply> {
    match outcome {
        Outcome::Replied(_, reply) => Cow::Borrowed(reply),
        Outcome::Lost { cause: Cause::Replied(reply), in_doubt: false, .. } => Cow::Borrowed(reply),
        Outcome::Lost { stage, cause, in_doubt } => {
            let mut text = format!("{} {}", describe(cause), during(*stage));
            if *in_doubt {
                text.push_str("; the message may have been taken");
            }
            Cow::Owned(Reply::new(451, EnhancedCode(4, 4, 2), text))
        }
        Outcome::NotSent => Cow::Owned(Reply::fixed(451, EnhancedCode(4, 4, 2), "nothing was sent")),
        Outcome::Unsupported(lack) => {
            let enhanced = match lack {
                Unsupported::Smtputf8 => EnhancedCode(5, 6, 7),
                Unsupported::Size { .. } => EnhancedCode(5, 3, 4),
                // RFC 3463 §3.7: conversion required but not supported.
                Unsupported::EightBit(_) | Unsupported::Binary(_) => EnhancedCode(5, 6, 3),
                // RFC 8689 §5.
                Unsupported::RequireTls => EnhancedCode(5, 7, 30),
                // RFC 2852 §4.1.4; RFC 3463 §3.4 and §3.5.
                Unsupported::DeliverBy => EnhancedCode(5, 3, 3),
                Unsupported::TooLate => EnhancedCode(4, 4, 7),
            };
            let code = if enhanced.0 == 4 { 451 } else { 554 };
            Cow::Owned(Reply::new(code, enhanced, lack.to_string()))
        }
    }
}

/// What to tell about a connection that ended in its set-up. Always transient: a host's refusal is never the recipient's.
pub fn tell_closed(peer: &str, stage: Stage, cause: &Cause) -> Reply {
    let enhanced = match (stage, cause) {
        (_, Cause::Replied(Reply { enhanced: Some(EnhancedCode(_, subject, detail)), .. })) => {
            EnhancedCode(4, *subject, *detail)
        }
        // RFC 4954 §6: a problem with the credentials.
        (Stage::Auth, Cause::Replied(_)) | (_, Cause::Auth(_)) => EnhancedCode(4, 7, 8),
        (_, Cause::Replied(_)) => EnhancedCode(4, 3, 2),
        (Stage::Tls | Stage::StartTls, _) | (_, Cause::Tls(_)) => EnhancedCode(4, 7, 5),
        (Stage::Connect, _) => EnhancedCode(4, 4, 1),
        _ => EnhancedCode(4, 4, 2),
    };
    let mut text = format!("{peer}: {}", describe(cause));
    // A login that was not even tried says itself where it was, and so does a STARTTLS that was never said.
    if !matches!((stage, cause), (_, Cause::Auth(_)) | (Stage::StartTls, Cause::Tls(_))) {
        let _ = write!(text, " {}", during(stage));
    }
    if let Cause::Replied(reply) = cause {
        let _ = write!(text, ": {} {}", reply.code, reply.text);
    }
    Reply::new(451, enhanced, text)
}

/// What to tell where we could not open a connection, for a reason of our own. RFC 3463 §3.4: "mail system", which is ours.
pub fn tell_not_opened(why: &str) -> Reply {
    Reply::new(451, EnhancedCode(4, 3, 0), format!("no connection could be opened here: {why}"))
}

fn describe(cause: &Cause) -> Cow<'static, str> {
    match cause {
        Cause::Done => "connection closed".into(),
        Cause::Replied(_) => "refused".into(),
        Cause::Eof => "connection closed by the peer".into(),
        Cause::Timeout => "timed out".into(),
        // Of a Unix socket.
        Cause::Io(ErrorKind::NotFound) => "no such socket".into(),
        Cause::Io(kind) => kind.to_string().into(),
        Cause::Tls(what) => format!("TLS failed ({what})").into(),
        Cause::Auth(why) => format!("not logged in ({why})").into(),
        Cause::Protocol(what) => format!("not understood ({what})").into(),
    }
}

fn during(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "while connecting",
        Stage::Greeting => "while awaiting the greeting",
        Stage::Hello => "after EHLO",
        Stage::StartTls => "after STARTTLS",
        Stage::Tls => "in the TLS handshake",
        Stage::Auth => "after AUTH",
        Stage::Mail => "after MAIL",
        Stage::Rcpt => "after RCPT",
        Stage::Data => "after DATA",
        Stage::Final => "while sending the content",
        Stage::Idle => "between messages",
        Stage::Quit => "after QUIT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smtp::mime::Refusal;

    fn reply(code: u16) -> Reply {
        Reply { code, enhanced: None, text: "".into() }
    }

    #[test]
    fn replies_are_judged_by_stage_and_class() {
        use Stage::*;
        let check = |stage, code, fate| {
            assert_eq!(on_outcome(&Outcome::Replied(stage, reply(code))), fate, "{code} at {stage:?}");
        };
        check(Final, 250, Fate::Delivered);
        check(Rcpt, 450, Fate::Retry);
        check(Rcpt, 550, Fate::Bounce);
        check(Rcpt, 552, Fate::Retry);
        check(Rcpt, 452, Fate::Retry);
        for stage in [Mail, Data, Final] {
            check(stage, 451, Fate::Retry);
            check(stage, 554, Fate::Bounce);
        }
        for stage in [Greeting, Hello, Mail, Rcpt, Data, Final] {
            check(stage, 421, Fate::Soon);
        }
        for stage in [Greeting, Hello, StartTls, Auth] {
            check(stage, 554, Fate::Soon);
        }
        check(Mail, 250, Fate::Soon);
        check(Final, 354, Fate::Soon);
    }

    #[test]
    fn a_full_mailbox_is_not_too_many_recipients() {
        let full = Reply::fixed(552, EnhancedCode(5, 2, 2), "mailbox full");
        assert_eq!(on_outcome(&Outcome::Replied(Stage::Rcpt, full)), Fate::Bounce);
        let many = Reply::fixed(552, EnhancedCode(5, 5, 3), "too many recipients");
        assert_eq!(on_outcome(&Outcome::Replied(Stage::Rcpt, many)), Fate::Retry);
    }

    #[test]
    fn losses_are_judged_by_doubt() {
        let lost = |in_doubt| Outcome::Lost { stage: Stage::Final, cause: Cause::Eof, in_doubt };
        assert_eq!(on_outcome(&lost(true)), Fate::Retry);
        assert_eq!(on_outcome(&lost(false)), Fate::Soon);
        assert_eq!(on_outcome(&Outcome::NotSent), Fate::Again);
        assert!(tell(&lost(true)).text.contains("may have been taken"));
    }

    #[test]
    fn what_the_peer_lacks_bounces_with_its_own_code() {
        for (lack, code) in [
            (Unsupported::Smtputf8, EnhancedCode(5, 6, 7)),
            (Unsupported::Size { limit: 10 }, EnhancedCode(5, 3, 4)),
            (Unsupported::EightBit(Refusal::Signed), EnhancedCode(5, 6, 3)),
            (Unsupported::Binary(Refusal::Header), EnhancedCode(5, 6, 3)),
        ] {
            let outcome = Outcome::Unsupported(lack);
            assert_eq!(on_outcome(&outcome), Fate::Bounce);
            assert_eq!(tell(&outcome).enhanced, Some(code));
        }
    }

    #[test]
    fn routes_fail_for_good_or_for_now() {
        for (failure, fate, enhanced) in [
            (MxFailure::NoSuchDomain, Fate::Bounce, EnhancedCode(5, 1, 2)),
            (MxFailure::NullMx, Fate::Bounce, EnhancedCode(5, 1, 10)),
            (MxFailure::Loop, Fate::Bounce, EnhancedCode(5, 4, 6)),
            (MxFailure::Temporary("SERVFAIL".into()), Fate::Retry, EnhancedCode(4, 4, 3)),
        ] {
            let (got, reply) = on_route(&failure);
            assert_eq!((got, reply.enhanced), (fate, Some(enhanced)), "{failure:?}");
        }
    }

    #[test]
    fn a_connection_is_held_against_its_host_until_it_was_of_use() {
        let refused = Cause::Replied(reply(554));
        assert_eq!(on_closed(Stage::Connect, &Cause::Timeout, Reached::SetUp), End::HostFailed);
        assert_eq!(on_closed(Stage::Greeting, &refused, Reached::SetUp), End::HostFailed);
        assert_eq!(on_closed(Stage::StartTls, &refused, Reached::SetUp), End::HostFailed);
        assert_eq!(on_closed(Stage::StartTls, &Cause::Eof, Reached::SetUp), End::TlsFailed);
        assert_eq!(on_closed(Stage::Tls, &Cause::Eof, Reached::SetUp), End::TlsFailed);
        assert_eq!(on_closed(Stage::Tls, &Cause::Tls("bad".into()), Reached::SetUp), End::TlsFailed);
        assert_eq!(on_closed(Stage::Hello, &Cause::Tls("bad".into()), Reached::SetUp), End::TlsFailed);
        assert_eq!(on_closed(Stage::Mail, &Cause::Tls("bad".into()), Reached::Ready), End::TlsFailed);
        assert_eq!(on_closed(Stage::Mail, &Cause::Tls("bad".into()), Reached::Use), End::Fair);
        assert_eq!(on_closed(Stage::Mail, &Cause::Eof, Reached::Ready), End::HostSuspect);
        assert_eq!(on_closed(Stage::Mail, &Cause::Eof, Reached::Use), End::Fair);
        assert_eq!(on_closed(Stage::Idle, &Cause::Done, Reached::Ready), End::Fair);
        assert_eq!(on_closed(Stage::Idle, &Cause::Done, Reached::JustReady), End::HostSuspect);
        let said = |detail| Cause::Replied(Reply::fixed(421, EnhancedCode(4, 4, detail), "closing"));
        assert_eq!(on_closed(Stage::Idle, &said(2), Reached::Ready), End::Fair);
        assert_eq!(on_closed(Stage::Idle, &said(2), Reached::JustReady), End::HostSuspect);
        assert_eq!(on_closed(Stage::Idle, &said(5), Reached::Ready), End::HostSuspect);
    }

    #[test]
    fn a_refused_greeting_is_told_as_transient() {
        let refused = Reply::fixed(554, EnhancedCode(5, 7, 1), "go away");
        let told = tell_closed("mx1.example[192.0.2.1]", Stage::Greeting, &Cause::Replied(refused));
        assert_eq!((told.code, told.enhanced), (451, Some(EnhancedCode(4, 7, 1))));
        assert_eq!(told.text, "mx1.example[192.0.2.1]: refused while awaiting the greeting: 554 go away");
        let told = tell_closed("/run/lmtp", Stage::Connect, &Cause::Io(ErrorKind::NotFound));
        assert_eq!(told.text, "/run/lmtp: no such socket while connecting");
        let missing = Cause::Auth(smtp::client::AuthError::NotOffered);
        let told = tell_closed("mx1.example[192.0.2.1]", Stage::Auth, &missing);
        let text = "mx1.example[192.0.2.1]: not logged in (a user is configured, and the server offers no AUTH)";
        assert_eq!(told, Reply::new(451, EnhancedCode(4, 7, 8), text));
        let lacking = Cause::Tls("STARTTLS is required and the server does not offer it".into());
        let told = tell_closed("mx1.example[192.0.2.1]", Stage::StartTls, &lacking).to_string();
        let expected =
            "451 4.7.5 mx1.example[192.0.2.1]: TLS failed (STARTTLS is required and the server does not offer it)";
        assert_eq!(told, expected);
    }
}
