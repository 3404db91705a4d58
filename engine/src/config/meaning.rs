//! From what is written to what is meant, section by section. Nothing stops at a mistake: it is noted, a default stands
//! in for the value, and reading goes on, so that an operator sees all of them at once.

use super::auth::auth;
use super::limits::{global, sites};
use super::listener::{Binds, listeners};
use super::raw::{At, Document, Kind, Table};
use super::route::{Surroundings, routes};
use super::{Config, Delivery, Dns, Log, QueueLimits, RetryPolicy, SocketName, defaults, kinds};
use dns::resolver::IpFamily;
use smtp::Mailbox;
use smtp::client::Timeouts;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::de::DeTable;

/// The whole configuration; `None` only after a mistake was noted.
pub(super) fn config<'a>(document: &'a Document<'a>, root: &'a DeTable<'a>, cores: usize) -> Option<Config> {
    let mut root = Table::root(document, root);
    let hostname = hostname(document, &mut root);
    let postmaster = root.read("postmaster", &kinds::MAILBOX).map(|at| at.value);
    let data_dir = root.read_or("data_dir", &kinds::PATH, defaults::DATA_DIR.into());
    let queue = queue(&mut root);
    let (listeners, binds) = listeners(document, &mut root, &queue);
    let auth = auth(document, &mut root);
    let admin = admin(document, &mut root, &binds);
    let dns = dns(&mut root);
    let delivery = delivery(document, &mut root, cores);
    let retry = retry(document, &mut root);
    let limits = global(document, &mut root);
    let sites = sites(document, &mut root, &limits);
    let around = Surroundings {
        hostname: hostname.as_ref().map(|at| &*at.value),
        listeners: &listeners,
        sources: &delivery.source_addresses,
    };
    let routes = routes(document, &mut root, &around);
    let log = log(&mut root, &data_dir);
    root.finish();
    let hostname = hostname?;
    let postmaster = postmaster.or_else(|| default_postmaster(document, &hostname))?;
    let hostname = hostname.value;
    Some(Config {
        hostname,
        data_dir,
        postmaster,
        listeners,
        auth,
        admin,
        dns,
        delivery,
        retry,
        queue,
        limits,
        sites,
        routes,
        log,
    })
}

/// The only key without a default: a guess would be announced to the world.
fn hostname(document: &Document<'_>, root: &mut Table<'_>) -> Option<At<Arc<str>>> {
    let is_written = root.has("hostname");
    let hostname = root.read("hostname", &kinds::HOST_NAME);
    if !is_written {
        document.note_missing("`hostname` is missing; it is the one key without a default", kinds::HOST_NAME.allowed);
    }
    hostname
}

fn default_postmaster(document: &Document<'_>, hostname: &At<Arc<str>>) -> Option<Mailbox> {
    match Mailbox::parse(&format!("{}@{}", defaults::POSTMASTER, hostname.value)) {
        Ok(mailbox) => Some(mailbox),
        Err(error) => {
            document.note(hostname.span.clone(), "`hostname` makes no mail address", error.to_string(), None);
            None
        }
    }
}

fn admin(document: &Document<'_>, root: &mut Table<'_>, binds: &Binds) -> Option<SocketAddr> {
    let mut table = root.table("admin", "[admin]");
    let bind = table.read("bind", &kinds::ADMIN);
    table.finish();
    let span = bind.as_ref().map(|bind| bind.span.clone());
    let bind = bind.map_or(Some(defaults::ADMIN_BIND), |bind| bind.value)?;
    if let Some((_, line)) = binds.iter().find(|(other, _)| *other == SocketName::Tcp(bind)) {
        let label = format!("the listener of line {line} has this socket");
        document.note(span.unwrap_or(0..0), format!("[admin] and a listener on one socket, {bind}"), label, None);
    }
    Some(bind)
}

fn dns(root: &mut Table<'_>) -> Dns {
    let mut table = root.table("dns", "[dns]");
    let dns = Dns {
        nameservers: values(table.list("nameservers", &kinds::NAMESERVER)),
        timeout: table.read_or("timeout", &kinds::DURATION, defaults::DNS_TIMEOUT),
    };
    table.finish();
    dns
}

fn values<T>(list: Option<At<Vec<At<T>>>>) -> Vec<T> {
    list.map(|list| list.value.into_iter().map(|at| at.value).collect()).unwrap_or_default()
}

fn delivery(document: &Document<'_>, root: &mut Table<'_>, cores: usize) -> Delivery {
    let mut table = root.table("delivery", "[delivery]");
    let ip_family = table.read_or("ip_family", &kinds::IP_FAMILY, IpFamily::Any);
    let sources = table.list("source_addresses", &kinds::ADDRESS);
    for source in sources.iter().flat_map(|list| &list.value) {
        let unusable = match ip_family {
            IpFamily::Any => false,
            IpFamily::Ipv4 => source.value.is_ipv6(),
            IpFamily::Ipv6 => source.value.is_ipv4(),
        };
        if unusable {
            document.note(source.span.clone(), "this source address is never used", "`ip_family` excludes it", None);
        }
    }
    let delivery = Delivery {
        port: table.read_or("port", &kinds::PORT, defaults::DELIVERY_PORT),
        workers: match table.read_or("workers", &kinds::WORKERS, 0) {
            0 => cores,
            workers => workers,
        },
        ip_family,
        source_addresses: values(sources),
        tls_ca_file: table.read("tls_ca_file", &kinds::PATH).map(|at| at.value),
        connect_timeout: table.read_or("connect_timeout", &kinds::DURATION, defaults::CONNECT_TIMEOUT),
        timeouts: timeouts(&mut table),
        max_hops: table.read_or("max_hops", &kinds::COUNT, defaults::MAX_HOPS),
    };
    table.finish();
    delivery
}

