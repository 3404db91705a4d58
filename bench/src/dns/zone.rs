//! What the local DNS knows: names and patterns, and what to answer for each. Pure data.

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX};
use hickory_proto::rr::{Name, RData, RecordType};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// TTL of records, and of "no", unless a rule says otherwise.
pub(super) const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// A set of rules. A pattern is a name (`mx1.example.com`), all names below one (`*.example.com`), or all (`*`); the
/// name itself wins, then the longest pattern. A name without a rule does not exist (NXDOMAIN).
#[derive(Clone, Debug, Default)]
pub struct Zone {
    names: HashMap<Name, Rule>,
    below: HashMap<Name, Rule>,
}

/// What to answer for a name. The default is a name that exists without records.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) answer: Answer,
    pub(super) delay: Duration,
    pub(super) ttl: Duration,
}

#[derive(Clone, Debug)]
pub(super) enum Answer {
    Records(Vec<Datum>),
    NxDomain,
    ServFail,
    Refused,
    Silence,
}

/// A record's data, perhaps depending on the name that is asked for.
#[derive(Clone, Debug)]
pub(super) enum Datum {
    Fixed(RData),
    /// An MX host one label below the name asked for.
    MxBelow(u16, String),
}

impl Default for Rule {
    fn default() -> Rule {
        Rule { answer: Answer::Records(Vec::new()), delay: Duration::ZERO, ttl: DEFAULT_TTL }
    }
}

impl Rule {
    /// The name exists, without records so far.
    pub fn records() -> Rule {
        Rule::default()
    }

    /// The name and those like it do not exist.
    pub fn nxdomain() -> Rule {
        Rule { answer: Answer::NxDomain, ..Rule::default() }
    }

    /// Questions fail with SERVFAIL.
    pub fn servfail() -> Rule {
        Rule { answer: Answer::ServFail, ..Rule::default() }
    }

    /// Questions are refused.
    pub fn refused() -> Rule {
        Rule { answer: Answer::Refused, ..Rule::default() }
    }

    /// Questions are counted and never answered.
    pub fn silence() -> Rule {
        Rule { answer: Answer::Silence, ..Rule::default() }
    }

    /// Adds an MX record. The host `LABEL.{}` is `LABEL` below the name asked for, so that under a wildcard each domain
    /// has a host of its own; the host `.` makes it the null MX (RFC 7505).
    pub fn mx(self, preference: u16, host: &str) -> Rule {
        self.with(match host.strip_suffix(".{}") {
            Some(label) => Datum::MxBelow(preference, label.to_string()),
            None => Datum::Fixed(RData::MX(MX::new(preference, name(host)))),
        })
    }

    /// Adds an A or AAAA record.
    pub fn address(self, address: IpAddr) -> Rule {
        self.with(Datum::Fixed(match address {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        }))
    }

    /// Makes the name an alias.
    pub fn cname(self, target: &str) -> Rule {
        self.with(Datum::Fixed(RData::CNAME(CNAME(name(target)))))
    }

    /// Answers only after this long.
    pub fn delayed(self, delay: Duration) -> Rule {
        Rule { delay, ..self }
    }

    /// Sets the TTL of the records or of the "no", in whole seconds.
    pub fn ttl(self, ttl: Duration) -> Rule {
        Rule { ttl, ..self }
    }

    fn with(mut self, datum: Datum) -> Rule {
        match &mut self.answer {
            Answer::Records(records) => records.push(datum),
            answer => *answer = Answer::Records(vec![datum]),
        }
        self
    }

    /// The records of a kind for a name, and the alias if it is one.
    pub(super) fn matching(&self, asked: &Name, kind: RecordType) -> Vec<RData> {
        let Answer::Records(records) = &self.answer else { return Vec::new() };
        let is_wanted = |data: &RData| data.record_type() == kind || data.record_type() == RecordType::CNAME;
        let datum = |datum: &Datum| match datum {
            Datum::Fixed(data) => is_wanted(data).then(|| data.clone()),
            // A name too long for another label has no such host.
            Datum::MxBelow(preference, label) if kind == RecordType::MX => {
                Some(RData::MX(MX::new(*preference, asked.prepend_label(label.as_str()).ok()?)))
            }
            Datum::MxBelow(..) => None,
        };
        records.iter().filter_map(datum).collect()
    }
}

