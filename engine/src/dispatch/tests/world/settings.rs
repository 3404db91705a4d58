//! The configuration of most tests.

use super::*;

pub fn limits() -> Limits {
    Limits { origin: "test".into(), ..defaults::limits() }
}

pub fn config() -> Config {
    Config {
        hostname: "mta.test".into(),
        data_dir: "/nowhere".into(),
        postmaster: Mailbox::parse("postmaster@mta.test").unwrap(),
        listeners: Vec::new(),
        auth: Auth { users: "/nowhere".into(), mechanisms: Vec::new(), max_failures: 3, failure_delay: Duration::ZERO },
        admin: None,
        dns: Dns { nameservers: Vec::new(), timeout: Duration::from_secs(5) },
        delivery: Delivery {
            port: 25,
            workers: 1,
            ip_family: dns::resolver::IpFamily::Any,
            source_addresses: Vec::new(),
            tls_ca_file: None,
            connect_timeout: Duration::from_secs(30),
            timeouts: Default::default(),
            max_hops: 50,
        },
        retry: RetryPolicy {
            schedule: [60, 300, 900, 3600].map(Duration::from_secs).to_vec(),
            expire: Duration::from_secs(6 * 3600),
            notify_delay: None,
            jitter: 0.2,
        },
        queue: QueueLimits {
            max_recipients: 1 << 30,
            max_bytes: 1 << 40,
            min_free_bytes: 0,
            max_arriving_bytes: 1 << 30,
            body_cache_bytes: 1 << 20,
            prepare_bytes: 0,
        },
        limits: Arc::new(limits()),
        sites: Vec::new(),
        routes: Vec::new(),
        log: Log { json: false, events: None },
    }
}
