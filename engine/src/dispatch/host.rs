//! The hosts of a site: which one a connection is opened to next, and which are left alone for a while.

use super::bounds::{CLEAR_TEXT, HOST_PAUSE, NO_PROMISE, OURSELVES, OWN_FAULT};
use super::manner::Learnt;
use super::refusals::Refusals;
use crate::config::{NextHop, TlsPolicy};
use dns::{AddressAnswer, MxFailure};
use smallvec::SmallVec;
use smtp::client::Protocol;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One exchanger or smart host.
pub(super) struct Host {
    pub(super) name: Arc<str>,
    /// What a route says of it; `None`: an exchanger.
    pub(super) hop: Option<NextHop>,
    pub(super) preference: u16,
    pub(super) addresses: SmallVec<[Address; 2]>,
    /// Until when the addresses may be used; `None`: not known.
    known_until: Option<Instant>,
    pub(super) asking: bool,
    /// Its addresses cannot be found.
    pub(super) pause: Pause,
    /// The last lookup said that it does not exist.
    pub(super) nonexistent: bool,
    /// TLS failed with it: speak in clear text until then (opportunistic policy only).
    pub(super) clear_text_until: Option<Instant>,
    /// It is this server itself, as was seen on a connection: believed until then.
    ours_until: Option<Instant>,
    /// It did not promise REQUIRETLS, or did not prove who it is: mail that needs that passes it over until then.
    no_promise_until: Option<Instant>,
    /// How it has to be spoken to.
    pub(super) learnt: Learnt,
    /// How often it takes nobody.
    pub(super) refusals: Refusals,
}

/// One address of a host.
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) pause: Pause,
}

/// Leaving something alone for a growing time.
#[derive(Clone, Copy, Default)]
pub(super) struct Pause {
    failures: u32,
    /// A connection to it ended without having been of use.
    suspect: bool,
    until: Option<Instant>,
}

impl Pause {
    /// It failed. Failures of attempts that ran side by side count once.
    pub(super) fn fail(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until > now) {
            return;
        }
        let (first, most) = HOST_PAUSE;
        self.until = Some(now + (first * (1 << self.failures.min(8))).min(most));
        self.failures += 1;
    }
    /// Something went wrong that may have had other reasons: the second time counts.
    pub(super) fn suspect(&mut self, now: Instant) {
        if std::mem::replace(&mut self.suspect, true) {
            self.fail(now);
        }
    }
    /// It is not tried for a moment, through no fault of its own.
    pub(super) fn pass_over(&mut self, now: Instant) {
        self.until = self.until.max(Some(now + OWN_FAULT.0));
    }
    pub(super) fn clear(&mut self) {
        *self = Pause::default();
    }
    /// May be tried now, the growth kept.
    pub(super) fn lift(&mut self) {
        self.until = None;
    }
    /// When it may be tried again, if not now.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

