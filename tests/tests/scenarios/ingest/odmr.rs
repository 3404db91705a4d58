//! ODMR: customers without an address of their own come for their mail, and get it over the connection they came on.

use super::auth::{AUTH, log_in, write};
use crate::certificates::{FILES, Made};
use crate::injector::Injector;
use crate::world::{Plan, SENDER, World};
use smtp::sasl::Mechanism;

const ROUTES: &str = "[retry]
schedule = [\"12h\"]
[[route]]
domain = [\"one.test\", \"two.test\"]
via = \"odmr\"
user = \"ann\"
[[route]]
domain = [\"other.test\"]
via = \"odmr\"
user = \"bob\"
";

/// A listener for mail, and one for customers with these keys.
fn plan(keys: &str) -> Plan {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), &[("ann", "*@ann.test"), ("bob", "*@bob.test"), ("eve", "*@eve.test")]);
    let users = std::fs::read_to_string(dir.path().join("users.toml")).expect("just written");
    World::plan().file("users.toml", &users).config(AUTH).config(ROUTES).listener("max_hold = \"1h\"").listener(keys)
}

/// Sends, and waits until the mail waits for its customer.
fn send(world: &World, recipients: &[&str]) {
    for to in recipients {
        world.send(&[to]);
    }
    for to in recipients {
        let event = world.expect_event("deferred", to);
        assert!(event["reply"].to_string().contains("waits for ATRN of user "), "{event}");
    }
}

/// A customer who has logged in.
fn come(world: &World, user: &str) -> Injector {
    let mut customer = world.connect_to(1).greet();
    let said = log_in(&mut customer, Mechanism::ScramSha256, user, "secret");
    assert!(said.starts_with("235 "), "{said}");
    customer
}

/// The customer's side of a connection that is turned round.
struct Mailbox(Injector);

impl Mailbox {
    /// Greets, and hears who comes.
    fn open(customer: Injector) -> Mailbox {
        Mailbox::open_with(customer, "250 customer.test\r\n")
    }

    /// The same, with this reply to EHLO.
    fn open_with(mut customer: Injector, hello: &str) -> Mailbox {
        customer.say("220 customer.test ESMTP\r\n");
        assert_eq!(customer.hear(), "EHLO mta.home.test");
        customer.say(hello);
        Mailbox(customer)
    }

    /// Takes a message up to its content, and says who it is for; `None`: QUIT came instead.
    fn begin(&mut self) -> Option<String> {
        let mail = self.0.hear();
        if mail == "QUIT" {
            self.0.say("221 2.0.0 Bye\r\n");
            self.0.half_close();
            assert_eq!(self.0.rest(), "");
            return None;
        }
        assert!(mail.starts_with("MAIL FROM:<"), "{mail:?}");
        self.0.say("250 2.1.0 Ok\r\n");
        let recipient = self.0.hear();
        self.0.say("250 2.1.5 Ok\r\n");
        assert_eq!(self.0.hear(), "DATA");
        self.0.say("354 Go on\r\n");
        let address = recipient.strip_prefix("RCPT TO:<").and_then(|rest| rest.strip_suffix('>'));
        Some(address.unwrap_or_else(|| panic!("{recipient:?}")).to_owned())
    }

    /// Takes everything until QUIT: who it was for, sorted.
    fn take_all(mut self) -> Vec<String> {
        let mut taken = Vec::new();
        while let Some(recipient) = self.begin() {
            let mut lines = (0..100).map(|_| self.0.hear());
            assert!(lines.any(|line| line == "Hello."));
            assert_eq!(lines.next().as_deref(), Some("."));
            self.0.say("250 2.0.0 Taken\r\n");
            taken.push(recipient);
        }
        taken.sort();
        taken
    }
}

const OURS: [&str; 3] = ["u@one.test", "u@two.test", "v@one.test"];

#[test]
fn a_customer_gets_its_mail_and_nobody_elses() {
    let world = plan("auth = \"required\"").start();
    world.connect_to(1).greet().expect("ATRN", "530 5.7.0 ");
    send(&world, &OURS);
    send(&world, &["u@other.test"]);
    come(&world, "eve").expect("ATRN", "450 4.7.1 ");

    let mut ann = come(&world, "ann");
    ann.expect("ATRN other.test", "450 4.7.1 ");
    ann.expect("ATRN one.test,other.test", "450 4.7.1 ");
    ann.expect("ATRN elsewhere.test", "450 4.7.1 ");
    ann.expect("ATRN one..test", "501 5.5.4 ");
    ann.expect("ATRN", "250 2.0.0 OK now reversing the connection");
    assert_eq!(Mailbox::open(ann).take_all(), OURS);
    for to in OURS {
        world.expect_event("delivered", to);
    }
    world.until("one is left", |world| world.stats().recipients == 1);
    come(&world, "ann").expect("ATRN", "453 4.2.0 You have no mail");

    let mut bob = come(&world, "bob");
    bob.expect("ATRN OTHER.test", "250 ");
    assert_eq!(Mailbox::open(bob).take_all(), ["u@other.test"]);
    world.expect_empty();
}

#[test]
fn only_the_domains_that_are_named_are_handed_over() {
    let world = plan("auth = \"required\"").start();
    send(&world, &OURS);
    let mut ann = come(&world, "ann");
    ann.expect("ATRN two.test", "250 ");
    come(&world, "ann").expect("ATRN one.test", "451 4.3.2 ");
    let mailbox = Mailbox::open(ann);
    // What comes while the customer is there goes, too, if it was asked for.
    world.send(&["w@two.test"]);
    send(&world, &["w@one.test"]);
    assert_eq!(mailbox.take_all(), ["u@two.test", "w@two.test"]);
    world.until("three are left", |world| world.stats().recipients == 3);
    let mut ann = come(&world, "ann");
    ann.expect("ATRN", "250 ");
    assert_eq!(Mailbox::open(ann).take_all(), ["u@one.test", "v@one.test", "w@one.test"]);
    world.expect_empty();
}

#[test]
fn what_its_sender_holds_back_is_not_handed_over_before_its_time() {
    let world = plan("auth = \"required\"").start();
    let mut sender = world.connect().greet();
    sender.expect("MAIL FROM:<a@home.test> HOLDFOR=3600", "250 ");
    sender.expect("RCPT TO:<later@one.test>", "250 ");
    sender.expect("DATA", "354 ");
    sender.expect("Subject: later\r\n\r\nHello.\r\n.", "250 ");
    come(&world, "ann").expect("ATRN", "453 4.2.0 ");
    send(&world, &OURS);
    let mut ann = come(&world, "ann");
    ann.expect("ATRN", "250 ");
    assert_eq!(Mailbox::open(ann).take_all(), OURS);
    world.until("one is left", |world| world.stats().recipients == 1);
}

#[test]
fn the_tls_of_the_login_is_that_of_the_mail() {
    let made = Made::new();
    let keys = format!("tls = \"starttls\"\nauth = \"required\"\nauth_without_tls = false\n{FILES}");
    let world = plan(&keys).file("chain.pem", &made.chain).file("key.pem", &made.key).start();
    send(&world, &OURS);
    let mut ann = world.connect_to(1).greet();
    ann.expect("ATRN", "530 5.7.0 ");
    ann.expect("STARTTLS", "220 ");
    let mut ann = ann.encrypt(made.client()).expect("a handshake");
    assert!(ann.ask("EHLO customer.test").contains("ATRN"));
    assert!(log_in(&mut ann, Mechanism::Plain, "ann", "secret").starts_with("235 "));
    ann.expect("ATRN", "250 ");
    assert_eq!(Mailbox::open(ann).take_all(), OURS);
    let event = world.expect_event("delivered", "u@one.test");
    assert!(event["tls"].to_string().contains("TLSv1.3"), "{event}");
    world.expect_empty();
}

#[test]
fn mail_that_requires_tls_does_not_go_to_who_cannot_prove_itself() {
    let made = Made::new();
    let keys = format!("tls = \"starttls\"\nauth = \"required\"\nauth_without_tls = false\n{FILES}");
    let world = plan(&keys).file("chain.pem", &made.chain).file("key.pem", &made.key);
    let world = world.listener(&format!("tls = \"implicit\"\n{FILES}")).start();
    send(&world, &["u@one.test"]);
    let mut sender = world.connect_to(2).encrypt(made.client()).expect("a handshake").greet();
    sender.expect("EHLO app.test", "250");
    sender.expect(&format!("MAIL FROM:<{SENDER}> REQUIRETLS"), "250 ");
    sender.expect("RCPT TO:<secret@one.test>", "250 ");
    sender.expect("DATA", "354 ");
    sender.expect("Subject: secret\r\n\r\nSecret.\r\n.", "250 ");
    world.expect_event("deferred", "secret@one.test");
    let mut ann = world.connect_to(1).greet();
    ann.expect("STARTTLS", "220 ");
    let mut ann = ann.encrypt(made.client()).expect("a handshake");
    ann.ask("EHLO customer.test");
    assert!(log_in(&mut ann, Mechanism::Plain, "ann", "secret").starts_with("235 "));
    ann.expect("ATRN", "250 ");
    // It promises what it cannot be held to: it has shown a password, and no certificate.
    assert_eq!(Mailbox::open_with(ann, "250-customer.test\r\n250 REQUIRETLS\r\n").take_all(), ["u@one.test"]);
    let event = world.expect_event("bounced", "secret@one.test");
    assert_eq!(event["reply"]["enhanced"], "5.7.30", "{event}");
    world.expect_notice();
    world.expect_empty();
}

/// The connection of a customer who wants all of its mail, turned round.
fn turn(world: &World) -> Injector {
    let mut ann = come(world, "ann");
    ann.expect("ATRN", "250 ");
    ann
}

#[test]
fn what_a_customer_breaks_off_it_gets_the_next_time() {
    let world = plan("auth = \"required\"").start();
    send(&world, &OURS);
    // Before it has greeted; in the midst of a message; with what no server says.
    drop(turn(&world));
    let mut mailbox = Mailbox::open(turn(&world));
    mailbox.begin().expect("there is mail");
    drop(mailbox);
    let mut client = turn(&world);
    client.say("MAIL FROM:<a@b.test>\r\n");
    assert_eq!(client.rest(), "");
    assert_eq!(Mailbox::open(turn(&world)).take_all(), OURS);
    for to in OURS {
        world.expect_event("delivered", to);
        assert_eq!(world.count_events("delivered", to), 1);
    }
    world.expect_empty();
}

#[test]
fn a_customer_whose_line_was_cut_is_not_kept_waiting() {
    let world = plan("auth = \"required\"").start();
    send(&world, &OURS);
    let mut dead = Mailbox::open(turn(&world));
    dead.begin().expect("there is mail");
    // What is in flight there may have arrived; the rest is not held up by it.
    let mut taken = Mailbox::open(turn(&world)).take_all();
    assert!((1..3).contains(&taken.len()), "{taken:?}");
    drop(dead);
    for _ in 0..3 {
        if taken.len() < OURS.len() {
            taken.extend(Mailbox::open(turn(&world)).take_all());
        }
    }
    taken.sort();
    assert_eq!(taken, OURS);
    world.expect_empty();
}
