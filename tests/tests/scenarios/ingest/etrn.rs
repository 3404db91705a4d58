//! ETRN: a host that was away asks for its mail, which was waiting for a retry that is hours ahead.

use crate::injector::Injector;
use crate::world::World;

#[test]
fn mail_for_a_domain_and_those_below_it_is_started() {
    let world = World::plan().config("[retry]\nschedule = [\"12h\"]\n").sink(&["mail reply 451 4.3.2 away"]).start();
    for to in ["u@a.test", "v@a.test", "u@x.a.test", "u@ba.test"] {
        world.send(&[to]);
        world.expect_event("deferred", to);
    }
    world.sink().obey(&[]);
    let mut host = world.connect().greet();
    host.expect("ETRN nothing.test", "251 2.0.0 OK, no messages waiting for node nothing.test");
    host.expect("ETRN #a", "459 4.7.1 ");
    host.expect("ETRN a.test.", "501 5.5.4 ");
    host.expect("ETRN A.test", "253 2.0.0 OK, 2 pending messages for node a.test started");
    for to in ["u@a.test", "v@a.test"] {
        world.expect_delivered(to);
    }
    host.expect("ETRN @a.test", "253 2.0.0 OK, 1 pending messages for node @a.test started");
    world.expect_delivered("u@x.a.test");
    host.expect("QUIT", "221 ");
    world.until("one is left", |world| world.stats().recipients == 1);
    assert_eq!(world.sink().copies("u@ba.test"), 0);
    world.finish();
}

#[test]
fn commands_behind_it_wait_and_turn_is_refused() {
    let world = World::plan().start();
    let mut host = world.connect().greet();
    host.say(
        "ETRN a.test\r\nETRN @b.test\r\nTURN\r\nEXPN all\r\nMAIL FROM:<a@b.test>\r\nETRN a.test\r\nHELP\r\nQUIT\r\n",
    );
    let replies: Vec<String> = std::iter::repeat_with(|| host.hear()).take(8).collect();
    let codes: Vec<&str> = replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(codes, ["251", "251", "502", "502", "250", "503", "214", "221"], "{replies:?}");
    assert!(replies[6].contains(" ETRN "), "{replies:?}");
    world.finish();
}

#[test]
fn whoever_hangs_up_is_not_waited_for() {
    let world = World::plan().start();
    for _ in 0..20 {
        let mut host = Injector::connect(&world.address(0)).expect("the listener is bound").greet();
        host.say("ETRN @test\r\n");
    }
    world.connect().greet().expect("ETRN @test", "251 ");
    world.finish();
}
