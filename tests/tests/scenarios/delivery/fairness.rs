//! Little of one campaign does not wait behind much of another, and tenants get the same.

use crate::world::{SENDER, World};

const NEWSLETTERS: usize = 400;
const RESETS: usize = 10;

fn message(tenant: &str, campaign: &str) -> String {
    format!(
        "X-Posthaste-Tenant: {tenant}\r\nX-Posthaste-Campaign: {campaign}\r\nSubject: s\r\n\r\n{}",
        "x\r\n".repeat(3000)
    )
}

#[test]
fn a_password_reset_does_not_wait_behind_a_newsletter() {
    let site = "[[site]]\nmatch = { domain = [\"d.test\"] }\nconnections = 1\nmessages_per_connection = 10000\n";
    let suspended = format!("{site}suspend = true\n");
    let mut world = World::plan().config(&suspended).start();
    let mut injector = world.connect().greet();
    for n in 0..NEWSLETTERS {
        injector.send(SENDER, &[&format!("reader{n}@d.test")], message("shop", "spring").as_bytes());
    }
    for n in 0..RESETS {
        injector.send(SENDER, &[&format!("reset{n}@d.test")], message("shop", "reset").as_bytes());
    }
    // All of it is on disk; what was accepted first is due first.
    world.reload("suspend = true", "suspend = false");
    world.until("all is delivered", |world| world.sink().received().len() == NEWSLETTERS + RESETS);
    let received = world.sink().received().clone();
    let last = received.iter().rposition(|r| r.recipients[0].starts_with("reset")).expect("they arrived");
    assert!(last < 10 * RESETS, "the last reset was number {last}");
    world.finish();
}
