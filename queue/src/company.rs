//! How much company a group waits for.
//!
//! Injectors that wait for their answer before they send again come together if they are let: a group that waits for all
//! of them needs one sync for what would otherwise take several. Where a sync is dear, that is faster. Where it is cheap,
//! it is faster when some send while what the others sent is being synced. Which it is depends on the disk, the cores and
//! the injectors, so both are tried from time to time and the better is kept; where they come to the same, the one with
//! fewer syncs.

use std::time::{Duration, Instant};

/// So many groups are remembered.
const MEMORY: usize = 16;
/// Traffic is dense when recent groups had this many messages, in the mean.
const DENSE: usize = 4;
/// And so many when they left early.
const DENSE_EARLY: usize = 2;
/// Nobody is waited for longer than this.
const MOST_PATIENCE: Duration = Duration::from_millis(20);
/// A group this large gains nothing by waiting.
const PLENTY: usize = 64;
/// A group that leaves early waits for this part of everybody.
const PART: usize = 4;
/// One way is tried for at least so long, and so many groups.
const WINDOW: Duration = Duration::from_millis(25);
const WINDOW_GROUPS: usize = 16;
/// In this order, so that what gets faster or slower meanwhile does so for both.
const TURNS: [Way; 4] = [Way::Together, Way::Early, Way::Early, Way::Together];
/// Early groups take twice as many syncs, which wear the disk, and cost money where it is hired: they are kept when so much
/// more gets done, and given up when it is no more than that.
const WORTH_IT: f64 = 1.08;
const NOT_WORTH_IT: f64 = 1.03;
/// It counts as this many times as much at least, and at most: a bad moment can make it seem anything.
const LEAST_RATIO: f64 = 0.5;
const GREATEST_RATIO: f64 = 2.0;
/// When nothing came for so long, a trial has nothing to compare.
const LULL: Duration = Duration::from_millis(100);
/// From one trial to the next it takes so many times as long as a trial; twice as many after each that changed nothing.
const LONGEST_PAUSE: u32 = 32;

/// When a group leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// When all are there that came together lately.
    Together,
    /// When some are.
    Early,
}

/// A group that was written.
pub(crate) struct Written {
    pub messages: usize,
    /// Messages, and whatever else was in it.
    pub records: usize,
    pub begun: Instant,
    pub ended: Instant,
}

/// Decides how many messages a group waits for.
pub(crate) struct Company {
    /// At least so long may be waited.
    patience: Duration,
    /// How long it takes to write a group, in the mean.
    took: Duration,
    /// When the last one was written.
    ended: Instant,
    /// Of all groups.
    recent: Sizes,
    /// Of groups that left together.
    together: Sizes,
    trial: Trial,
}

impl Company {
    pub(crate) fn new(patience: Duration, now: Instant) -> Company {
        let (recent, together) = (Sizes::default(), Sizes::default());
        Company { patience, took: Duration::ZERO, ended: now, recent, together, trial: Trial::new(now) }
    }

    /// How long to wait for them, at most: whoever is left behind waits for two groups.
    pub(crate) fn patience(&self) -> Duration {
        self.patience.max(self.took.min(MOST_PATIENCE))
    }

    /// So many messages should be in the next group; with 1, nobody is waited for.
    pub(crate) fn wanted(&self) -> usize {
        let everybody = self.together.greatest().min(PLENTY);
        match self.trial.way() {
            _ if !self.is_dense() => 1,
            // Who is everybody shows when a group waits until nobody comes any more.
            Way::Together if self.trial.is_turning() => PLENTY,
            Way::Together => everybody.max(1),
            Way::Early => everybody.div_ceil(PART).max(1),
        }
    }

    pub(crate) fn note(&mut self, group: Written) {
        self.took = (self.took * 3 + (group.ended - group.begun)) / 4;
        let idle = group.begun.saturating_duration_since(std::mem::replace(&mut self.ended, group.ended));
        if idle > LULL {
            self.trial.restart(group.ended);
        }
        if group.messages > 0 {
            self.recent.note(group.messages);
            if self.trial.way() == Way::Together {
                self.together.note(group.messages);
            }
        }
        if self.is_dense() {
            self.trial.note(group.records, group.ended);
        } else {
            self.trial = Trial::new(group.ended);
        }
    }

    fn is_dense(&self) -> bool {
        let enough = if self.trial.way() == Way::Early { DENSE_EARLY } else { DENSE };
        self.recent.sum() >= enough * MEMORY
    }
}

/// Messages of the last groups.
#[derive(Default)]
struct Sizes {
    recent: [usize; MEMORY],
    at: usize,
}

