//! `posthaste check`.

use crate::exit::{Exit, Failure};
use crate::terminal;
use crate::units::{show_bytes, show_count, show_duration};
use engine::config::{
    AuthPolicy, Config, ConfigErrors, Limits, Listener, Mistake, Pattern, Rate, RetryPolicy, RouteRule, SiteRule,
    SocketName, TlsMode, Via, defaults,
};
use engine::passwords::{self, PasswordError};
use engine::tls::Certificate;
use engine::users::Users;
use serde_json::{Value, json};
use smtp::client::{Pipelining, Protocol};
use std::path::PathBuf;

/// Read the configuration as `serve` would; show what it means, or every mistake in it
///
/// A mistake is shown with its place, the wrong text, and what is allowed. Certificates and
/// their keys are read, and must fit. Nothing is bound or changed, so this is safe beside a
/// running server.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub struct Check {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = defaults::CONFIG_FILE)]
    config: PathBuf,
    /// Print one JSON object: `ok`, and `means` and `warnings`, or `mistakes`
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  posthaste check
  posthaste check --config ./posthaste.toml && systemctl reload posthaste

Exit codes: 0 no mistakes, 78 mistakes, or no such file";

impl Check {
    /// Does it.
    pub fn run(self) -> Result<Exit, Failure> {
        let file = self.config.display().to_string();
        match Config::load(&self.config).and_then(|config| with_files(&file, config)) {
            Ok((config, warnings)) => self.explain(&file, &config, &warnings),
            Err(errors) => self.refuse(errors),
        }
    }

    fn explain(&self, file: &str, config: &Config, warnings: &[String]) -> Result<Exit, Failure> {
        if self.json {
            let means = facts(config).into_iter().map(|(name, lines)| (name.to_owned(), json!(lines)));
            let means = means.collect::<Value>();
            terminal::print_json(&json!({ "file": file, "ok": true, "means": means, "warnings": warnings }))?;
        } else {
            terminal::print(&text(file, config, warnings))?;
        }
        Ok(Exit::Done)
    }

    fn refuse(&self, errors: ConfigErrors) -> Result<Exit, Failure> {
        if self.json {
            terminal::print_json(&mistakes(&errors))?;
            return Ok(Exit::Config);
        }
        Err(Failure::new(Exit::Config, errors.render(terminal::has_colour())))
    }
}

/// What only the files that it names can tell.
fn with_files(file: &str, config: Config) -> Result<(Config, Vec<String>), ConfigErrors> {
    let certificate = |listener: &Listener| {
        let error = Certificate::load(listener.tls.as_ref()?).err()?;
        let message = format!("the listener {} cannot speak TLS: {error}", listener.bind);
        let help =
            Some("PEM files that this user can read: a chain, the listener's own certificate first, and its key");
        Some(Mistake { place: None, message, label: String::new(), help: help.map(String::from) })
    };
    let password = |error: &PasswordError| Mistake {
        place: None,
        message: error.to_string(),
        label: String::new(),
        help: Some("a file that `serve` can read; its first line is the password".into()),
    };
    let (errors, warnings) = passwords::check(&config);
    let certificates = config.listeners.iter().filter_map(certificate);
    let mut mistakes: Vec<Mistake> = certificates.chain(errors.iter().map(password)).collect();
    if config.listeners.iter().any(Listener::has_auth)
        && let Err(error) = Users::load(&config.auth.users)
    {
        let help = Some("a file that this user can read; `posthaste user add NAME` makes and changes it".to_owned());
        mistakes.push(Mistake { place: None, message: error.to_string(), label: String::new(), help });
    }
    if mistakes.is_empty() { Ok((config, warnings)) } else { Err(ConfigErrors { file: file.to_owned(), mistakes }) }
}

fn mistakes(errors: &ConfigErrors) -> Value {
    let mistake = |mistake: &Mistake| {
        let place = mistake.place.as_ref();
        json!({
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "text": place.map(|place| place.wrong_text()),
            "message": mistake.message,
            "label": mistake.label,
            "allowed": mistake.help,
        })
    };
    let mistakes: Vec<Value> = errors.mistakes.iter().map(mistake).collect();
    json!({ "file": errors.file, "ok": false, "mistakes": mistakes })
}

