//! A site that an operator suspends until all faults end; and what the shell does once a minute for mail whose time is over there, and
//! at sites that are left alone.

use crate::world::{Event, MINUTE, Micros, World};
use engine::config::Config;
use engine::dispatch::{Input, Operation};
use queue::{Entry, EntryKey};
use std::sync::Arc;

/// Between two looks.
const INTERVAL: Micros = MINUTE;
/// Since the start of the engine, and since its time was over, before it has to be gone: a look or two, and reading what
/// notices quote.
const PATIENCE: Micros = 3 * MINUTE;

impl World {
    /// What holds now.
    pub fn config(&self) -> Arc<Config> {
        let suspended = self.scenario.suspended.as_ref().filter(|_| !self.healed);
        suspended.map_or(&self.scenario.config, |(_, config)| config).clone()
    }

    /// The site that was suspended goes on.
    pub fn resume(&mut self) {
        if self.scenario.suspended.is_some() {
            self.tell_dispatch(Input::Reload(self.config()));
        }
    }

    pub fn look_for_expired(&mut self) {
        let Some(engine) = &self.engine else { return };
        let entries = engine.store.list(None, usize::MAX).expect("the index works");
        if !engine.draining {
            entries.iter().for_each(|(key, entry)| self.check_it_is_not_over(key, entry));
        }
        self.note("look", &[entries.len() as u64]);
        self.tell_dispatch(Input::Operate(Operation::Expire(entries)));

        self.calendar.add(self.clock.now + INTERVAL, Event::Look(self.life));
    }

    /// Mail for a suspended site expires at its time, not when the site resumes.
    fn check_it_is_not_over(&self, key: &EntryKey, entry: &Entry) {
        let Some((domains, config)) = self.scenario.suspended.as_ref().filter(|_| !self.healed) else { return };
        // Whether it is due is seen late where the clock was set.
        let is_sure = self.scenario.plan.clock_changes.is_empty() && !key.is_held();
        if !is_sure || self.clock.now < self.begun + PATIENCE || !domains.iter().any(|name| name == key.domain.as_str())
        {
            return;
        }
        let end_ms = engine::retry::end(&config.retry, entry.accepted_ms, entry.terms);
        let late_ms = self.clock.read().wall_ms().saturating_sub(end_ms.max(key.due_ms));
        assert!(late_ms * 1000 < PATIENCE, "over for {late_ms} ms, and still there: {key:?} {entry:?}");
    }
}
