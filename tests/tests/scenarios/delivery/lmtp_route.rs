//! `[[route]]` over LMTP, TCP and Unix: a reply for each recipient, and each fares by its own.

use crate::world::World;
use bench::Address;
use smtp::server::Protocol;
use std::path::PathBuf;
use tempfile::TempDir;

fn check(route: &str, bind: impl FnOnce(&mut bench::sink::SinkOptions)) {
    let rules = ["final to=full@* reply 452 4.2.2 mailbox full", "final to=gone@* reply 550 5.1.1 no such user"];
    let config = format!("[[route]]\ndomain = [\"local.test\"]\nvia = \"{route}\"\n");
    let plan = World::plan().config(&config).sink_at([127, 0, 0, 2], |options| {
        options.protocol = Protocol::Lmtp;
        options.rules = rules.iter().map(|r| r.parse().expect("a rule")).collect();
        bind(options);
    });
    let world = plan.start();
    world.send(&["a@local.test", "full@local.test", "gone@local.test", "b@local.test", "c@d.test"]);
    world.expect_all_delivered(&["a@local.test", "b@local.test", "c@d.test"]);
    world.expect_event("deferred", "full@local.test");
    world.expect_event("bounced", "gone@local.test");
    let notice = world.expect_notice();
    assert!(notice.contains("Final-Recipient: rfc822; gone@local.test\r\n"), "{notice}");
    assert_eq!(notice.matches("Final-Recipient: ").count(), 1, "{notice}");
    world.until("one is left", |world| world.stats().recipients == 1);
    let local: Vec<_> = world.sinks[1].received().iter().map(|m| m.recipients.clone()).collect();
    assert_eq!(local, [["a@local.test", "b@local.test"]]);
    world.finish();
}

/// Four of one message fare differently, and nobody's reply is taken for another's, however much is in flight.
fn check_pipelined(level: &str, route: &str, bind: impl FnOnce(&mut bench::sink::SinkOptions)) {
    let rules = [
        "rcpt to=nobody* reply 550 5.1.1 no such user",
        "final to=full@* reply 452 4.2.2 mailbox full",
        "final to=gone* reply 550 5.1.1 no such user",
    ];
    let config = format!(
        "[limits]\nconnections = 1\nidle_timeout = \"1m\"\npipelining = \"{level}\"\n[[route]]\ndomain = [\"local.test\"]\nvia = \"{route}\"\n"
    );
    let world = World::plan().config(&config).sink_at([127, 0, 0, 2], |options| {
        options.protocol = Protocol::Lmtp;
        options.rules = rules.iter().map(|r| r.parse().expect("a rule")).collect();
        bind(options);
    });
    let world = world.start();
    let mut injector = world.connect().greet();
    for n in 0..12 {
        let to = ["nobody", "gone", "a"].map(|name| format!("{name}{n}@local.test"));
        let to = [&to[0], &to[1], "full@local.test", &to[2]];
        injector.send(crate::world::SENDER, &to, b"Subject: x\r\n\r\nx\r\n");
    }
    for n in 0..12 {
        world.expect_event("delivered", &format!("a{n}@local.test"));
        world.expect_event("bounced", &format!("gone{n}@local.test"));
        world.expect_event("bounced", &format!("nobody{n}@local.test"));
        assert_eq!(world.copies(&format!("a{n}@local.test")), 1, "{level}");
    }
    world.until("the full one waits", |world| world.count_events("deferred", "full@local.test") == 12);
    assert_eq!(world.sinks[1].handle.counters().connections_opened, 1, "{level}");
    world.finish();
}

const LEVELS: [&str; 3] = ["off", "transaction", "stream"];

#[test]
fn replies_belong_to_their_recipients_at_every_level_of_pipelining() {
    LEVELS.iter().for_each(|level| check_pipelined(level, "lmtp://127.0.0.2:PORT", |_| ()));
}

#[test]
fn so_they_do_over_a_unix_socket() {
    for level in LEVELS {
        let (_dir, path) = socket();
        let route = format!("lmtp+unix:{}", path.display());
        check_pipelined(level, &route, |options| options.bind = vec![Address::Unix(path)]);
    }
}

/// A name for one.
fn socket() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("lmtp.sock");
    (dir, path)
}

#[test]
fn each_recipient_fares_by_its_own_reply_over_tcp() {
    check("lmtp://127.0.0.2:PORT", |_| ());
}

#[test]
fn each_recipient_fares_by_its_own_reply_over_a_unix_socket() {
    let (_dir, path) = socket();
    check(&format!("lmtp+unix:{}", path.display()), |options| options.bind = vec![Address::Unix(path.clone())]);
}
