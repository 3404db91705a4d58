//! `[[listener]]` and `[auth]`: what they mean, and what cannot be.

use super::*;

#[test]
fn listeners() {
    check(
        "[[listener]]\nmax_message_size = \"2GiB\"",
        "3:20 \"2GiB\": `max_message_size` in [[listener]] must be a size; 1GiB is the most",
    );
    check(
        "[[listener]]\nmax_recipients = 6001",
        "3:18 6001: `max_recipients` in [[listener]] must be a count; out of range",
    );
    check(
        "[queue]\nmax_bytes = \"100MiB\"\n[[listener]]\nmax_message_size = \"37MiB\"",
        "5:20 \"37MiB\": such a message never fits into the queue; [queue] max_bytes is 104857600 bytes, of which 64MiB are always taken",
    );
    parse("[queue]\nmax_bytes = \"100MiB\"\n[[listener]]\nmax_message_size = \"36MiB\"");
    check(
        "[queue]\nmax_bytes = \"64MiB\"",
        "3:13 \"64MiB\": `max_bytes` in [queue] must be a size; too little: the journal takes 64MiB a file, and there is always one",
    );
    check("[[listener]]\n[[listener]]\n", "3:1 [[listener]]: two listeners on one socket; line 2 has it already");
    // A mistake is no second one beside the default.
    check(
        "[[listener]]\nbind = \"127.0.0.1\"\n[[listener]]\n",
        "3:8 \"127.0.0.1\": `bind` in [[listener]] must be a socket to listen on; the port is missing",
    );
    check(
        "[[listener]]\nbind = \"unix:/x\"\nallow = []",
        "4:9 []: `allow` has no meaning for a Unix socket; it has no addresses",
    );
    check(
        "[[listener]]\nbind = \"127.0.0.1:8025\"\n[admin]\nbind = \"127.0.0.1:8025\"",
        "5:8 \"127.0.0.1:8025\": [admin] and a listener on one socket, 127.0.0.1:8025; the listener of line 3 has this socket",
    );
    let free = "bind = \"127.0.0.1:0\"\n";
    parse(&format!("[[listener]]\n{free}[[listener]]\n{free}[admin]\n{free}"));
    let config = parse(
        "[[listener]]\nbind = \"unix:/run/x\"\nprotocol = \"lmtp\"\n[[listener]]\nmax_connections = 7\n[admin]\nbind = \"off\"",
    );
    assert_eq!(config.listeners[0].bind, SocketName::Unix("/run/x".into()));
    assert_eq!(config.listeners[1].max_connections, 7);
    assert_eq!(config.admin, None);
}

#[test]
fn listeners_with_tls() {
    check(
        "[[listener]]\ntls = \"starttls\"",
        "3:7 \"starttls\": TLS needs a certificate; and there is no `tls_certificate`",
    );
    check(
        "[[listener]]\ntls = \"none\"\ntls_key = \"k.pem\"",
        "4:11 \"k.pem\": nothing uses this file; `tls` is \"none\"",
    );
    check("[[listener]]\ntls_certificate = \"c.pem\"", "3:19 \"c.pem\": nothing uses this file; `tls` is \"none\"");
    check(
        "[[listener]]\ntls = \"smtps\"",
        "3:7 \"smtps\": `tls` in [[listener]] must be how TLS begins; no such value",
    );
    let config = parse(
        "[[listener]]\ntls = \"starttls\"\ntls_certificate = \"c.pem\"\n[[listener]]\nbind = \"127.0.0.1:465\"\ntls = \"implicit\"\ntls_certificate = \"/x/c.pem\"\ntls_key = \"tls/k.pem\"",
    );
    let [one, two] = [&config.listeners[0], &config.listeners[1]].map(|listener| listener.tls.as_ref().unwrap());
    let files = |tls: &ListenerTls| (tls.certificate.display().to_string(), tls.key.display().to_string());
    assert_eq!(one.mode, TlsMode::StartTls);
    assert_eq!(files(one), ("/etc/posthaste/c.pem".into(), "/etc/posthaste/c.pem".into()));
    assert_eq!(two.mode, TlsMode::Implicit);
    assert_eq!(files(two), ("/x/c.pem".into(), "/etc/posthaste/tls/k.pem".into()));
}

#[test]
fn proxies_and_submission() {
    let config =
        parse("[[listener]]\nmode = \"submission\"\nproxy_protocol = [\"10.0.0.0/8\"]\nxclient = [\"10.0.0.7\"]");
    let listener = &config.listeners[0];
    assert_eq!((listener.mode, listener.proxy_protocol.len(), listener.xclient.len()), (Mode::Submission, 1, 1));
    check(
        "[[listener]]\nprotocol = \"lmtp\"\nmode = \"submission\"",
        "4:8 \"submission\": submission is SMTP; `protocol` is \"lmtp\"",
    );
    check(
        "[[listener]]\nprotocol = \"lmtp\"\nbind = \"192.0.2.1:25\"",
        "4:8 \"192.0.2.1:25\": LMTP is never spoken on port 25; whoever connects there speaks SMTP",
    );
    let config = parse(
        "[[listener]]\nmode = \"submission\"\n[[listener]]\nbind = \"[::1]:2525\"\n[[listener]]\nbind = \"[::1]:26\"\nmax_hold = \"1h\"",
    );
    let held: Vec<u64> = config.listeners.iter().map(|listener| listener.max_hold.as_secs()).collect();
    assert_eq!(held, [30 * 86_400, 0, 3600], "mail is given ahead of its time to who submits it");
    check(
        "[[listener]]\nbind = \"unix:/x\"\nproxy_protocol = [\"10.0.0.0/8\"]",
        "4:18 [\"10.0.0.0/8\"]: `proxy_protocol` has no meaning for a Unix socket; it has no addresses",
    );
    check(
        "[[listener]]\nxclient = [\"::/0\"]",
        "3:12 \"::/0\": this `xclient` makes an open relay; ::/0 is open to strangers",
    );
    check(
        "[[listener]]\nproxy_protocol = [\"0.0.0.0/0\"]",
        "3:19 \"0.0.0.0/0\": this `proxy_protocol` makes an open relay; 0.0.0.0/0 is open to strangers",
    );
}

