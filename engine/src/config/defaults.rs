//! Every default, in one place. `deploy/posthaste.toml` shows each of them, and a test compares.

use super::{Limits, RetryPolicy, TlsPolicy};
use smtp::client::Pipelining;
use smtp::sasl::Mechanism;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// `--config`.
pub const CONFIG_FILE: &str = "/etc/posthaste/posthaste.toml";
/// `data_dir`.
pub const DATA_DIR: &str = "/var/lib/posthaste";
/// Local part of `postmaster`, at `hostname`.
pub const POSTMASTER: &str = "postmaster";
/// `[[listener]] bind`.
pub const LISTENER_BIND: SocketAddr = loopback(2525);
/// `[[listener]] allow`.
pub const LISTENER_ALLOW: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// `[[listener]] max_message_size`.
pub const MAX_MESSAGE_BYTES: usize = 25 << 20;
/// `[[listener]] max_recipients`.
pub const MAX_RECIPIENTS: usize = 1000;
/// `[[listener]] max_connections`.
pub const MAX_CONNECTIONS: usize = 1000;
/// `[[listener]] max_connections_per_address`, for addresses that `allow` does not name.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 50;
/// `[[listener]] max_errors`; Postfix's smtpd_hard_error_limit is the same.
pub const MAX_ERRORS: u32 = 20;
/// `[[listener]] idle_timeout` (RFC 5321 §4.5.3.2.7 asks for as much at least).
pub const LISTENER_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// `[[listener]] transaction_timeout`.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(3600);
/// `[[listener]] max_hold`.
pub const MAX_HOLD: Duration = Duration::from_secs(30 * 86_400);
/// `[auth] users`, beside the configuration file.
pub const USERS_FILE: &str = "users.toml";
/// `[auth] mechanisms`. CRAM-MD5 is not among them: the server would have to keep passwords.
pub const MECHANISMS: [Mechanism; 3] = [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];
/// `[auth] max_failures`.
pub const MAX_AUTH_FAILURES: u32 = 3;
/// `[auth] failure_delay`.
pub const AUTH_FAILURE_DELAY: Duration = Duration::from_secs(1);
/// `[admin] bind`.
pub const ADMIN_BIND: SocketAddr = loopback(8025);
/// `[dns] timeout`.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// `[delivery] port` (RFC 5321 §4.5.4.2).
pub const DELIVERY_PORT: u16 = 25;
/// `[delivery] connect_timeout`.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// `[delivery] max_hops`; RFC 5321 §6.3 asks for at least 100 where nothing else finds loops, Postfix uses 50.
pub const MAX_HOPS: u32 = 50;
/// `[queue] max_recipients`.
pub const QUEUE_MAX_RECIPIENTS: u64 = 10_000_000;
/// `[queue] max_bytes`.
pub const QUEUE_MAX_BYTES: u64 = 64 << 30;
/// A file of the journal, which is there whether it holds anything or not.
pub const QUEUE_FILE_BYTES: u64 = 64 << 20;
/// The least `[queue] max_bytes`: the file that is written to, and a message of the largest size that listeners take unless told
/// otherwise.
pub const QUEUE_LEAST_BYTES: u64 = 96 << 20;
/// `[queue] min_free`: some journal segments, and room for whoever comes to clean up.
pub const QUEUE_MIN_FREE_BYTES: u64 = 256 << 20;
/// `[queue] max_arriving`: forty messages of the largest size that listeners take unless told otherwise.
pub const QUEUE_MAX_ARRIVING_BYTES: u64 = 1 << 30;
/// `[queue] body_cache`.
pub const BODY_CACHE_BYTES: usize = 64 << 20;
/// `[queue] prepare`: all that the journal may always take.
pub const QUEUE_PREPARE_BYTES: u64 = 1 << 30;
/// `[log] events`, under `data_dir`.
pub const EVENTS_FILE: &str = "events.jsonl";

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// `[retry]`.
pub fn retry() -> RetryPolicy {
    const MINUTE: u64 = 60;
    RetryPolicy {
        schedule: [1, 5, 15, 60, 240].map(|minutes| Duration::from_secs(minutes * MINUTE)).to_vec(),
        expire: Duration::from_secs(3 * 24 * 60 * MINUTE),
        notify_delay: None,
        jitter: 0.2,
    }
}

/// `[limits]`.
pub fn limits() -> Limits {
    Limits {
        connections: 20,
        connection_rate: None,
        messages_per_connection: 100,
        rate: None,
        recipients_per_message: 100,
        idle_timeout: Duration::from_secs(5),
        tls: TlsPolicy::Opportunistic,
        pipelining: Pipelining::Transaction,
        suspend: false,
        origin: "default".into(),
        lines: BTreeMap::new(),
    }
}
