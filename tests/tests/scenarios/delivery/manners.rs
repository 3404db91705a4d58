//! Hosts that do not keep what they announce are spoken to in a plainer manner from then on, and nothing bounces for it.

use crate::world::{RETRY_SOON, World};

/// How the only host of d.test is spoken to, where that is not as configured.
fn manner(world: &World) -> String {
    let view = world.engine().handle().ask(|dispatch, _| dispatch.explain_site("d.test")).flatten();
    let view = view.expect("the site is known");
    view.hosts[0].manner.map_or(String::new(), |manner| manner.to_string())
}

#[test]
fn chunking_that_is_unknown_after_all() {
    for reply in ["500 5.5.1 what", "502 5.5.1 not implemented", "503 5.5.1 not now"] {
        let world = World::plan().sink(&[&format!("data first=1 reply {reply}")]).start();
        world.send(&["a@d.test"]);
        let event = world.expect_event("delivered", "a@d.test");
        assert_eq!(event["attempt"], 1, "{reply}: {event}");
        assert_eq!(manner(&world), "no CHUNKING, pipelining transaction", "{reply}");
        world.send(&["b@d.test"]);
        world.expect_event("delivered", "b@d.test");
        assert_eq!((world.copies("a@d.test"), world.copies("b@d.test")), (1, 1), "{reply}");
        world.finish();
    }
}

#[test]
fn the_same_reply_to_data_is_about_the_message() {
    let world = World::plan().sink(&["data reply 502 5.5.1 no"]).start();
    world.send(&["a@d.test"]);
    world.expect_event("bounced", "a@d.test");
    world.finish();
}

#[test]
fn a_host_that_drops_the_flight_gets_smaller_ones() {
    let world = World::plan().sink(&["mail first=2 close"]).config(RETRY_SOON).start();
    world.send(&["a@d.test"]);
    let event = world.expect_event("delivered", "a@d.test");
    // The first one was in doubt; the second, without CHUNKING, was not.
    assert_eq!(event["attempt"], 2, "{event}");
    assert_eq!(manner(&world), "no CHUNKING, pipelining off");
    assert_eq!(world.copies("a@d.test"), 1);
    world.finish();
}

#[test]
fn replies_that_do_not_fit_are_noted() {
    let world = World::plan().sink(&["mail first=1 reply 354 go ahead"]).config(RETRY_SOON).start();
    world.send(&["a@d.test"]);
    world.expect_event("delivered", "a@d.test");
    assert_eq!(manner(&world), "no CHUNKING, pipelining transaction");
    world.finish();
}

#[test]
fn a_host_that_closes_over_ehlo_hears_helo() {
    for end in ["close", "reset"] {
        let world = World::plan().sink(&[&format!("hello first=1 {end}")]).start();
        world.send(&["a@d.test"]);
        let event = world.expect_event("delivered", "a@d.test");
        assert_eq!(event["attempt"], 1, "{event}");
        assert_eq!(manner(&world), "HELO");
        world.finish();
    }
}

#[test]
fn where_tls_is_required_helo_is_no_way_out() {
    let world = World::plan().sink(&["hello first=1 close"]).config("[limits]\ntls = \"required\"\n").start();
    world.send(&["a@d.test"]);
    world.expect_event("deferred", "a@d.test");
    assert_eq!(manner(&world), "");
    world.finish();
}
