//! `[[route]]`: where the mail of some domains goes, and how it is spoken there.

use super::limits::{Seen, names_nothing, origin};
use super::raw::{At, Document, Table};
use super::{Listener, Pattern, TlsPolicy, kinds, loops};
use smtp::client::Protocol;
use smtp::sasl::prepare;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// One `[[route]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteRule {
    /// Recipient domains.
    pub domains: Vec<Pattern>,
    /// Where to.
    pub via: Via,
    /// How to speak there, where that differs from what the site's limits say.
    pub policy: Option<Arc<RoutePolicy>>,
    /// The configuration line.
    pub origin: Arc<str>,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// The domain's mail exchangers.
    Mx,
    /// Nowhere: accepted mail is settled as delivered and thrown away.
    Discard,
    /// To whoever logs in as this user and comes for it (ATRN, RFC 2645).
    Odmr(Arc<str>),
    /// Hosts by name, in order of preference: the next one only when those before it fail. Never empty.
    Hops(Arc<[NextHop]>),
}

/// A host that mail is handed to because the configuration says so. A name is looked up as an address, never as MX.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// `smtp://HOST:PORT`, `smtps://HOST:PORT`, `lmtp://HOST:PORT`.
    Tcp {
        /// SMTP or LMTP.
        protocol: Protocol,
        /// TLS from the first octet (RFC 8314 §3.3).
        implicit_tls: bool,
        /// Name or IP literal.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
    /// `lmtp+unix:/path`.
    Unix(PathBuf),
}

/// How a route's hosts are spoken to. Mail with another policy is another site, with connections of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RoutePolicy {
    /// Instead of the site's.
    pub tls: Option<TlsPolicy>,
    /// What the certificate has to name, and SNI says; the host's name by default.
    pub tls_server_name: Option<Arc<str>>,
    /// AUTH before any mail.
    pub login: Option<Login>,
}

/// Who to log in as. The password is not part of the configuration: see [`crate::passwords`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login {
    /// The user's name.
    pub user: Arc<str>,
    /// Where the password is.
    pub password_file: PathBuf,
    /// The password may cross a connection that is not encrypted.
    pub in_clear: bool,
}

impl NextHop {
    /// What it speaks.
    pub fn protocol(&self) -> Protocol {
        match self {
            NextHop::Tcp { protocol, .. } => *protocol,
            NextHop::Unix(_) => Protocol::Lmtp,
        }
    }
    /// Whether TLS comes before SMTP.
    pub fn is_implicit_tls(&self) -> bool {
        matches!(self, NextHop::Tcp { implicit_tls: true, .. })
    }
    /// The host's name or address; the path of a Unix socket.
    pub fn host(&self) -> Arc<str> {
        match self {
            NextHop::Tcp { host, .. } => host.clone(),
            NextHop::Unix(path) => path.to_string_lossy().into(),
        }
    }
}