impl Zone {
    /// Every domain has an MX host of its own, `mx.DOMAIN`, and every name has the address `ip`: each domain is a site.
    pub fn everything_at(ip: IpAddr) -> Zone {
        Zone::default().with("*", Rule::records().mx(10, "mx.{}").address(ip))
    }

    /// Every domain has the same MX hosts, of equal preference: all domains are one site.
    pub fn one_provider(hosts: &[(&str, IpAddr)]) -> Zone {
        let everyone = hosts.iter().fold(Rule::records(), |rule, (host, _)| rule.mx(10, host));
        let host_rule = |zone: Zone, (host, ip): &(&str, IpAddr)| zone.with(host, Rule::records().address(*ip));
        hosts.iter().fold(Zone::default().with("*", everyone), host_rule)
    }

    /// Adds a rule. Panics if `pattern` is neither a name nor a pattern.
    pub fn with(mut self, pattern: &str, rule: Rule) -> Zone {
        self.set(pattern, rule);
        self
    }

    /// Adds or replaces a rule. Panics if `pattern` is neither a name nor a pattern.
    pub fn set(&mut self, pattern: &str, rule: Rule) {
        match pattern.strip_prefix('*') {
            Some("") => self.below.insert(Name::root(), rule),
            Some(suffix) => self.below.insert(name(suffix.strip_prefix('.').unwrap_or(suffix)), rule),
            None => self.names.insert(name(pattern), rule),
        };
    }

    /// The rule for a name.
    pub(super) fn rule(&self, asked: &Name) -> Option<&Rule> {
        if let Some(rule) = self.names.get(asked) {
            return Some(rule);
        }
        let mut above = asked.base_name();
        while !above.is_root() {
            if let Some(rule) = self.below.get(&above) {
                return Some(rule);
            }
            above = above.base_name();
        }
        self.below.get(&Name::root())
    }
}

/// Names in rules are written by whoever writes the zone: a wrong one is a mistake in the program.
fn name(text: &str) -> Name {
    let mut name = Name::from_utf8(text).unwrap_or_else(|error| panic!("{text:?} is not a domain name: {error}"));
    name.set_fqdn(true);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rule_wins() {
        let rule = |host| Rule::records().cname(host);
        let zone = Zone::default()
            .with("*", rule("all"))
            .with("*.example.com", rule("below"))
            .with("*.deep.example.com", rule("deeper"))
            .with("a.example.com", rule("exact"));
        let cases = [
            ("a.example.com", "exact"),
            ("A.Example.COM", "exact"),
            ("b.example.com", "below"),
            ("x.y.example.com", "below"),
            ("x.deep.example.com", "deeper"),
            ("deep.example.com", "below"),
            ("example.com", "all"),
            ("com", "all"),
        ];
        for (asked, expected) in cases {
            let found = zone.rule(&name(asked)).map(|rule| rule.matching(&name(asked), RecordType::CNAME));
            assert_eq!(found, Some(vec![RData::CNAME(CNAME(name(expected)))]), "{asked}");
        }
        assert!(Zone::default().rule(&name("example.com")).is_none());
    }

    #[test]
    fn every_domain_can_have_a_host_of_its_own() {
        let zone = Zone::everything_at([127, 0, 0, 1].into());
        let asked = name("d7.example");
        let rule = zone.rule(&asked).unwrap();
        assert_eq!(rule.matching(&asked, RecordType::MX), [RData::MX(MX::new(10, name("mx.d7.example")))]);
        assert_eq!(rule.matching(&asked, RecordType::A), [RData::A(A::new(127, 0, 0, 1))]);
        assert_eq!(rule.matching(&asked, RecordType::AAAA), []);
    }
}
