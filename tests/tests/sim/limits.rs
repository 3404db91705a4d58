//! What operators allow towards a site is never exceeded, at no moment.

use crate::clock::Micros;
use crate::scenario::{Mx, Scenario};
use engine::config::{Config, Limits, MatchedBy, Rate, Via};
use engine::dispatch::{ConnectionId, Deliver, Open};
use smtp::client::{Outcome, Report};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A site: its name, and where it is. Domains that a rule sets apart share a name wherever their mail goes.
type Place = (Arc<str>, String);

struct Line {
    place: Place,
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

/// Which limits hold where, by one configuration.
struct Rules {
    since: Micros,
    default: Arc<Limits>,
    limits: BTreeMap<Place, Arc<Limits>>,
    /// Where the mail of each domain goes.
    places: BTreeMap<String, Place>,
}

pub struct LimitWatch {
    /// The MX hosts of each site, and the domains that have them.
    sites: Vec<(Vec<String>, Vec<String>)>,
    /// The last ones hold.
    rules: Vec<Rules>,
    lines: BTreeMap<ConnectionId, Line>,
    /// The connection of each transaction in flight.
    transactions: BTreeMap<u64, ConnectionId>,
    records: BTreeMap<(u32, Place), Record>,
    life: u32,
}

impl Rules {
    fn new(config: &Config, sites: &[(Vec<String>, Vec<String>)], since: Micros) -> Rules {
        let (mut limits, mut places) = (BTreeMap::new(), BTreeMap::new());
        // Who was set apart by a rule that is still there, also where there is nobody left: what was being read goes the old way.
        for rule in config.sites.iter().filter(|rule| !rule.domains.is_empty()) {
            let name: Arc<str> = rule.domains[0].0.as_ref().into();
            for host in sites.iter().flat_map(|(hosts, _)| hosts) {
                for by_mx in [true, false] {
                    limits.insert((name.clone(), target(host, by_mx)), rule.limits.clone());
                }
            }
        }
        let mut enter = |domain: &str, plain: Place, hosts: &[String]| {
            let rule = config.site_rule(domain, hosts.iter().map(|host| &**host));
            let place = match rule {
                Some((rule, MatchedBy::Domain)) => (rule.domains[0].0.as_ref().into(), plain.1),
                _ => plain,
            };
            let held = rule.map_or_else(|| config.limits.clone(), |(rule, _)| rule.limits.clone());
            limits.insert(place.clone(), held);
            place
        };
        for (hosts, domains) in sites {
            let by_mx = (hosts.join(",").into(), target(&hosts[0], true));
            // Whoever is not set apart, also where there is nobody left.
            enter("", by_mx.clone(), hosts);
            for host in hosts {
                enter("", by_hop(host), std::slice::from_ref(host));
            }
            for domain in domains {
                let place = match config.route(domain).map(|route| &route.via) {
                    Some(Via::Hops(hops)) => {
                        let host = hops[0].host().to_string();
                        enter(domain, by_hop(&host), &[host])
                    }
                    _ => enter(domain, by_mx.clone(), hosts),
                };
                places.insert(domain.clone(), place);
            }
        }
        Rules { since, default: config.limits.clone(), limits, places }
    }

    fn at(&self, place: &Place) -> &Limits {
        self.limits.get(place).unwrap_or(&self.default)
    }
}

/// A site's place is its name, and the MX hosts or the one that a route names.
fn target(host: &str, by_mx: bool) -> String {
    let (first, rest) = host.split_once('.').expect("a host of the scenario");
    if by_mx { rest.to_owned() } else { format!("{first} of {rest}") }
}

fn by_hop(host: &str) -> Place {
    (format!("{host}:25").into(), target(host, false))
}

impl LimitWatch {
    pub fn new(scenario: &Scenario, config: &Config) -> LimitWatch {
        let sites = scenario.sites.iter().enumerate().map(|(number, site)| {
            let mut hosts: Vec<String> =
                site.hosts.iter().map(|(_, host)| scenario.hosts[*host].name.clone()).collect();
            hosts.sort_unstable();
            let domains =
                scenario.domains.iter().filter(|domain| matches!(domain.mx, Mx::Site(site) if site == number));
            (hosts, domains.map(|domain| domain.name.clone()).collect())
        });
        let sites: Vec<_> = sites.collect();
        LimitWatch {
            rules: vec![Rules::new(config, &sites, 0)],
            sites,
            lines: BTreeMap::new(),
            transactions: BTreeMap::new(),
            records: BTreeMap::new(),
            life: 1,
        }
    }

