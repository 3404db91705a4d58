//! Domains that take no mail bounce at once, each with its code.

use crate::world::{World, loopback};
use bench::dns::{Rule, Zone};

#[test]
fn each_kind_of_no_has_its_code() {
    let zone = Zone::everything_at(loopback(1))
        .with("gone.test", Rule::nxdomain())
        .with("null.test", Rule::records().mx(0, "."))
        .with("us.test", Rule::records().mx(10, "mta.home.test").mx(20, "mx.test"))
        .with("text.test", Rule::records())
        .with("nohost.test", Rule::records().mx(10, "gone.test"));
    let world = World::plan().zone(zone).start();
    let cases = [
        ("u@gone.test", 550, "5.1.2"),
        ("u@null.test", 556, "5.1.10"),
        ("u@us.test", 554, "5.4.6"),
        ("u@text.test", 550, "5.1.2"),
        ("u@nohost.test", 550, "5.4.4"),
    ];
    for (recipient, code, enhanced) in cases {
        world.send(&[recipient]);
        let event = world.expect_event("bounced", recipient);
        let reply = &event["reply"];
        assert_eq!((&reply["code"], &reply["enhanced"]), (&code.into(), &enhanced.into()), "{recipient}: {event}");
        assert_eq!(event["mx"], serde_json::Value::Null, "nobody was asked: {event}");
    }
    world.expect_empty();
    let received = world.sink().received();
    assert_eq!(received.len(), cases.len(), "a notice for each");
    for (recipient, _, enhanced) in cases {
        let about = format!("Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: {enhanced}\r\n");
        let told = received.iter().filter(|m| String::from_utf8_lossy(&m.body).contains(&about)).count();
        assert_eq!(told, 1, "{recipient}");
    }
    drop(received);
    world.finish();
}