fn text(file: &str, config: &Config, warnings: &[String]) -> String {
    let mut out = format!("{file}: no mistakes\n\n");
    warnings.iter().for_each(|warning| out += &format!("warning: {warning}\n\n"));
    for (name, lines) in facts(config) {
        for (index, line) in lines.iter().enumerate() {
            out += &format!("{:<9} {line}\n", if index == 0 { name } else { "" });
        }
    }
    out
}

/// What the configuration comes to, as lines under the names of its sections.
fn facts(config: &Config) -> Vec<(&'static str, Vec<String>)> {
    let mut facts = vec![
        ("hostname", vec![format!("{} (notices from {})", config.hostname, config.postmaster)]),
        ("data_dir", vec![config.data_dir.display().to_string()]),
        ("listener", config.listeners.iter().map(listener).collect()),
        ("admin", vec![config.admin.map_or("off".into(), |bind| format!("http://{bind}"))]),
        ("dns", vec![dns(config)]),
        ("delivery", vec![delivery(config)]),
        ("retry", vec![retry(&config.retry)]),
        ("queue", vec![queue(config)]),
        ("limits", vec![limits(&config.limits)]),
    ];
    if !config.sites.is_empty() {
        let site = |rule: &SiteRule| {
            let mx = rule.mx.iter().map(|pattern| format!("mx {}", pattern.0));
            let names = rule.domains.iter().map(|pattern| pattern.0.to_string()).chain(mx);
            format!("{}: {}", names.collect::<Vec<_>>().join(", "), limits(&rule.limits))
        };
        facts.push(("site", config.sites.iter().map(site).collect()));
    }
    let rest = match &*config.routes {
        [] => Some("every domain via its mail exchangers".into()),
        routes if routes.iter().any(|rule| rule.domains.iter().any(|pattern| &*pattern.0 == "*")) => None,
        _ => Some("every other domain via its mail exchangers".into()),
    };
    facts.push(("route", config.routes.iter().map(route).chain(rest).collect()));
    facts.push(("log", vec![log(config)]));
    facts
}

