//! AUTH over real sockets: who gets in by which mechanism, as whom they may send, and what becomes of those who guess.

use crate::certificates::{FILES, Made};
use crate::injector::{Injector, queued_as};
use crate::world::{PATIENCE, Plan, World};
use bench::Address;
use bench::load::{Load, LoadOptions};
use bench::tls::TlsMode;
use engine::config::SocketName;
use engine::shell::StartError;
use engine::users::{User, Users};
use smtp::sasl::client::{Credentials, Exchange};
use smtp::sasl::{Mechanism, decode, encode};
use std::path::Path;

const BODY: &[u8] = b"Subject: x\r\n\r\nx\r\n";
pub(super) const AUTH: &str =
    "[auth]\nusers = \"DIR/users.toml\"\nmechanisms = [\"SCRAM-SHA-256\", \"CRAM-MD5\", \"PLAIN\", \"LOGIN\"]\n";

/// The users file: each with the password `secret`, and the addresses that they may send as.
pub(super) fn write(dir: &Path, users: &[(&str, &str)]) {
    let mut all = Users::default();
    for (name, sender) in users {
        all.put(User::new(name, "secret", vec![sender.parse().expect("a pattern")], true).expect("a user"));
    }
    all.save(&dir.join("users.toml")).expect("a writable directory");
}

/// One user, ann, who may send from `ann.test`.
fn plan(keys: &str) -> Plan {
    plan_with(keys, AUTH)
}

/// With this `[auth]`.
fn plan_with(keys: &str, auth: &str) -> Plan {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), &[("ann", "*@ann.test")]);
    let text = std::fs::read_to_string(dir.path().join("users.toml")).expect("just written");
    World::plan().file("users.toml", &text).config(auth).listener(keys)
}

/// What a client says with this mechanism; returns the last reply.
pub(super) fn log_in(injector: &mut Injector, mechanism: Mechanism, user: &str, password: &str) -> String {
    let credentials = Credentials { user: user.into(), password: password.into() };
    let mut exchange = Exchange::new(mechanism, &credentials, "a-nonce").expect("credentials");
    let mut line = format!("AUTH {}", mechanism.name());
    if let Some(initial) = exchange.initial_response() {
        line = format!("{line} {}", encode(initial));
    }
    loop {
        let reply = injector.ask(&line);
        let Some(challenge) = reply.strip_prefix("334 ") else { return reply };
        line = encode(exchange.handle_challenge(&decode(challenge).expect("base64")).expect("a challenge"));
    }
}

#[test]
fn every_mechanism_lets_in_over_tls_and_none_before() {
    let made = Made::new();
    let keys = format!("tls = \"starttls\"\nauth = \"required\"\nauth_without_tls = false\n{FILES}");
    let world = plan(&keys).file("chain.pem", &made.chain).file("key.pem", &made.key).start();
    for (n, mechanism) in Mechanism::ALL.into_iter().enumerate() {
        let mut injector = world.connect().greet();
        injector.expect("AUTH PLAIN AGFubgBzZWNyZXQ=", "538 5.7.11 ");
        injector.expect("MAIL FROM:<x@ann.test>", "530 5.7.0 ");
        injector.expect("STARTTLS", "220 ");
        let mut injector = injector.encrypt(made.client()).expect("a handshake");
        let announced = injector.ask("EHLO app.example");
        assert!(announced.contains("AUTH SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN"), "{announced}");
        injector.expect("MAIL FROM:<x@ann.test>", "530 5.7.0 ");
        let said = log_in(&mut injector, mechanism, "ann", "secret");
        assert!(said.starts_with("235 2.7.0 "), "{mechanism:?}: {said}");
        injector.expect("AUTH PLAIN AGFubgBzZWNyZXQ=", "503 5.5.1 ");
        let recipient = format!("u{n}@d.test");
        queued_as(&injector.send("x@ann.test", &[&recipient], BODY));
        let received = world.expect_delivered(&recipient);
        assert!(String::from_utf8_lossy(&received.body).contains(" with ESMTPSA id "), "{mechanism:?}");
    }
    world.expect_empty();
    world.finish();
}