impl Host {
    pub(super) fn new(name: Arc<str>, preference: u16) -> Host {
        Host {
            name,
            hop: None,
            preference,
            addresses: SmallVec::new(),
            known_until: None,
            asking: false,
            pause: Pause::default(),
            nonexistent: false,
            clear_text_until: None,
            ours_until: None,
            no_promise_until: None,
            learnt: Learnt::default(),
            refusals: Refusals::default(),
        }
    }
    /// A host that a route names.
    pub(super) fn of_route(hop: NextHop, preference: u16) -> Host {
        Host { hop: Some(hop.clone()), ..Host::new(hop.host(), preference) }
    }
    pub(super) fn protocol(&self) -> Protocol {
        self.hop.as_ref().map_or(Protocol::Smtp, NextHop::protocol)
    }
    pub(super) fn is_implicit_tls(&self) -> bool {
        self.hop.as_ref().is_some_and(NextHop::is_implicit_tls)
    }
    /// The socket to connect to, where that needs no look-up.
    pub(super) fn unix_path(&self) -> Option<&PathBuf> {
        match &self.hop {
            Some(NextHop::Unix(path)) => Some(path),
            _ => None,
        }
    }
    /// `exchangers`: the port of those.
    pub(super) fn port(&self, exchangers: u16) -> u16 {
        match &self.hop {
            Some(NextHop::Tcp { port, .. }) => *port,
            _ => exchangers,
        }
    }
    /// It is this server itself.
    pub(super) fn is_ours(&mut self, now: Instant) {
        self.ours_until = Some(now + OURSELVES);
    }
    /// Until when it is taken for this server.
    pub(super) fn ours_until(&self, now: Instant) -> Option<Instant> {
        self.ours_until.filter(|until| *until > now)
    }
    /// Mail that requires TLS cannot go to it.
    pub(super) fn promises_no_tls(&mut self, now: Instant) {
        self.no_promise_until = Some(now + NO_PROMISE);
    }
    /// Whether it promises TLS is looked at anew.
    pub(super) fn ask_for_promise(&mut self) {
        self.no_promise_until = None;
    }
    /// It promises REQUIRETLS, or has not been asked lately.
    pub(super) fn may_promise_tls(&self, now: Instant) -> bool {
        self.no_promise_until.is_none_or(|until| until <= now)
    }
    /// How TLS is used with it now, where `policy` is configured. Nothing on the way to a Unix socket could be overheard.
    pub(super) fn tls(&self, policy: TlsPolicy, now: Instant) -> TlsPolicy {
        let clear_text = self.clear_text_until.is_some_and(|until| until > now);
        match policy {
            _ if self.unix_path().is_some() => TlsPolicy::Off,
            // Where TLS comes first there is no going without it (RFC 8314 §3.3).
            TlsPolicy::Off | TlsPolicy::Opportunistic if self.is_implicit_tls() => TlsPolicy::Required,
            TlsPolicy::Opportunistic if clear_text => TlsPolicy::Off,
            policy => policy,
        }
    }
    /// TLS failed with it: it is spoken to in clear text for a while, where the policy allows that.
    pub(super) fn avoid_tls(&mut self, now: Instant) {
        self.clear_text_until = Some(now + CLEAR_TEXT);
    }
    /// It takes no mail in clear text, so TLS is tried again, whatever became of it before.
    pub(super) fn insist_on_tls(&mut self) {
        self.clear_text_until = None;
    }
    fn is_known(&self, now: Instant) -> bool {
        self.known_until.is_some_and(|until| until > now)
    }
    /// It may be tried now, and all its addresses.
    pub(super) fn lift(&mut self) {
        self.pause.lift();
        self.addresses.iter_mut().for_each(|address| address.pause.lift());
    }
    /// When the host may be tried again, if not now.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        if let Some(until) = self.pause.until(now) {
            return Some(until);
        }
        if !self.is_known(now) {
            return None;
        }
        let mut earliest: Option<Instant> = None;
        for address in &self.addresses {
            let until = address.pause.until(now)?;
            earliest = Some(earliest.map_or(until, |e| e.min(until)));
        }
        earliest
    }
    /// Takes what DNS said.
    pub(super) fn handle_addresses(&mut self, answer: &Result<AddressAnswer, MxFailure>, now: Instant) {
        self.asking = false;
        match answer {
            Ok(answer) => {
                let known = std::mem::take(&mut self.addresses);
                let pause_of = |ip| known.iter().find(|a| a.ip == ip).map_or(Pause::default(), |a| a.pause);
                self.addresses = answer.addresses.iter().map(|ip| Address { ip: *ip, pause: pause_of(*ip) }).collect();
                // An answer that has expired already serves at least the connection that asked for it.
                self.known_until = Some(answer.expires.max(now + Duration::from_secs(1)));
                self.pause.clear();
                self.nonexistent = false;
            }
            Err(failure) => {
                self.nonexistent = matches!(failure, MxFailure::NoSuchDomain);
                self.pause.fail(now);
            }
        }
    }
    /// An address for a connection. Where there are source addresses, one of their families is preferred.
    fn pick_address(&self, now: Instant, sources: &[IpAddr]) -> Option<IpAddr> {
        let usable = || self.addresses.iter().filter(|a| a.pause.until(now).is_none()).map(|a| a.ip);
        usable().find(|ip| sources.iter().any(|s| s.is_ipv4() == ip.is_ipv4())).or_else(|| usable().next())
    }
    pub(super) fn address_mut(&mut self, ip: IpAddr) -> Option<&mut Address> {
        self.addresses.iter_mut().find(|a| a.ip == ip)
    }
}

/// Where a connection can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// To this address of this host.
    Address(usize, IpAddr),
    /// To this host's Unix socket.
    Unix(usize),
    /// First this host's addresses have to be looked up.
    Ask(usize),
    /// They are being looked up.
    Asking,
    /// Every host failed a while ago; the first may be tried again then.
    Paused(Instant),
}

/// The next host to try: of those not paused the lowest preference, equals at random (RFC 5321 §5.1). The order is decided
/// step by step, since what is paused changes between two connections.
pub(super) fn pick(hosts: &[Host], now: Instant, sources: &[IpAddr], rng: &mut fastrand::Rng) -> Pick {
    pick_among(hosts, now, sources, rng, |_| true)
}