fn show_networks(networks: &[impl ToString]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn listener(listener: &Listener) -> String {
    let protocol = if listener.protocol == Protocol::Lmtp { "LMTP" } else { "SMTP" };
    let clients = match &listener.bind {
        _ if listener.auth == AuthPolicy::Required => "for whoever authenticates".into(),
        SocketName::Unix(_) => "for whoever may open it".into(),
        SocketName::Tcp(_) if listener.allow.is_empty() && !listener.has_auth() => {
            "for nobody: `allow` is empty".into()
        }
        SocketName::Tcp(_) => {
            let networks = show_networks(&listener.allow);
            let others = if listener.has_auth() { ", and whoever else authenticates" } else { "" };
            format!("for {networks}{others}")
        }
    };
    let tls = match listener.tls_mode() {
        None => "",
        Some(TlsMode::StartTls) => " with STARTTLS",
        Some(TlsMode::Required) => " with STARTTLS before all else",
        Some(TlsMode::Implicit) => " over TLS",
    };
    // Whoever is there decides who the client is.
    let proxies = [("PROXY headers", &listener.proxy_protocol), ("XCLIENT", &listener.xclient)];
    let proxies = proxies.into_iter().filter(|(_, networks)| !networks.is_empty());
    let proxies: String =
        proxies.map(|(what, networks)| format!("; {what} from {}", show_networks(networks))).collect();
    format!(
        "{} {protocol}{tls} {clients}{proxies}; messages up to {}, {} recipients each, {} connections",
        listener.bind,
        show_bytes(listener.max_message_bytes as u64),
        show_count(listener.max_recipients as u64),
        show_count(listener.max_connections as u64),
    )
}

fn dns(config: &Config) -> String {
    let servers: Vec<String> = config.dns.nameservers.iter().map(ToString::to_string).collect();
    let servers = if servers.is_empty() { "the system's name servers".into() } else { servers.join(", ") };
    format!("{servers}; {} for a question", show_duration(config.dns.timeout))
}

fn delivery(config: &Config) -> String {
    let delivery = &config.delivery;
    let sources: Vec<String> = delivery.source_addresses.iter().map(ToString::to_string).collect();
    let from = if sources.is_empty() { "an address that the system chooses".into() } else { sources.join(", ") };
    let family = match delivery.ip_family {
        dns::resolver::IpFamily::Any => "IPv4 and IPv6",
        dns::resolver::IpFamily::Ipv4 => "IPv4 only",
        dns::resolver::IpFamily::Ipv6 => "IPv6 only",
    };
    format!("to port {} from {from}; {family}; {} workers", delivery.port, delivery.workers)
}

fn retry(retry: &RetryPolicy) -> String {
    let schedule: Vec<String> = retry.schedule.iter().map(|wait| show_duration(*wait)).collect();
    let (schedule, expire) = (schedule.join(", "), show_duration(retry.expire));
    format!("after {schedule}, the last repeats, each ±{:.0}%; given up after {expire}", retry.jitter * 100.0)
}

fn queue(config: &Config) -> String {
    format!(
        "up to {} recipients and {}; {} of the disk stay free; {} written ahead; {} of mail coming in and {} of content in memory",
        show_count(config.queue.max_recipients),
        show_bytes(config.queue.max_bytes),
        show_bytes(config.queue.min_free_bytes),
        show_bytes(config.queue.prepare_bytes),
        show_bytes(config.queue.max_arriving_bytes),
        show_bytes(config.queue.body_cache_bytes as u64),
    )
}

fn limits(limits: &Limits) -> String {
    if limits.suspend {
        return format!("suspended ({})", limits.origin);
    }
    let rate = |rate: Option<Rate>, what: &str| match rate {
        Some(Rate { count: 1, per }) => format!("1 {} per {}", what.trim_end_matches('s'), show_duration(per)),
        Some(Rate { count, per }) => format!("{count} {what} per {}", show_duration(per)),
        None => format!("any number of {what} per time"),
    };
    let tls = limits.tls.as_str();
    let pipelining = match limits.pipelining {
        Pipelining::Off => "off",
        Pipelining::Transaction => "transaction",
        Pipelining::Stream => "stream",
    };
    let new_connections =
        limits.connection_rate.map_or(String::new(), |some| format!(", {}", rate(Some(some), "new ones")));
    format!(
        "{} connections{new_connections}, {} messages on each; {}, {} recipients in each; TLS {tls}, pipelining {pipelining} ({})",
        limits.connections,
        limits.messages_per_connection,
        rate(limits.rate, "messages"),
        limits.recipients_per_message,
        limits.origin,
    )
}

fn patterns(patterns: &[Pattern]) -> String {
    patterns.iter().map(|pattern| &*pattern.0).collect::<Vec<_>>().join(", ")
}

fn route(rule: &RouteRule) -> String {
    let to = match &rule.via {
        Via::Mx => "via its mail exchangers".into(),
        Via::Discard => "is thrown away as if delivered".into(),
        Via::Odmr(user) => format!("waits for ATRN of user {user}"),
        Via::Hops(_) => format!("via {}", rule.via),
    };
    let policy = rule.policy.as_deref();
    let tls = policy.and_then(|policy| policy.tls).map_or(String::new(), |tls| format!(", TLS {}", tls.as_str()));
    let name = policy.and_then(|policy| policy.tls_server_name.as_ref());
    let name = name.map_or(String::new(), |name| format!(", certificate for {name}"));
    let login = policy.and_then(|policy| policy.login.as_ref());
    let login = login.map_or(String::new(), |login| format!(", as {}", login.user));
    format!("{} {to}{tls}{name}{login} ({})", patterns(&rule.domains), rule.origin)
}

fn log(config: &Config) -> String {
    let format = if config.log.json { "JSON" } else { "text" };
    match &config.log.events {
        Some(path) => format!("{format}; events in {}", path.display()),
        None => format!("{format}; no events"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_read_and_must_fit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.toml").display().to_string();
        let toml =
            "hostname = \"a.b\"\n[[listener]]\ntls = \"starttls\"\ntls_certificate = \"c.pem\"\ntls_key = \"k.pem\"\n";
        let check = || with_files(&file, Config::parse(toml, &file).unwrap());
        let error = check().unwrap_err().to_string();
        assert!(error.contains("the listener 127.0.0.1:2525 cannot speak TLS: tls_certificate "), "{error}");
        let made = rcgen::generate_simple_self_signed(["a.b".to_owned()]).unwrap();
        std::fs::write(dir.path().join("c.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("k.pem"), made.signing_key.serialize_pem()).unwrap();
        let (config, warnings) = check().unwrap();
        assert!(text(&file, &config, &warnings).contains("127.0.0.1:2525 SMTP with STARTTLS for "));
        std::fs::write(dir.path().join("k.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(check().unwrap_err().to_string().contains("is not the key of the first certificate"));
    }

    #[test]
    fn a_configuration_is_put_into_words() {
        let toml = r#"
            hostname = "mta1.example.net"
            listener = [{ bind = "unix:/run/p.sock", protocol = "lmtp" }, { bind = "unix:/run/c.sock", auth = "required" },
                        { bind = "10.0.0.9:25", allow = ["10.0.0.0/8"], proxy_protocol = ["10.0.0.1"], xclient = ["10.0.1.0/24"] }]
            limits = { rate = "100/s", tls = "required" }
            site = [{ match = { mx = ["*.google.com"] }, connections = 50 },
                    { match = { domain = ["x.test"] }, suspend = true }, { match = { domain = ["y.test"] }, rate = "1/m" }]
            route = [{ domain = ["internal.example"], via = "smtp://[::1]:2526" },
                     { domain = ["a.test"], via = ["smtps://r:465", "smtp://s:25"], tls = "verified", tls_server_name = "R" },
                     { domain = ["*.void.test"], via = "discard" },
                     { domain = ["b.test"], via = "smtp://s:587", user = "alice", password_file = "/etc/p" },
                     { domain = ["c.test"], via = "odmr", user = "carol" }]
        "#;
        let text = text("p.toml", &Config::parse(toml, "p.toml").unwrap(), &["look here".into()]);
        for words in [
            "p.toml: no mistakes\n\nwarning: look here\n\n",
            "hostname  mta1.example.net (notices from postmaster@mta1.example.net)\n",
            "listener  unix:/run/p.sock LMTP for whoever may open it; messages up to 25 MiB, 1,000 recipients each, 1,000",
            "10.0.0.9:25 SMTP for 10.0.0.0/8; PROXY headers from 10.0.0.1/32; XCLIENT from 10.0.1.0/24; messages up to 25 MiB,",
            "admin     http://127.0.0.1:8025\n",
            "retry     after 1m, 5m, 15m, 1h, 4h, the last repeats, each ±20%; given up after 3d\n",
            "limits    20 connections, 100 messages on each; 100 messages per 1s, 100 recipients in each; TLS required, \
             pipelining transaction (p.toml:5)\n",
            "site      mx *.google.com: 50 connections",
            "\n          x.test: suspended (p.toml:7)\n          y.test: 20 connections, 100 messages on each; 1 message per 1m,",
            "route     internal.example via smtp://[::1]:2526 (p.toml:8)\n",
            "\n          a.test via smtps://r:465, then smtp://s:25, TLS verified, certificate for r (p.toml:9)\n",
            "\n          *.void.test is thrown away as if delivered (p.toml:10)\n",
            "\n          b.test via smtp://s:587, as alice (p.toml:11)\n",
            "\n          c.test waits for ATRN of user carol (p.toml:12)\n",
            "\n          every other domain via its mail exchangers\n",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
    }

    #[test]
    fn what_has_no_route_goes_by_mx_where_anything_is_left() {
        for (route, rest) in [
            ("", "route     every domain via its mail exchangers\n"),
            (
                "[[route]]\ndomain = [\"*\"]\nvia = \"discard\"",
                "route     * is thrown away as if delivered (p.toml:2)\nlog",
            ),
        ] {
            let config = Config::parse(&format!("hostname = \"mta.example\"\n{route}"), "p.toml").unwrap();
            let text = text("p.toml", &config, &[]);
            assert!(text.contains(rest), "{text}");
        }
    }

    #[test]
    fn mistakes_are_data_too() {
        let errors = Config::parse("hostname = \"mta.example\"\nhots = 1\n", "p.toml").unwrap_err();
        let json = mistakes(&errors);
        let mistake = &json["mistakes"][0];
        assert_eq!((&json["ok"], &mistake["line"], &mistake["text"]), (&false.into(), &2.into(), &"hots".into()));
    }
}