#[test]
fn a_user_sends_as_who_the_file_says_and_as_nobody() {
    let world = plan("auth = \"required\"").start();
    let mut injector = world.connect().greet();
    assert!(log_in(&mut injector, Mechanism::ScramSha256, "ann", "secret").starts_with("235 "));
    injector.expect("MAIL FROM:<ann@other.test>", "553 5.7.1 You may not send as this address, but as *@ann.test");
    injector.expect("MAIL FROM:<ann@ann.test> AUTH=ann@ann.test", "250 ");
    injector.expect("RSET", "250 ");
    queued_as(&injector.send("", &["u@d.test"], BODY));
    world.expect_delivered("u@d.test");
    world.finish();
}

#[test]
fn strangers_may_come_and_have_to_say_who_they_are() {
    let world = plan("auth = \"optional\"\nallow = [\"10.0.0.0/8\"]\n")
        .listener("auth = \"optional\"\nbind = \"127.0.0.2:0\"")
        .start();
    let mut stranger = world.connect().greet();
    stranger.expect("MAIL FROM:<x@ann.test>", "530 5.7.0 ");
    stranger.expect("ETRN d.test", "530 5.7.0 ");
    assert!(log_in(&mut stranger, Mechanism::Plain, "ann", "secret").starts_with("235 "));
    queued_as(&stranger.send("x@ann.test", &["u@d.test"], BODY));
    // Whose address is allowed needs none, and is bound to no sender.
    queued_as(&world.connect_to(1).greet().send("any@home.test", &["v@d.test"], BODY));
    world.expect_all_delivered(&["u@d.test", "v@d.test"]);
    world.finish();
}

#[test]
fn whoever_guesses_is_slowed_and_shown_the_door() {
    let world =
        plan_with("auth = \"required\"", &format!("{AUTH}max_failures = 4\nfailure_delay = \"100ms\"\n")).start();
    let begun = std::time::Instant::now();
    let mut guesser = world.connect().greet();
    for (user, password) in [("ann", "wrong"), ("nobody", "secret"), ("ann", "Secret")] {
        let said = log_in(&mut guesser, Mechanism::Plain, user, password);
        assert!(said.starts_with("535 5.7.8 "), "{said}");
    }
    let said = log_in(&mut guesser, Mechanism::Login, "ann", "wrong too");
    assert!(said.starts_with("421 4.7.0 "), "{said}");
    assert_eq!(guesser.rest(), "");
    assert!(begun.elapsed().as_millis() >= 1000, "100 ms, 200 ms, 300 ms and 400 ms of waiting");
    world.finish();
}

/// A flood of logins keeps its own senders waiting, and nobody else.
#[test]
fn a_flood_of_logins_does_not_hold_up_mail() {
    let world = plan_with("auth = \"required\"", &format!("{AUTH}failure_delay = \"0s\"\n"))
        .listener("bind = \"127.0.0.2:0\"")
        .start();
    let mut flood: Vec<_> = (0..60).map(|_| world.connect().greet()).collect();
    flood.iter_mut().for_each(|guesser| guesser.say("AUTH PLAIN AGFubgB3cm9uZw==\r\n"));
    queued_as(&world.connect_to(1).greet().send("any@home.test", &["u@d.test"], BODY));
    world.expect_delivered("u@d.test");
    for guesser in &mut flood {
        let said = guesser.hear();
        assert!(said.starts_with("535 5.7.8 ") || said.starts_with("454 4.7.0 "), "{said}");
    }
    world.finish();
}

#[test]
fn a_changed_users_file_is_read_and_a_broken_one_is_not_used() {
    let mut world = plan("auth = \"required\"").start();
    let path = world.dir().join("users.toml");
    let gets_in = |world: &World, user: &str| {
        log_in(&mut world.connect().greet(), Mechanism::ScramSha256, user, "secret").starts_with("235 ")
    };
    let mut ann = world.connect().greet();
    assert!(log_in(&mut ann, Mechanism::ScramSha256, "ann", "secret").starts_with("235 "));
    std::fs::write(&path, "[[user]]\nname = 5\n").expect("a writable directory");
    world.reload("[auth]", "[auth]");
    assert!(gets_in(&world, "ann"));
    write(world.dir(), &[("bob", "*")]);
    world.until("bob is known", |world| gets_in(world, "bob"));
    assert!(!gets_in(&world, "ann"));
    ann.expect("MAIL FROM:<x@ann.test>", "553 5.7.1 ");
    world.finish();
}

