//! Tenants and campaigns share a site: little of one does not wait behind much of another.

use super::*;
use queue::{MailParameters, Recipient};
use smtp::Mailbox;

/// A site that takes one message at a time.
fn narrow() -> World {
    let mut config = config();
    config.limits = Arc::new(crate::config::Limits { connections: 1, messages_per_connection: 1_000_000, ..limits() });
    let mut world = World::new(config, 1);
    world.delay = Duration::from_millis(2);
    world
}

fn newsletter(world: &mut World, messages: usize) {
    world.campaign = Some("newsletter");
    for _ in 0..messages {
        world.accept("a@from.test", &["ok@x.test"]);
    }
    world.campaign = None;
}

/// How many others were handed over before the last of these, and how many of them were.
fn others_before(world: &World, ids: &[MessageId]) -> (usize, usize) {
    let order: Vec<MessageId> = world.deliveries.iter().map(|(_, _, id, _)| *id).collect();
    let last = order.iter().rposition(|id| ids.contains(id)).expect("one was handed over");
    let ours = order[..=last].iter().filter(|id| ids.contains(id)).count();
    (last + 1 - ours, ours)
}

#[test]
fn little_of_one_campaign_does_not_wait_behind_much_of_another() {
    let mut w = narrow();
    w.manual = true;
    newsletter(&mut w, 6000);
    w.settle_down();
    let room = w.dispatch.counts().ready;
    assert!(room <= bounds::READY_PER_SITE as u64, "most is on disk: {room}");
    w.deliveries.clear();
    w.campaign = Some("password reset");
    let resets: Vec<MessageId> = (0..50).map(|_| w.accept("a@from.test", &["ok@x.test"])).collect();
    w.manual = false;
    w.answer_all();
    w.run(S(60));
    let (others, ours) = others_before(&w, &resets);
    assert!(ours == 50 && others < 200, "{others} of the newsletter went before");
    w.run(S(600));
    w.check_ends();
    check_empty(&mut w);
}

#[test]
fn it_does_not_after_a_restart_either() {
    let mut w = narrow();
    w.manual = true;
    newsletter(&mut w, 5000);
    w.campaign = Some("password reset");
    let resets: Vec<MessageId> = (0..50).map(|_| w.accept("a@from.test", &["ok@x.test"])).collect();
    w.settle_down();
    w.manual = false;
    w.deliveries.clear();
    w.restart(2);
    w.run(S(600));
    let (others, ours) = others_before(&w, &resets);
    // What is read first is the newsletter's, up to its half of what the site may keep.
    assert!(ours == 50 && others < 200, "{others} of the newsletter went before");
    w.check_ends();
}

#[test]
fn urgent_mail_goes_before_all_that_is_on_disk() {
    let mut w = narrow();
    w.manual = true;
    newsletter(&mut w, 6000);
    w.settle_down();
    w.deliveries.clear();
    let to = || vec![Recipient::new(Mailbox::parse("ok@x.test").unwrap())];
    let parameters = || MailParameters { priority: 4, ..MailParameters::default() };
    let urgent: Vec<MessageId> =
        (0..100).map(|_| w.accept_envelope("a@from.test", to(), parameters(), "Subject: x\r\n\r\n")).collect();
    w.manual = false;
    w.answer_all();
    w.run(S(60));
    let (others, ours) = others_before(&w, &urgent);
    assert!(ours == 100 && others < 100, "{others} others went before");
}

#[test]
fn a_tenant_with_many_campaigns_gets_no_more_than_one_with_a_single_one() {
    let mut w = narrow();
    w.manual = true;
    for campaign in ["one", "two", "three", "four", "five"] {
        (w.tenant, w.campaign) = (Some("busy"), Some(campaign));
        (0..400).for_each(|_| _ = w.accept("a@from.test", &["ok@x.test"]));
    }
    (w.tenant, w.campaign) = (Some("modest"), None);
    let modest: Vec<MessageId> = (0..400).map(|_| w.accept("a@from.test", &["ok@x.test"])).collect();
    w.deliveries.clear();
    w.manual = false;
    w.answer_all();
    w.run(S(600));
    let (others, ours) = others_before(&w, &modest);
    assert!(ours == 400 && others.abs_diff(400) < 100, "{others} of the other tenant in the same time");
    w.check_ends();
}

#[test]
fn campaigns_without_number_take_a_bounded_part_of_memory() {
    let mut w = narrow();
    w.manual = true;
    for n in 0..20_000 {
        w.campaign = Some(format!("order {n}").leak());
        w.accept("a@from.test", &["ok@x.test"]);
        if n % 1000 == 0 {
            w.settle_down();
        }
    }
    w.settle_down();
    assert!(w.dispatch.known().0 <= 255, "{} flows", w.dispatch.known().0);
    assert!(w.dispatch.kept <= bounds::READY_PER_SITE + 255 * bounds::READY_OF_FLOW, "{} in memory", w.dispatch.kept);
    w.campaign = None;
    w.manual = false;
    w.answer_all();
    w.run(S(600));
    w.check_ends();
    check_empty(&mut w);
}