#[test]
fn listeners_with_auth() {
    check(
        "[[listener]]\nauth = \"yes\"",
        "3:8 \"yes\": `auth` in [[listener]] must be who has to authenticate; no such value",
    );
    check(
        "[[listener]]\nbind = \"192.0.2.1:587\"\nauth = \"required\"",
        "4:8 \"required\": nobody could log in; AUTH is not offered in clear text here",
    );
    check(
        "[[listener]]\nauth = \"optional\"\nauth_without_tls = false",
        "3:8 \"optional\": nobody could log in; AUTH is not offered in clear text here",
    );
    check("[[listener]]\nauth_without_tls = true", "3:20 true: nothing uses this switch; `auth` is \"none\"");
    check(
        "[[listener]]\nauth = \"required\"\nallow = [\"10.0.0.0/8\"]",
        "4:9 [\"10.0.0.0/8\"]: `allow` has no meaning here; everybody has to authenticate",
    );
    // Who need not authenticate may still not be everybody.
    check(
        "[[listener]]\nauth = \"optional\"\nallow = [\"0.0.0.0/0\"]",
        "4:10 \"0.0.0.0/0\": this `allow` makes an open relay; 0.0.0.0/0 is open to strangers",
    );
    check("[auth]\nmechanisms = []", "3:14 []: nobody could log in; no mechanism is left");
    let config = parse(
        "[auth]\nmechanisms = [\"LOGIN\", \"CRAM-MD5\"]\n[[listener]]\nauth = \"optional\"\n[[listener]]\nbind = \"192.0.2.1:587\"\nauth = \"required\"\ntls = \"starttls\"\ntls_certificate = \"c\"\n[[listener]]\nbind = \"192.0.2.1:25\"\nauth = \"required\"\nauth_without_tls = true",
    );
    let show = |n: usize| (config.listeners[n].auth, config.listeners[n].auth_without_tls);
    assert_eq!(show(0), (AuthPolicy::Optional, true), "loopback");
    assert_eq!(show(1), (AuthPolicy::Required, false));
    assert_eq!(show(2), (AuthPolicy::Required, true));
    assert_eq!(config.auth.users, std::path::Path::new("/etc/posthaste/users.toml"));
    assert_eq!(config.auth.mechanisms.iter().map(|m| m.name()).collect::<Vec<_>>(), ["CRAM-MD5", "LOGIN"]);
}

#[test]
fn what_clients_may_cost() {
    for (written, expected) in [
        ("max_errors = 0", "3:14 0: `max_errors` in [[listener]] must be a count; out of range"),
        (
            "idle_timeout = \"0s\"",
            "3:16 \"0s\": `idle_timeout` in [[listener]] must be a duration; no time at all is too short",
        ),
        (
            "transaction_timeout = \"2d\"",
            "3:23 \"2d\": `transaction_timeout` in [[listener]] must be a duration; it is longer than a day",
        ),
        (
            "idle_timeout = \"2h\"",
            "3:16 \"2h\": no client could be silent for so long; `idle_timeout` is 7200s, `transaction_timeout` 3600s",
        ),
        (
            "transaction_timeout = \"1m\"",
            "3:23 \"1m\": no client could be silent for so long; `idle_timeout` is 300s, `transaction_timeout` 60s",
        ),
    ] {
        check(&format!("[[listener]]\n{written}"), expected);
    }
    check("[auth]\nmax_failures = 0", "3:16 0: `max_failures` in [auth] must be a count; out of range");
    check(
        "[auth]\nfailure_delay = \"5m\"",
        "3:17 \"5m\": `failure_delay` in [auth] must be a duration; it is longer than a minute",
    );
    let keys = "max_errors = 5\nidle_timeout = \"1m\"\ntransaction_timeout = \"1m\"";
    let config = parse(&format!("[auth]\nmax_failures = 9\nfailure_delay = \"0s\"\n[[listener]]\n{keys}"));
    let listener = &config.listeners[0];
    let minute = Duration::from_secs(60);
    assert_eq!((listener.max_errors, listener.idle_timeout, listener.transaction_timeout), (5, minute, minute));
    assert_eq!((config.auth.max_failures, config.auth.failure_delay), (9, Duration::ZERO));
}

#[test]
fn no_configuration_makes_an_open_relay() {
    check(
        "[[listener]]\nallow = [\"10.0.0.0/8\", \"0.0.0.0/0\"]",
        "3:24 \"0.0.0.0/0\": this `allow` makes an open relay; 0.0.0.0/0 is open to strangers",
    );
    check(
        "[[listener]]\nallow = [\"::/0\"]",
        "3:10 \"::/0\": this `allow` makes an open relay; ::/0 is open to strangers",
    );
    let piecemeal: Vec<String> = (0..=255).map(|n| format!("\"{n}.0.0.0/8\"")).collect();
    let found = mistakes(&format!("{HOST}[[listener]]\nallow = [{}]", piecemeal.join(",")));
    assert!(found[0].ends_with("this `allow` makes an open relay; together these are 0.0.0.0/0"), "{found:?}");
    assert_eq!(parse("[[listener]]\nallow = [\"10.0.0.0/8\", \"192.0.2.7\"]").listeners[0].allow.len(), 2);
}