#[test]
fn an_engine_without_its_users_does_not_start() {
    let (_world, error) = World::plan().config(AUTH).listener("auth = \"required\"").try_start();
    let Some(error @ StartError::Users(_)) = error else { panic!("{error:?}") };
    assert!(error.to_string().contains("users.toml: No such file"), "{error}");
}

/// A proxy that has asked for the password itself says so with XCLIENT.
#[test]
fn a_trusted_proxy_vouches_for_a_user() {
    let world = plan("auth = \"required\"\nxclient = [\"127.0.0.1\"]").start();
    let mut proxy = world.connect().greet();
    proxy.expect("MAIL FROM:<x@ann.test>", "530 5.7.0 ");
    for (login, mail) in [
        ("LOGIN=ann", "250 "),
        // The next client is not ann because the one before was.
        ("ADDR=127.0.0.9", "530 5.7.0 "),
        ("LOGIN=[UNAVAILABLE]", "530 5.7.0 "),
        ("LOGIN=bob", "553 5.7.1 "),
        ("ADDR=192.0.2.7 LOGIN=ann", "250 "),
    ] {
        proxy.expect(&format!("XCLIENT {login}"), "220 ");
        proxy.expect("EHLO app.example", "250");
        proxy.expect("MAIL FROM:<x@ann.test>", mail);
        proxy.expect("RSET", "250 ");
    }
    proxy.expect("MAIL FROM:<x@other.test>", "553 5.7.1 ");
    queued_as(&proxy.send("x@ann.test", &["u@d.test"], BODY));
    let received = world.expect_delivered("u@d.test").body;
    let head = String::from_utf8_lossy(&received).into_owned();
    assert!(
        head.starts_with("Received: from app.example ([192.0.2.7])\r\n") && head.contains(" with ESMTPA id "),
        "{head}"
    );
    world.finish();
}

#[test]
fn every_connection_of_the_load_generator_logs_in() {
    let made = Made::new();
    // SCRAM in clear text; where only the password itself is asked for, it is shown over TLS alone.
    for (keys, mechanism, tls, with) in [
        ("tls = \"none\"", "SCRAM-SHA-256", None, " with ESMTPA id "),
        ("tls = \"starttls\"", "PLAIN", Some(TlsMode::StartTls), " with ESMTPSA id "),
        ("tls = \"implicit\"", "LOGIN", Some(TlsMode::Implicit), " with ESMTPSA id "),
    ] {
        let files = if tls.is_some() { FILES } else { "" };
        let auth = format!("[auth]\nusers = \"DIR/users.toml\"\nmechanisms = [\"{mechanism}\"]\n");
        let world = plan_with(&format!("auth = \"required\"\n{keys}\n{files}"), &auth);
        let world = world.file("chain.pem", &made.chain).file("key.pem", &made.key).start();
        let SocketName::Tcp(address) = world.address(0) else { panic!("TCP") };
        let options = LoadOptions {
            to: Address::Tcp(address),
            tls,
            login: Some(Credentials { user: "ann".into(), password: "secret".into() }),
            sender: "load@ann.test".into(),
            connections: 5,
            messages: 20,
            timeout: Some(PATIENCE),
            ..LoadOptions::default()
        };
        let report = Load::run(options, |_| ()).expect("a load run");
        assert_eq!((report.messages, report.in_doubt, report.unfinished), (20, 0, 0), "{report:?}");
        world.expect_empty();
        assert!(
            world.sink().received().iter().all(|mail| String::from_utf8_lossy(&mail.body).contains(with)),
            "{with}"
        );
        world.finish();
    }
}
