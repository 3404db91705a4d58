//! The deterministic simulation: the real dispatch, the real client and server and the real queue, against simulated
//! exchangers, DNS, network, disk and time. One seed decides everything; a failing seed is the bug report.
//!
//! `SIM_SEED=123 cargo test -p posthaste-tests --test sim` runs one seed and shows every step; `SIM_SEEDS=10000` runs many,
//! `SIM_FIRST=N` from that one on.
//!
//! - `scenario`: what a seed is about. `world`, `clock`: time, and what happens next. `summary`: what it came to.
//! - `engine`: the shell's part. `storage`, `crash`: the queue on a disk that loses power.
//! - `outage`: a disk that is full for a while, an index that breaks and is opened again, or that makes no sense any more.
//! - `configuration`, `reload`: an operator who changes limits, routes and what is suspended while mail is under way.
//! - `network`, `link`, `exchanger`, `resolver`: everybody else, and what goes wrong with them.
//! - `checker`, `limits`: what must hold. `trace`: a hash of all that happened.
//!
//! Not here: sockets, threads and TLS octets (`scenarios` and `crash` run the real program); sled (the queue's own tests).

mod checker;
mod clock;
mod configuration;
mod crash;
mod engine;
mod exchanger;
mod limits;
mod link;
mod network;
mod outage;
mod reload;
mod resolver;
mod scenario;
mod storage;
mod summary;
mod suspension;
mod trace;
mod world;

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use summary::Summary;
use world::World;

/// Seeds of an ordinary run.
const SEEDS: u64 = 200;
/// One seed in so many is run twice, to compare the traces.
const TWICE_EACH: u64 = 8;

thread_local! {
    /// What the last panic said, and where.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs a seed; on failure tells the story.
fn run(seed: u64, origin: Instant, verbose: bool) -> Result<Summary, String> {
    let mut world = World::new(seed, origin, verbose);
    std::panic::catch_unwind(AssertUnwindSafe(|| world.run())).map_err(|_| {
        let what = PANIC.with_borrow(String::clone);
        format!(
            "seed {seed} fails; run it with  SIM_SEED={seed} cargo test -p posthaste-tests --test sim\n{what}\n\
             after {} µs, in life {}; the last steps:\n{}",
            world.clock.now,
            world.life,
            world.trace.last_steps()
        )
    })
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Runs seeds on all cores; returns their summaries added up, or the failure with the lowest seed.
fn sweep(seeds: std::ops::Range<u64>, origin: Instant) -> Result<Summary, String> {
    let (next, failures, total) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()), Mutex::new(Summary::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while failures.lock().expect("no thread panics").is_empty() {
                    let seed = next.fetch_add(1, Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let times = if seed % TWICE_EACH == 0 { 2 } else { 1 };
                    let results: Result<Vec<Summary>, String> = (0..times).map(|_| run(seed, origin, false)).collect();
                    match results {
                        Ok(same) if same.iter().all(|one| *one == same[0]) => {
                            total.lock().expect("no thread panics").add(&same[0]);
                        }
                        Ok(same) => {
                            let failure = format!("seed {seed} does not repeat itself: {same:?}");
                            failures.lock().expect("no thread panics").push((seed, failure));
                        }
                        Err(failure) => failures.lock().expect("no thread panics").push((seed, failure)),
                    }
                }
            });
        }
    });
    match failures.into_inner().expect("no thread panics").into_iter().min() {
        Some((_, failure)) => Err(failure),
        None => Ok(total.into_inner().expect("no thread panics")),
    }
}

#[test]
fn every_promise_holds_for_every_seed() {
    std::panic::set_hook(Box::new(|info| PANIC.set(info.to_string())));
    let origin = Instant::now();
    let result = match number("SIM_SEED") {
        Some(seed) => run(seed, origin, true),
        None => {
            let first = number("SIM_FIRST").unwrap_or(0);
            sweep(first..first + number("SIM_SEEDS").unwrap_or(SEEDS), origin)
        }
    };
    drop(std::panic::take_hook());
    match result {
        Ok(total) => {
            println!("{total:#?}");
            assert!(number("SIM_SEED").is_some() || total.has_everything(), "nothing of a kind: {total:?}");
        }
        Err(failure) => panic!("{failure}"),
    }
}
