//! The real resolver asks a real DNS server on loopback.

use bench::dns::{LocalDns, Rule, Zone};
use crossbeam_channel::{Receiver, unbounded};
use dns::{AddressAnswer, IpFamily, Lookup, MxAnswer, MxFailure, Options, Resolver};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Long enough that nothing expires during a test that is not about expiry.
const LONG: Duration = Duration::from_secs(3600);
/// Where silence is the subject.
const SHORT: Duration = Duration::from_millis(300);
/// When an answer is waited for that must come.
const PATIENCE: Duration = Duration::from_secs(30);

struct Scene {
    server: LocalDns,
    resolver: Resolver,
    lookups: Arc<Mutex<Vec<Lookup>>>,
}

fn options(server: &LocalDns) -> Options {
    Options {
        nameservers: vec![server.address()],
        timeout: Duration::from_secs(10),
        ip_family: IpFamily::Any,
        own_names: vec!["us.example".into()],
        cache_entries: 10_000,
        min_ttl: Duration::ZERO,
        max_ttl: LONG,
        max_stale: LONG,
        max_concurrent: 100,
        seed: 1,
    }
}

fn scene(zone: Zone, change: impl FnOnce(&mut Options)) -> Scene {
    let server = LocalDns::start(SocketAddr::new(LOCALHOST, 0), zone).unwrap();
    let mut options = options(&server);
    change(&mut options);
    let lookups = Arc::new(Mutex::new(Vec::new()));
    let seen = lookups.clone();
    let resolver = Resolver::start(options, Box::new(move |lookup| seen.lock().unwrap().push(lookup))).unwrap();
    Scene { server, resolver, lookups }
}

impl Scene {
    fn ask_mx(&self, domain: &str) -> Receiver<Result<MxAnswer, MxFailure>> {
        let (done, answer) = unbounded();
        self.resolver.mx(domain, Box::new(move |result| drop(done.send(result))));
        answer
    }
    fn mx(&self, domain: &str) -> Result<MxAnswer, MxFailure> {
        self.ask_mx(domain).recv_timeout(PATIENCE).unwrap()
    }
    /// The exchangers in words: `10 a, 20 b`.
    fn route(&self, domain: &str) -> Result<String, MxFailure> {
        let answer = self.mx(domain)?;
        let words = answer.exchangers.iter().map(|e| format!("{} {}", e.preference, e.host));
        Ok(words.collect::<Vec<_>>().join(", "))
    }
    fn addresses(&self, host: &str) -> Result<AddressAnswer, MxFailure> {
        let (done, answer) = unbounded();
        self.resolver.addresses(host, Box::new(move |result| drop(done.send(result))));
        answer.recv_timeout(PATIENCE).unwrap()
    }
    fn address_list(&self, host: &str) -> Result<Vec<IpAddr>, MxFailure> {
        self.addresses(host).map(|answer| answer.addresses.to_vec())
    }
    /// What was reported for metrics, sorted.
    fn results(&self) -> Vec<(&'static str, &'static str)> {
        let mut results: Vec<_> = self.lookups.lock().unwrap().iter().map(|seen| (seen.kind, seen.result)).collect();
        results.sort_unstable();
        results
    }
}

fn is_temporary<A>(result: Result<A, MxFailure>) -> bool {
    matches!(result, Err(MxFailure::Temporary(_)))
}

