//! Words to choose from.

use super::text;
use crate::config::raw::{Kind, closest};
use crate::config::{AuthPolicy, Mode, TlsMode, TlsPolicy};
use dns::resolver::IpFamily;
use smtp::client::{Pipelining, Protocol};
use smtp::sasl::Mechanism;
use smtp::server::BareNewline;
use toml::de::DeValue;

pub(in crate::config) const PROTOCOL: Kind<Protocol> = Kind {
    what: "a protocol",
    allowed: "\"smtp\", \"lmtp\"",
    read: |value| choice(value, &[("smtp", Protocol::Smtp), ("lmtp", Protocol::Lmtp)]),
};

pub(in crate::config) const MODE: Kind<Mode> = Kind {
    what: "what a listener is for",
    allowed: "\"relay\", \"submission\"",
    read: |value| choice(value, &[("relay", Mode::Relay), ("submission", Mode::Submission)]),
};

pub(in crate::config) const BARE_NEWLINE: Kind<BareNewline> = Kind {
    what: "what to do with a bare CR or LF",
    allowed: "\"reject\", \"normalize\"",
    read: |value| choice(value, &[("reject", BareNewline::Reject), ("normalize", BareNewline::Normalize)]),
};

pub(in crate::config) const IP_FAMILY: Kind<IpFamily> = Kind {
    what: "an address family",
    allowed: "\"any\", \"ipv4\", \"ipv6\"",
    read: |value| choice(value, &[("any", IpFamily::Any), ("ipv4", IpFamily::Ipv4), ("ipv6", IpFamily::Ipv6)]),
};

pub(in crate::config) const TLS: Kind<TlsPolicy> = Kind {
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

pub(in crate::config) const PIPELINING: Kind<Pipelining> = Kind {
    what: "a pipelining level",
    allowed: "\"off\", \"transaction\", \"stream\"",
    read: |value| {
        let levels =
            [("off", Pipelining::Off), ("transaction", Pipelining::Transaction), ("stream", Pipelining::Stream)];
        choice(value, &levels)
    },
};

pub(in crate::config) const LOG_FORMAT_IS_JSON: Kind<bool> = Kind {
    what: "a log format",
    allowed: "\"text\", \"json\"",
    read: |value| choice(value, &[("text", false), ("json", true)]),
};

pub(in crate::config) const LISTENER_TLS: Kind<Option<TlsMode>> = Kind {
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

pub(in crate::config) const LISTENER_AUTH: Kind<AuthPolicy> = Kind {
    what: "who has to authenticate",
    allowed: "\"none\", \"optional\", \"required\"",
    read: |value| {
        let policies =
            [("none", AuthPolicy::None), ("optional", AuthPolicy::Optional), ("required", AuthPolicy::Required)];
        choice(value, &policies)
    },
};

pub(in crate::config) const MECHANISM: Kind<Mechanism> = Kind {
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
    Err(closest(written, &words).map_or("no such value".into(), |word| format!("did you mean \"{word}\"?")))
}
