//! ODMR (RFC 2645): whose mail a customer may take along, and what makes it go. The walks through the queue are made on the
//! thread of [`super::etrn`].

use super::control::Handle;
use super::operate::{OperateError, Wish};
use super::turned::Call;
use crate::config::{Config, Via};
use crate::now::Now;
use queue::{Domain, Entry, QueueError};
use smtp::{EnhancedCode, Reply};

/// Entries looked at in one step.
const PAGE: usize = 1000;

const TURNING: Reply = Reply::fixed(250, EnhancedCode(2, 0, 0), "OK now reversing the connection");
const NOT_YOURS: Reply = Reply::fixed(
    450,
    EnhancedCode(4, 7, 1),
    "ATRN request refused: not all of this is routed to you; see [[route]] with via = \"odmr\"",
);
pub(super) const NOT_NOW: Reply =
    Reply::fixed(451, EnhancedCode(4, 3, 0), "Unable to process ATRN request now; try again later");
const ONE_AT_A_TIME: Reply =
    Reply::fixed(451, EnhancedCode(4, 3, 2), "Your mail is on its way over another connection; try again later");
const NO_MAIL: Reply = Reply::fixed(453, EnhancedCode(4, 2, 0), "You have no mail");

/// The reply to ATRN.
pub(super) fn answer(handle: &Handle, call: &Call) -> Reply {
    let (user, named) = (call.user.clone(), call.named());
    let Some((config, is_served, now)) =
        handle.ask(move |dispatch, now| (dispatch.config().clone(), dispatch.is_served(&user, named.as_deref()), now))
    else {
        return NOT_NOW;
    };
    if !has_all(&config, call) {
        return NOT_YOURS;
    }
    if is_served {
        return ONE_AT_A_TIME;
    }
    match domains(handle, &config, call).and_then(|domains| has_mail(handle, &domains, now)) {
        Ok(true) => TURNING,
        Ok(false) => NO_MAIL,
        Err(error) => {
            tracing::error!(%error, user = &*call.user, "ATRN: the queue cannot be read");
            NOT_NOW
        }
    }
}

/// Makes due what waits for the customer. Call it when dispatch has the connection: what becomes due before is deferred.
pub(super) fn start(handle: &Handle, call: &Call) -> Result<u64, OperateError> {
    let config = handle.ask(|dispatch, _| dispatch.config().clone()).ok_or(OperateError::Stopped)?;
    let mut messages = 0;
    for domain in domains(handle, &config, call)? {
        messages += handle.operate(Wish::Retry, Some(&domain), |_, entry| waits(entry))?.entries;
    }
    Ok(messages)
}

/// Whether the user has something to come for, and all that it names (RFC 2645 §5.2.1).
fn has_all(config: &Config, call: &Call) -> bool {
    if call.domains.is_empty() {
        return config.routes.iter().any(|rule| is_for(&rule.via, call));
    }
    call.domains.iter().all(|domain| is_routed(config, domain, call))
}

/// Those of the user's domains that are asked for and may have something queued.
fn domains(handle: &Handle, config: &Config, call: &Call) -> Result<Vec<Domain>, QueueError> {
    if !call.domains.is_empty() {
        return Ok(call.domains.iter().map(|domain| Domain::new(domain)).collect());
    }
    let queued = handle.queue().domains()?.into_iter();
    Ok(queued.filter(|domain| is_routed(config, domain.as_str(), call)).collect())
}

fn is_routed(config: &Config, domain: &str, call: &Call) -> bool {
    config.route(domain).is_some_and(|rule| is_for(&rule.via, call))
}

fn is_for(via: &Via, call: &Call) -> bool {
    matches!(via, Via::Odmr(user) if *user == call.user)
}

fn has_mail(handle: &Handle, domains: &[Domain], now: Now) -> Result<bool, QueueError> {
    for domain in domains {
        let mut after = None;
        loop {
            let page = handle.queue().list_domain(domain, after.take(), PAGE)?;
            if page.iter().any(|(key, entry)| !key.is_held() && (waits(entry) || key.due_ms <= now.wall_ms())) {
                return Ok(true);
            }
            let Some((last, _)) = page.into_iter().next_back() else { break };
            after = Some(last);
        }
    }
    Ok(false)
}

/// It was tried, so whatever it waits for, it is not the time that its sender has set (RFC 4865).
fn waits(entry: &Entry) -> bool {
    entry.attempts > 0
}
