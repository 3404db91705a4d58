//! Sites that an operator suspends; and what the shell does once a minute for mail whose time is over there, and
//! at sites that are left alone.

use crate::clock::{MINUTE, Micros};
use crate::world::{Event, World};
use engine::dispatch::{Input, Operation};
use queue::{Entry, EntryKey};

/// Between two looks.
const INTERVAL: Micros = MINUTE;
/// Since the start of the engine, and since its time was over, before it has to be gone: a look or two, and reading what
/// notices quote.
const PATIENCE: Micros = 3 * MINUTE;

impl World {
    pub fn look_for_expired(&mut self) {
        let Some(engine) = &self.engine else { return };
        let entries = match engine.store.list(None, usize::MAX) {
            Ok(entries) => entries,
            Err(error) => {
                self.check_excuse(&error);
                Vec::new()
            }
        };
        if !engine.draining {
            entries.iter().for_each(|(key, entry)| self.check_it_is_not_over(key, entry));
        }
        self.note("look", &[entries.len() as u64]);
        self.tell_dispatch(Input::Operate(Operation::Expire(entries)));

        self.calendar.add(self.clock.now + INTERVAL, Event::Look(self.life));
    }

    /// Mail for a suspended site expires at its time, not when the site resumes.
    fn check_it_is_not_over(&self, key: &EntryKey, entry: &Entry) {
        // Whether it is due is seen late where the clock was set, and outcomes wait while something is out of order.
        let plan = &self.scenario.plan;
        let is_sure = plan.clock_changes.is_empty() && plan.outages.is_empty() && !key.is_held();
        let is_suspended = self.checker.is_suspended(key.domain.as_str());
        if !is_sure || !is_suspended || self.checker.is_in_flight(key.id) || self.clock.now < self.begun + PATIENCE {
            return;
        }
        let end_ms = engine::retry::end(&self.config.retry, entry.accepted_ms, entry.terms);
        let late_ms = self.clock.read().wall_ms().saturating_sub(end_ms.max(key.due_ms));
        assert!(late_ms * 1000 < PATIENCE, "over for {late_ms} ms, and still there: {key:?} {entry:?}");
    }
}