/// The same, of those hosts that suit.
pub(super) fn pick_among(
    hosts: &[Host],
    now: Instant,
    sources: &[IpAddr],
    rng: &mut fastrand::Rng,
    suits: impl Fn(&Host) -> bool,
) -> Pick {
    let mut best: Option<usize> = None;
    let mut equals = 0;
    let mut earliest: Option<Instant> = None;
    let back = leading_back(hosts, now);
    for (i, host) in hosts.iter().enumerate().filter(|(_, host)| suits(host)) {
        let dropped = back.filter(|(preference, _)| host.preference >= *preference).map(|(_, until)| until);
        if let Some(until) = dropped.or_else(|| host.paused_until(now)) {
            earliest = Some(earliest.map_or(until, |e| e.min(until)));
            continue;
        }
        match best.map(|b| hosts[b].preference.cmp(&host.preference)) {
            None | Some(std::cmp::Ordering::Greater) => (best, equals) = (Some(i), 1),
            Some(std::cmp::Ordering::Equal) => {
                equals += 1;
                if rng.u32(..equals) == 0 {
                    best = Some(i);
                }
            }
            Some(std::cmp::Ordering::Less) => {}
        }
    }
    let Some(i) = best else { return Pick::Paused(earliest.unwrap_or(now + HOST_PAUSE.0)) };
    if hosts[i].unix_path().is_some() {
        return Pick::Unix(i);
    }
    if hosts[i].asking {
        return Pick::Asking;
    }
    if !hosts[i].is_known(now) {
        return Pick::Ask(i);
    }
    match hosts[i].pick_address(now, sources) {
        Some(ip) => Pick::Address(i, ip),
        None => Pick::Ask(i),
    }
}

/// The best preference of those hosts that are this server, and until when that is believed. They and all that are not
/// preferred to them would only send the mail back (RFC 5321 §5.1).
fn leading_back(hosts: &[Host], now: Instant) -> Option<(u16, Instant)> {
    hosts.iter().filter_map(|h| Some((h.preference, h.ours_until(now)?))).min()
}

/// Whether no host is left but such as lead back to this server.
pub(super) fn all_lead_back(hosts: &[Host], now: Instant) -> bool {
    leading_back(hosts, now).is_some_and(|(preference, _)| hosts.iter().all(|h| h.preference >= preference))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test starts at some instant")]
mod tests {
    use super::*;

    fn host(name: &str, preference: u16, ips: &[&str], now: Instant) -> Host {
        let mut host = Host::new(name.into(), preference);
        let addresses = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let expires = now + Duration::from_secs(3600);
        host.handle_addresses(&Ok(AddressAnswer { addresses, expires, stale: false }), now);
        host
    }

    #[test]
    fn hosts_are_tried_by_preference_and_addresses_in_order() {
        let now = Instant::now();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut hosts = vec![host("b", 20, &["10.0.0.3"], now), host("a", 10, &["10.0.0.1", "10.0.0.2"], now)];
        for expected in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            let Pick::Address(i, ip) = pick(&hosts, now, &[], &mut rng) else { panic!("{expected}") };
            assert_eq!(ip.to_string(), expected);
            hosts[i].address_mut(ip).unwrap().pause.fail(now);
        }
        assert_eq!(pick(&hosts, now, &[], &mut rng), Pick::Paused(now + HOST_PAUSE.0));
        let Pick::Address(1, _) = pick(&hosts, now + HOST_PAUSE.0, &[], &mut rng) else { panic!("preferred again") };
    }

    #[test]
    fn equals_share_the_connections() {
        let now = Instant::now();
        let mut rng = fastrand::Rng::with_seed(3);
        let hosts: Vec<Host> = ["a", "b", "c"].iter().map(|n| host(n, 10, &["10.0.0.1"], now)).collect();
        let mut counts = [0; 3];
        for _ in 0..300 {
            let Pick::Address(i, _) = pick(&hosts, now, &[], &mut rng) else { panic!() };
            counts[i] += 1;
        }
        assert!(counts.iter().all(|c| *c > 60), "{counts:?}");
    }

    #[test]
    fn a_source_address_decides_the_family() {
        let now = Instant::now();
        let hosts = [host("a", 10, &["2001:db8::1", "10.0.0.1"], now)];
        let sources: [IpAddr; 1] = ["10.9.9.9".parse().unwrap()];
        let picked = pick(&hosts, now, &sources, &mut fastrand::Rng::with_seed(1));
        assert_eq!(picked, Pick::Address(0, "10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn pauses_grow_and_end() {
        let (mut pause, mut now) = (Pause::default(), Instant::now());
        for seconds in [30, 60, 120, 240, 480, 600, 600] {
            pause.fail(now);
            pause.fail(now);
            assert_eq!(pause.until(now), Some(now + Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
            assert_eq!(pause.until(now), None);
        }
    }
}
