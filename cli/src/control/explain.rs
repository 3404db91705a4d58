//! What would happen to a message for an address: by the configuration, by DNS, and as its site stands now.

use super::silent;
use crate::units::show_duration;
use admin::control::{Explanation, Fact, Refusal};
use dns::{AddressAnswer, MxAnswer, MxFailure};
use engine::config::{Config, Limits, NextHop, Rate, RouteRule, TlsPolicy, Via, domain_forms};
use engine::dispatch::explain::{HostView, expected_site};
use engine::dispatch::{OpenConnections, SiteView};
use engine::shell::Handle;
use smtp::client::Pipelining;
use smtp::{Mailbox, Reply};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Hosts whose addresses are looked up, when dispatch has not done so.
const MAX_HOSTS: usize = 8;
/// Addresses of a host that are shown.
const MAX_ADDRESSES: usize = 4;
/// Origins of what no line of the configuration says.
const DEFAULT: &str = "default";
const DNS: &str = "dns";
const NOW: &str = "now";

/// Facts in the order in which mail meets them.
pub(super) fn explain(handle: &Handle, address: &str) -> Result<Explanation, Refusal> {
    // Alone, too, it is one (RFC 5321 §4.5.1): RCPT takes it.
    let mailbox = if address.eq_ignore_ascii_case("postmaster") {
        Mailbox::parse(&format!("{address}@{}", handle.config().hostname))
    } else {
        Mailbox::parse(address)
    };
    let mailbox = mailbox
        .map_err(|error| Refusal::invalid(format!("`{address}` is no address: {error}"), "write user@domain"))?;
    let domain = mailbox.domain_key().into_owned();
    let forms = domain_forms(&domain);
    let known = handle.ask(move |dispatch, _| {
        let site = forms.iter().find_map(|form| dispatch.explain_site(form));
        (dispatch.config().clone(), site, forms.iter().find_map(|form| dispatch.explain_failure(form)))
    });
    let (config, view, failure) = known.ok_or_else(silent)?;
    let mut facts = Facts::default();
    let route = config.route(&domain);
    let (via, origin) = route.map_or((&Via::Mx, DEFAULT), |rule| (&rule.via, &rule.origin));
    facts.add("route", via, origin);
    let answer = match via {
        Via::Mx => facts.mx(handle, &config, &domain),
        Via::Discard | Via::Odmr(_) | Via::Hops(_) => None,
    };
    facts.hosts(handle, &config, &domain, &Way { via, origin, answer: answer.as_ref() }, view.as_ref());
    if *via != Via::Mx || answer.is_some() || view.is_some() {
        facts.site(&config, &domain, answer.as_ref(), view.as_ref());
    }
    if let Some((reply, bounces)) = &failure {
        facts.failure(reply, *bounces);
    }
    if let Some(view) = &view {
        facts.standing(view);
    }
    Ok(Explanation { address: mailbox.to_string(), facts: facts.0 })
}

/// Where mail goes, and what says so.
struct Way<'a> {
    via: &'a Via,
    origin: &'a str,
    /// DNS's, where mail goes by MX.
    answer: Option<&'a MxAnswer>,
}

/// A host to connect to.
struct Destination {
    /// How it is shown.
    shown: String,
    hop: Option<NextHop>,
    /// Whose addresses are to be looked up; `None`: a Unix socket.
    look_up: Option<Arc<str>>,
}

impl Destination {
    fn of_route(hop: &NextHop) -> Destination {
        let look_up = matches!(hop, NextHop::Tcp { .. }).then(|| hop.host());
        Destination { shown: hop.to_string(), hop: Some(hop.clone()), look_up }
    }
    fn exchanger(mx: &dns::Exchanger) -> Destination {
        Destination { shown: format!("{} {}", mx.preference, mx.host), hop: None, look_up: Some(mx.host.clone()) }
    }
    fn is(&self, host: &HostView) -> bool {
        self.hop == host.hop && self.look_up.as_ref() == Some(&host.host)
    }
}

#[derive(Default)]
struct Facts(Vec<Fact>);

impl Facts {
    fn add(&mut self, name: &str, value: impl ToString, origin: &str) {
        self.0.push(Fact { name: name.into(), value: value.to_string(), origin: origin.into() });
    }

