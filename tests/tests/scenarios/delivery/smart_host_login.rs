//! `user` and `password_file` of a `[[route]]`: the smart host hears who we are before it gets any mail.

use crate::certificates::authority;
use crate::relay::{Relay, tls};
use crate::world::{Plan, RETRY_SOON, World};

/// Everything to these ports of 127.0.0.1; `DIR/password` holds the password.
fn plan(scheme: &str, relays: &[&Relay]) -> Plan {
    let hops: Vec<String> = relays.iter().map(|relay| format!("\"{scheme}://127.0.0.1:{}\"", relay.port())).collect();
    World::plan().config(&format!(
        "{RETRY_SOON}[[route]]\ndomain = [\"*\"]\nvia = [{}]\nuser = \"alice\"\npassword_file = \"DIR/password\"\n",
        hops.join(", ")
    ))
}

fn with_password(plan: Plan, password: &str) -> World {
    plan.file("password", password).start()
}

#[test]
fn the_strongest_mechanism_that_both_have_is_used() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let certificate = authority(dir.path(), "127.0.0.1");
    for (offered, used) in [
        ("LOGIN", "LOGIN"),
        ("PLAIN LOGIN", "PLAIN"),
        ("GSSAPI PLAIN CRAM-MD5", "CRAM-MD5"),
        ("PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256", "SCRAM-SHA-256"),
    ] {
        let relay = Relay::start(offered, Some(tls(&certificate)), "open sesame");
        let world = with_password(plan("smtps", &[&relay]), "open sesame\n");
        world.send(&["u@d.test"]);
        let event = world.expect_event("delivered", "u@d.test");
        assert_eq!(event["tls"]["version"], "TLSv1.3", "{event}");
        assert_eq!(relay.logins(), [(used, true)], "{offered}");
        assert_eq!(relay.taken(), [("u@d.test".to_owned(), Some("alice".to_owned()))], "{offered}");
        world.expect_empty();
    }
}

#[test]
fn a_wrong_password_makes_mail_wait_and_a_reload_reads_the_file_again() {
    let relay = Relay::start("PLAIN", None, "new");
    let mut world = with_password(plan("smtp", &[&relay]), "old");
    world.send(&["u@d.test"]);
    let event = world.expect_event("deferred", "u@d.test");
    let reply = &event["reply"];
    assert_eq!((&reply["code"], &reply["enhanced"]), (&451.into(), &"4.7.8".into()), "{event}");
    let text = reply["text"].as_str().unwrap_or_default();
    assert!(text.ends_with("refused after AUTH: 535 who are you"), "{event}");
    assert!(!text.contains("old"), "{event}");
    std::fs::write(world.dir().join("password"), "new\n").expect("a writable file");
    // The site is left alone for half a minute; another limit is no reason to look earlier, another route is.
    world.reload("user = \"alice\"", "auth_in_clear = true\nuser = \"alice\"");
    world.retry();
    world.expect_event("delivered", "u@d.test");
    assert_eq!(relay.logins().last(), Some(&("PLAIN", true)));
    world.expect_empty();
}

#[test]
fn a_host_that_refuses_the_login_is_passed_over() {
    let (first, second) = (Relay::start("PLAIN", None, "other"), Relay::start("PLAIN", None, "ours"));
    let world = with_password(plan("smtp", &[&first, &second]), "ours");
    world.send(&["u@d.test"]);
    let event = world.expect_event("delivered", "u@d.test");
    assert_eq!(event["attempt"], 1, "{event}");
    assert_eq!((first.logins(), first.taken()), (vec![("PLAIN", false)], vec![]));
    assert_eq!(second.taken().len(), 1);
    first.set_password("ours");
    world.expect_empty();
}

#[test]
fn without_the_file_nothing_starts() {
    let relay = Relay::start("PLAIN", None, "x");
    let (_world, error) = plan("smtp", &[&relay]).try_start();
    let error = error.expect("it does not start").to_string();
    assert!(error.contains("password_file") && error.contains("No such file"), "{error}");
}
