//! SIGHUP: another configuration, while mail is under way.

use crate::clock::MINUTE;
use crate::configuration::Wishes;
use crate::world::{Event, World};
use engine::dispatch::Input;

impl World {
    /// With other limits, and perhaps routes, and sites that are suspended.
    pub fn reload(&mut self) {
        if !self.healed {
            let wishes = Wishes { suspend: self.rng.bool(), routes: self.rng.bool() };
            self.reload_with(wishes);
        }
    }

    /// Where there were reloads, or have to be, the last one brings what holds when all faults have ended.
    pub fn reload_for_good(&mut self) {
        let plan = &self.scenario.plan;
        if plan.is_suspended || !plan.reloads.is_empty() {
            let suspend = plan.keeps_suspended;
            let wishes = Wishes { suspend, routes: self.rng.bool() };
            self.reload_with(wishes);
            // Most of the mail is gone by now: some that is kept back.
            self.in_a_while(0..MINUTE, Event::Inject { is_first: false });
        }
    }

    /// Nothing is kept back any more. False: nothing was.
    pub fn resume_all(&mut self) -> bool {
        let is_resumed = self.config.sites.iter().any(|rule| rule.limits.suspend);
        if is_resumed {
            let engine = self.engine.as_ref().expect("the machine is up at the end");
            self.checker.summary.suspended += engine.store.stats().recipients;
            self.reload_with(Wishes::default());
        }
        is_resumed
    }

    /// While the machine is down, the next start takes it up.
    fn reload_with(&mut self, wishes: Wishes) {
        // What is decided is done by the old rules.
        self.drain();
        self.config = self.scenario.configuration(&mut self.rng, wishes);
        self.note("reload", &[u64::from(wishes.suspend), u64::from(wishes.routes)]);
        self.begun = self.clock.now;
        self.checker.reloaded(&self.config, self.clock.now);
        if self.engine.is_some() {
            self.tell_dispatch(Input::Reload(self.config.clone()));
        }
    }
}
