//! One refused recipient never hurts the others.

use crate::world::World;

#[test]
fn others_are_delivered_and_one_notice_lists_only_the_refused() {
    let world = World::plan()
        .sink(&["rcpt to=bad*@d.test reply 550 5.1.1 no such user", "rcpt to=late@d.test reply 450 4.2.1 later"])
        .start();
    world.send(&["a@d.test", "bad1@d.test", "late@d.test", "b@d.test", "bad2@d.test"]);
    world.expect_all_delivered(&["a@d.test", "b@d.test"]);
    let notice = world.expect_notice();
    for (recipient, listed) in [("bad1", true), ("bad2", true), ("a", false), ("b", false), ("late", false)] {
        let field = format!("Final-Recipient: rfc822; {recipient}@d.test\r\n");
        assert_eq!(notice.contains(&field), listed, "{recipient}: {notice}");
    }
    world.until("late is left", |world| world.stats().recipients == 1);
    world.expect_event("deferred", "late@d.test");
    let to_site = world.sink().received().iter().filter(|message| !message.reverse_path.is_empty()).count();
    assert_eq!(to_site, 1, "one transaction");
    let notices = world.sink().received().iter().filter(|message| message.reverse_path.is_empty()).count();
    assert_eq!(notices, 1);
    world.finish();
}

#[test]
fn nobody_left_is_no_transaction() {
    let world = World::plan().sink(&["rcpt to=*@d.test reply 550 5.1.1 no such user"]).start();
    let to: Vec<String> = (0..20).map(|n| format!("u{n}@d.test")).collect();
    world.send(&to.iter().map(String::as_str).collect::<Vec<_>>());
    let notice = world.expect_notice();
    assert_eq!(notice.matches("Final-Recipient: ").count(), 20);
    world.expect_empty();
    assert_eq!(world.sink().received().len(), 1, "only the notice");
    world.finish();
}
