//! 4xx and 5xx at every stage: deferred or bounced as the verdict table says, with the peer's words in the event, and a
//! notice to the sender for what failed for good.

use crate::world::{SENDER, World};

enum Outcome {
    /// Still queued.
    Deferred,
    /// Given up, with this status in the notice.
    Bounced(&'static str),
}
use Outcome::{Bounced, Deferred};

/// A sink with this rule refuses u@d.test; the sender's own site takes the notice.
fn check(rule: &str, outcome: &Outcome, words: &str) {
    let world = World::plan().sink(&[rule]).start();
    world.send(&["u@d.test"]);
    let event = match outcome {
        Deferred => world.expect_event("deferred", "u@d.test"),
        Bounced(_) => world.expect_event("bounced", "u@d.test"),
    };
    assert_eq!((&event["sender"], &event["attempt"]), (&SENDER.into(), &1.into()), "{rule}: {event}");
    let text = event["reply"]["text"].as_str().unwrap_or_default();
    assert!(text.contains(words), "{rule}: {event}");
    match outcome {
        Deferred => {
            assert_eq!(world.stats().recipients, 1, "{rule}: still queued");
            assert_eq!(world.copies(SENDER), 0, "{rule}: no notice");
        }
        Bounced(status) => {
            assert_eq!(event["mx"], "mx.d.test", "{rule}: {event}");
            let notice = world.expect_notice();
            assert!(notice.contains("Final-Recipient: rfc822; u@d.test\r\n"), "{rule}: {notice}");
            assert!(notice.contains(&format!("Status: {status}\r\n")), "{rule}: {notice}");
            assert!(notice.contains(words), "{rule}: {notice}");
            world.expect_empty();
        }
    }
    assert_eq!(world.copies("u@d.test"), 0, "{rule}");
    world.finish();
}

/// A rule for every recipient would refuse the notice as well.
const ONLY: &str = "to=u@d.test";

#[test]
fn refused_for_now_in_the_transaction_is_deferred() {
    for stage in ["rcpt", "data", "final"] {
        check(&format!("{stage} {ONLY} reply 451 4.3.5 not today"), &Deferred, "not today");
    }
    check(&format!("mail from={SENDER} reply 451 4.3.5 not today"), &Deferred, "not today");
    check(&format!("rcpt {ONLY} reply 452 too many"), &Deferred, "too many");
}

#[test]
fn refused_for_good_in_the_transaction_bounces_with_a_notice() {
    for stage in ["rcpt", "data", "final"] {
        check(&format!("{stage} {ONLY} reply 550 5.7.26 never again"), &Bounced("5.7.26"), "never again");
    }
    check(&format!("mail from={SENDER} reply 553 5.1.8 never again"), &Bounced("5.1.8"), "never again");
    check(&format!("rcpt {ONLY} reply 550 without enhanced code"), &Bounced("5.0.0"), "without enhanced code");
}

#[test]
fn refused_before_the_transaction_is_deferred_whatever_the_class() {
    for stage in ["greeting", "hello"] {
        for reply in ["421 4.3.2 go away", "450 4.7.1 go away", "554 5.7.1 go away"] {
            check(&format!("{stage} reply {reply}"), &Deferred, "go away");
        }
    }
}