/// RFC 5321 §4.5.3.2; how long a peer is waited for after QUIT is of no consequence.
fn timeouts(table: &mut Table<'_>) -> Timeouts {
    let rfc = Timeouts::default();
    Timeouts {
        greeting: table.read_or("greeting_timeout", &kinds::DURATION, rfc.greeting),
        command: table.read_or("command_timeout", &kinds::DURATION, rfc.command),
        data: table.read_or("data_timeout", &kinds::DURATION, rfc.data),
        write: table.read_or("write_timeout", &kinds::DURATION, rfc.write),
        final_reply: table.read_or("final_reply_timeout", &kinds::DURATION, rfc.final_reply),
        quit: rfc.quit,
    }
}

fn retry(document: &Document<'_>, root: &mut Table<'_>) -> RetryPolicy {
    let mut table = root.table("retry", "[retry]");
    let defaults = defaults::retry();
    let schedule = table.list("schedule", &kinds::DURATION);
    let expire = table.read("expire", &kinds::DURATION);
    let jitter = table.read_or("jitter", &kinds::FRACTION, defaults.jitter);
    let has_own_schedule = schedule.is_some();
    // Elements that are wrong have been complained about already.
    if let Some(schedule) = schedule.as_ref().filter(|_| table.is_empty_list("schedule")) {
        let help = "at least one waiting time, like [\"5m\"]; the last repeats until `expire`".to_string();
        document.note(schedule.span.clone(), "`schedule` in [retry] is empty", "", Some(help));
    }
    let expire_span = expire.as_ref().map_or(table.span.clone(), |at| at.span.clone());
    let policy = RetryPolicy {
        schedule: if has_own_schedule { values(schedule) } else { defaults.schedule },
        expire: expire.map_or(defaults.expire, |at| at.value),
        notify_delay: table
            .read("notify_delay", &kinds::DURATION_OR_ZERO)
            .map(|at| at.value)
            .filter(|time| !time.is_zero()),
        jitter,
    };
    if policy.schedule.first().is_some_and(|first| policy.expire <= *first) {
        let label = "not longer than the first wait of `schedule`";
        document.note(expire_span, "nothing would ever be tried again before `expire`", label, None);
    }
    table.finish();
    policy
}

fn queue(root: &mut Table<'_>) -> QueueLimits {
    let mut table = root.table("queue", "[queue]");
    let queue = QueueLimits {
        max_recipients: table.read_or("max_recipients", &kinds::RECIPIENTS, defaults::QUEUE_MAX_RECIPIENTS),
        max_bytes: table.read_or("max_bytes", &JOURNAL, defaults::QUEUE_MAX_BYTES),
        min_free_bytes: table.read_or("min_free", &kinds::SIZE, defaults::QUEUE_MIN_FREE_BYTES),
        max_arriving_bytes: table.read_or("max_arriving", &kinds::SIZE, defaults::QUEUE_MAX_ARRIVING_BYTES),
        body_cache_bytes: table.read_or("body_cache", &CACHE, defaults::BODY_CACHE_BYTES),
        prepare_bytes: table.read_or("prepare", &PREPARED, defaults::QUEUE_PREPARE_BYTES),
    };
    table.finish();
    queue
}

/// With less, no mail would ever be taken.
const JOURNAL: Kind<u64> = Kind {
    what: kinds::SIZE.what,
    allowed: "\"96MiB\" or more, like \"2GiB\"",
    read: |value| match (kinds::SIZE.read)(value)? {
        bytes if bytes < defaults::QUEUE_LEAST_BYTES => {
            Err("too little: the journal takes 64MiB a file, and there is always one".into())
        }
        bytes => Ok(bytes),
    },
};

/// What the journal may always take is as much as it keeps ready.
const PREPARED: Kind<u64> = Kind {
    what: kinds::SIZE.what,
    allowed: "\"0B\" (nothing), \"256MiB\", or any other size up to \"1GiB\"",
    read: |value| match (kinds::SIZE.read)(value)? {
        bytes if bytes > defaults::QUEUE_PREPARE_BYTES => Err("more than the journal keeps ready".into()),
        bytes => Ok(bytes),
    },
};

/// Zero is allowed: then every body is read back from disk.
const CACHE: Kind<usize> = Kind {
    what: kinds::SIZE.what,
    allowed: kinds::SIZE.allowed,
    read: |value| usize::try_from((kinds::SIZE.read)(value)?).map_err(|_| "too large".into()),
};

fn log(root: &mut Table<'_>, data_dir: &Path) -> Log {
    let mut table = root.table("log", "[log]");
    let events = table.read_or("events", &kinds::EVENTS, Some(PathBuf::from(defaults::EVENTS_FILE)));
    let json = table.read_or("format", &kinds::LOG_FORMAT_IS_JSON, false);
    table.finish();
    Log { json, events: events.map(|file| data_dir.join(file)) }
}
