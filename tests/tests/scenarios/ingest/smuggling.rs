//! SMTP smuggling: only CRLF.CRLF ends a message. Whatever else looks like an end is refused, with all that it hid.

use crate::world::{SENDER, World};

/// Ends that are none (CVE-2023-51764 and its kin).
const FALSE_ENDS: [&str; 10] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r\n.\r",
    "\r.\r\n",
    "\n.\r",
    "\r\n\x00.\r\n.\n",
    "\r\r\n.\r\r\n",
    "\n\n.\n\n",
];

#[test]
fn nothing_is_smuggled_behind_a_false_end() {
    let world = World::plan().start();
    for end in FALSE_ENDS {
        let mut injector = world.connect().greet();
        injector.expect(&format!("MAIL FROM:<{SENDER}>"), "250 ");
        injector.expect("RCPT TO:<victim@d.test>", "250 ");
        injector.expect("DATA", "354 ");
        let hidden = "MAIL FROM:<admin@home.test>\r\nRCPT TO:<smuggled@d.test>\r\nDATA\r\nSubject: y\r\n\r\ny";
        injector.say(format!("Subject: x\r\n\r\nx{end}{hidden}\r\n.\r\nQUIT\r\n"));
        let said = injector.rest();
        let mut lines = said.lines();
        let reply = lines.next().unwrap_or_default();
        assert!(reply.starts_with("550 5.6.11 "), "{end:?}: {said}");
        let farewell = lines.next().unwrap_or_default();
        assert!(farewell.starts_with("221 ") && lines.next().is_none(), "one reply for all of it, {end:?}: {said}");
    }
    world.send(&["after@d.test"]);
    world.expect_delivered("after@d.test");
    world.expect_empty();
    assert_eq!(world.sink().received().len(), 1);
    world.finish();
}
