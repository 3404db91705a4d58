//! What values look like: durations, sizes, rates, addresses, names, choices.

use super::quantities::{duration, rate, size};
use super::raw::{Kind, found};
use super::{AuthPolicy, Mode, NextHop, Pattern, Rate, SocketName, TlsMode, TlsPolicy, Via};
use dns::resolver::IpFamily;
use ipnet::IpNet;
use smtp::Mailbox;
use smtp::client::{Pipelining, Protocol};
use smtp::sasl::Mechanism;
use smtp::server::BareNewline;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use toml::de::DeValue;

pub(super) const DURATION: Kind<Duration> = Kind {
    what: "a duration",
    allowed: "a whole number and a unit: \"100ms\", \"5s\", \"15m\", \"4h\", \"3d\"",
    read: |value| match duration(text(value)?)? {
        Duration::ZERO => Err("no time at all is too short".into()),
        duration => Ok(duration),
    },
};

/// RFC 4865 §3 announces it with at most nine digits.
pub(super) const HOLD: Kind<Duration> = Kind {
    what: DURATION.what,
    allowed: "at most 9999d, as in \"7d\"; \"0s\" for none",
    read: |value| match duration(text(value)?)? {
        long if long.as_secs() > 9999 * 86_400 => Err("it is longer than 9999d".into()),
        time => Ok(time),
    },
};

/// How long others may keep a place of ours: nobody means to give it away for days.
pub(super) const PATIENCE: Kind<Duration> = Kind {
    what: DURATION.what,
    allowed: "more than none and at most a day: \"30s\", \"5m\", \"1h\"",
    read: |value| match (DURATION.read)(value)? {
        long if long.as_secs() > 86_400 => Err("it is longer than a day".into()),
        time => Ok(time),
    },
};

/// Clients have gone when they are kept waiting for longer.
pub(super) const FAILURE_DELAY: Kind<Duration> = Kind {
    what: DURATION.what,
    allowed: "at most a minute: \"500ms\", \"2s\"; \"0s\" for none",
    read: |value| match duration(text(value)?)? {
        long if long.as_secs() > 60 => Err("it is longer than a minute".into()),
        time => Ok(time),
    },
};
pub(super) const DURATION_OR_ZERO: Kind<Duration> =
    Kind { what: DURATION.what, allowed: DURATION.allowed, read: |value| duration(text(value)?) };

pub(super) const SIZE: Kind<u64> = Kind {
    what: "a size",
    allowed: "a whole number and a unit: \"512B\", \"10KB\" (1000), \"10KiB\" (1024), \"25MiB\", \"2GiB\", \"1TiB\"",
    read: |value| size(text(value)?),
};

pub(super) const RATE: Kind<Option<Rate>> = Kind {
    what: "a rate",
    allowed: "\"100/s\", \"600/m\", \"5000/h\", \"20000/d\", or \"unlimited\"",
    read: |value| rate(text(value)?),
};

pub(super) const COUNT: Kind<u32> =
    Kind { what: "a count", allowed: "a whole number from 1 to 1000000", read: |value| whole(value, 1, 1_000_000) };

pub(super) const RECIPIENTS: Kind<u64> = Kind {
    what: "a count",
    allowed: "a whole number from 1 to 1000000000000",
    read: |value| whole(value, 1, 1_000_000_000_000),
};

pub(super) const WORKERS: Kind<usize> = Kind {
    what: "a number of workers",
    allowed: "a whole number from 0 (one per core) to 256",
    read: |value| whole(value, 0, 256),
};

pub(super) const PORT: Kind<u16> =
    Kind { what: "a port", allowed: "a whole number from 1 to 65535", read: |value| whole(value, 1, 65535) };

pub(super) const FRACTION: Kind<f64> = Kind {
    what: "a fraction",
    allowed: "a number from 0 to 1, like 0.2",
    read: |value| {
        let number = match value {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => return Err(found(value)),
        };
        number.filter(|number| (0.0..=1.0).contains(number)).ok_or_else(|| "out of range".to_string())
    },
};

pub(super) const FLAG: Kind<bool> =
    Kind { what: "a switch", allowed: "true, false", read: |value| value.as_bool().ok_or_else(|| found(value)) };

