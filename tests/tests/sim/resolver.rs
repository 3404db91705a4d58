//! Simulated DNS: answers as the real resolver would give them, late, failing, or saying no.

use crate::scenario::{Mx, Scenario};
use crate::world::{Event, World};
use dns::{AddressAnswer, Exchanger, MxAnswer, MxFailure, mx};
use engine::dispatch::Input;
use queue::Domain;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

pub struct Zone {
    /// Exchangers of each domain, or why there are none.
    domains: HashMap<String, Result<Vec<Exchanger>, MxFailure>>,
    hosts: HashMap<String, Arc<[IpAddr]>>,
    failing: f64,
}

impl Zone {
    pub fn new(scenario: &Scenario) -> Zone {
        let exchangers = |site: usize| {
            let of = |(preference, host): &(u16, usize)| Exchanger {
                preference: *preference,
                host: scenario.hosts[*host].name.as_str().into(),
            };
            mx::evaluate(scenario.sites[site].hosts.iter().map(of).collect(), &[])
        };
        let domains = scenario.domains.iter().map(|domain| {
            let answer = match domain.mx {
                Mx::Site(site) => exchangers(site),
                Mx::NoSuchDomain => Err(MxFailure::NoSuchDomain),
                Mx::Null => Err(MxFailure::NullMx),
            };
            (domain.name.clone(), answer)
        });
        let hosts = scenario.hosts.iter().map(|host| (host.name.clone(), host.addresses.clone().into()));
        Zone { domains: domains.collect(), hosts: hosts.collect(), failing: scenario.network.dns_fails }
    }

    pub fn heal(&mut self) {
        self.failing = 0.0;
    }
}

impl World {
    pub fn resolve_mx(&mut self, domain: Domain) {
        let known = self.zone.domains.get(domain.as_str()).cloned().unwrap_or(Err(MxFailure::NoSuchDomain));
        let calm = self.scenario.is_calm(domain.as_str());
        let expires = self.clock.after(self.scenario.network.ttl);
        let answer = match self.fails(calm) {
            true => Err(MxFailure::Temporary("SERVFAIL".into())),
            false => known.map(|exchangers| MxAnswer {
                site: mx::site(&exchangers),
                exchangers: exchangers.into(),
                implicit: false,
                expires,
                stale: false,
            }),
        };
        self.note("mx", &[u64::from(answer.is_ok())]);
        self.in_a_while(self.scenario.network.dns_latency.clone(), Event::Engine(self.life, Input::Mx(domain, answer)));
    }

    pub fn resolve_addresses(&mut self, host: Arc<str>) {
        let addresses = self.zone.hosts.get(&*host).cloned().expect("dispatch asks for exchangers that the zone named");
        let calm = self.scenario.hosts.iter().any(|plan| plan.name == *host && plan.calm);
        let expires = self.clock.after(self.scenario.network.ttl);
        let answer = match self.fails(calm) {
            true => Err(MxFailure::Temporary("timeout".into())),
            false => Ok(AddressAnswer { addresses, expires, stale: false }),
        };
        self.note("address", &[u64::from(answer.is_ok())]);
        let latency = self.scenario.network.dns_latency.clone();
        self.in_a_while(latency, Event::Engine(self.life, Input::Addresses(host, answer)));
    }

    fn fails(&mut self, calm: bool) -> bool {
        let failing = if calm { 0.0 } else { self.zone.failing };
        self.chance(failing)
    }
}
