//! MT-PRIORITY: what is urgent overtakes what waits, and the next host hears of it.

use crate::injector::queued_as;
use crate::world::{SENDER, World};

#[test]
fn urgent_mail_goes_first() {
    let site = "[[site]]\nmatch = { domain = [\"d.test\"] }\nconnections = 1\nmessages_per_connection = 1000\n";
    let suspended = format!("{site}suspend = true\n");
    let mut world = World::plan().config(&suspended).start();
    let mut injector = world.connect().greet();
    for (recipient, priority) in [("slow", "-1"), ("plain", "0"), ("urgent", "9"), ("next", "0")] {
        injector.expect(&format!("MAIL FROM:<{SENDER}> MT-PRIORITY={priority}"), "250 ");
        injector.expect(&format!("RCPT TO:<{recipient}@d.test>"), "250 ");
        injector.expect("DATA", "354 ");
        injector.say("\r\n.\r\n");
        queued_as(&injector.hear());
    }
    world.reload("suspend = true", "suspend = false");
    world.expect_all_delivered(&["slow@d.test", "plain@d.test", "urgent@d.test", "next@d.test"]);
    let received = world.sink().received().clone();
    let order: Vec<_> = received.iter().map(|r| (r.recipients[0].as_str(), r.parameters.priority)).collect();
    assert_eq!(order, [("urgent@d.test", 9), ("plain@d.test", 0), ("next@d.test", 0), ("slow@d.test", -1)]);
    world.finish();
}