impl Sizes {
    fn note(&mut self, messages: usize) {
        self.recent[self.at % MEMORY] = messages;
        self.at += 1;
    }

    fn sum(&self) -> usize {
        self.recent.iter().sum()
    }

    /// In a closed loop nobody else is left to come.
    fn greatest(&self) -> usize {
        self.recent.iter().copied().max().unwrap_or(0)
    }
}

/// Compares the two ways, again and again.
struct Trial {
    /// What is done between trials.
    kept: Way,
    /// How many times as much gets done early, the last trials taken together.
    gain: f64,
    pause: u32,
    phase: Phase,
}

enum Phase {
    Pause { until: Instant },
    Turn { trial: Instant, turn: usize, window: Option<Window>, together: f64, early: f64 },
}

/// What one way got done.
struct Window {
    begun: Instant,
    groups: usize,
    records: usize,
}

impl Trial {
    fn new(now: Instant) -> Trial {
        Trial { kept: Way::Together, gain: 1.0, pause: 1, phase: Phase::Pause { until: now } }
    }

    /// Forgets what was compared so far.
    fn restart(&mut self, now: Instant) {
        if let Phase::Turn { .. } = self.phase {
            self.phase = Phase::Pause { until: now };
        }
    }

    fn way(&self) -> Way {
        match self.phase {
            Phase::Pause { .. } => self.kept,
            Phase::Turn { turn, .. } => TURNS[turn],
        }
    }

    /// The next group is the first of a turn.
    fn is_turning(&self) -> bool {
        matches!(self.phase, Phase::Turn { window: None, .. })
    }

    fn note(&mut self, records: usize, now: Instant) {
        let (trial, turn, window, together, early) = match &mut self.phase {
            Phase::Pause { until } if now < *until => return,
            Phase::Pause { .. } => {
                self.phase = Phase::Turn { trial: now, turn: 0, window: None, together: 0.0, early: 0.0 };
                return;
            }
            Phase::Turn { trial, turn, window, together, early } => (*trial, turn, window, together, early),
        };
        let Some(window) = window else {
            // The first group of a turn came about in the way before.
            *window = Some(Window { begun: now, groups: 0, records: 0 });
            return;
        };
        window.groups += 1;
        window.records += records;
        let took = now - window.begun;
        if took < WINDOW || window.groups < WINDOW_GROUPS {
            return;
        }
        let rate = window.records as f64 / took.as_secs_f64();
        match TURNS[*turn] {
            Way::Together => *together += rate,
            Way::Early => *early += rate,
        }
        if *turn + 1 < TURNS.len() {
            let (together, early) = (*together, *early);
            self.phase = Phase::Turn { trial, turn: *turn + 1, window: None, together, early };
        } else {
            let ratio = *early / *together;
            self.decide(ratio);
            self.phase = Phase::Pause { until: now + (now - trial) * self.pause };
        }
    }

