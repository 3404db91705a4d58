//! `posthaste queue retry|hold|release|remove`: in steps, as the server does it. Each ends when what it changed is on disk,
//! so that the sum is exact at any time, and patience is with a step, not with the whole.

use super::{Acting, Filter};
use crate::exit::{Exit, Failure};
use crate::http::Server;
use crate::{http, signals, terminal, units};
use admin::control::{Act, Acted, Selection};
use indicatif::ProgressBar;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// For each message id, or for the one selection.
pub(super) fn act(server: Server, act: Act, acting: Acting, json: bool) -> Result<Exit, Failure> {
    let Filter { domain, sender, tenant, campaign } = acting.filter;
    let base = Selection { id: None, domain, sender, tenant, campaign, all: acting.all };
    let selections: Vec<Selection> = match acting.id.is_empty() {
        true => vec![base],
        false => acting.id.into_iter().map(|id| Selection { id: Some(id), ..base.clone() }).collect(),
    };
    let stop = signals::interrupted()?;
    let line = terminal::status_line();
    let mut sum = Acted::default();
    let mut ask = |selection: &Selection, after: Option<&str>| {
        let query = http::query(&[("after", after)]);
        http::post(server, &format!("/api/queue/{}{query}", act.as_str()), selection)
    };
    let mut result = Ok(());
    for selection in &selections {
        result = walk(selection, &stop, &line, &mut sum, &mut ask);
        if result.is_err() {
            break;
        }
    }
    line.finish_and_clear();
    match result {
        Ok(()) if json => terminal::print_json(&sum).map(|()| Exit::Done),
        Ok(()) => terminal::print(&format!("{} {}\n", in_words(&sum), done(act))).map(|()| Exit::Done),
        Err(failure) if sum.entries == 0 => Err(failure),
        Err(Failure { exit, message }) => Err(Failure::new(exit, format!("{message}; until then: {}", in_words(&sum)))),
    }
}

/// All steps for one selection.
fn walk(
    selection: &Selection,
    stop: &AtomicBool,
    line: &ProgressBar,
    sum: &mut Acted,
    ask: &mut impl FnMut(&Selection, Option<&str>) -> Result<Acted, Failure>,
) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    let mut of_message = 0;
    loop {
        let step = ask(selection, after.as_deref())?;
        sum.recipients += step.recipients;
        sum.entries += step.entries;
        sum.looked_at += step.looked_at;
        sum.queued = step.queued;
        of_message += step.of_message;
        after = step.next;
        if after.is_none() {
            break;
        }
        if stop.load(Relaxed) {
            return Err(Failure::new(Exit::Temporary, "interrupted; the same command does the rest"));
        }
        line.set_message(format!("{}; looked at {} of {}", in_words(sum), sum.looked_at, step.queued));
    }
    sum.of_message += of_message;
    match &selection.id {
        Some(id) if of_message == 0 => {
            let hint = "delivered, bounced or removed already: the event log tells, if it was ever here";
            Err(Failure::new(Exit::Data, format!("message {id} is not in the queue ({hint})")))
        }
        _ => Ok(()),
    }
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
        let one = Selection { id: Some("7".into()), ..Selection::default() };
        let failure = walk(&one, &stop, &line, &mut sum, &mut steps(2)).unwrap_err();
        assert!(failure.exit == Exit::Data && failure.message.contains("is not in the queue"), "{failure:?}");
        let mut ask = |_: &Selection, _: Option<&str>| Ok(Acted { of_message: 1, ..Acted::default() });
        walk(&one, &stop, &line, &mut sum, &mut ask).unwrap();
    }
}