    pub fn reloaded(&mut self, config: &Config, now: Micros) {
        self.rules.push(Rules::new(config, &self.sites, now));
    }

    fn rules(&self) -> &Rules {
        self.rules.last().expect("one at least")
    }

    pub fn is_suspended(&self, domain: &str) -> bool {
        let rules = self.rules();
        rules.places.get(domain).is_some_and(|place| rules.at(place).suspend)
    }

    pub fn opened(&mut self, open: &Open, now: Micros, life: u32) {
        self.life = life;
        let place = (open.site.clone(), target(&open.host, open.by_mx));
        let limits = self.rules().at(&place);
        let most = limits.connections;
        assert!(!limits.suspend, "a connection to {place:?}, which is suspended");
        let record = self.records.entry((life, place.clone())).or_default();
        record.open += 1;
        record.opened.push(now);
        assert!(record.open <= most, "{} connections to {place:?}, {most} allowed", record.open);
        let line = Line { place, window: open.window, in_flight: 0, handed: 0 };
        self.lines.insert(open.connection, line);
    }

    pub fn closed(&mut self, connection: ConnectionId) {
        let line = self.lines.remove(&connection).expect("it was opened");
        self.records.get_mut(&(self.life, line.place)).expect("a line leads there").open -= 1;
    }

    pub fn delivered(&mut self, deliver: &Deliver, now: Micros) {
        let line = self.lines.get_mut(&deliver.connection).expect("a transaction for a connection that is open");
        line.in_flight += 1;
        line.handed += 1;
        let (place, handed) = (line.place.clone(), line.handed);
        assert!(line.in_flight <= line.window, "more in flight on a connection than it takes: {}", line.in_flight);
        let limits = self.rules().at(&place);
        assert!(!limits.suspend, "mail for {place:?}, which is suspended");
        let (most, recipients) = (limits.messages_per_connection, limits.recipients_per_message as usize);
        assert!(handed <= most, "{handed} messages on a connection to {place:?}, {most} allowed");
        let count = deliver.recipients.len();
        assert!(count <= recipients, "{count} recipients in a transaction with {place:?}, {recipients} allowed");
        let record = self.records.get_mut(&(self.life, place)).expect("a line leads there");
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
        self.records.get_mut(&(self.life, line.place.clone()))
    }

    /// A transaction never reached the peer.
    pub fn unsent(&mut self, transaction: u64) {
        if let Some(record) = self.end(transaction) {
            record.delivered.remove(&transaction);
        } else {
            // Its connection is gone already.
            self.records.values_mut().for_each(|record| _ = record.delivered.remove(&transaction));
        }
    }

    pub fn crashed(&mut self) {
        self.lines.clear();
        self.transactions.clear();
    }

    /// No window of time holds more than a rate allows, as long as it is the same.
    pub fn judge(&self) {
        for ((_, place), record) in &self.records {
            let mut delivered: Vec<Micros> = record.delivered.values().copied().collect();
            delivered.sort_unstable();
            self.check_rate(place, "messages", &delivered, |limits| limits.rate);
            self.check_rate(place, "connections", &record.opened, |limits| limits.connection_rate);
        }
    }

    fn check_rate(&self, place: &Place, what: &str, times: &[Micros], of: impl Fn(&Limits) -> Option<Rate>) {
        for same in self.rules.chunk_by(|a, b| of(a.at(place)) == of(b.at(place))) {
            let (Some(rate), since) = (of(same[0].at(place)), same[0].since) else { continue };
            let until = self.rules.iter().map(|rules| rules.since).find(|at| *at > same[same.len() - 1].since);
            // At the moment of the change, the one or the other held.
            let is_within = |at: &&Micros| (**at > since || since == 0) && until.is_none_or(|until| **at < until);
            let times: Vec<Micros> = times.iter().filter(is_within).copied().collect();
            let (count, per) = (rate.count as usize, rate.per.as_micros() as Micros);
            for window in times.windows(count + 1) {
                let span = window[count] - window[0];
                assert!(span >= per, "more than {count} {what} to {place:?} within {span} of {per} µs");
            }
        }
    }
}