pub(super) const PATH: Kind<PathBuf> = Kind {
    what: "a path",
    allowed: "a string, like \"/var/lib/posthaste\"",
    read: |value| match text(value)? {
        "" => Err("it is empty".into()),
        path => Ok(path.into()),
    },
};

/// `None`: switched off.
pub(super) const EVENTS: Kind<Option<PathBuf>> = Kind {
    what: "a file name",
    allowed: "a path, relative to data_dir, like \"events.jsonl\"; false or \"\" switches the event log off",
    read: |value| match value {
        DeValue::Boolean(false) => Ok(None),
        DeValue::String(path) => Ok((!path.is_empty()).then(|| PathBuf::from(&**path))),
        _ => Err(found(value)),
    },
};

pub(super) const HOST_NAME: Kind<Arc<str>> = Kind {
    what: "a fully qualified host name",
    allowed: "the name that this machine's address resolves to and back, with at least one dot, like \"mta1.example.net\"",
    read: |value| {
        let name = text(value)?.to_ascii_lowercase();
        if !name.contains('.') {
            return Err("there is no dot in it".into());
        }
        domain_name(&name)?;
        if !name.is_ascii() {
            // RFC 6531 §3.7.1: it is said before anybody knows who can take anything else.
            return Err("write it as the DNS has it, in ASCII (xn--...)".into());
        }
        Ok(name.into())
    },
};

pub(super) const MAILBOX: Kind<Mailbox> = Kind {
    what: "a mail address",
    allowed: "local-part@domain, like \"postmaster@example.net\"",
    read: |value| Mailbox::parse(text(value)?).map_err(|error| error.to_string()),
};

pub(super) const PATTERN: Kind<Pattern> = Kind {
    what: "a domain pattern",
    allowed: "\"example.com\", \"*.example.com\" (anything below it, not itself), or \"*\"",
    read: |value| {
        let name = text(value)?.to_lowercase();
        if name != "*" {
            domain_name(name.strip_prefix("*.").unwrap_or(&name))?;
        }
        Ok(Pattern(name.into()))
    },
};

pub(super) const SOCKET: Kind<SocketName> = Kind {
    what: "a socket to listen on",
    allowed: "\"127.0.0.1:2525\", \"[::1]:2525\", or \"unix:/run/posthaste/ingest.sock\"",
    read: |value| match text(value)? {
        bind if bind.starts_with("unix:") => unix_path(&bind["unix:".len()..]).map(SocketName::Unix),
        bind => socket_address(bind).map(SocketName::Tcp),
    },
};

/// `None`: switched off.
pub(super) const ADMIN: Kind<Option<SocketAddr>> = Kind {
    what: "an address to listen on",
    allowed: "\"127.0.0.1:8025\", or \"off\"",
    read: |value| match text(value)? {
        "off" => Ok(None),
        bind => socket_address(bind).map(Some),
    },
};

pub(super) const NAMESERVER: Kind<SocketAddr> = Kind {
    what: "a name server",
    allowed: "an address with its port: \"127.0.0.1:53\", \"[2001:db8::1]:53\"",
    read: |value| socket_address(text(value)?),
};

pub(super) const ADDRESS: Kind<IpAddr> = Kind {
    what: "an address of this machine",
    allowed: "\"192.0.2.10\", \"2001:db8::10\"",
    read: |value| match text(value)?.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() || address.is_multicast() => Err("nothing can be sent from it".into()),
        Ok(address) => Ok(address),
        Err(_) => Err("this is no IP address".into()),
    },
};

pub(super) const NETWORK: Kind<IpNet> = Kind {
    what: "a network",
    allowed: "\"127.0.0.0/8\", \"10.1.2.3\", \"2001:db8::/32\"",
    read: |value| {
        let written = text(value)?;
        let parsed = written.parse::<IpNet>().ok().or_else(|| written.parse::<IpAddr>().ok().map(IpNet::from));
        let net = parsed.ok_or("this is neither address/prefix nor an address")?;
        if net.trunc() == net {
            Ok(net)
        } else {
            Err(format!("bits are set behind the prefix; {} is the network", net.trunc()))
        }
    },
};

