//! Two engines never share one `data_dir`: the second says who has it.

use crate::world::World;

#[test]
fn the_second_engine_is_told_who_has_the_directory() {
    let mut world = World::plan().start();
    let Err(error) = world.start_another(&world.data_dir()) else { panic!("two engines on one data_dir") };
    let text = error.to_string();
    let holder = format!("in use by process {} on ", std::process::id());
    assert!(text.contains("data") && text.contains(&holder), "{text}");
    // The first is none the worse, and its end frees the directory.
    world.send(&["u@d.test"]);
    world.expect_delivered("u@d.test");
    world.expect_empty();
    world.stop_engine();
    world.start_engine();
    world.finish();
}
