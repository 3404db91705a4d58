//! What a seed is about: sites, domains, faults, limits, traffic. Chosen once, before anything happens.

use crate::clock::{ClockChange, HOUR, MILLISECOND, MINUTE, Micros, SECOND};
use crate::outage::{Outage, Part};
use std::net::{IpAddr, Ipv4Addr};

/// The site that nothing ever happens to: what goes there shows whether the others' troubles spread.
pub const CALM_SITE: usize = 0;

pub struct Scenario {
    /// What bodies may take in memory, whatever else an operator changes.
    pub body_cache: &'static str,
    pub sites: Vec<SitePlan>,
    pub hosts: Vec<HostPlan>,
    pub domains: Vec<DomainPlan>,
    pub network: NetworkPlan,
    pub disk: DiskPlan,
    pub plan: Plan,
}

pub struct SitePlan {
    /// Indices into `hosts`, with preferences.
    pub hosts: Vec<(u16, usize)>,
}

pub struct HostPlan {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    pub calm: bool,
    pub faults: Faults,
    pub pipelining: bool,
    pub chunking: bool,
    pub starttls: bool,
    pub dsn: bool,
    pub deliver_by: bool,
    /// LIMITS with `max_recipients`.
    pub limits: bool,
    pub max_recipients: usize,
    /// 421 beyond.
    pub max_connections: usize,
    pub max_messages: usize,
    pub idle_timeout: Micros,
}

/// Probabilities, per connection or per command.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The connection is refused; nothing answers at all; 421 or 554 as a greeting.
    pub refuse: f64,
    pub swallow: f64,
    pub greet_421: f64,
    pub greet_554: f64,
    /// After some octets: the connection is reset, closed, or nothing moves any more.
    pub cut: f64,
    pub stall: f64,
    pub tls_fails: f64,
    /// Closed as soon as EHLO is answered.
    pub hang_up: f64,
    /// At MAIL, at each RCPT, at the end of the content.
    pub transient: f64,
    pub permanent: f64,
    pub shutdown: f64,
    /// At the end of the content: silence and a closed connection, the message taken or not; a slow reply; one too late.
    pub mute: f64,
    pub slow: f64,
    pub late: f64,
    /// The host is down for a while now and then.
    pub outages: f64,
}

pub enum Mx {
    Site(usize),
    NoSuchDomain,
    Null,
}

pub struct DomainPlan {
    pub name: String,
    pub mx: Mx,
}

pub struct NetworkPlan {
    pub latency: std::ops::Range<Micros>,
    /// Share of connections whose octets come in tiny pieces, or with a tiny window.
    pub splits: f64,
    pub narrow: f64,
    pub dns_latency: std::ops::Range<Micros>,
    /// DNS answers that say nothing useful.
    pub dns_fails: f64,
    pub ttl: Micros,
}

pub struct DiskPlan {
    pub segment_bytes: u64,
    pub memtable_entries: usize,
    pub journal_floor_bytes: u64,
    pub sync: std::ops::Range<Micros>,
    pub checkpoint_interval: Micros,
    pub read: std::ops::Range<Micros>,
}

/// What happens when.
#[derive(Clone)]
pub struct Plan {
    pub messages: u32,
    pub gap: std::ops::Range<Micros>,
    /// Injected at once each time.
    pub burst: u32,
    pub recipients: std::ops::Range<usize>,
    pub body_bytes: std::ops::Range<usize>,
    pub power_cuts: Vec<Micros>,
    /// SIGTERM, and a start some time later.
    pub stops: Vec<Micros>,
    pub clock_changes: Vec<(Micros, ClockChange)>,
    pub operations: bool,
    /// The disk is full for a while, the index cannot be used.
    pub outages: Vec<Outage>,
    /// SIGHUP, each time with another configuration.
    pub reloads: Vec<Micros>,
    /// Some site is suspended from the start, until a reload.
    pub is_suspended: bool,
    /// When all faults end, some site is still suspended.
    pub keeps_suspended: bool,
    pub heal_at: Micros,
    pub recovery: Micros,
    /// More mail for one site than dispatch keeps in memory.
    pub is_flood: bool,
}