    /// A single trial may have met a bad moment: two have their say.
    fn decide(&mut self, ratio: f64) {
        self.gain = f64::midpoint(self.gain, ratio.clamp(LEAST_RATIO, GREATEST_RATIO));
        let way = match self.kept {
            Way::Together if self.gain >= WORTH_IT => Way::Early,
            Way::Early if self.gain <= NOT_WORTH_IT => Way::Together,
            kept => kept,
        };
        tracing::debug!("groups that leave early get {ratio:.2} times as much done: {way:?} from now on");
        self.pause = if way == self.kept { (self.pause * 2).min(LONGEST_PAUSE) } else { 1 };
        self.kept = way;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    /// Injectors that each wait for their answer, one core that takes their messages, and a disk. Microseconds.
    struct World {
        injectors: usize,
        /// From an answer until the next message comes to the core.
        think: u64,
        /// Of the core, for each message.
        exchange: u64,
        /// Of the disk, for each group.
        sync: u64,
        /// Of the disk, for each message.
        write: u64,
    }

    const SECONDS: u64 = 8;
    const FAST_DISK: World = World { injectors: 20, think: 50, exchange: 22, sync: 120, write: 5 };
    const SLOW_DISK: World = World { injectors: 20, think: 50, exchange: 22, sync: 2000, write: 20 };
    const FAR_AWAY: World = World { injectors: 20, think: 20_000, exchange: 10, sync: 200, write: 5 };

    impl World {
        /// Groups of at least as many messages as `wanted` says, which is told the size and end of each; then how many
        /// messages a second were written, and how many in a group.
        fn run(&self, mut wanted: impl FnMut(Option<(usize, u64)>) -> usize) -> (f64, f64) {
            let mut coming = BinaryHeap::new();
            let (mut now, mut core_free, mut waiting, mut done, mut groups) = (0, 0, 0, 0, 0);
            let mut answer = |coming: &mut BinaryHeap<Reverse<u64>>, now: u64| {
                core_free = self.exchange + core_free.max(now + self.think);
                coming.push(Reverse(core_free));
            };
            (0..self.injectors).for_each(|_| answer(&mut coming, 0));
            let mut enough = wanted(None);
            while now < SECONDS * 1_000_000 {
                while waiting < enough.clamp(1, self.injectors)
                    && let Some(Reverse(at)) = coming.pop()
                {
                    now = now.max(at);
                    waiting += 1;
                }
                let messages = std::mem::take(&mut waiting);
                now += self.sync + self.write * messages as u64;
                while coming.peek().is_some_and(|Reverse(at)| *at <= now) {
                    coming.pop();
                    waiting += 1;
                }
                enough = wanted(Some((messages, now)));
                (0..messages).for_each(|_| answer(&mut coming, now));
                done += messages;
                groups += 1;
            }
            (done as f64 / SECONDS as f64, done as f64 / f64::from(groups))
        }

        fn fixed(&self, enough: usize) -> f64 {
            self.run(|_| enough).0
        }

        fn tried(&self) -> (f64, f64) {
            let begun = Instant::now();
            let mut company = Company::new(Duration::from_millis(2), begun);
            self.run(|written| {
                if let Some((messages, now)) = written {
                    let ended = begun + Duration::from_micros(now);
                    company.note(Written { messages, records: messages, begun: ended, ended });
                }
                company.wanted()
            })
        }
    }

    #[test]
    fn on_a_fast_disk_groups_leave_early() {
        let (early, together) = (FAST_DISK.fixed(5), FAST_DISK.fixed(20));
        assert!(early > 1.2 * together, "what the world is like: {early} {together}");
        let (rate, size) = FAST_DISK.tried();
        assert!(rate > 0.95 * early, "{rate} {early}");
        assert!((5.0..12.0).contains(&size), "{size}");
    }

    #[test]
    fn on_a_slow_disk_groups_leave_together() {
        let (early, together) = (SLOW_DISK.fixed(5), SLOW_DISK.fixed(20));
        assert!(together > 1.2 * early, "what the world is like: {early} {together}");
        let (rate, size) = SLOW_DISK.tried();
        assert!(rate > 0.95 * together, "{rate} {together}");
        assert!(size > 18.0, "{size}");
    }

    #[test]
    fn where_it_comes_to_the_same_groups_leave_together() {
        let (early, together) = (FAR_AWAY.fixed(5), FAR_AWAY.fixed(20));
        assert!((0.95..1.05).contains(&(early / together)), "what the world is like: {early} {together}");
        let (_, size) = FAR_AWAY.tried();
        assert!(size > 16.0, "{size}");
    }

    #[test]
    fn a_lone_injector_waits_for_nobody() {
        let world = World { injectors: 1, ..FAST_DISK };
        assert!(world.tried().0 > 0.99 * world.fixed(1));
        // Nor does it after a rush.
        let begun = Instant::now();
        let mut company = Company::new(Duration::from_millis(2), begun);
        let group = |messages| Written { messages, records: messages, begun, ended: begun };
        (0..100).for_each(|_| company.note(group(20)));
        assert!(company.wanted() >= 20);
        (0..MEMORY).for_each(|_| company.note(group(1)));
        assert_eq!(company.wanted(), 1);
    }

    #[test]
    fn a_lull_in_the_middle_of_a_trial_says_nothing() {
        let begun = Instant::now();
        let mut company = Company::new(Duration::from_millis(2), begun);
        let mut now = begun;
        for n in 0..2000 {
            // Whatever is tried, twenty come each millisecond; but one second in the middle of turns of either kind.
            let lull = if n % 50 == 49 { Duration::from_secs(1) } else { Duration::ZERO };
            now += lull;
            company.note(Written { messages: 20, records: 20, begun: now, ended: now + Duration::from_millis(1) });
            now += Duration::from_millis(1);
        }
        assert_eq!((company.trial.kept, company.trial.gain), (Way::Together, 1.0));
    }

    #[test]
    fn it_waits_as_long_as_a_group_takes_within_reason() {
        let begun = Instant::now();
        let mut company = Company::new(Duration::from_millis(2), begun);
        for (took_ms, patience_ms) in [(0, 2), (1, 2), (10, 9), (500, 20), (1, 2)] {
            let ended = begun + Duration::from_millis(took_ms);
            (0..20).for_each(|_| company.note(Written { messages: 20, records: 20, begun, ended }));
            assert_eq!(company.patience().as_millis(), patience_ms, "{took_ms}");
        }
    }
}