    /// What DNS says now (or said, as long as that holds): the engine's own resolver is asked.
    fn mx(&mut self, handle: &Handle, config: &Config, domain: &str) -> Option<MxAnswer> {
        let (done, answer) = awaited();
        handle.resolver().mx(domain, done);
        match answer.recv_timeout(patience(config)) {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(failure @ MxFailure::Temporary(_))) => self.add("mx", format!("{failure}; mail waits"), DNS),
            Ok(Err(failure)) => self.add("mx", format!("{failure}; mail bounces"), DNS),
            Err(_) => self.add("mx", "no answer in time; mail waits", DNS),
        }
        None
    }

    /// A line for each host to connect to.
    fn hosts(&mut self, handle: &Handle, config: &Config, domain: &str, way: &Way<'_>, view: Option<&SiteView>) {
        let (name, hosts, origin): (_, Vec<Destination>, _) = match (way.via, way.answer) {
            (Via::Hops(hops), _) => ("host", hops.iter().map(Destination::of_route).collect(), way.origin),
            (Via::Mx, Some(answer)) => {
                ("mx", answer.exchangers.iter().map(Destination::exchanger).collect(), mx_origin(answer, domain))
            }
            _ => return,
        };
        let used = |to: &Destination| view?.hosts.iter().find(|host| to.is(host) && !host.addresses.is_empty());
        let ask = |(at, to): (usize, &Destination)| match (used(to), &to.look_up) {
            (None, Some(name)) if at < MAX_HOSTS => {
                let (done, answer) = awaited();
                handle.resolver().addresses(name, done);
                Some(answer)
            }
            _ => None,
        };
        // All questions are out before the first answer is waited for.
        let asked: Vec<Option<Receiver<_>>> = hosts.iter().enumerate().map(ask).collect();
        for (to, asked) in hosts.iter().zip(asked) {
            let state = match (used(to), asked) {
                (Some(known), _) => in_use(known),
                (None, Some(asked)) => asked.recv_timeout(patience(config)).map_or("no answer in time".into(), found),
                (None, None) if to.look_up.is_none() => "a socket here".into(),
                (None, None) => "not looked up".into(),
            };
            self.add(name, format!("{}: {state}", to.shown), origin);
        }
    }

    /// The site and what holds there.
    fn site(&mut self, config: &Config, domain: &str, answer: Option<&MxAnswer>, view: Option<&SiteView>) {
        let (site, limits) = match view {
            Some(view) => (view.site.clone(), view.limits.clone()),
            None => expected_site(config, domain, answer),
        };
        self.add("site", site, &limits.origin);
        let route = config.route(domain);
        if route.is_some_and(|rule| matches!(rule.via, Via::Odmr(_))) {
            // The customer opens the one connection, as it likes, and gets all that there is.
            return self.limits(&limits, |name| ["rate", "recipients_per_message", "pipelining"].contains(&name));
        }
        let sources = &config.delivery.source_addresses;
        if sources.is_empty() {
            self.add("source", "the system's choice", DEFAULT);
        } else {
            self.add("source", listed(sources), "[delivery] source_addresses");
        }
        self.limits(&limits, |_| true);
        self.tls(&limits, route);
    }

    /// A route's word on TLS goes before that of the limits; logins only routes have.
    fn tls(&mut self, limits: &Limits, route: Option<&RouteRule>) {
        let policy = route.and_then(|rule| Some((rule.policy.as_ref()?, &rule.origin)));
        let (tls, origin) = match policy {
            Some((policy, origin)) if policy.tls.is_some() => (policy.tls.unwrap_or_default(), &**origin),
            _ => (limits.tls, limits.origin_of("tls")),
        };
        self.add("tls", format!("{}: {}", tls.as_str(), wording(tls)), origin);
        let Some((policy, origin)) = policy else { return };
        if let Some(name) = &policy.tls_server_name {
            self.add("tls_server_name", name, origin);
        }
        if let Some(login) = &policy.login {
            let clear = if login.in_clear { "; also in clear text" } else { "" };
            let password_file = login.password_file.display();
            self.add("login", format!("as {}, with the password in {password_file}{clear}", login.user), origin);
        }
    }

    /// Those limits that hold.
    fn limits(&mut self, limits: &Limits, holds: impl Fn(&str) -> bool) {
        let pipelining = match limits.pipelining {
            Pipelining::Off => "off",
            Pipelining::Transaction => "transaction",
            Pipelining::Stream => "stream",
        };
        if limits.suspend {
            self.add("suspend", "true: nothing is delivered", limits.origin_of("suspend"));
        }
        for (name, value) in [
            ("connections", limits.connections.to_string()),
            ("connection_rate", rate(limits.connection_rate)),
            ("messages_per_connection", limits.messages_per_connection.to_string()),
            ("rate", rate(limits.rate)),
            ("recipients_per_message", limits.recipients_per_message.to_string()),
            ("idle_timeout", show_duration(limits.idle_timeout)),
            ("pipelining", pipelining.into()),
        ] {
            if holds(name) {
                self.add(name, value, limits.origin_of(name));
            }
        }
    }

    /// Why dispatch could not route the domain's mail when it last tried.
    fn failure(&mut self, reply: &Reply, bounces: bool) {
        let fate = if bounces { "mail bounces" } else { "mail waits" };
        self.add("failed", format!("{reply}; {fate}"), NOW);
    }

    /// How the site stands.
    fn standing(&mut self, view: &SiteView) {
        let SiteView { ready, active, is_spilled, connections, .. } = view;
        let OpenConnections { connecting, idle, busy } = connections;
        let spilled = if *is_spilled { " in memory and more on disk" } else { "" };
        self.add("queued", format!("{ready} ready{spilled}, {active} active"), NOW);
        self.add("connected", format!("{connecting} connecting, {idle} idle, {busy} busy"), NOW);
        if !view.binding.is_empty() {
            let since = view.bound_for.map_or(String::new(), |time| format!(", for {} so far", brief(time)));
            self.add("waits", format!("because of {}{since}", view.binding), NOW);
        }
        if let Some(time) = view.backoff {
            self.add("backoff", format!("all hosts failed: next connection in {}", brief(time)), NOW);
        }
        if let Some(reply) = &view.last_error {
            self.add("last_error", reply, NOW);
        }
    }
}