impl Scenario {
    pub fn random(rng: &mut fastrand::Rng) -> Scenario {
        let is_flood = rng.u8(..40) == 0;
        let plan = Plan::random(rng, is_flood);
        let severity = [0.0, 0.02, 0.05, 0.15, 0.4][rng.usize(..5)];
        let (sites, hosts) = sites(rng, severity);
        let domains = domains(rng, sites.len());
        let tiny = rng.u8(..3) == 0;
        Scenario {
            body_cache: if rng.bool() { "64MiB" } else { "2KiB" },
            sites,
            hosts,
            domains,
            network: NetworkPlan {
                latency: [100..200, MILLISECOND..5 * MILLISECOND, 20 * MILLISECOND..300 * MILLISECOND][rng.usize(..3)]
                    .clone(),
                splits: if severity > 0.0 { 0.05 } else { 0.0 },
                narrow: if severity > 0.0 { 0.1 } else { 0.0 },
                dns_latency: MILLISECOND..[5 * MILLISECOND, 2 * SECOND][rng.usize(..2)],
                dns_fails: severity / 2.0,
                ttl: [SECOND, MINUTE, HOUR][rng.usize(..3)],
            },
            disk: DiskPlan {
                segment_bytes: [64 << 10, 128 << 10, 512 << 10][rng.usize(..3)],
                memtable_entries: if tiny { 8 } else { 1000 },
                journal_floor_bytes: [200 << 10, 4 << 20][rng.usize(..2)],
                sync: [100..300, MILLISECOND..30 * MILLISECOND][rng.usize(..2)].clone(),
                checkpoint_interval: [50 * MILLISECOND, SECOND, MINUTE][rng.usize(..3)],
                read: 10..[100, 20 * MILLISECOND, 3 * SECOND][rng.usize(..3)],
            },
            plan,
        }
    }

    /// Where a flood goes for the most part.
    pub fn flooded(&self) -> Option<&str> {
        let exposed = |domain: &&DomainPlan| matches!(domain.mx, Mx::Site(site) if site != CALM_SITE);
        let domain = self.domains.iter().filter(|_| self.plan.is_flood).find(exposed)?;
        Some(&domain.name)
    }

    pub fn is_calm(&self, domain: &str) -> bool {
        self.domains.iter().any(|d| d.name == domain && matches!(d.mx, Mx::Site(CALM_SITE)))
    }

    pub fn can_deliver(&self, domain: &str) -> bool {
        self.domains.iter().any(|d| d.name == domain && matches!(d.mx, Mx::Site(_)))
    }
}

impl Plan {
    fn random(rng: &mut fastrand::Rng, is_flood: bool) -> Plan {
        let heal_at = rng.u64(10 * MINUTE..8 * HOUR);
        let cuts = [0, 0, 1, 1, 2, 4][rng.usize(..6)];
        let crowd = rng.u8(..8) == 0;
        let outages = Outage::some(rng, heal_at);
        // What is to fill a disk is more than a segment or two.
        let is_filling = !is_flood && outages.iter().any(|outage| matches!(outage.part, Part::Disk { .. }));
        Plan {
            messages: if is_flood {
                rng.u32(3000..3300)
            } else if is_filling {
                rng.u32(100..300)
            } else {
                rng.u32(8..50)
            },
            gap: if is_flood { 0..20 * MILLISECOND } else { [0..SECOND, SECOND..5 * MINUTE][rng.usize(..2)].clone() },
            burst: if is_flood { 100 } else { rng.u32(1..8) },
            recipients: if is_flood {
                1..2
            } else if crowd {
                1..40
            } else {
                1..5
            },
            body_bytes: if is_flood {
                20..60
            } else if is_filling {
                1000..16_000
            } else {
                20..[300, 8_000][rng.usize(..2)]
            },
            power_cuts: (0..cuts).map(|_| rng.u64(0..heal_at)).collect(),
            stops: (0..rng.u8(..3) / 2).map(|_| rng.u64(0..heal_at)).collect(),
            clock_changes: (0..rng.u8(..8) / 6).map(|_| (rng.u64(0..heal_at), clock_change(rng))).collect(),
            operations: rng.u8(..4) == 0,
            outages,
            reloads: if rng.u8(..4) == 0 {
                (0..rng.u8(1..5)).map(|_| moment(rng, heal_at)).collect()
            } else {
                Vec::new()
            },
            is_suspended: rng.u8(..4) == 0,
            keeps_suspended: rng.u8(..3) == 0,
            heal_at,
            // The last step of the schedule, a final reply that comes too late, and what limits leave of the rest; of a
            // flood that is much: one connection, one message on each, and answers that take half a second.
            recovery: if is_flood { 6 * HOUR } else { 3 * HOUR },
            is_flood,
        }
    }
}

