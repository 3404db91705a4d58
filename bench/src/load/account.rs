//! The account of one thread: what became of every recipient.

use super::Shared;
use crate::proof::IdSet;
use crate::report::latency_histogram;
use hdrhistogram::Histogram;
use smtp::client::{Outcome, Report};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Before a message that was refused for now is tried again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// Under this the report counts what failed without a reply: the server lacks what is needed, or broke off every time.
const NO_CODE: u16 = 0;

/// One thread's part of the result.
pub(super) struct Share {
    pub messages: u64,
    pub bytes: u64,
    pub connections_opened: u64,
    pub connection_failures: u64,
    pub refused: BTreeMap<u16, u64>,
    pub deferred: BTreeMap<u16, u64>,
    pub acknowledged: IdSet,
    pub doubtful: IdSet,
    pub latency: Histogram<u64>,
    /// First submission, last reply.
    pub span: Option<(Instant, Instant)>,
    pub cpu: Duration,
}

impl Default for Share {
    fn default() -> Share {
        Share {
            messages: 0,
            bytes: 0,
            connections_opened: 0,
            connection_failures: 0,
            refused: BTreeMap::new(),
            deferred: BTreeMap::new(),
            acknowledged: IdSet::default(),
            doubtful: IdSet::default(),
            latency: latency_histogram(),
            span: None,
            cpu: Duration::ZERO,
        }
    }
}

/// A message, or what is left of it, to be submitted.
pub(super) struct Job {
    pub message: u64,
    /// Positions of the recipients that are left; empty: all.
    pub left: Vec<u32>,
    pub attempts: u32,
    /// Acknowledged for somebody already.
    pub counted: bool,
    /// From when its latency counts.
    pub due: Instant,
}

/// A submitted job.
pub(super) struct Flight {
    pub job: Job,
    pub body_bytes: u64,
}

impl Job {
    /// Of the recipients that it is for.
    pub(super) fn positions(&self, all: u64) -> impl Iterator<Item = u32> + use<> {
        let left = self.left.clone();
        let all = if left.is_empty() { all as u32 } else { 0 };
        left.into_iter().chain(0..all)
    }
}

impl Share {
    /// Accounts for a transaction's result, recipient by recipient.
    /// Gives back what is to be tried again, and when.
    pub(super) fn settle(
        &mut self,
        shared: &Shared,
        flight: Flight,
        report: &Report,
        now: Instant,
    ) -> Option<(Instant, Job)> {
        let Flight { mut job, body_bytes } = flight;
        let before = self.acknowledged.len();
        let mut again = Vec::new();
        let mut retry_at = None;
        let mut exceptions = report.exceptions.iter().peekable();
        for (index, position) in job.positions(shared.plan.recipients_per_message).enumerate() {
            let exception = exceptions.next_if(|(at, _)| *at as usize == index);
            let outcome = exception.map_or(&report.outcome, |(_, outcome)| outcome);
            if let Some(wait) = self.judge(shared, &job, position, outcome) {
                again.push(position);
                retry_at = retry_at.max(Some(now + wait));
            }
        }
        if let Some((_, last)) = &mut self.span {
            *last = now;
        }
        let accepted = self.acknowledged.len() - before;
        if accepted > 0 {
            shared.recipients.fetch_add(accepted, Relaxed);
            let micros = now.saturating_duration_since(job.due).as_micros() as u64;
            self.latency.saturating_record(micros.max(1));
            if !std::mem::replace(&mut job.counted, true) {
                self.messages += 1;
                self.bytes += body_bytes;
                shared.messages.fetch_add(1, Relaxed);
            }
        }
        let at = retry_at?;
        let not_sent = report.exceptions.is_empty() && report.outcome == Outcome::NotSent;
        job.attempts += u32::from(!not_sent);
        job.left = again;
        Some((at, job))
    }

    /// The fate of one recipient: `Some` when it is to be tried again, after so long.
    fn judge(&mut self, shared: &Shared, job: &Job, position: u32, outcome: &Outcome) -> Option<Duration> {
        let number = shared.plan.number(job.message, position);
        let last = job.attempts + 1 >= shared.options.attempts;
        let code = match outcome {
            Outcome::Replied(_, reply) if reply.is_success() => {
                self.acknowledged.insert(number);
                return None;
            }
            Outcome::Replied(_, reply) if reply.is_permanent() || last => reply.code,
            Outcome::Replied(_, reply) => {
                *self.deferred.entry(reply.code).or_default() += 1;
                shared.deferred.fetch_add(1, Relaxed);
                return Some(FIRST_RETRY.saturating_mul(1 << job.attempts.min(10)).min(LAST_RETRY));
            }
            Outcome::Lost { in_doubt: true, .. } => {
                self.doubtful.insert(number);
                shared.failed.fetch_add(1, Relaxed);
                return None;
            }
            Outcome::NotSent => return Some(Duration::ZERO),
            Outcome::Lost { .. } if !last => return Some(Duration::ZERO),
            Outcome::Lost { .. } | Outcome::Unsupported(_) => NO_CODE,
        };
        *self.refused.entry(code).or_default() += 1;
        shared.failed.fetch_add(1, Relaxed);
        None
    }

    /// Time is up: what is still in flight may have been taken.
    pub(super) fn doubt(&mut self, shared: &Shared, job: &Job) {
        for position in job.positions(shared.plan.recipients_per_message) {
            self.doubtful.insert(shared.plan.number(job.message, position));
        }
    }
}
