//! Real mail, odd mail: each message of the corpus goes in over SMTP and arrives over TLS byte for byte, less the added
//! `Received:` field.

use crate::injector::queued_as;
use crate::world::{SENDER, World};
use bench::sink::{Certificate, Tls, TlsMode};
use std::path::{Path, PathBuf};

/// Beside the checkout: it is not ours to ship.
fn corpus() -> Option<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a member of the workspace");
    let found = root.ancestors().map(|dir| dir.join("shared/corpus")).find(|dir| dir.is_dir())?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(found).ok()?.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
    files.sort();
    Some(files)
}

#[test]
fn the_corpus_arrives_byte_for_byte_over_tls() {
    let Some(files) = corpus() else {
        eprintln!("skipped: there is no shared/corpus beside the checkout or above it");
        return;
    };
    assert!(!files.is_empty());
    for chunking in [true, false] {
        let world = World::plan().sink_options(|options| {
            options.tls = Some(Tls { certificate: Certificate::SelfSigned, mode: TlsMode::StartTls });
            options.chunking = chunking;
        });
        let world = world.start();
        let mut injector = world.connect().greet();
        let mut sent = Vec::new();
        for (n, file) in files.iter().enumerate() {
            let body = bench::load::normalise(&std::fs::read(file).expect("a readable corpus"));
            let recipient = format!("u{n}@d.test");
            let reply = injector.send(SENDER, &[&recipient], &body);
            assert!(reply.starts_with("250 "), "{}: {reply}", file.display());
            queued_as(&reply);
            sent.push((file, recipient, body));
        }
        for (file, recipient, body) in &sent {
            let received = world.expect_delivered(recipient);
            assert!(received.tls.is_some(), "{}", file.display());
            assert!(received.body.ends_with(body), "{}: changed (chunking {chunking})", file.display());
            let added = &received.body[..received.body.len() - body.len()];
            assert!(added.starts_with(b"Received: from app.example "), "{}", file.display());
            assert_eq!(added.iter().filter(|octet| **octet == b'\n').count(), 3, "{}", file.display());
        }
        world.expect_empty();
        world.finish();
    }
}