/// Often while most of the mail comes in.
pub fn moment(rng: &mut fastrand::Rng, heal_at: Micros) -> Micros {
    if rng.bool() { rng.u64(0..30 * SECOND) } else { rng.u64(0..heal_at) }
}

/// Back only as far as mail may then wait longer; forward as after a weekend.
fn clock_change(rng: &mut fastrand::Rng) -> ClockChange {
    match rng.u8(..3) {
        0 => ClockChange::Back(rng.u64(0..20 * MINUTE)),
        1 => ClockChange::Forward(rng.u64(0..10 * MINUTE)),
        _ => ClockChange::Forward(rng.u64(0..60 * HOUR)),
    }
}

fn sites(rng: &mut fastrand::Rng, severity: f64) -> (Vec<SitePlan>, Vec<HostPlan>) {
    let (mut sites, mut hosts) = (Vec::new(), Vec::new());
    for site in 0..rng.usize(3..6) {
        let calm = site == CALM_SITE;
        let count = if calm { 1 } else { rng.usize(1..4) };
        let plan = (0..count).map(|number| {
            hosts.push(host(rng, site, number, calm, severity));
            ([10, 10, 20][rng.usize(..3)], hosts.len() - 1)
        });
        sites.push(SitePlan { hosts: plan.collect() });
    }
    (sites, hosts)
}

fn host(rng: &mut fastrand::Rng, site: usize, number: usize, calm: bool, severity: f64) -> HostPlan {
    let address = |n: usize| IpAddr::V4(Ipv4Addr::new(10, site as u8, number as u8, n as u8 + 1));
    let few = |rng: &mut fastrand::Rng| !calm && rng.u8(..5) == 0;
    HostPlan {
        name: format!("mx{number}.site{site}.example"),
        addresses: (0..if calm { 1 } else { rng.usize(1..3) }).map(address).collect(),
        calm,
        faults: if calm { Faults::default() } else { faults(rng, severity) },
        pipelining: calm || rng.u8(..5) > 0,
        chunking: rng.u8(..3) > 0,
        starttls: rng.u8(..3) == 0,
        dsn: rng.bool(),
        deliver_by: rng.bool(),
        limits: rng.bool(),
        max_recipients: if few(rng) { rng.usize(1..4) } else { 1000 },
        max_connections: if few(rng) { rng.usize(1..4) } else { 1000 },
        max_messages: if few(rng) { rng.usize(1..4) } else { 1000 },
        idle_timeout: if few(rng) { SECOND } else { 5 * MINUTE },
    }
}

/// A few faults per host, rather than all of them everywhere.
fn faults(rng: &mut fastrand::Rng, severity: f64) -> Faults {
    let mut some = || if rng.u8(..3) == 0 { severity * rng.f64() * 2.0 } else { 0.0 };
    Faults {
        refuse: some(),
        swallow: some() / 2.0,
        greet_421: some(),
        greet_554: some(),
        cut: some(),
        stall: some() / 2.0,
        tls_fails: some(),
        transient: some(),
        permanent: some() / 2.0,
        shutdown: some(),
        mute: some(),
        slow: some(),
        late: some() / 4.0,
        outages: some(),
        hang_up: if severity > 0.0 && rng.u8(..10) == 0 { 1.0 } else { 0.0 },
    }
}

fn domains(rng: &mut fastrand::Rng, sites: usize) -> Vec<DomainPlan> {
    let mut domains = Vec::new();
    for site in 0..sites {
        for number in 0..rng.usize(1..4) {
            domains.push(DomainPlan { name: format!("d{number}.of{site}.example"), mx: Mx::Site(site) });
        }
    }
    domains.push(DomainPlan { name: "nowhere.example".into(), mx: Mx::NoSuchDomain });
    domains.push(DomainPlan { name: "null.example".into(), mx: Mx::Null });
    domains
}
