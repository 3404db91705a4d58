//! Which sites have a label of their own.
//!
//! A label costs its series for as long as the process lives, so labels are few and are not taken back lightly:
//!
//! 1. A site that the configuration names (a `[[site]]` pattern matches the site, one of its MX hosts, or the recipient's
//!    domain) gets one at once, up to [`MAX_CONFIGURED`]: a `*` names them all.
//! 2. Of the others, the busiest [`MAX_BUSIEST`] have one. Work is counted in a lossy count: when [`MAX_COUNTED`] sites are
//!    counted, all counts are halved and those that reach zero forgotten, so that memory is bounded and old work fades. A
//!    site takes a free label at once; when none is free it takes the least busy one's, once it has had [`MIN_WORK`] and more
//!    than twice that one's work (so that two equals do not take turns).
//! 3. At most [`MAX_EVER`] labels are ever given by rule 2 in one life of the process; then the set stays as it is. After
//!    [`MAX_EASY`] of them they go to sites with a [`SHARE`]th of all work only: small ones that come and go would use up the
//!    rest, and a large destination that comes later would be `other`.
//!
//! Everything else is `other`.

use crate::config::{Config, SiteRule};
use std::collections::HashMap;
use std::sync::Arc;

/// Rule 1.
pub const MAX_CONFIGURED: usize = 200;
/// Rule 2.
pub const MAX_BUSIEST: usize = 50;
/// Rule 3.
pub const MAX_EVER: usize = 200;
/// Rule 3.
pub const MAX_EASY: usize = 100;
/// Rule 3.
pub const SHARE: u64 = 50;
/// Sites whose work is counted at once.
pub const MAX_COUNTED: usize = 2048;
/// Recipients before a site is worth another one's label.
pub const MIN_WORK: u64 = 10;

/// The registry of labels.
#[derive(Debug, Default)]
pub struct SiteLabels {
    rules: Vec<SiteRule>,
    configured: usize,
    ever: usize,
    sites: HashMap<Arc<str>, Standing>,
    /// Sites of rule 2 that have a label now. Invariant: at most `MAX_BUSIEST`.
    busiest: Vec<Arc<str>>,
    /// All that was counted; it fades with the counts.
    work: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Configured,
    Busiest { work: u64 },
    Counted { work: u64 },
}

impl SiteLabels {
    /// No site seen yet.
    pub fn new(config: &Config) -> SiteLabels {
        SiteLabels { rules: config.sites.clone(), ..SiteLabels::default() }
    }

    /// Other rules; labels that were given stay.
    pub fn reload(&mut self, config: &Config) {
        self.rules.clone_from(&config.sites);
        self.sites.retain(|_, standing| !matches!(standing, Standing::Counted { .. }));
    }

    /// Whether the site has a label of its own.
    pub fn is_labelled(&self, site: &str) -> bool {
        matches!(self.sites.get(site), Some(Standing::Configured | Standing::Busiest { .. }))
    }

    /// Counts one recipient's work for a site, and says whether the site has a label. `domain` is asked only where the site is
    /// new.
    pub fn count(&mut self, site: &Arc<str>, domain: impl FnOnce() -> Option<String>) -> bool {
        self.work += 1;
        match self.sites.get_mut(site) {
            Some(Standing::Configured) => true,
            Some(Standing::Busiest { work }) => {
                *work += 1;
                true
            }
            Some(Standing::Counted { work }) => {
                *work += 1;
                let work = *work;
                // Asked now and then: the least busy one is found by looking at them all.
                work >= MIN_WORK && work.is_multiple_of(MIN_WORK) && self.promote(site, work)
            }
            None => self.admit(site, 1, domain()),
        }
    }

    /// Whether the site has a label. One that is new may get it before it has had any work: its first connection, or a limit
    /// that keeps it waiting, comes before its first recipient. (A rule that matched its domain has given it its name.)
    pub fn meet(&mut self, site: &Arc<str>) -> bool {
        if self.sites.contains_key(site) { self.is_labelled(site) } else { self.admit(site, 0, None) }
    }

    fn admit(&mut self, site: &Arc<str>, work: u64, domain: Option<String>) -> bool {
        if self.configured < MAX_CONFIGURED && self.is_named(site, domain.as_deref()) {
            self.configured += 1;
            self.sites.insert(site.clone(), Standing::Configured);
            return true;
        }
        while self.sites.len() >= MAX_COUNTED + MAX_CONFIGURED + MAX_BUSIEST {
            self.fade();
        }
        if self.busiest.len() < MAX_BUSIEST {
            return self.promote(site, work);
        }
        self.sites.insert(site.clone(), Standing::Counted { work });
        false
    }

    fn is_named(&self, site: &str, domain: Option<&str>) -> bool {
        self.rules.iter().any(|rule| {
            let by_host = site.split(',').any(|host| rule.mx.iter().any(|pattern| pattern.matches(host)));
            by_host || rule.domains.iter().any(|p| p.matches(site) || domain.is_some_and(|domain| p.matches(domain)))
        })
    }

