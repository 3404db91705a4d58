//! Certificates change while the engine runs; one that cannot be used changes nothing.

use crate::certificates::{FILES, Made};
use crate::world::World;
use engine::shell::StartError;

fn start(made: &Made) -> World {
    let plan = World::plan().file("chain.pem", &made.chain).file("key.pem", &made.key);
    plan.listener(&format!("tls = \"implicit\"\n{FILES}")).start()
}

/// Whether a client that trusts this certificate only is content.
fn shows(world: &World, made: &Made) -> bool {
    world.connect().encrypt(made.client()).is_ok()
}

#[test]
fn replaced_files_are_used_without_a_restart_and_old_connections_go_on() {
    let (old, new) = (Made::new(), Made::new());
    let world = start(&old);
    let mut guest = world.connect().encrypt(old.client()).expect("a handshake").greet();
    new.write(world.dir());
    world.until("the new certificate is shown", |world| shows(world, &new));
    assert!(!shows(&world, &old));
    guest.expect("NOOP", "250 ");
    world.finish();
}

#[test]
fn sighup_reads_them_at_once_also_under_another_name() {
    let (old, new) = (Made::new(), Made::new());
    let mut world = start(&old);
    std::fs::write(world.dir().join("both.pem"), format!("{}{}", new.chain, new.key)).expect("writable");
    let dir = world.dir().display().to_string();
    let (chain, key) = (format!("{dir}/chain.pem"), format!("{dir}/key.pem"));
    world.reload(&chain, &format!("{dir}/both.pem"));
    // The key is of the other one: nothing changes. Then both are named, and it does.
    world.reload(&key, &format!("{dir}/both.pem"));
    world.until("the new certificate is shown", |world| shows(world, &new));
    world.finish();
}

#[test]
fn a_certificate_that_cannot_be_used_leaves_the_old_one() {
    let (old, new) = (Made::new(), Made::new());
    let world = start(&old);
    for (chain, key) in [(&new.chain[..], &old.key[..]), ("nonsense", &old.key[..]), (&old.chain[..], "")] {
        std::fs::write(world.dir().join("chain.pem"), chain).expect("writable");
        std::fs::write(world.dir().join("key.pem"), key).expect("writable");
        // Read in any case, with what the watch sees by itself.
        world.engine().handle().reload(world.engine().handle().config().clone()).expect("no password to read");
        world.send_with_tls(&old, &["u@d.test"]);
    }
    new.write(world.dir());
    world.until("the new certificate is shown", |world| shows(world, &new));
    world.finish();
}

#[test]
fn an_engine_without_its_certificate_does_not_start() {
    let (one, other) = (Made::new(), Made::new());
    let plan = World::plan().file("chain.pem", &one.chain).file("key.pem", &other.key);
    let (_world, error) = plan.listener(&format!("tls = \"starttls\"\n{FILES}")).try_start();
    let Some(error @ StartError::Certificate { .. }) = error else { panic!("{error:?}") };
    assert!(error.to_string().contains("is not the key of the first certificate"), "{error}");
    let (_world, error) = World::plan().listener(&format!("tls = \"starttls\"\n{FILES}")).try_start();
    assert!(error.expect("no files").to_string().contains("chain.pem: No such file"));
}