#[test]
fn domains_lead_to_exchangers_or_to_a_reason() {
    let zone = Zone::default()
        .with("two.example", Rule::records().mx(20, "b.example").mx(10, "MX.A.example"))
        .with("bare.example", Rule::records().address(LOCALHOST))
        .with("six.example", Rule::records().address(Ipv6Addr::LOCALHOST.into()))
        .with("null.example", Rule::records().mx(0, "."))
        .with("alias.example", Rule::records().cname("two.example"))
        .with("alias-to-bare.example", Rule::records().cname("bare.example"))
        .with("dangling.example", Rule::records().cname("nowhere.example"))
        .with("text.example", Rule::records())
        .with("backup.example", Rule::records().mx(10, "a.example").mx(20, "us.example").mx(30, "c.example"))
        .with("loop.example", Rule::records().mx(10, "us.example").mx(20, "b.example"))
        .with("us.example", Rule::records().address(LOCALHOST))
        .with("xn--mller-kva.example", Rule::records().mx(1, "mail.xn--mller-kva.example"))
        .with("broken.example", Rule::servfail())
        .with("shut.example", Rule::refused());
    let scene = scene(zone, |_| ());
    let no_such = Err(MxFailure::NoSuchDomain);
    let cases: &[(&str, Result<&str, MxFailure>)] = &[
        ("two.example", Ok("10 mx.a.example, 20 b.example")),
        ("TWO.Example.", Ok("10 mx.a.example, 20 b.example")),
        ("bare.example", Ok("0 bare.example")),
        ("six.example", Ok("0 six.example")),
        ("null.example", Err(MxFailure::NullMx)),
        ("alias.example", Ok("10 mx.a.example, 20 b.example")),
        ("alias-to-bare.example", Ok("0 alias-to-bare.example")),
        ("dangling.example", no_such.clone()),
        ("text.example", no_such.clone()),
        ("unknown.example", no_such.clone()),
        ("backup.example", Ok("10 a.example")),
        ("loop.example", Err(MxFailure::Loop)),
        ("us.example", Err(MxFailure::Loop)),
        ("müller.example", Ok("1 mail.xn--mller-kva.example")),
        ("not a domain", no_such.clone()),
        ("", no_such.clone()),
        ("[192.0.2.1]", Ok("0 192.0.2.1")),
        ("[IPv6:2001:db8::1]", Ok("0 2001:db8::1")),
        ("[mail.example]", no_such),
    ];
    for round in ["asked", "known"] {
        for (domain, expected) in cases {
            assert_eq!(scene.route(domain), expected.clone().map(String::from), "{domain} {round}");
        }
        for domain in ["broken.example", "shut.example"] {
            assert!(is_temporary(scene.route(domain)), "{domain} {round}");
        }
    }
    assert_eq!(&*scene.mx("two.example").unwrap().site, "b.example,mx.a.example");
    assert_eq!(scene.mx("two.example").unwrap().site, scene.mx("alias.example").unwrap().site);
    assert!(scene.mx("bare.example").unwrap().implicit);
    assert!(!scene.mx("two.example").unwrap().implicit);
}

#[test]
fn hosts_have_addresses_of_the_wanted_families() {
    let (v4, v6) = (LOCALHOST, IpAddr::V6(Ipv6Addr::LOCALHOST));
    let zone = || {
        Zone::default()
            .with("both.example", Rule::records().address(v4).address(v6))
            .with("four.example", Rule::records().address(v4))
            .with("alias.example", Rule::records().cname("both.example"))
            .with("text.example", Rule::records())
            .with("broken.example", Rule::servfail())
    };
    let no_such = || Err(MxFailure::NoSuchDomain);
    let any = scene(zone(), |_| ());
    assert_eq!(any.address_list("both.example"), Ok(vec![v6, v4]));
    assert_eq!(any.address_list("alias.example"), Ok(vec![v6, v4]));
    assert_eq!(any.address_list("four.example"), Ok(vec![v4]));
    assert_eq!(any.address_list("192.0.2.7"), Ok(vec!["192.0.2.7".parse().unwrap()]));
    assert_eq!(any.address_list("2001:db8::7"), Ok(vec!["2001:db8::7".parse().unwrap()]));
    assert_eq!(any.address_list("text.example"), no_such());
    assert_eq!(any.address_list("unknown.example"), no_such());
    assert!(is_temporary(any.address_list("broken.example")));
    let only_v4 = scene(zone(), |options| options.ip_family = IpFamily::Ipv4);
    assert_eq!(only_v4.address_list("both.example"), Ok(vec![v4]));
    assert_eq!(only_v4.server.questions().aaaa, 0);
    let only_v6 = scene(zone(), |options| options.ip_family = IpFamily::Ipv6);
    assert_eq!(only_v6.address_list("both.example"), Ok(vec![v6]));
    assert_eq!(only_v6.address_list("four.example"), no_such());
}

