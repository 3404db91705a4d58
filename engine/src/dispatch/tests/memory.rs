//! What is in memory, and what stays on disk.

use super::*;

#[test]
fn what_has_no_room_stays_on_disk_and_comes_later() {
    let mut w = world();
    w.manual = true;
    for i in 0..5000 {
        w.accept("a@from.test", &["ok@x.test"]);
        if i % 1000 == 0 {
            w.settle_down();
        }
    }
    w.settle_down();
    assert!(w.dispatch.counts().ready <= bounds::READY_PER_SITE as u64);
    w.manual = false;
    w.answer_all();
    w.run(S(5));
    assert_eq!(w.count(Kind::Delivered), 5000);
    assert!(w.fetches >= 4);
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn bodies_beyond_the_budget_are_read_back() {
    let mut config = config();
    config.queue.body_cache_bytes = 4000;
    let mut w = World::new(config, 1);
    w.delay = Duration::from_millis(5);
    let body = format!("Subject: x\r\n\r\n{}", "0123456789abcde\r\n".repeat(60));
    for _ in 0..200 {
        w.accept_body("a@from.test", &["ok@x.test"], &body);
        assert!(w.dispatch.messages.body_bytes <= 4000);
    }
    w.run(S(10));
    assert!(w.loads >= 190, "{}", w.loads);
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn where_many_wait_small_bodies_do_not_keep_what_they_were_cut_from() {
    let mut w = world();
    w.manual = true;
    let wait = |w: &mut World, body: &str| w.accept_body("a@from.test", &["ok@x.test", "ok@y.test"], body);
    let small: Vec<_> = (0..bounds::UNCOPIED + 100).map(|i| wait(&mut w, &format!("Subject: {i}\r\n\r\n"))).collect();
    let large = wait(&mut w, &"0123456789abcde\r\n".repeat(bounds::COPIED_OCTETS / 16));
    let shares = |w: &World, id| {
        let index = w.dispatch.messages.find(id).expect("it waits");
        let (mine, whole) = (w.dispatch.messages.slab[index as usize].content.as_ref().unwrap(), w.content(id));
        assert_eq!((mine.body.to_bytes(), mine.body.facts()), (whole.body.to_bytes(), whole.body.facts()));
        mine.body.segments()[0].as_ptr() == whole.body.segments()[0].as_ptr()
    };
    assert_eq!(small.iter().filter(|id| shares(&w, **id)).count(), bounds::UNCOPIED);
    assert!(shares(&w, large));
    assert_eq!(w.dispatch.messages.contents, small.len() + 1);
    w.manual = false;
    w.answer_all();
    w.run(S(5));
    w.check_ends();
    check_empty(&mut w);
    assert_eq!((w.dispatch.messages.contents, w.dispatch.messages.body_bytes), (0, 0));
}

#[test]
fn slow_sites_do_not_shut_others_out() {
    let mut w = world();
    w.manual = true;
    for site in 0..60 {
        let to = format!("ok@slow{site}.test");
        for _ in 0..1100 {
            w.accept("a@from.test", &[&to]);
        }
        w.settle_down();
    }
    assert!(w.dispatch.kept <= bounds::READY_TOTAL);
    w.manual = false;
    let id = w.accept("a@from.test", &["ok@quick.test"]);
    w.settle_down();
    assert_eq!(w.kinds(id, 0), [Kind::Delivered]);
    w.answer_all();
    w.run(S(60));
    w.check_ends();
}

#[test]
fn the_backlog_is_taken_up_at_start() {
    let mut w = world();
    w.manual = true;
    for i in 0..300 {
        w.accept("a@from.test", &[&format!("ok@d{i}.test"), "later@common.test"]);
    }
    w.settle_down();
    w.manual = false;
    w.happened.clear();
    w.restart(2);
    w.run(S(3600));
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn a_notice_for_what_is_only_on_disk_is_written_after_reading_it() {
    let mut w = world();
    w.doors.insert(address_of("mx.x.test"), Door::Refused);
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.run(S(7 * 3600));
    assert_eq!(w.kinds(id, 0).last(), Some(&Kind::Expired));
    assert!(w.loads > 0);
    assert_eq!(w.notices.len(), 1);
    check_empty(&mut w);
}

#[test]
fn unreadable_mail_is_deferred_and_given_up_without_a_notice() {
    let mut config = config();
    config.queue.body_cache_bytes = 0;
    let mut w = World::new(config, 1);
    w.delay = S(1);
    let id = w.accept("a@from.test", &["ok@x.test"]);
    w.run(Duration::from_micros(1));
    for _ in 0..600 {
        // The answer to a load is an error, whatever the world had in mind.
        w.handle(Input::Loaded(id, Err("damaged".into())));
        w.run(Duration::from_millis(100));
        if w.count(Kind::Deferred) > 0 {
            break;
        }
    }
    assert_eq!(w.kinds(id, 0), [Kind::Deferred]);
    assert!(w.happened[0].reply.as_ref().unwrap().text.contains("damaged"));
    let due = w.disk.keys().next().unwrap();
    assert_eq!(due.domain, Domain::new("x.test"));
}