    fn promote(&mut self, site: &Arc<str>, work: u64) -> bool {
        if self.ever >= MAX_EVER {
            return false;
        }
        if self.busiest.len() >= MAX_BUSIEST {
            if self.ever >= MAX_EASY && work < self.work / SHARE {
                return false;
            }
            let Some((at, least)) = self.least_busy().filter(|(_, least)| work > 2 * least) else { return false };
            let loser = self.busiest.swap_remove(at);
            self.sites.insert(loser, Standing::Counted { work: least });
        }
        self.ever += 1;
        self.busiest.push(site.clone());
        self.sites.insert(site.clone(), Standing::Busiest { work });
        true
    }

    fn least_busy(&self) -> Option<(usize, u64)> {
        let work = |site: &Arc<str>| match self.sites.get(site) {
            Some(Standing::Busiest { work }) => *work,
            _ => 0,
        };
        self.busiest.iter().map(work).enumerate().min_by_key(|(_, work)| *work)
    }

    fn fade(&mut self) {
        self.work /= 2;
        self.sites.retain(|_, standing| match standing {
            Standing::Configured => true,
            Standing::Busiest { work } => {
                *work /= 2;
                true
            }
            Standing::Counted { work } => {
                *work /= 2;
                *work > 0
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(toml: &str) -> SiteLabels {
        SiteLabels::new(&Config::parse(&format!("hostname = \"a.b\"\n{toml}"), "t").unwrap())
    }
    fn work(labels: &mut SiteLabels, site: &str, times: u64) -> bool {
        let site: Arc<str> = site.into();
        (0..times).map(|_| labels.count(&site, || None)).last().unwrap_or(false)
    }

    #[test]
    fn sites_that_the_configuration_names_have_labels_at_once() {
        let mut labels =
            labels("[[site]]\nmatch = { domain = [\"a.example\"] }\n[[site]]\nmatch = { mx = [\"*.google.com\"] }\n");
        assert!(work(&mut labels, "mx1.google.com,mx2.google.com", 1));
        assert!(labels.count(&"mx.provider.example".into(), || Some("a.example".into())));
        assert!(work(&mut labels, "a.example", 1));
        let pattern = |labels: &SiteLabels| labels.sites.values().filter(|s| **s == Standing::Configured).count();
        assert_eq!(pattern(&labels), 3);
        assert!(work(&mut labels, "b.example", 1), "one of the busiest: there are no others");
        assert_eq!(pattern(&labels), 3);
    }

    #[test]
    fn as_long_as_there_are_few_sites_each_has_a_label() {
        let mut labels = labels("");
        let given = (0..2 * MAX_BUSIEST).filter(|n| work(&mut labels, &format!("s{n}"), 1)).count();
        assert_eq!(given, MAX_BUSIEST);
    }

    #[test]
    fn a_pattern_that_names_everything_is_bounded() {
        let mut labels = labels("[[site]]\nmatch = { mx = [\"*\"] }\n");
        let given = (0..1000).filter(|n| work(&mut labels, &format!("s{n}"), 1)).count();
        assert_eq!(given, MAX_CONFIGURED + MAX_BUSIEST);
    }

    #[test]
    fn the_busiest_have_labels_and_a_busier_one_takes_the_least_busy_ones() {
        let mut labels = labels("");
        for n in 0..MAX_BUSIEST as u64 {
            assert!(work(&mut labels, &format!("s{n}"), 100 + n));
        }
        assert!(!work(&mut labels, "late", 200), "not twice as busy as s0, with 100");
        assert!(work(&mut labels, "late", 10));
        assert!(!labels.is_labelled("s0") && labels.is_labelled("s1"));
        assert_eq!(labels.busiest.len(), MAX_BUSIEST);
    }

    #[test]
    fn small_sites_that_come_and_go_leave_labels_for_a_large_one() {
        let mut labels = labels("");
        for day in 0..600 {
            for n in 0..25 {
                work(&mut labels, &format!("large{n}"), 30);
            }
            for n in 0..60 {
                work(&mut labels, &format!("small{n}-of-{day}"), 25);
            }
        }
        assert!(labels.ever >= MAX_EASY && labels.ever < MAX_EVER, "{} were given", labels.ever);
        assert!(work(&mut labels, "late", 3000));
    }

    #[test]
    fn labels_and_memory_are_bounded_whatever_comes() {
        let mut labels = labels("");
        let mut given = std::collections::HashSet::new();
        for n in 0..40_000 {
            let site = format!("s{n}");
            if work(&mut labels, &site, MIN_WORK) {
                given.insert(site);
            }
            assert!(labels.sites.len() <= MAX_COUNTED + MAX_CONFIGURED + MAX_BUSIEST);
        }
        assert_eq!(given.len(), MAX_EASY);
        labels.ever = MAX_EVER;
        assert!(!work(&mut labels, "huge", 100_000));
    }
}
