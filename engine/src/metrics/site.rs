//! What is counted by site.

use super::labels::SiteLabels;
use super::listener::by_name;
use super::names;
use crate::config::Config;
use crate::dispatch::{Kind, OpenConnections};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The label of all sites without one.
const OTHER: &str = "other";

/// Handles by label.
pub(super) struct Sites {
    labels: SiteLabels,
    /// Of every site that ever had a label: `SiteLabels` bounds them.
    own: HashMap<Arc<str>, SiteHandles>,
    other: SiteHandles,
}

/// The handles of one label.
pub(super) struct SiteHandles {
    label: Arc<str>,
    /// delivered, deferred, bounced, expired.
    outcomes: [Counter; 4],
    pub(super) in_doubt: Counter,
    pub(super) latency: Histogram,
    pub(super) attempt: Histogram,
    pub(super) opened: Counter,
    failures: Vec<(&'static str, Counter)>,
    /// With what is not yet a whole second.
    throttled: Vec<(&'static str, (Counter, Duration))>,
    /// connecting, idle, busy.
    connections: [Gauge; 3],
}

impl Sites {
    pub(super) fn new(labels: SiteLabels) -> Sites {
        Sites { labels, own: HashMap::new(), other: SiteHandles::new(OTHER.into()) }
    }

    /// The handles for a site's recipient; this is what makes a site busy.
    pub(super) fn busy(&mut self, site: &Arc<str>, domain: impl FnOnce() -> Option<String>) -> &mut SiteHandles {
        let is_labelled = self.labels.count(site, domain);
        self.handles(site, is_labelled)
    }

    /// The handles for what may come before a site's first recipient.
    pub(super) fn met(&mut self, site: &Arc<str>) -> &mut SiteHandles {
        let is_labelled = self.labels.meet(site);
        self.handles(site, is_labelled)
    }

    fn handles(&mut self, site: &Arc<str>, is_labelled: bool) -> &mut SiteHandles {
        if !is_labelled {
            return &mut self.other;
        }
        self.own.entry(site.clone()).or_insert_with(|| SiteHandles::new(site.clone()))
    }

    /// The handles for anything else.
    pub(super) fn of(&mut self, site: &str) -> &mut SiteHandles {
        match self.own.get_mut(site).filter(|_| self.labels.is_labelled(site)) {
            Some(handles) => handles,
            None => &mut self.other,
        }
    }

    pub(super) fn set_connections<'a>(&mut self, open: impl IntoIterator<Item = (&'a str, OpenConnections)>) {
        let mut own: HashMap<&str, OpenConnections> = HashMap::new();
        let mut other = OpenConnections::default();
        for (site, open) in open {
            let sum = if self.labels.is_labelled(site) { own.entry(site).or_default() } else { &mut other };
            sum.connecting += open.connecting;
            sum.idle += open.idle;
            sum.busy += open.busy;
        }
        for (site, handles) in &self.own {
            handles.set_connections(own.remove(&**site).unwrap_or_default());
        }
        self.other.set_connections(other);
    }

    pub(super) fn reload(&mut self, config: &Config) {
        self.labels.reload(config);
    }
}

impl SiteHandles {
    fn new(label: Arc<str>) -> SiteHandles {
        let outcome = |kind: Kind| counter!(names::DELIVERIES, "site" => label.clone(), "outcome" => kind.as_str());
        let state = |state: &'static str| gauge!(names::CONNECTIONS, "site" => label.clone(), "state" => state);
        SiteHandles {
            outcomes: [Kind::Delivered, Kind::Deferred, Kind::Bounced, Kind::Expired].map(outcome),
            in_doubt: counter!(names::IN_DOUBT, "site" => label.clone()),
            latency: histogram!(names::DELIVERY_LATENCY, "site" => label.clone()),
            attempt: histogram!(names::ATTEMPT, "site" => label.clone()),
            opened: counter!(names::OPENED, "site" => label.clone()),
            failures: Vec::new(),
            throttled: Vec::new(),
            connections: ["connecting", "idle", "busy"].map(state),
            label,
        }
    }

    pub(super) fn outcome(&self, kind: Kind) {
        let at = match kind {
            Kind::Delivered => 0,
            Kind::Deferred => 1,
            Kind::Bounced => 2,
            Kind::Expired => 3,
            // An operator's act is no delivery; it has a counter of its own.
            Kind::Removed => return,
        };
        self.outcomes[at].increment(1);
    }

    pub(super) fn failed(&mut self, reason: &'static str) {
        let label = &self.label;
        by_name(&mut self.failures, reason, || counter!(names::FAILURES, "site" => label.clone(), "reason" => reason))
            .increment(1);
    }

    /// Counters are whole numbers: fractions of a second are carried over to the next call.
    pub(super) fn throttled(&mut self, limit: &'static str, waited: Duration) {
        let label = &self.label;
        let (counter, carried) = by_name(&mut self.throttled, limit, || {
            (counter!(names::THROTTLED, "site" => label.clone(), "limit" => limit), Duration::ZERO)
        });
        let sum = carried.saturating_add(waited);
        counter.increment(sum.as_secs());
        *carried = Duration::from_nanos(sum.subsec_nanos().into());
    }

    fn set_connections(&self, open: OpenConnections) {
        for (gauge, connections) in self.connections.iter().zip([open.connecting, open.idle, open.busy]) {
            gauge.set(connections as f64);
        }
    }
}