/// An answer to be waited for, and where it is to be put.
fn awaited<A: Send + 'static>() -> (Box<dyn FnOnce(A) + Send>, Receiver<A>) {
    let (tell, told) = channel();
    // Nobody listens any more: the answer came too late.
    (Box::new(move |answer| drop(tell.send(answer))), told)
}

/// A question of ours may stand for several of the resolver's.
fn patience(config: &Config) -> Duration {
    config.dns.timeout * 2
}

fn mx_origin(answer: &MxAnswer, domain: &str) -> &'static str {
    match (answer.implicit, answer.stale) {
        _ if domain.starts_with('[') => "the address itself (RFC 5321 §5.1)",
        (true, _) => "dns: no MX record, so the domain itself (RFC 5321 §5.1)",
        (false, true) => "dns: from before an outage",
        (false, false) => DNS,
    }
}

/// Addresses as DNS has them.
fn found(answer: Result<AddressAnswer, MxFailure>) -> String {
    match answer {
        Ok(answer) => listed(&answer.addresses),
        Err(MxFailure::NoSuchDomain) => "no address".into(),
        Err(failure) => failure.to_string(),
    }
}

fn listed(addresses: &[IpAddr]) -> String {
    let shown: Vec<String> = addresses.iter().take(MAX_ADDRESSES).map(IpAddr::to_string).collect();
    let more = addresses.len().saturating_sub(MAX_ADDRESSES);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// A host that dispatch connects to.
fn in_use(host: &HostView) -> String {
    let addresses: Vec<IpAddr> = host.addresses.iter().map(|(ip, _)| *ip).collect();
    let mut text = listed(&addresses);
    for (ip, paused) in &host.addresses {
        if let Some(time) = paused {
            text += &format!("; {ip} failed, left alone for {}", brief(*time));
        }
    }
    if host.ours {
        text += "; it is this server itself";
    }
    if host.clear_text {
        text += "; TLS failed, in clear text for now";
    }
    if host.careful {
        text += "; it often refuses all recipients, so content waits for them";
    }
    if let Some(manner) = &host.manner {
        text += &format!("; it misbehaved, for now {manner}");
    }
    text
}

/// Without milliseconds, where there is more.
fn brief(time: Duration) -> String {
    show_duration(if time.as_secs() > 0 { Duration::from_secs(time.as_secs()) } else { time })
}

fn rate(rate: Option<Rate>) -> String {
    match rate {
        None => "unlimited".into(),
        Some(Rate { count, per }) => match per.as_secs() {
            1 => format!("{count}/s"),
            60 => format!("{count}/m"),
            3600 => format!("{count}/h"),
            86_400 => format!("{count}/d"),
            _ => format!("{count} in {}", show_duration(per)),
        },
    }
}

fn wording(policy: TlsPolicy) -> &'static str {
    match policy {
        TlsPolicy::Off => "never",
        TlsPolicy::Opportunistic => "when offered, unverified; clear text when it fails",
        TlsPolicy::Required => "always, unverified; mail waits without",
        TlsPolicy::Verified => "always, with a certificate that names the host; mail waits without",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_in_the_configuration() {
        for (count, secs, expected) in
            [(200, 1, "200/s"), (10, 60, "10/m"), (5, 3600, "5/h"), (9, 86_400, "9/d"), (7, 120, "7 in 2m")]
        {
            assert_eq!(rate(Some(Rate { count, per: Duration::from_secs(secs) })), expected);
        }
        assert_eq!(rate(None), "unlimited");
    }

    #[test]
    fn long_lists_are_cut() {
        let addresses: Vec<IpAddr> = (1..=6).map(|n| IpAddr::from([192, 0, 2, n])).collect();
        assert_eq!(listed(&addresses[..1]), "192.0.2.1");
        assert_eq!(listed(&addresses), "192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4 and 2 more");
    }
}
