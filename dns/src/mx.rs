//! MX rules as pure functions.

use std::sync::Arc;
use std::time::Instant;

/// One mail exchanger of a domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exchanger {
    /// Lower is tried first; equals in random order.
    pub preference: u16,
    /// Host name, lower case, without the final dot.
    pub host: Arc<str>,
}

/// Where a domain's mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxAnswer {
    /// By preference, then name; never empty. With an implicit MX, the domain itself (preference 0).
    pub exchangers: Arc<[Exchanger]>,
    /// The site: the sorted set of host names. Domains with the same set have the same site.
    pub site: Arc<str>,
    /// No MX record exists: the domain's own address is used (RFC 5321 §5.1).
    pub implicit: bool,
    /// Until when it may be used.
    pub expires: Instant,
    /// From before an outage: the servers did not answer, this is what they last said.
    pub stale: bool,
}

/// Why a domain has no place to go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MxFailure {
    /// NXDOMAIN, or neither MX nor address records: bounces with 5.1.2.
    #[error("the domain does not exist or has no mail server")]
    NoSuchDomain,
    /// `MX 0 .` (RFC 7505): bounces with 5.1.10.
    #[error("the domain does not accept mail (null MX, RFC 7505)")]
    NullMx,
    /// Every exchanger left is ourselves: bounces with 5.4.6.
    #[error("mail for the domain loops back to this server")]
    Loop,
    /// SERVFAIL, refused, timeout: tried again later with 4.4.3.
    #[error("DNS gave no answer: {0}")]
    Temporary(Arc<str>),
}

/// Of more exchangers only the best count: whoever publishes hundreds must not have us try them all (RFC 5321 §5.1 allows a
/// limit), nor carry their names about.
const MAX_EXCHANGERS: usize = 20;

/// What a domain's MX records mean: the exchangers to try, by preference, then name.
///
/// The host name of a record is empty where the record says `.`. A host listed twice counts at its best preference.
///
/// - Only `.`: null MX (RFC 7505 §3). Beside others a `.` is an error of theirs (§3 again) and is passed over.
/// - One of them is ourselves (`own_names`, lower case): it and all with an equal or greater preference value are
///   dropped (RFC 5321 §5.1), for they would only send the mail back; none left is a loop.
pub fn evaluate(records: Vec<Exchanger>, own_names: &[String]) -> Result<Vec<Exchanger>, MxFailure> {
    let mut exchangers = records;
    let published = exchangers.len();
    exchangers.retain(|exchanger| !exchanger.host.is_empty());
    if exchangers.is_empty() {
        return Err(if published > 0 { MxFailure::NullMx } else { MxFailure::NoSuchDomain });
    }
    let ours = exchangers.iter().filter(|e| own_names.iter().any(|own| **own == *e.host)).map(|e| e.preference).min();
    if let Some(ours) = ours {
        exchangers.retain(|exchanger| exchanger.preference < ours);
        if exchangers.is_empty() {
            return Err(MxFailure::Loop);
        }
    }
    exchangers.sort_unstable_by(|a, b| (&a.host, a.preference).cmp(&(&b.host, b.preference)));
    exchangers.dedup_by(|later, kept| later.host == kept.host);
    exchangers.sort_unstable();
    exchangers.truncate(MAX_EXCHANGERS);
    Ok(exchangers)
}

/// The exchanger of a domain without MX records: itself, as if by `MX 0` (RFC 5321 §5.1).
pub fn implicit(domain: &Arc<str>) -> Exchanger {
    Exchanger { preference: 0, host: domain.clone() }
}

/// The name of the site behind a set of exchangers: their host names, sorted, joined by commas.
pub fn site(exchangers: &[Exchanger]) -> Arc<str> {
    if let [only] = exchangers {
        return only.host.clone();
    }
    let mut hosts: Vec<&str> = exchangers.iter().map(|exchanger| &*exchanger.host).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.join(",").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchangers(list: &[(u16, &str)]) -> Vec<Exchanger> {
        list.iter().map(|&(preference, host)| Exchanger { preference, host: host.into() }).collect()
    }

    #[test]
    fn records_become_exchangers_or_a_reason() {
        let own = ["mta1.us.example".to_string(), "us.example".to_string()];
        type Case<'a> = (&'a str, &'a [(u16, &'a str)], Result<&'a [(u16, &'a str)], MxFailure>);
        let cases: &[Case] = &[
            ("by preference, then name", &[(20, "c"), (10, "b"), (10, "a")], Ok(&[(10, "a"), (10, "b"), (20, "c")])),
            ("a host twice", &[(20, "a"), (10, "b"), (5, "a")], Ok(&[(5, "a"), (10, "b")])),
            ("a record twice", &[(5, "a"), (5, "a")], Ok(&[(5, "a")])),
            ("null MX", &[(0, "")], Err(MxFailure::NullMx)),
            ("null MX, careless preference", &[(10, "")], Err(MxFailure::NullMx)),
            ("null MX beside a real one", &[(0, ""), (10, "a")], Ok(&[(10, "a")])),
            ("nothing usable", &[], Err(MxFailure::NoSuchDomain)),
            ("we are the backup", &[(10, "a"), (20, "mta1.us.example"), (30, "b")], Ok(&[(10, "a")])),
            ("we are an equal", &[(10, "a"), (20, "b"), (20, "us.example")], Ok(&[(10, "a")])),
            ("we are the best", &[(10, "us.example"), (20, "b")], Err(MxFailure::Loop)),
            ("twice ourselves", &[(10, "a"), (20, "us.example"), (5, "mta1.us.example")], Err(MxFailure::Loop)),
            ("only ourselves", &[(10, "us.example")], Err(MxFailure::Loop)),
            ("not ourselves", &[(10, "x.us.example")], Ok(&[(10, "x.us.example")])),
        ];
        for (name, records, expected) in cases {
            let expected = expected.clone().map(exchangers);
            assert_eq!(evaluate(exchangers(records), &own), expected, "{name}");
        }
    }

    #[test]
    fn of_very_many_exchangers_the_best_count() {
        let host = |n: u16| Exchanger { preference: 1000 - n, host: format!("mx{n}.example").into() };
        let exchangers = evaluate((0..1000).map(host).collect(), &[]).unwrap();
        assert_eq!(exchangers.len(), MAX_EXCHANGERS);
        assert_eq!((exchangers[0].preference, exchangers[MAX_EXCHANGERS - 1].preference), (1, 20));
    }

    #[test]
    fn one_set_of_hosts_is_one_site() {
        let site = |list: &[(u16, &str)]| super::site(&exchangers(list)).to_string();
        assert_eq!(site(&[(10, "b"), (20, "a")]), "a,b");
        assert_eq!(site(&[(5, "a"), (5, "b")]), "a,b");
        assert_eq!(site(&[(5, "only.example")]), "only.example");
        assert_ne!(site(&[(5, "a")]), site(&[(5, "a"), (5, "b")]));
    }
}