#[test]
fn what_is_known_is_not_asked_again_until_flushed() {
    let zone = Zone::default().with("a.example", Rule::records().mx(1, "a.example").address(LOCALHOST));
    let scene = scene(zone, |_| ());
    for _ in 0..5 {
        scene.mx("a.example").unwrap();
        scene.mx("A.EXAMPLE.").unwrap();
        assert_eq!(scene.mx("gone.example"), Err(MxFailure::NoSuchDomain));
        scene.addresses("a.example").unwrap();
    }
    let asked = scene.server.questions();
    assert_eq!((asked.mx, asked.a, asked.aaaa), (2, 1, 1));
    scene.resolver.flush();
    scene.mx("a.example").unwrap();
    assert_eq!(scene.server.questions().mx, 3);
    assert_eq!(scene.results(), [("a", "ok"), ("aaaa", "nodata"), ("mx", "nxdomain"), ("mx", "ok"), ("mx", "ok")]);
}

#[test]
fn an_implicit_exchanger_brings_its_addresses_along() {
    let scene = scene(Zone::default().with("bare.example", Rule::records().address(LOCALHOST)), |_| ());
    assert_eq!(scene.route("bare.example"), Ok("0 bare.example".into()));
    assert_eq!(scene.address_list("bare.example"), Ok(vec![LOCALHOST]));
    let asked = scene.server.questions();
    assert_eq!((asked.mx, asked.a, asked.aaaa), (1, 1, 1));
}

#[test]
fn a_hit_is_answered_at_once_by_the_asker() {
    let scene = scene(Zone::everything_at(LOCALHOST), |_| ());
    scene.mx("a.example").unwrap();
    assert!(scene.ask_mx("a.example").try_recv().unwrap().is_ok());
}

#[test]
fn concurrent_questions_for_one_name_are_one_question() {
    let slow = Rule::records().mx(1, "mx.example").delayed(SHORT);
    let scene = scene(Zone::default().with("slow.example", slow), |_| ());
    let answers: Vec<_> = (0..50).map(|_| scene.ask_mx("slow.example")).collect();
    for answer in answers {
        assert!(answer.recv_timeout(PATIENCE).unwrap().is_ok());
    }
    assert_eq!(scene.server.questions().total(), 1);
}

#[test]
fn questions_beyond_the_limit_wait_their_turn() {
    let zone = Zone::everything_at(LOCALHOST).with("slow.example", Rule::records().mx(1, "mx.example").delayed(SHORT));
    let scene = scene(zone, |options| options.max_concurrent = 1);
    let slow = scene.ask_mx("slow.example");
    let quick = scene.ask_mx("quick.example");
    assert!(quick.recv_timeout(PATIENCE).unwrap().is_ok());
    assert!(slow.try_recv().unwrap().is_ok(), "the first to ask was the first to be answered");
}

#[test]
fn silence_is_temporary_and_ends_in_time() {
    let scene = scene(Zone::default().with("*", Rule::silence()), |options| options.timeout = SHORT);
    let before = Instant::now();
    assert!(is_temporary(scene.mx("a.example")));
    assert!(before.elapsed() >= SHORT);
    assert!(is_temporary(scene.addresses("a.example")));
    assert_eq!(scene.results(), [("a", "error"), ("aaaa", "error"), ("mx", "error")]);
}

#[test]
fn a_temporary_failure_is_soon_forgotten() {
    let scene = scene(Zone::default().with("a.example", Rule::servfail()), |options| options.timeout = SHORT);
    assert!(is_temporary(scene.mx("a.example")));
    scene.server.set("a.example", Rule::records().mx(1, "mx.example"));
    let healed = Instant::now() + PATIENCE;
    while scene.mx("a.example").is_err() {
        assert!(Instant::now() < healed, "still failing");
        std::thread::sleep(SHORT / 10);
    }
}

#[test]
fn a_stale_answer_serves_through_an_outage() {
    let good = || Rule::records().mx(1, "one.example");
    let scene = scene(Zone::default().with("a.example", good()), |options| {
        options.timeout = SHORT;
        options.max_ttl = SHORT;
    });
    let fresh = scene.mx("a.example").unwrap();
    assert!(!fresh.stale);
    scene.server.set("*", Rule::silence());
    scene.server.set("a.example", Rule::silence());
    std::thread::sleep(fresh.expires.saturating_duration_since(Instant::now()));
    let stale = scene.mx("a.example").unwrap();
    assert!(stale.stale);
    assert_eq!((stale.exchangers, stale.site), (fresh.exchangers, fresh.site));
    assert!(scene.ask_mx("a.example").try_recv().unwrap().unwrap().stale, "at once from now on");
    assert!(is_temporary(scene.mx("never-seen.example")));
    // Healed: the question in the background brings the news.
    scene.server.set("a.example", Rule::records().mx(1, "two.example"));
    let healed = Instant::now() + PATIENCE;
    while scene.route("a.example") != Ok("1 two.example".into()) {
        assert!(Instant::now() < healed, "still stale");
        std::thread::sleep(SHORT / 10);
    }
    assert!(!scene.mx("a.example").unwrap().stale);
    assert!(scene.results().contains(&("mx", "stale")));
}

