//! What operators allow towards a site is never exceeded, at no moment.

use crate::scenario::Scenario;
use crate::world::Micros;
use engine::config::{Limits, Rate};
use engine::dispatch::{ConnectionId, Deliver, Open};
use smtp::client::{Outcome, Report};
use std::collections::BTreeMap;
use std::sync::Arc;

struct Line {
    site: Arc<str>,
    window: usize,
    in_flight: usize,
    handed: u32,
}

/// What happened towards one site in one life of the engine: a restart knows nothing of the time before.
#[derive(Default)]
struct Record {
    open: u32,
    opened: Vec<Micros>,
    delivered: BTreeMap<u64, Micros>,
}

pub struct LimitWatch {
    default: Limits,
    limits: BTreeMap<String, Limits>,
    lines: BTreeMap<ConnectionId, Line>,
    /// The connection of each transaction in flight.
    transactions: BTreeMap<u64, ConnectionId>,
    sites: BTreeMap<(u32, Arc<str>), Record>,
    life: u32,
}

impl LimitWatch {
    pub fn new(scenario: &Scenario) -> LimitWatch {
        LimitWatch {
            default: (*scenario.config.limits).clone(),
            limits: scenario.limits.clone(),
            lines: BTreeMap::new(),
            transactions: BTreeMap::new(),
            sites: BTreeMap::new(),
            life: 1,
        }
    }

    fn limits_of(&self, site: &str) -> &Limits {
        self.limits.get(site).unwrap_or(&self.default)
    }

    pub fn opened(&mut self, open: &Open, now: Micros, life: u32) {
        self.life = life;
        let most = self.limits_of(&open.site).connections;
        let record = self.sites.entry((life, open.site.clone())).or_default();
        record.open += 1;
        record.opened.push(now);
        assert!(record.open <= most, "{} connections to {}, {most} allowed", record.open, open.site);
        let line = Line { site: open.site.clone(), window: open.window, in_flight: 0, handed: 0 };
        self.lines.insert(open.connection, line);
    }

    pub fn closed(&mut self, connection: ConnectionId) {
        let line = self.lines.remove(&connection).expect("it was opened");
        self.sites.get_mut(&(self.life, line.site)).expect("a line leads there").open -= 1;
    }

    pub fn delivered(&mut self, deliver: &Deliver, now: Micros) {
        let line = self.lines.get_mut(&deliver.connection).expect("a transaction for a connection that is open");
        line.in_flight += 1;
        line.handed += 1;
        let (site, handed) = (line.site.clone(), line.handed);
        assert!(line.in_flight <= line.window, "more in flight on a connection than it takes: {}", line.in_flight);
        let limits = self.limits_of(&site);
        let (most, recipients) = (limits.messages_per_connection, limits.recipients_per_message as usize);
        assert!(handed <= most, "{handed} messages on a connection to {site}, {most} allowed");
        let count = deliver.recipients.len();
        assert!(count <= recipients, "{count} recipients in a transaction with {site}, {recipients} allowed");
        let record = self.sites.get_mut(&(self.life, site)).expect("a line leads there");
        record.delivered.insert(deliver.transaction, now);
        self.transactions.insert(deliver.transaction, deliver.connection);
    }

    pub fn reported(&mut self, report: &Report) {
        match report.outcome {
            // Nobody but us knows of it: it does not count.
            Outcome::NotSent | Outcome::Unsupported(_) => self.unsent(report.id),
            _ => _ = self.end(report.id),
        }
    }

    fn end(&mut self, transaction: u64) -> Option<&mut Record> {
        let connection = self.transactions.remove(&transaction)?;
        let line = self.lines.get_mut(&connection)?;
        line.in_flight -= 1;
        self.sites.get_mut(&(self.life, line.site.clone()))
    }

    /// A transaction never reached the peer.
    pub fn unsent(&mut self, transaction: u64) {
        if let Some(record) = self.end(transaction) {
            record.delivered.remove(&transaction);
        } else {
            // Its connection is gone already.
            self.sites.values_mut().for_each(|record| _ = record.delivered.remove(&transaction));
        }
    }

    pub fn crashed(&mut self) {
        self.lines.clear();
        self.transactions.clear();
    }

    /// No window of time holds more than a rate allows.
    pub fn judge(&self) {
        for ((_, site), record) in &self.sites {
            let limits = self.limits_of(site);
            let mut delivered: Vec<Micros> = record.delivered.values().copied().collect();
            delivered.sort_unstable();
            check_rate(site, "messages", &delivered, limits.rate);
            check_rate(site, "connections", &record.opened, limits.connection_rate);
        }
    }
}

fn check_rate(site: &str, what: &str, times: &[Micros], rate: Option<Rate>) {
    let Some(rate) = rate else { return };
    let (count, per) = (rate.count as usize, rate.per.as_micros() as Micros);
    for window in times.windows(count + 1) {
        let span = window[count] - window[0];
        assert!(span >= per, "more than {count} {what} to {site} within {span} of {per} µs");
    }
}
