//! What operators do to large queues is done in steps: each ends with what it changed on disk, and whoever asked may go
//! away between two of them.

use crate::world::World;
use engine::shell::{Bounds, OperateError, Operated, Selection, Step, Walk, Wish};
use queue::{Entry, EntryKey};
use std::cell::Cell;
use std::time::Duration;

const MESSAGES: usize = 20;

/// A world whose mail stays in the queue until it is told otherwise, with some in it.
fn suspended() -> World {
    let world = World::plan().config("[limits]\nsuspend = true\n").start();
    for n in 0..MESSAGES {
        world.send(&[&format!("u{n}@a.test"), &format!("u{n}@b.test")]);
    }
    world
}

fn start(world: &World) -> Walk {
    world.engine().handle().start_walk()
}

/// The next step, of three entries.
fn step(world: &World, wish: Wish, walk: Walk) -> Result<Step, OperateError> {
    let bounds = Bounds { entries: 3, time: Duration::MAX };
    world.engine().handle().operate_step(wish, &Selection::default(), walk, bounds, |_, _| Ok(true))
}

/// Step by step to the end; what is `held` by then is looked at after each.
fn walk(world: &World, wish: Wish, held: impl Fn(u64) -> u64) -> Operated {
    let (mut sum, mut rest) = (Operated::default(), Some(start(world)));
    while let Some(walk) = rest {
        let step = step(world, wish, walk).expect("a queue that works");
        sum.recipients += step.operated.recipients;
        sum.entries += step.operated.entries;
        assert_eq!(world.stats().held_recipients, held(sum.recipients), "a step is over when it is on disk");
        rest = step.rest;
    }
    sum
}

/// It is somewhere else by the time that it is removed.
#[test]
fn what_is_deferred_between_a_look_and_the_deed_is_found() {
    let world = World::plan().sink(&["final delay=300ms reply 451 4.2.0 later"]).start();
    world.send(&["u@d.test"]);
    let handle = world.engine().handle();
    let wanted = |key: &EntryKey, _: &Entry| {
        world.until("it is deferred", |_| handle.queue().entry(key).expect("read").is_none());
        true
    };
    let removed = handle.operate(Wish::Remove, None, wanted).expect("a queue that works");
    assert_eq!(removed, Operated { recipients: 1, entries: 1 });
    assert_eq!(world.stats().recipients, 0);
    world.finish();
}

#[test]
fn who_goes_away_in_the_middle_leaves_what_was_done_and_the_same_again_does_the_rest() {
    let all = 2 * MESSAGES as u64;
    let mut world = suspended();
    let first = step(&world, Wish::Hold, start(&world)).expect("a queue that works");
    assert_eq!((first.operated, first.looked_at), (Operated { recipients: 3, entries: 3 }, 3));
    let second = step(&world, Wish::Hold, first.rest.expect("more")).expect("a queue that works");
    assert!(second.rest.is_some());
    // Nobody asks for a third. A restart does not know of it either.
    world.stop_engine();
    world.start_engine();
    assert_eq!((world.stats().held_recipients, world.stats().recipients), (6, all));
    let rest = walk(&world, Wish::Hold, |sum| 6 + sum);
    assert_eq!(rest, Operated { recipients: all - 6, entries: all - 6 });
    assert_eq!(walk(&world, Wish::Hold, |_| all), Operated::default(), "nothing is done twice");
    assert_eq!(walk(&world, Wish::Retry, |_| all), Operated::default(), "what is held is not hurried");
    assert_eq!(walk(&world, Wish::Release, |sum| all - sum).recipients, all);
    assert_eq!(walk(&world, Wish::Retry, |_| 0).recipients, all);
    world.reload("suspend = true", "suspend = false");
    world.expect_empty();
    world.finish();
}

#[test]
fn what_is_retried_and_fails_is_not_met_again_by_the_same_walk() {
    let world = World::plan().sink(&["rcpt reply 450 4.2.1 later"]).config("[retry]\nschedule = [\"1h\"]\n").start();
    for n in 0..9 {
        world.send(&[&format!("u{n}@a.test")]);
    }
    let deferred = |world: &World| world.events().iter().filter(|event| event["event"] == "deferred").count();
    // The event log tells of a deferral before the queue has it, and what is just being deferred is in no walk's count.
    let wait = |world: &World| {
        let queued = world.engine().handle().queue().list(None, 10).expect("a queue that can be read");
        queued.iter().filter(|(_, entry)| entry.attempts == 1).count()
    };
    world.until("all were tried, and wait", |world| deferred(world) == 9 && wait(world) == 9);
    let (mut recipients, mut rest) = (0, Some(start(&world)));
    while let Some(walk) = rest {
        let step = step(&world, Wish::Retry, walk).expect("a queue that works");
        recipients += step.operated.recipients;
        world.until("they failed again", |world| deferred(world) as u64 == 9 + recipients);
        rest = step.rest;
    }
    assert_eq!(recipients, 9);
    world.finish();
}

/// Choosing reads envelopes, which may take as long as it likes.
#[test]
fn what_was_delivered_while_the_operator_chose_is_left_alone() {
    let mut world = suspended();
    let handle = world.engine().handle().clone();
    let bounds = Bounds { entries: usize::MAX, time: Duration::MAX };
    let is_first = Cell::new(true);
    let step = handle.operate_step(Wish::Remove, &Selection::default(), start(&world), bounds, |_, _| {
        if is_first.take() {
            world.reload("suspend = true", "suspend = false");
            world.expect_empty();
        }
        Ok(true)
    });
    let step = step.expect("a queue that works");
    assert_eq!((step.looked_at, step.operated), (2 * MESSAGES as u64, Operated::default()));
    world.finish();
}