#[test]
fn a_stale_answer_has_an_end_and_a_no_overrides_it() {
    let zone = Zone::everything_at(LOCALHOST);
    let scene = scene(zone, |options| {
        options.timeout = SHORT;
        options.max_ttl = Duration::ZERO;
        options.max_stale = SHORT;
    });
    assert!(scene.mx("a.example").is_ok());
    scene.server.set("a.example", Rule::nxdomain());
    assert_eq!(scene.mx("a.example"), Err(MxFailure::NoSuchDomain));
    assert!(scene.mx("b.example").is_ok());
    scene.server.set("b.example", Rule::servfail());
    let ended = Instant::now() + PATIENCE;
    while !is_temporary(scene.mx("b.example")) {
        assert!(Instant::now() < ended, "still stale");
        std::thread::sleep(SHORT / 10);
    }
}

#[test]
fn a_large_answer_comes_over_tcp() {
    // The last in the answer is the best.
    let many = (0..60)
        .fold(Rule::records(), |rule, n| rule.mx(60 - n, &format!("a-rather-long-host-name-{n:02}.example.net")));
    let scene = scene(Zone::default().with("big.example", many), |_| ());
    let exchangers = scene.mx("big.example").unwrap().exchangers;
    assert_eq!((exchangers.len(), exchangers[0].preference, exchangers[19].preference), (20, 1, 20));
    assert_eq!(scene.server.questions().tcp, 1);
}

#[test]
fn another_server_helps_when_one_is_broken_or_silent() {
    for broken in [Rule::servfail(), Rule::refused(), Rule::silence()] {
        let bad = LocalDns::start(SocketAddr::new(LOCALHOST, 0), Zone::default().with("*", broken)).unwrap();
        let scene = scene(Zone::everything_at(LOCALHOST), |options| {
            options.nameservers.insert(0, bad.address());
            options.timeout = Duration::from_secs(2);
        });
        assert_eq!(scene.route("a.example"), Ok("10 mx.a.example".into()));
        // A silent one is asked more than once meanwhile.
        let in_vain = bad.questions().mx;
        assert_eq!((in_vain > 0, scene.server.questions().mx), (true, 1));
        // The one that helped is asked first for a while.
        assert_eq!(scene.route("b.example"), Ok("10 mx.b.example".into()));
        assert_eq!((bad.questions().mx, scene.server.questions().mx), (in_vain, 2));
    }
}

#[test]
fn a_thousand_domains_at_once() {
    let scene = scene(Zone::everything_at(LOCALHOST), |_| ());
    let domains: Vec<String> = (0..1000).map(|n| format!("d{n}.example")).collect();
    let answers: Vec<_> = domains.iter().map(|domain| scene.ask_mx(domain)).collect();
    for (domain, answer) in domains.iter().zip(answers) {
        let answer = answer.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(*answer.site, *format!("mx.{domain}"));
    }
    assert_eq!(scene.server.questions().total(), 1000);
}

#[test]
fn domains_of_one_provider_are_one_site() {
    let hosts = [("mx1.provider.example", LOCALHOST), ("mx2.provider.example", LOCALHOST)];
    let scene = scene(Zone::one_provider(&hosts), |_| ());
    let (a, b) = (scene.mx("a.example").unwrap(), scene.mx("b.example").unwrap());
    assert_eq!((&*a.site, a.site == b.site), ("mx1.provider.example,mx2.provider.example", true));
    assert_eq!(scene.address_list("mx2.provider.example"), Ok(vec![LOCALHOST]));
}

#[test]
fn those_who_wait_are_told_when_the_resolver_goes() {
    let scene = scene(Zone::default().with("*", Rule::silence()), |_| ());
    let waiting = scene.ask_mx("a.example");
    drop(scene.resolver);
    assert!(is_temporary(waiting.recv_timeout(PATIENCE).unwrap()));
}
