//! Only addresses in `allow` may relay. Others are greeted, and get 550 to each recipient: senders and their operators look
//! for it there.

use crate::world::{SENDER, World};
use metrics_exporter_prometheus::PrometheusBuilder;

/// The first listener is not for us, the second one is.
const STRANGERS: &str = "allow = [\"10.0.0.0/8\", \"::1/128\"]";
const FRIENDS: &str = "bind = \"127.0.0.2:0\"";
const REFUSAL: &str = "550 5.7.1 Your address may not relay here; add it to `allow` of this listener";

#[test]
fn each_recipient_of_a_stranger_is_refused() {
    // Refusals are counted on the engine's threads, whose recorder is that of the process; no other world is bound there.
    let counted = PrometheusBuilder::new().install_recorder().expect("no other test has one");
    let bind = "bind = \"127.0.0.77:0\"";
    let world = World::plan().listener(&format!("{bind}\n{STRANGERS}")).listener(FRIENDS).start();
    let mut stranger = world.connect().greet();
    for (command, reply) in [
        ("MAIL FROM:<a@b.test>", "250 2.1.0 "),
        ("RCPT TO:<c@d.test>", REFUSAL),
        ("RCPT TO:<postmaster>", REFUSAL),
        ("DATA", "554 5.5.1 No valid recipients"),
        ("BDAT 5 LAST\r\nabc", "554 5.5.1 No valid recipients"),
        ("RCPT TO:<c@d.test>", "503 5.5.1 "),
        ("ETRN d.test", REFUSAL),
        ("ATRN", "502 "),
        ("AUTH PLAIN", "502 "),
        ("XCLIENT ADDR=10.0.0.1", "550 5.7.1 "),
        ("VRFY c@d.test", "252 "),
        ("EXPN all", "502 "),
        ("QUIT", "221 "),
    ] {
        stranger.expect(command, reply);
    }
    let line = "posthaste_messages_rejected_total{listener=\"127.0.0.77:0\",reason=\"not_allowed\"} 2";
    let scrape = counted.render();
    assert!(scrape.lines().any(|scraped| scraped == line), "{line} is not in\n{scrape}");
    // The other listener is not concerned.
    let mut friend = world.connect_to(1).greet();
    friend.expect("MAIL FROM:<>", "250 ");
    friend.expect("RCPT TO:<c@d.test>", "250 ");
    friend.expect("RSET", "250 ");
    world.expect_empty();
    world.finish();
}

#[test]
fn strangers_ask_for_no_room_and_are_shown_out_like_others() {
    let queue = "[queue]\nmax_recipients = 1\n[limits]\nsuspend = true\n";
    let bounds = "max_errors = 2\nmax_connections_per_address = 2";
    let world = World::plan().config(queue).listener(&format!("{STRANGERS}\n{bounds}")).listener(FRIENDS).start();
    let mut friend = world.connect_to(1).greet();
    friend.send(SENDER, &["u@d.test"], b"Subject: x\r\n\r\nx\r\n");
    friend.expect("MAIL FROM:<>", "452 4.3.1 ");
    let mut stranger = world.connect().greet();
    let _another = world.connect().greet();
    assert!(world.connect().hear().starts_with("421 4.7.0 Too many connections from your address"));
    stranger.expect("MAIL FROM:<a@b.test> SIZE=1000000", "250 ");
    stranger.expect("RCPT TO:<c@d.test>", REFUSAL);
    stranger.expect("RCPT TO:<d@d.test>", REFUSAL);
    stranger.expect("RCPT TO:<e@d.test>", "421 4.7.0 Too many errors");
    assert_eq!(stranger.rest(), "");
    world.finish();
}