impl fmt::Display for NextHop {
    /// As it is written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextHop::Unix(path) => write!(f, "lmtp+unix:{}", path.display()),
            NextHop::Tcp { protocol, implicit_tls, host, port } => {
                let scheme = match (protocol, implicit_tls) {
                    (Protocol::Lmtp, _) => "lmtp",
                    (Protocol::Smtp, false) => "smtp",
                    (Protocol::Smtp, true) => "smtps",
                };
                match host.parse::<IpAddr>() {
                    Ok(IpAddr::V6(ip)) => write!(f, "{scheme}://[{ip}]:{port}"),
                    _ => write!(f, "{scheme}://{host}:{port}"),
                }
            }
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Via::Mx => f.write_str("mx"),
            Via::Discard => f.write_str("discard"),
            Via::Odmr(user) => write!(f, "odmr: waits for ATRN of user {user}"),
            Via::Hops(hops) => {
                for (n, hop) in hops.iter().enumerate() {
                    write!(f, "{}{hop}", if n > 0 { ", then " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// What a route is read against.
pub(super) struct Surroundings<'a> {
    pub(super) hostname: Option<&'a str>,
    pub(super) listeners: &'a [Listener],
    pub(super) sources: &'a [IpAddr],
}

/// All of `[[route]]`.
pub(super) fn routes(document: &Document<'_>, root: &mut Table<'_>, around: &Surroundings<'_>) -> Vec<RouteRule> {
    let mut seen = Seen::default();
    let tables = root.tables("route", "[[route]]").unwrap_or_default();
    let read = |mut table: Table<'_>| {
        let domains = table.list("domain", &kinds::PATTERN);
        if names_nothing(&table, "domain") {
            let help = format!("domain = [\"internal.example\"], each {}", kinds::PATTERN.allowed);
            document.note(table.span.clone(), "this [[route]] matches nothing", "it names no domain", Some(help));
        }
        let via = via(document, &mut table, around);
        let via = match via {
            Some(Via::Odmr(_)) => Some(Via::Odmr(customer(document, &mut table, around))),
            via => via,
        };
        let policy = policy(document, &mut table, via.as_ref());
        let origin = origin(document, &table);
        table.finish();
        let domains = seen.add(document, "[[route]]", domains);
        via.map(|via| RouteRule { domains, via, policy, origin })
    };
    tables.into_iter().filter_map(read).collect()
}

/// One way, or a list of hosts.
fn via(document: &Document<'_>, table: &mut Table<'_>, around: &Surroundings<'_>) -> Option<Via> {
    let nowhere = |span, label: &str| {
        document.note(span, "this [[route]] leads nowhere", label, Some(kinds::VIA.allowed.to_string()));
        None
    };
    if !table.has("via") {
        table.read("via", &kinds::VIA);
        return nowhere(table.span.clone(), "it has no `via`");
    }
    if !table.is_list("via") {
        let via = table.read("via", &kinds::VIA)?;
        if let Via::Hops(hops) = &via.value {
            hops.iter().for_each(|hop| loops::check(document, hop, &via.span, around));
        }
        return Some(via.value);
    }
    let hops = table.list("via", &kinds::NEXT_HOP)?;
    for (n, At { value: hop, span }) in hops.value.iter().enumerate() {
        loops::check(document, hop, span, around);
        if hops.value[..n].iter().any(|earlier| earlier.value == *hop) {
            document.note(span.clone(), "this host is in the list twice", "the first one is used", None);
        }
    }
    if hops.value.is_empty() {
        // Elements that are wrong have been complained about already.
        return if table.is_empty_list("via") { nowhere(hops.span, "the list is empty") } else { None };
    }
    Some(Via::Hops(hops.value.into_iter().map(|at| at.value).collect()))
}

/// Who comes for the mail, by the name that is known after AUTH; empty where there is a mistake.
fn customer(document: &Document<'_>, table: &mut Table<'_>, around: &Surroundings<'_>) -> Arc<str> {
    let is_written = table.has("user");
    let user = table.read("user", &kinds::USER);
    if !is_written {
        let help = "user = \"NAME\": a user of [auth], see `posthaste user add`".to_string();
        document.note(table.span.clone(), "nobody could come for this mail", "`user` is missing", Some(help));
    }
    let Some(At { value: user, span }) = user else { return "".into() };
    if !around.listeners.iter().any(Listener::has_atrn) {
        let help = "a [[listener]] with mode = \"relay\" and auth = \"required\" or \"optional\"".to_string();
        document.note(span, "nobody could come for this mail", "no listener takes ATRN", Some(help));
    }
    prepare(&user).map_or_else(|| user.clone(), |name| (*name).into())
}

/// What the route says of TLS; `None` where that is nothing.
fn policy(document: &Document<'_>, table: &mut Table<'_>, via: Option<&Via>) -> Option<Arc<RoutePolicy>> {
    let tls = table.read("tls", &kinds::TLS);
    let name = table.read("tls_server_name", &kinds::TLS_SERVER_NAME);
    let hops: &[NextHop] = if let Some(Via::Hops(hops)) = via { hops } else { &[] };
    if let (Some(tls), Some(via)) = (&tls, via) {
        let off = tls.value == TlsPolicy::Off;
        let mistake = match via {
            Via::Discard => Some("nothing is spoken to: this [[route]] throws mail away"),
            Via::Odmr(_) => Some("whoever comes for the mail decides: `tls` of the listener says what it may"),
            Via::Hops(hops) if hops.iter().all(|hop| matches!(hop, NextHop::Unix(_))) => {
                Some("Unix sockets are spoken to without TLS")
            }
            Via::Hops(hops) if off && hops.iter().any(NextHop::is_implicit_tls) => Some("`smtps` is nothing but TLS"),
            _ => None,
        };
        if let Some(label) = mistake {
            document.note(tls.span.clone(), "this `tls` has no meaning here", label, None);
        }
    }
    if let Some(name) = &name
        && via.is_some()
    {
        let clear = tls.as_ref().is_some_and(|tls| tls.value == TlsPolicy::Off);
        let mistake = match hops {
            [] => Some("it is for hosts that `via` names: each mail exchanger has its own name"),
            _ if clear => Some("`tls` says that there is none"),
            _ => None,
        };
        if let Some(label) = mistake {
            document.note(name.span.clone(), "`tls_server_name` has no meaning here", label, None);
        }
    }
    let policy = RoutePolicy {
        tls: tls.map(|at| at.value),
        tls_server_name: name.map(|at| at.value),
        login: login(document, table, via),
    };
    (policy != RoutePolicy::default()).then(|| Arc::new(policy))
}

/// User and password go together, and with hosts that the route names: strangers are told no password.
fn login(document: &Document<'_>, table: &mut Table<'_>, via: Option<&Via>) -> Option<Login> {
    // With `odmr` it is whoever comes for the mail, and was read.
    let is_customer = matches!(via, Some(Via::Odmr(_)));
    let user = if is_customer { None } else { table.read("user", &kinds::USER) };
    let password_file = table.read("password_file", &kinds::PATH);
    let in_clear = table.read("auth_in_clear", &kinds::FLAG);
    let written = [table.has("user"), table.has("password_file"), table.has("auth_in_clear")];
    let spans = [
        user.as_ref().map(|at| &at.span),
        password_file.as_ref().map(|at| &at.span),
        in_clear.as_ref().map(|at| &at.span),
    ];
    let span = spans.into_iter().flatten().next().cloned()?;
    if !matches!(via, None | Some(Via::Hops(_))) {
        document.note(span.clone(), "a login has no meaning here", "it is for hosts that `via` names", None);
    } else if !written[0] || !written[1] {
        let missing = if written[0] { "`password_file` is missing" } else { "`user` is missing" };
        let help = "user = \"NAME\" and password_file = \"/path\": a file whose first line is the password".to_string();
        document.note(span, "this [[route]] has half a login", missing, Some(help));
    }
    let in_clear = in_clear.is_some_and(|at| at.value);
    Some(Login { user: user?.value, password_file: password_file?.value, in_clear })
}
