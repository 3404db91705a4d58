//! `posthaste queue retry|hold|release|remove`: in steps, as the server does it. Each ends when what it changed is on disk,
//! so that the sum is exact at any time, and patience is with a step, not with the whole.

use super::{Acting, Filter};
use crate::exit::{Exit, Failure};
use crate::http::Server;
use crate::{http, signals, terminal, units};
use admin::control::{Act, Acted, Selection};
use indicatif::ProgressBar;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

pub(super) fn act(server: Server, act: Act, acting: Acting, json: bool) -> Result<Exit, Failure> {
    let Filter { domain, sender, tenant, campaign } = acting.filter;
    let selection = Selection { ids: acting.id, domain, sender, tenant, campaign, all: acting.all };
    let stop = signals::interrupted()?;
    let line = terminal::status_line();
    let (mut sum, mut answers) = (Acted::default(), 0);
    let mut ask = |selection: &Selection, after: Option<&str>| {
        let query = http::query(&[("after", after)]);
        let step = http::post(server, &format!("/api/queue/{}{query}", act.as_str()), selection)?;
        answers += 1;
        Ok(step)
    };
    let result = walk(&selection, &stop, &line, &mut sum, &mut ask);
    line.finish_and_clear();
    // What was done was done, also where the rest was not.
    if json && answers > 0 {
        terminal::print_json(&sum)?;
    }
    match result {
        Ok(()) if json => Ok(Exit::Done),
        Ok(()) => terminal::print(&format!("{} {}\n", in_words(&sum), done(act))).map(|()| Exit::Done),
        Err(failure) if sum.entries == 0 => Err(failure),
        Err(Failure { exit, message }) => Err(Failure::new(exit, format!("{message}; until then: {}", in_words(&sum)))),
    }
}

/// All steps. Whoever is not there is told at the end; the others are done.
fn walk(
    selection: &Selection,
    stop: &AtomicBool,
    line: &ProgressBar,
    sum: &mut Acted,
    ask: &mut impl FnMut(&Selection, Option<&str>) -> Result<Acted, Failure>,
) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    loop {
        let mut step = ask(selection, after.as_deref())?;
        sum.recipients += step.recipients;
        sum.entries += step.entries;
        sum.looked_at += step.looked_at;
        sum.queued = step.queued;
        step.met.retain(|id| !sum.met.contains(id));
        sum.met.append(&mut step.met);
        after = step.next;
        if after.is_none() {
            break;
        }
        if stop.load(Relaxed) {
            return Err(Failure::new(Exit::Temporary, "interrupted; the same command does the rest"));
        }
        line.set_message(format!("{}; looked at {} of {}", in_words(sum), sum.looked_at, step.queued));
    }
    let missing = selection.ids.iter().filter(|id| !sum.met.contains(id));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    let who = match &missing[..] {
        [] => return Ok(()),
        [one] => format!("message {one} is"),
        more => format!("messages {} are", more.join(", ")),
    };
    let hint = "delivered, bounced or removed already: the event log tells, if it was ever here";
    Err(Failure::new(Exit::Data, format!("{who} not in the queue ({hint})")))
}

fn done(act: Act) -> &'static str {
    match act {
        Act::Retry => "due now",
        Act::Hold => "held",
        Act::Release => "released",
        Act::Remove => "removed",
    }
}

fn in_words(sum: &Acted) -> String {
    let recipients = units::counted(sum.recipients, "recipient", "recipients");
    format!("{recipients} in {}", units::counted(sum.entries, "entry", "entries"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let sum = |recipients, entries| in_words(&Acted { recipients, entries, ..Acted::default() });
        assert_eq!(sum(1, 1), "1 recipient in 1 entry");
        assert_eq!(sum(20, 10), "20 recipients in 10 entries");
        assert_eq!(sum(0, 0), "0 recipients in 0 entries");
    }

    fn steps(count: u64) -> impl FnMut(&Selection, Option<&str>) -> Result<Acted, Failure> {
        move |_, after| {
            let at: u64 = after.map_or(0, |after| after.parse().unwrap());
            let next = (at + 1 < count).then(|| (at + 1).to_string());
            Ok(Acted { recipients: 2, entries: 1, looked_at: 10, next, ..Acted::default() })
        }
    }

    #[test]
    fn steps_are_summed_up_also_those_that_change_nothing() {
        let (mut sum, stop, line) = (Acted::default(), AtomicBool::new(false), ProgressBar::hidden());
        let all = Selection { all: true, ..Selection::default() };
        walk(&all, &stop, &line, &mut sum, &mut steps(5)).unwrap();
        assert_eq!((sum.recipients, sum.entries, sum.looked_at), (10, 5, 50));
        let mut idle = steps(3);
        let mut ask = |selection: &Selection, after: Option<&str>| {
            idle(selection, after).map(|step| Acted { recipients: 0, entries: 0, ..step })
        };
        walk(&all, &stop, &line, &mut sum, &mut ask).unwrap();
        assert_eq!((sum.entries, sum.looked_at), (5, 80));
    }

    #[test]
    fn an_interrupt_ends_it_after_the_step_and_loses_no_count() {
        let (mut sum, stop, line) = (Acted::default(), AtomicBool::new(true), ProgressBar::hidden());
        let all = Selection { all: true, ..Selection::default() };
        let failure = walk(&all, &stop, &line, &mut sum, &mut steps(5)).unwrap_err();
        assert_eq!((failure.exit, sum.recipients), (Exit::Temporary, 2));
        // The last step was under way already: all is done.
        walk(&all, &stop, &line, &mut sum, &mut steps(1)).unwrap();
    }

    #[test]
    fn a_message_that_no_step_has_met_is_not_there() {
        let (mut sum, stop, line) = (Acted::default(), AtomicBool::new(false), ProgressBar::hidden());
        let named = Selection { ids: ["7", "8", "9"].map(Into::into).into(), ..Selection::default() };
        let mut some = steps(3);
        let mut ask = |selection: &Selection, after: Option<&str>| {
            let met = if after == Some("1") { vec!["8".into()] } else { vec![] };
            some(selection, after).map(|step| Acted { met, ..step })
        };
        let failure = walk(&named, &stop, &line, &mut sum, &mut ask).unwrap_err();
        assert!(failure.exit == Exit::Data && sum.entries == 3, "{failure:?}");
        assert!(failure.message.starts_with("messages 7, 9 are not in the queue ("), "{failure:?}");
        let mut ask =
            |selection: &Selection, _: Option<&str>| Ok(Acted { met: selection.ids.clone(), ..Acted::default() });
        walk(&named, &stop, &line, &mut sum, &mut ask).unwrap();
    }
}
