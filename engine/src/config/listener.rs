//! `[[listener]]`: ingest sockets, and what goes together on one.

use super::auth::policy;
use super::raw::{At, Document, Kind, Table};
use super::{AuthPolicy, Listener, ListenerTls, Mode, QueueLimits, SocketName, defaults, kinds, relay};
use smtp::client::Protocol;
use smtp::server::BareNewline;
use std::time::Duration;

const SMTP_PORT: u16 = 25;

/// Sockets that are taken, with the lines that say so.
pub(super) type Binds = Vec<(SocketName, usize)>;

/// All of them; without any there is one with the defaults.
pub(super) fn listeners(document: &Document<'_>, root: &mut Table<'_>, queue: &QueueLimits) -> (Vec<Listener>, Binds) {
    let mut binds = Binds::new();
    let Some(tables) = root.tables("listener", "[[listener]]") else {
        let bind = SocketName::Tcp(defaults::LISTENER_BIND);
        return (vec![default_listener(bind)], binds);
    };
    let listeners = tables.into_iter().map(|table| listener(document, table, queue, &mut binds)).collect();
    (listeners, binds)
}

fn default_listener(bind: SocketName) -> Listener {
    Listener {
        bind,
        protocol: Protocol::Smtp,
        mode: Mode::Relay,
        // Both are constants, and a test reads them.
        allow: defaults::LISTENER_ALLOW.iter().filter_map(|net| net.parse().ok()).collect(),
        proxy_protocol: Vec::new(),
        xclient: Vec::new(),
        max_message_bytes: defaults::MAX_MESSAGE_BYTES,
        max_recipients: defaults::MAX_RECIPIENTS,
        max_connections: defaults::MAX_CONNECTIONS,
        max_connections_per_address: defaults::MAX_CONNECTIONS_PER_ADDRESS,
        max_errors: defaults::MAX_ERRORS,
        idle_timeout: defaults::LISTENER_IDLE_TIMEOUT,
        transaction_timeout: defaults::TRANSACTION_TIMEOUT,
        bare_newline: BareNewline::Reject,
        max_hold: Duration::ZERO,
        tls: None,
        auth: AuthPolicy::None,
        auth_without_tls: false,
    }
}

fn listener(document: &Document<'_>, mut table: Table<'_>, queue: &QueueLimits, binds: &mut Binds) -> Listener {
    let At { value: bind, span: at } = bind(document, &mut table, binds);
    let defaults = default_listener(bind);
    let tls = tls(document, &mut table);
    let (auth, auth_without_tls) = policy(document, &mut table, &defaults.bind, tls.is_some());
    if auth == AuthPolicy::Required {
        refuse_allow(document, &mut table);
    }
    let [allow, proxy_protocol, xclient] =
        ["allow", "proxy_protocol", "xclient"].map(|key| networks(document, &mut table, key, &defaults.bind));
    let protocol = table.read_or("protocol", &kinds::PROTOCOL, defaults.protocol);
    let mode = mode(document, &mut table, protocol);
    if protocol == Protocol::Lmtp && matches!(&defaults.bind, SocketName::Tcp(address) if address.port() == SMTP_PORT) {
        // RFC 2033 §5.
        document.note(at, "LMTP is never spoken on port 25", "whoever connects there speaks SMTP", None);
    }
    let (idle_timeout, transaction_timeout) = timeouts(document, &mut table, &defaults);
    let listener = Listener {
        protocol,
        mode,
        allow: allow.unwrap_or(defaults.allow),
        proxy_protocol: proxy_protocol.unwrap_or_default(),
        xclient: xclient.unwrap_or_default(),
        max_message_bytes: max_message_bytes(document, &mut table, queue).unwrap_or(defaults.max_message_bytes),
        max_recipients: table.read_or("max_recipients", &RECIPIENTS, defaults.max_recipients),
        max_connections: table.read("max_connections", &kinds::COUNT).map_or(defaults.max_connections, as_usize),
        max_connections_per_address: table
            .read("max_connections_per_address", &kinds::COUNT)
            .map_or(defaults.max_connections_per_address, as_usize),
        max_errors: table.read_or("max_errors", &kinds::COUNT, defaults.max_errors),
        idle_timeout,
        transaction_timeout,
        bare_newline: table.read_or("bare_newline", &kinds::BARE_NEWLINE, defaults.bare_newline),
        // RFC 4865 §4.2: for submission, unless the operator says that mail is submitted here all the same.
        max_hold: table.read_or(
            "max_hold",
            &kinds::HOLD,
            match mode {
                Mode::Submission => defaults::MAX_HOLD,
                Mode::Relay => defaults.max_hold,
            },
        ),
        tls,
        auth,
        auth_without_tls,
        bind: defaults.bind,
    };
    table.finish();
    listener
}

/// Which socket, and where that is written. No two listeners have the same.
fn bind(document: &Document<'_>, table: &mut Table<'_>, binds: &mut Binds) -> At<SocketName> {
    let default = At { value: SocketName::Tcp(defaults::LISTENER_BIND), span: table.span.clone() };
    let Some(bind) = table.read("bind", &kinds::SOCKET).or((!table.has("bind")).then(|| default.clone())) else {
        // What is written is a mistake of its own, and no second one beside the default.
        return default;
    };
    if let Some((_, line)) = binds.iter().find(|(other, _)| *other == bind.value) {
        let label = format!("line {line} has it already");
        document.note(bind.span.clone(), "two listeners on one socket", label, None);
    }
    // Port 0 is any that is free: never one that somebody has.
    if !matches!(&bind.value, SocketName::Tcp(address) if address.port() == 0) {
        binds.push((bind.value.clone(), document.line(bind.span.start)));
    }
    bind
}

