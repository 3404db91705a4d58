//! A `data_dir` that cannot be written: the engine says so, with the path, and does not start.

use crate::world::World;

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let world = World::plan().start();
    let file = world.dir().join("file");
    std::fs::write(&file, "").expect("a writable directory");
    // Neither is writable for anybody, root included.
    for dir in [file.join("data"), "/proc/posthaste".into()] {
        let Err(error) = world.start_another(&dir) else { panic!("started in {}", dir.display()) };
        let text = error.to_string();
        assert!(text.contains(&dir.display().to_string()), "{text}");
    }
    world.finish();
}
