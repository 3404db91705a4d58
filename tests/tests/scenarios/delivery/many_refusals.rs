//! A host that refuses the recipients of most messages does not get their content sent in vain.

use crate::world::World;

fn is_careful(world: &World) -> bool {
    let view = world.engine().handle().ask(|dispatch, _| dispatch.explain_site("d.test")).flatten();
    view.is_some_and(|view| view.hosts[0].careful)
}

#[test]
fn content_waits_for_the_recipients_where_they_are_often_refused() {
    let plan = World::plan().config("[limits]\nmessages_per_connection = 1\nconnections = 1\n");
    let world = plan.sink(&["rcpt to=gone*@d.test reply 550 5.1.1 no such user"]).start();
    world.send(&["first@d.test"]);
    world.expect_event("delivered", "first@d.test");
    assert!(!is_careful(&world));
    for n in 0..8 {
        world.send(&[&format!("gone{n}@d.test")]);
    }
    world.expect_event("bounced", "gone7@d.test");
    assert!(is_careful(&world));
    world.send(&["last@d.test", "gone@d.test"]);
    world.expect_event("delivered", "last@d.test");
    world.expect_event("bounced", "gone@d.test");
    world.expect_empty();
    world.finish();
}
