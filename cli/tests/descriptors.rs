//! A daemon that runs out of descriptors: who waits for one gets it as soon as there is one, although nobody else comes.

#[allow(dead_code, reason = "other tests use the rest")]
mod daemon;

use daemon::{Daemon, Home};
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

fn is_greeted(mut client: &TcpStream, patience: Duration) -> bool {
    client.set_read_timeout(Some(patience)).expect("a time limit");
    let mut greeting = [0; 3];
    client.read_exact(&mut greeting).is_ok() && &greeting == b"220"
}

#[test]
fn who_waits_for_a_descriptor_is_served_when_there_is_one() {
    let home = Home::new("[delivery]\nworkers = 1\n");
    let mut daemon = Daemon::start(&home);
    daemon.wait_until_ready(&home);
    // Then it has opened all that it opens for itself.
    daemon.reload(&home);
    daemon.limit_descriptors(3);
    let clients: Vec<TcpStream> =
        (0..6).map(|_| TcpStream::connect(home.ingest()).expect("the kernel takes it")).collect();
    let (first, others) = clients.split_at(1);
    assert!(is_greeted(&first[0], Duration::from_secs(30)));
    let last = &others[4];
    assert!(!is_greeted(last, Duration::from_secs(1)), "there is no descriptor for it");
    // Whoever was let in goes; the last ones wait in the kernel's queue, of which nothing new is told.
    clients[..3].iter().for_each(|client| client.shutdown(std::net::Shutdown::Both).expect("open"));
    assert!(is_greeted(last, Duration::from_secs(30)), "it waits although there is room");
}