pub(super) const VIA: Kind<Via> = Kind {
    what: "a way to deliver",
    allowed: "\"mx\", \"discard\", \"odmr\", \"smtp://HOST:PORT\", \"smtps://HOST:PORT\" (TLS from the start), \"lmtp://HOST:PORT\", \
              \"lmtp+unix:/path\", or a list of hosts, the preferred one first",
    read: |value| match text(value)? {
        "mx" => Ok(Via::Mx),
        "discard" => Ok(Via::Discard),
        // Whose it is, `user` says.
        "odmr" => Ok(Via::Odmr("".into())),
        hop => next_hop(hop).map(|hop| Via::Hops([hop].into())),
    },
};

pub(super) const NEXT_HOP: Kind<NextHop> = Kind {
    what: "a host to deliver to",
    allowed: "\"smtp://HOST:PORT\", \"smtps://HOST:PORT\" (TLS from the start), \"lmtp://HOST:PORT\", \"lmtp+unix:/path\"",
    read: |value| match text(value)? {
        word @ ("mx" | "discard" | "odmr") => Err(format!("\"{word}\" is no host: it stands alone, without a list")),
        hop => next_hop(hop),
    },
};

pub(super) const USER: Kind<Arc<str>> = Kind {
    what: "a user's name",
    allowed: "what the server knows the user as, up to 255 characters, like \"alice\" or \"alice@example.net\"",
    read: |value| match text(value)? {
        "" => Err("it is empty".into()),
        name if name.len() > 255 => Err("it is longer than 255 octets".into()),
        name if name.chars().any(char::is_control) => Err("there are control characters in it".into()),
        name => Ok(name.into()),
    },
};

/// A name, or an address: certificates may name either.
pub(super) const TLS_SERVER_NAME: Kind<Arc<str>> = Kind {
    what: "a name that a certificate can have",
    allowed: "\"mail.example.com\", or an IP address",
    read: |value| {
        let name = text(value)?.to_ascii_lowercase();
        if name.parse::<IpAddr>().is_err() {
            domain_name(&name)?;
        }
        Ok(name.into())
    },
};

pub(super) const PROTOCOL: Kind<Protocol> = Kind {
    what: "a protocol",
    allowed: "\"smtp\", \"lmtp\"",
    read: |value| choice(value, &[("smtp", Protocol::Smtp), ("lmtp", Protocol::Lmtp)]),
};

pub(super) const MODE: Kind<Mode> = Kind {
    what: "what a listener is for",
    allowed: "\"relay\", \"submission\"",
    read: |value| choice(value, &[("relay", Mode::Relay), ("submission", Mode::Submission)]),
};

pub(super) const BARE_NEWLINE: Kind<BareNewline> = Kind {
    what: "what to do with a bare CR or LF",
    allowed: "\"reject\", \"normalize\"",
    read: |value| choice(value, &[("reject", BareNewline::Reject), ("normalize", BareNewline::Normalize)]),
};

pub(super) const IP_FAMILY: Kind<IpFamily> = Kind {
    what: "an address family",
    allowed: "\"any\", \"ipv4\", \"ipv6\"",
    read: |value| choice(value, &[("any", IpFamily::Any), ("ipv4", IpFamily::Ipv4), ("ipv6", IpFamily::Ipv6)]),
};

pub(super) const TLS: Kind<TlsPolicy> = Kind {
    what: "a TLS policy",
    allowed: "\"none\", \"opportunistic\", \"required\", \"verified\"",
    read: |value| {
        let policies = [
            ("none", TlsPolicy::Off),
            ("off", TlsPolicy::Off),
            ("opportunistic", TlsPolicy::Opportunistic),
            ("required", TlsPolicy::Required),
            ("verified", TlsPolicy::Verified),
        ];
        choice(value, &policies)
    },
};

pub(super) const PIPELINING: Kind<Pipelining> = Kind {
    what: "a pipelining level",
    allowed: "\"off\", \"transaction\", \"stream\"",
    read: |value| {
        let levels =
            [("off", Pipelining::Off), ("transaction", Pipelining::Transaction), ("stream", Pipelining::Stream)];
        choice(value, &levels)
    },
};

pub(super) const LOG_FORMAT_IS_JSON: Kind<bool> = Kind {
    what: "a log format",
    allowed: "\"text\", \"json\"",
    read: |value| choice(value, &[("text", false), ("json", true)]),
};

pub(super) const LISTENER_TLS: Kind<Option<TlsMode>> = Kind {
    what: "how TLS begins",
    allowed: "\"none\", \"starttls\", \"required\", \"implicit\"",
    read: |value| {
        let modes = [
            ("none", None),
            ("starttls", Some(TlsMode::StartTls)),
            ("required", Some(TlsMode::Required)),
            ("implicit", Some(TlsMode::Implicit)),
        ];
        choice(value, &modes)
    },
};