fn max_message_bytes(document: &Document<'_>, table: &mut Table<'_>, queue: &QueueLimits) -> Option<usize> {
    let At { value: bytes, span } = table.read("max_message_size", &SIZE_IN_MEMORY)?;
    if bytes as u64 > queue.max_bytes.saturating_sub(defaults::QUEUE_FILE_BYTES) {
        let label = format!("[queue] max_bytes is {} bytes, of which 64MiB are always taken", queue.max_bytes);
        document.note(span, "such a message never fits into the queue", label, None);
    }
    Some(bytes)
}

fn mode(document: &Document<'_>, table: &mut Table<'_>, protocol: Protocol) -> Mode {
    let Some(At { value: mode, span }) = table.read("mode", &kinds::MODE) else { return Mode::default() };
    if mode == Mode::Submission && protocol == Protocol::Lmtp {
        let help = "protocol = \"smtp\", or mode = \"relay\"";
        document.note(span, "submission is SMTP", "`protocol` is \"lmtp\"", Some(help.into()));
    }
    mode
}

/// `idle_timeout` and `transaction_timeout`.
fn timeouts(document: &Document<'_>, table: &mut Table<'_>, defaults: &Listener) -> (Duration, Duration) {
    let idle = table.read("idle_timeout", &kinds::PATIENCE);
    let transaction = table.read("transaction_timeout", &kinds::PATIENCE);
    let times = (
        idle.as_ref().map_or(defaults.idle_timeout, |at| at.value),
        transaction.as_ref().map_or(defaults.transaction_timeout, |at| at.value),
    );
    if let Some(At { span, .. }) = transaction.or(idle).filter(|_| times.1 < times.0) {
        let label = format!("`idle_timeout` is {:?}, `transaction_timeout` {:?}", times.0, times.1);
        let help = "a transaction may take at least as long as one silence in it";
        document.note(span, "no client could be silent for so long", label, Some(help.into()));
    }
    times
}

/// Nobody relays by address where everybody has to authenticate, so the key would say what is not so.
fn refuse_allow(document: &Document<'_>, table: &mut Table<'_>) {
    if let Some(allow) = table.list("allow", &kinds::NETWORK) {
        let help = "leave it out; or auth = \"optional\": then clients from these networks need none";
        document.note(allow.span, "`allow` has no meaning here", "everybody has to authenticate", Some(help.into()));
    }
}

/// Networks whose clients are trusted with something: none may be everyone's, as whoever may say who he is may say that
/// he is somebody who may relay.
fn networks(
    document: &Document<'_>,
    table: &mut Table<'_>,
    key: &'static str,
    bind: &SocketName,
) -> Option<Vec<ipnet::IpNet>> {
    let list = table.list(key, &kinds::NETWORK)?;
    match bind {
        SocketName::Unix(_) => document.note(
            list.span.clone(),
            format!("`{key}` has no meaning for a Unix socket"),
            "it has no addresses",
            Some("leave it out; the directory's permissions say who may connect".into()),
        ),
        SocketName::Tcp(_) => relay::check(document, key, &list),
    }
    Some(list.value.into_iter().map(|at| at.value).collect())
}

/// Files are named relative to the configuration's own directory.
fn tls(document: &Document<'_>, table: &mut Table<'_>) -> Option<ListenerTls> {
    let mode = table.read("tls", &kinds::LISTENER_TLS);
    let certificate = table.read("tls_certificate", &kinds::PATH);
    let key = table.read("tls_key", &kinds::PATH);
    let Some(At { value: Some(mode), span }) = mode else {
        let help = "tls = \"starttls\", \"required\" or \"implicit\" makes use of it";
        for file in certificate.iter().chain(&key) {
            document.note(file.span.clone(), "nothing uses this file", "`tls` is \"none\"", Some(help.into()));
        }
        return None;
    };
    let Some(certificate) = certificate else {
        let help =
            "tls_certificate = \"fullchain.pem\" and, where the key is in a file of its own, tls_key = \"privkey.pem\"";
        document.note(span, "TLS needs a certificate", "and there is no `tls_certificate`", Some(help.into()));
        return None;
    };
    let certificate = document.beside(&certificate.value);
    let key = key.map_or_else(|| certificate.clone(), |key| document.beside(&key.value));
    Some(ListenerTls { mode, certificate, key })
}

/// What is put before a message when it comes in has to fit into the queue, too.
const MAX_MESSAGE_BYTES: u64 = 1 << 30;
const _: () = assert!(MAX_MESSAGE_BYTES + (1 << 20) <= queue::Store::MAX_BODY_BYTES);

/// A size that fits into memory and the queue.
const SIZE_IN_MEMORY: Kind<usize> = Kind {
    what: kinds::SIZE.what,
    allowed: kinds::SIZE.allowed,
    read: |value| match (kinds::SIZE.read)(value)? {
        0 => Err("nothing fits into it".into()),
        bytes if bytes > MAX_MESSAGE_BYTES => Err("1GiB is the most".into()),
        bytes => Ok(bytes as usize),
    },
};

/// So many as the queue takes.
const RECIPIENTS: Kind<usize> = Kind {
    what: kinds::COUNT.what,
    allowed: "a whole number from 1 to 6000",
    read: |value| kinds::whole(value, 1, 6000),
};
const _: () = assert!(queue::Envelope::MAX_RECIPIENTS == 6000);

fn as_usize(at: At<u32>) -> usize {
    at.value as usize
}
