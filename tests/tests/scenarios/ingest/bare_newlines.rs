//! `bare_newline = "normalize"`: a message in LF lines is taken and goes on in CRLF lines; what was smuggled in it stays
//! in it.

use crate::world::{SENDER, World};

#[test]
fn lf_lines_become_crlf_lines_and_hide_nothing() {
    let world = World::plan().listener("bare_newline = \"normalize\"").start();
    let mut injector = world.connect().greet();
    injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
    injector.expect("RCPT TO:<u@d.test>", "250 ");
    injector.expect("DATA", "354 ");
    injector.say("Subject: x\n\nOne\n.\nMAIL FROM:<admin@home.test>\r\n..stuffed\r\n.\r.\rQUIT\r\n.\r\n");
    assert!(injector.hear().starts_with("250 2.0.0 Ok: queued as "));
    injector.expect("QUIT", "221 ");
    let received = world.expect_delivered("u@d.test");
    let body = String::from_utf8(received.body.to_vec()).expect("ASCII");
    let expected = "Subject: x\r\n\r\nOne\r\n.\r\nMAIL FROM:<admin@home.test>\r\n.stuffed\r\n\r\n.\r\nQUIT\r\n";
    assert!(body.ends_with(&format!("\r\n{expected}")), "{body:?}");
    world.expect_empty();
    assert_eq!(world.sink().received().len(), 1);
    world.finish();
}