pub(super) const LISTENER_AUTH: Kind<AuthPolicy> = Kind {
    what: "who has to authenticate",
    allowed: "\"none\", \"optional\", \"required\"",
    read: |value| {
        let policies =
            [("none", AuthPolicy::None), ("optional", AuthPolicy::Optional), ("required", AuthPolicy::Required)];
        choice(value, &policies)
    },
};

pub(super) const MECHANISM: Kind<Mechanism> = Kind {
    what: "a mechanism",
    allowed: "\"SCRAM-SHA-256\", \"CRAM-MD5\", \"PLAIN\", \"LOGIN\"",
    read: |value| choice(value, &Mechanism::ALL.map(|mechanism| (mechanism.name(), mechanism))),
};

fn choice<T: Copy>(value: &DeValue<'_>, choices: &[(&str, T)]) -> Result<T, String> {
    let written = text(value)?;
    if let Some((_, meant)) = choices.iter().find(|(word, _)| *word == written) {
        return Ok(*meant);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    Err(super::raw::closest(written, &words).map_or("no such value".into(), |word| format!("did you mean \"{word}\"?")))
}

fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    match value {
        DeValue::Integer(_) => Err("this is a number; write it in quotes, with a unit where one belongs".into()),
        _ => value.as_str().ok_or_else(|| found(value)),
    }
}

pub(super) fn whole<T: TryFrom<u64>>(value: &DeValue<'_>, min: u64, max: u64) -> Result<T, String> {
    let DeValue::Integer(number) = value else { return Err(found(value)) };
    let number = u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|n| (min..=max).contains(n));
    number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| "out of range".into())
}

/// RFC 1035 §2.3.1 with RFC 1123 §2.1; letters beyond ASCII as RFC 6531 has them.
fn domain_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > 253 {
        return Err("a name has 1 to 253 characters".into());
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err("this is an address, not a name".into());
    }
    if name.ends_with('.') {
        return Err("leave out the final dot".into());
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("the parts between the dots have 1 to 63 characters".into());
        }
        if let Some(odd) = label.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '-' | '_'))) {
            return Err(format!("`{odd}` cannot stand in a name"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a part neither begins nor ends with a hyphen".into());
        }
    }
    Ok(())
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    Err(match text.parse::<IpAddr>() {
        Ok(_) => "the port is missing".into(),
        Err(_) => "this is no address:port".to_string(),
    })
}

fn unix_path(path: &str) -> Result<PathBuf, String> {
    match path {
        path if !path.starts_with('/') => Err("the path must begin with /".into()),
        // sun_path of sockaddr_un, less the final NUL.
        path if path.len() > 107 => Err("a socket's path has at most 107 bytes".into()),
        path => Ok(path.into()),
    }
}

fn next_hop(text: &str) -> Result<NextHop, String> {
    if let Some(path) = text.strip_prefix("lmtp+unix:") {
        return unix_path(path).map(NextHop::Unix);
    }
    let (scheme, rest) = text.split_once("://").ok_or("it names no way to get there")?;
    let (protocol, implicit_tls) = match scheme {
        "smtp" => (Protocol::Smtp, false),
        "smtps" => (Protocol::Smtp, true),
        "lmtp" => (Protocol::Lmtp, false),
        _ => return Err(format!("`{scheme}` is no protocol for mail")),
    };
    let (host, port) = host_and_port(rest)?;
    if protocol == Protocol::Lmtp && port == 25 {
        // RFC 2033 §5.
        return Err("LMTP is never spoken on port 25".into());
    }
    Ok(NextHop::Tcp { protocol, implicit_tls, host, port })
}

fn host_and_port(text: &str) -> Result<(Arc<str>, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or("the port is a number from 1 to 65535")?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(literal) if literal.parse::<std::net::Ipv6Addr>().is_ok() => literal.to_string(),
        Some(_) => return Err("what stands in brackets is an IPv6 address".into()),
        None if host.parse::<std::net::Ipv4Addr>().is_ok() => host.to_string(),
        None => {
            domain_name(host)?;
            host.to_lowercase()
        }
    };
    Ok((host.into(), port))
}

#[cfg(test)]
mod tests;
