//! Hundreds of recipients of one message at one site: transactions of at most `recipients_per_message`, over few connections.

use crate::injector::{queued_as, stuffed};
use crate::world::{SENDER, World};

fn send(world: &World, domain: &str, count: usize) {
    let mut injector = world.connect().greet();
    let mut commands = format!("MAIL FROM:<{SENDER}>\r\n");
    (0..count).for_each(|n| commands.push_str(&format!("RCPT TO:<u{n}@{domain}>\r\n")));
    injector.say(commands + "DATA\r\n");
    (0..=count).for_each(|_| assert!(injector.hear().starts_with("250 ")));
    assert!(injector.hear().starts_with("354 "));
    injector.say(stuffed(b"Subject: x\r\n\r\nx\r\n"));
    queued_as(&injector.hear());
}

/// Recipients of each transaction, sorted.
fn transactions(world: &World, domain: &str) -> Vec<usize> {
    let received = world.sink().received();
    let to_it = received.iter().filter(|message| message.recipients[0].ends_with(domain));
    let mut sizes: Vec<usize> = to_it.map(|message| message.recipients.len()).collect();
    sizes.sort_unstable();
    sizes
}

#[test]
fn hundreds_of_recipients_take_a_transaction_a_hundred() {
    let world = World::plan().start();
    send(&world, "one.test", 100);
    send(&world, "few.test", 250);
    world.expect_empty();
    assert_eq!(transactions(&world, "@one.test"), [100]);
    assert_eq!(transactions(&world, "@few.test"), [50, 100, 100]);
    for n in 0..250 {
        assert_eq!(world.copies(&format!("u{n}@few.test")), 1);
    }
    world.finish();
}

#[test]
fn a_server_that_takes_fewer_gets_the_rest_in_the_next_transaction() {
    let world = World::plan().sink_options(|options| options.max_recipients = 30).start();
    send(&world, "few.test", 100);
    world.expect_empty();
    assert_eq!(transactions(&world, "@few.test"), [10, 30, 30, 30]);
    assert!(world.events().iter().all(|event| event["event"] != "deferred"), "at once, not at the next retry");
    world.finish();
}

#[test]
fn recipients_per_message_is_configurable() {
    let site = "[[site]]\nmatch = { domain = [\"few.test\"] }\nrecipients_per_message = 7\n";
    let world = World::plan().config(site).start();
    send(&world, "few.test", 20);
    world.expect_empty();
    assert_eq!(transactions(&world, "@few.test"), [6, 7, 7]);
    world.finish();
}
