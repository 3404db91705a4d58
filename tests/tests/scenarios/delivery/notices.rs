//! What senders are told, and what of it the next host is left to tell (RFC 3461, RFC 2852).

use crate::injector::queued_as;
use crate::world::{RETRY_SOON, SENDER, World};
use smtp::parameters::Return;
use smtp::server::Protocol;

/// A message with these parameters for one recipient with those.
fn send(world: &World, mail: &str, recipient: &str, rcpt: &str) {
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}> {mail}"), "250 ");
    injector.expect(&format!("RCPT TO:<{recipient}> {rcpt}"), "250 ");
    injector.expect("DATA", "354 ");
    injector.say("Subject: hello\r\n\r\nsecret\r\n.\r\n");
    queued_as(&injector.hear());
    injector.expect("QUIT", "221 ");
}

/// All notices so far.
fn notices(world: &World) -> Vec<String> {
    let received = world.sinks.iter().flat_map(|site| site.received().clone());
    let notices = received.filter(|message| message.recipients.iter().any(|to| to == SENDER));
    notices.map(|notice| String::from_utf8_lossy(&notice.body).into_owned()).collect()
}

#[test]
fn a_host_with_dsn_takes_over() {
    let world = World::plan().start();
    send(&world, "RET=HDRS ENVID=QQ+2B1", "a@d.test", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Ann@d.test");
    let received = world.expect_delivered("a@d.test");
    assert_eq!(
        (received.parameters.ret, received.parameters.envid.as_deref()),
        (Some(Return::Headers), Some("QQ+2B1"))
    );
    let [to] = &received.rcpts[..] else { panic!("one recipient") };
    assert_eq!(to.notify.words().collect::<Vec<_>>(), ["SUCCESS", "DELAY"]);
    assert_eq!(to.orcpt.as_deref(), Some("rfc822;Ann@d.test"));
    world.expect_empty();
    assert_eq!(notices(&world), [""; 0]);
    world.finish();
}

#[test]
fn a_host_without_dsn_is_where_the_trail_ends() {
    let world = World::plan().sink_options(|options| options.dsn = false).start();
    send(&world, "ENVID=QQ+2B1", "a@d.test", "NOTIFY=SUCCESS ORCPT=rfc822;Ann@d.test");
    let notice = world.expect_notice();
    for line in [
        "Original-Envelope-Id: QQ+1\r\n",
        "Original-Recipient: rfc822; Ann@d.test\r\n",
        "Final-Recipient: rfc822; a@d.test\r\n",
        "Action: relayed\r\n",
        "Status: 2.0.0\r\n",
        "Remote-MTA: dns; mx.d.test\r\n",
        "Subject: hello\r\n",
    ] {
        assert!(notice.contains(line), "{line:?} in {notice}");
    }
    assert!(!notice.contains("secret"), "{notice}");
    world.expect_empty();
    world.finish();
}

#[test]
fn behind_lmtp_there_are_mailboxes() {
    let config = "[[route]]\ndomain = [\"local.test\"]\nvia = \"lmtp://127.0.0.2:PORT\"\n";
    let plan = World::plan().config(config).sink_at([127, 0, 0, 2], |options| {
        options.protocol = Protocol::Lmtp;
        options.dsn = false;
    });
    let world = plan.start();
    send(&world, "", "a@local.test", "NOTIFY=SUCCESS");
    assert!(world.expect_notice().contains("Action: delivered\r\n"));
    world.finish();
}

#[test]
fn who_wants_no_notice_gets_none() {
    let world = World::plan().sink(&["rcpt to=*@d.test reply 550 5.1.1 unknown"]).start();
    for (recipient, rcpt) in
        [("a@d.test", "NOTIFY=NEVER"), ("b@d.test", "NOTIFY=SUCCESS"), ("c@d.test", "NOTIFY=DELAY")]
    {
        send(&world, "", recipient, rcpt);
        world.expect_event("bounced", recipient);
    }
    send(&world, "RET=HDRS", "d@d.test", "NOTIFY=FAILURE");
    let notice = world.expect_notice();
    assert!(notice.contains("Final-Recipient: rfc822; d@d.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"), "{notice}");
    assert!(!notice.contains("secret"), "{notice}");
    world.expect_empty();
    assert_eq!(notices(&world).len(), 1);
    world.finish();
}

#[test]
fn a_delay_is_told_once() {
    let config = format!("{RETRY_SOON}notify_delay = \"1s\"\n");
    let world = World::plan().config(&config).sink(&["rcpt to=*@d.test reply 450 4.2.1 later"]).start();
    send(&world, "", "a@d.test", "");
    send(&world, "", "b@d.test", "NOTIFY=FAILURE");
    let notice = world.expect_notice();
    for line in ["Subject: Delayed mail", "a@d.test\r\nAction: delayed\r\nStatus: 4.2.1\r\n", "\r\nWill-Retry-Until: "]
    {
        assert!(notice.contains(line), "{line:?} in {notice}");
    }
    let tried = world.count_events("deferred", "a@d.test");
    world.until("it is tried again twice", |world| world.count_events("deferred", "a@d.test") > tried + 1);
    world.sink().obey(&[]);
    world.expect_all_delivered(&["a@d.test", "b@d.test"]);
    world.expect_empty();
    assert_eq!(notices(&world).len(), 1);
    world.finish();
}

#[test]
fn what_is_too_late_comes_back() {
    let world = World::plan().config(RETRY_SOON).sink(&["rcpt to=*@d.test reply 450 4.2.1 later"]).start();
    send(&world, "BY=3;R", "a@d.test", "");
    world.expect_event("deferred", "a@d.test");
    world.expect_event("expired", "a@d.test");
    let notice = world.expect_notice();
    assert!(notice.contains("Action: failed\r\nStatus: 5.4.7\r\n"), "{notice}");
    assert!(notice.contains("within the time that you set"), "{notice}");
    world.expect_empty();
    world.finish();
}

#[test]
fn what_is_late_is_told() {
    let world = World::plan().config(RETRY_SOON).sink(&["rcpt to=*@d.test reply 450 4.2.1 later"]).start();
    send(&world, "BY=2;N", "a@d.test", "");
    assert!(world.expect_notice().contains("Action: delayed\r\nStatus: 4.4.7\r\n"));
    world.sink().obey(&[]);
    let received = world.expect_delivered("a@d.test");
    let by = received.parameters.deliver_by.expect("the host is told what is left");
    assert!(by.seconds <= 0, "{by:?}");
    world.expect_empty();
    assert_eq!(notices(&world).len(), 1);
    world.finish();
}

#[test]
fn a_host_that_does_not_watch_the_time_is_no_host_for_it() {
    let world = World::plan().sink_options(|options| options.deliver_by = false).start();
    send(&world, "BY=60;R", "a@d.test", "");
    let event = world.expect_event("bounced", "a@d.test");
    assert_eq!(event["reply"]["enhanced"], "5.3.3", "{event}");
    // Who only wants to be told has it go on, and is told.
    send(&world, "BY=60;N", "b@d.test", "");
    world.expect_delivered("b@d.test");
    world.until("both are told", |world| notices(world).len() == 2);
    let told = notices(&world);
    assert!(told.iter().any(|notice| notice.contains("b@d.test\r\nAction: relayed\r\n")), "{told:?}");
    world.finish();
}
