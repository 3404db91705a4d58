//! Many at once, and anything that may happen.

use super::*;

#[test]
fn many_domains_leave_nothing_behind() {
    let mut w = world();
    w.delay = Duration::from_millis(50);
    for i in 0..3000 {
        w.accept("", &[&format!("{}@d{i}.test", ["ok", "later"][i % 2])]);
    }
    w.run(S(600));
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| {
        let mut w = random_world(seed);
        w.run(S(3600));
        let name = |h: &Happened| format!("{:?} {} {} {}", h.kind, h.id, h.recipient, h.now.wall_us);
        w.happened.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(story(5), story(5));
}

/// A world with random limits, delays, failing hosts and scripted recipients.
fn random_world(seed: u64) -> World {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut config = config();
    config.limits = Arc::new(crate::config::Limits {
        connections: rng.u32(1..6),
        messages_per_connection: rng.u32(1..30),
        recipients_per_message: rng.u32(1..8),
        pipelining: *rng.choice([Pipelining::Off, Pipelining::Transaction, Pipelining::Stream].iter()).unwrap(),
        rate: rng.bool().then(|| Rate { count: rng.u32(1..200), per: S(1) }),
        connection_rate: rng.bool().then(|| Rate { count: rng.u32(1..20), per: S(1) }),
        ..limits()
    });
    config.queue.body_cache_bytes = rng.usize(..5000);
    let mut w = World::new(config, seed);
    w.delay = Duration::from_millis(rng.u64(..200));
    let words = ["ok", "ok", "ok", "bounce", "later", "spam", "grey", "doubt", "lost", "close", "big", "full"];
    for i in 0..12 {
        let hosts = (0..rng.u16(1..4)).map(|h| (h / 2, format!("mx{h}.p{}.test", i % 5))).collect();
        let answer = match rng.u8(..20) {
            0 => Err(MxFailure::NoSuchDomain),
            1 => Err(MxFailure::Temporary("timeout".into())),
            _ => Ok(hosts),
        };
        w.mx.insert(format!("d{i}.test"), answer);
        for h in 0..3 {
            let door =
                [Door::Open, Door::Open, Door::Open, Door::Refused, Door::Unwelcome, Door::BadTls][rng.usize(..6)];
            w.doors.insert(address_of(&format!("mx{h}.p{}.test", i % 5)), door);
        }
    }
    for n in 0..150 {
        let count = if rng.u8(..5) == 0 { rng.usize(1..40) } else { 1 };
        let to: Vec<String> =
            (0..count).map(|i| format!("{}{i}@d{}.test", words[rng.usize(..words.len())], rng.u8(..12))).collect();
        let from = if rng.u8(..4) == 0 { "" } else { "ok@d0.test" };
        w.accept(from, &to.iter().map(|t| &**t).collect::<Vec<_>>());
        if n % 10 == 0 {
            w.run(Duration::from_millis(rng.u64(..300)));
        }
        if n == 70 && seed.is_multiple_of(3) {
            w.handle(Input::Reload(Arc::new(w.config.clone())));
        }
        if n == 80 && seed.is_multiple_of(4) {
            let some: Vec<_> = w.disk.iter().step_by(7).map(|(k, e)| (k.clone(), e.clone())).collect();
            w.operate(if seed.is_multiple_of(8) {
                Operation::Retry(some)
            } else {
                Operation::Remove(some, HashMap::new())
            });
        }
    }
    w
}

#[test]
fn whatever_happens_every_recipient_ends_once() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut w = random_world(seed);
        w.run(S(600));
        // The world heals.
        w.doors.clear();
        w.run(S(10 * 3600));
        w.check_ends();
        let rate = w.config.limits.rate.map_or(u32::MAX, |r| r.count) as usize;
        let mut by_site: std::collections::BTreeMap<Arc<str>, Vec<Instant>> = Default::default();
        let sites: std::collections::BTreeMap<ConnectionId, Arc<str>> =
            w.opens.iter().map(|(_, o)| (o.connection, o.site.clone())).collect();
        for (at, connection, ..) in &w.deliveries {
            by_site.entry(sites[connection].clone()).or_default().push(*at);
        }
        for (site, times) in by_site {
            // A message that was not sent after all gives its place back: those do not count at the peer.
            let most = fastest_window(&times, S(1));
            assert!(most <= rate.saturating_add(64), "{site}: {most} of {rate}");
        }
        check_empty(&mut w);
    }
}
