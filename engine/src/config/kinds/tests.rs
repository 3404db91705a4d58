//! How values are written.

use super::*;
use crate::config::{AuthPolicy, NextHop, Pattern, SocketName, TlsMode, TlsPolicy, Via};
use smtp::client::Protocol;
use smtp::sasl::Mechanism;
use smtp::server::BareNewline;

fn read<T>(kind: &Kind<T>, toml: &str) -> Result<T, String> {
    (kind.read)(DeValue::parse(toml).unwrap().get_ref())
}
#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(kind: &Kind<T>, toml: &str, expected: Result<T, &str>) {
    assert_eq!(read(kind, toml), expected.map_err(String::from), "{toml}");
}

#[test]
fn durations() {
    check(&DURATION, "\"100ms\"", Ok(Duration::from_millis(100)));
    check(&DURATION, "\"5s\"", Ok(Duration::from_secs(5)));
    check(&DURATION, "\"15m\"", Ok(Duration::from_secs(900)));
    check(&DURATION, "\"3d\"", Ok(Duration::from_secs(259_200)));
    check(&DURATION, "\"5\"", Err("there is no unit"));
    check(&DURATION, "\"s\"", Err("it does not begin with a whole number"));
    check(&DURATION, "\"5 parsecs\"", Err("`parsecs` is no unit of time"));
    check(&DURATION, "\"99999999999999999999s\"", Err("the number is too large"));
    check(&DURATION, "\"9999999999999999d\"", Err("longer than a century"));
    check(&DURATION, "\"0s\"", Err("no time at all is too short"));
    check(&DURATION_OR_ZERO, "\"0s\"", Ok(Duration::ZERO));
    check(&DURATION, "5", Err("this is a number; write it in quotes, with a unit where one belongs"));
    check(&DURATION, "true", Err("this is true or false"));
}

#[test]
fn sizes() {
    check(&SIZE, "\"25MiB\"", Ok(25 << 20));
    check(&SIZE, "\"10KB\"", Ok(10_000));
    check(&SIZE, "\"10 KiB\"", Ok(10_240));
    check(&SIZE, "\"10mb\"", Err("`mb` is no unit of size"));
    check(&SIZE, "\"9999999999TiB\"", Err("too large"));
}

#[test]
fn rates() {
    let rate = |count, seconds| Ok(Some(Rate { count, per: Duration::from_secs(seconds) }));
    check(&RATE, "\"100/s\"", rate(100, 1));
    check(&RATE, "\"600 / min\"", rate(600, 60));
    check(&RATE, "\"5000/h\"", rate(5000, 3600));
    check(&RATE, "\"unlimited\"", Ok(None));
    check(&RATE, "\"0/s\"", Err("zero never lets anything through; `suspend = true` says that"));
    check(&RATE, "\"100\"", Err("there is no \"/\" in it"));
    check(&RATE, "\"1/fortnight\"", Err("`fortnight` is no unit of time"));
}

#[test]
fn numbers() {
    check(&COUNT, "20", Ok(20));
    check(&COUNT, "0x10", Ok(16));
    check(&COUNT, "0", Err("out of range"));
    check(&COUNT, "-1", Err("out of range"));
    check(&PORT, "65536", Err("out of range"));
    check(&WORKERS, "0", Ok(0));
    check(&FRACTION, "0.2", Ok(0.2));
    check(&FRACTION, "1", Ok(1.0));
    check(&FRACTION, "nan", Err("out of range"));
    check(&FRACTION, "1.5", Err("out of range"));
}

#[test]
fn names() {
    check(&HOST_NAME, "\"MTA1.example.net\"", Ok("mta1.example.net".into()));
    check(&HOST_NAME, "\"localhost\"", Err("there is no dot in it"));
    check(&HOST_NAME, "\"192.0.2.1\"", Err("this is an address, not a name"));
    check(&HOST_NAME, "\"mta.example.net.\"", Err("leave out the final dot"));
    check(&HOST_NAME, "\"a..b\"", Err("the parts between the dots have 1 to 63 characters"));
    check(&HOST_NAME, "\"m\u{fc}nchen.example\"", Err("write it as the DNS has it, in ASCII (xn--...)"));
    check(&HOST_NAME, "\"a b.c\"", Err("` ` cannot stand in a name"));
    let refused = "`_` cannot stand in a host's name, and many servers refuse one that says it in EHLO";
    check(&HOST_NAME, "\"mta_1.example\"", Err(refused));
    check(&PATTERN, "\"*\"", Ok(Pattern("*".into())));
    check(&PATTERN, "\"*.Example.com\"", Ok(Pattern("*.example.com".into())));
    check(&PATTERN, "\"*.BÜcher.example\"", Ok(Pattern("*.xn--bcher-kva.example".into())));
    check(&PATTERN, "\"mx*.example.com\"", Err("`*` cannot stand in a name"));
}

#[test]
fn sockets_and_networks() {
    check(&SOCKET, "\"[::1]:2525\"", Ok(SocketName::Tcp("[::1]:2525".parse().unwrap())));
    check(&SOCKET, "\"unix:/run/x.sock\"", Ok(SocketName::Unix("/run/x.sock".into())));
    check(&SOCKET, "\"unix:x.sock\"", Err("the path must begin with /"));
    check(&SOCKET, "\"127.0.0.1\"", Err("the port is missing"));
    check(&SOCKET, "\"localhost:25\"", Err("this is no address:port"));
    check(&ADMIN, "\"off\"", Ok(None));
    check(&NETWORK, "\"127.0.0.0/8\"", Ok("127.0.0.0/8".parse().unwrap()));
    check(&NETWORK, "\"10.0.0.1\"", Ok("10.0.0.1/32".parse().unwrap()));
    check(&NETWORK, "\"10.0.0.1/8\"", Err("bits are set behind the prefix; 10.0.0.0/8 is the network"));
    check(&ADDRESS, "\"0.0.0.0\"", Err("nothing can be sent from it"));
}

#[test]
fn ways_to_deliver() {
    let tcp = |protocol, implicit_tls, host: &str, port| {
        Ok(Via::Hops([NextHop::Tcp { protocol, implicit_tls, host: host.into(), port }].into()))
    };
    let smtp = |host, port| tcp(Protocol::Smtp, false, host, port);
    check(&VIA, "\"mx\"", Ok(Via::Mx));
    check(&VIA, "\"smtp://10.0.0.5:2526\"", smtp("10.0.0.5", 2526));
    check(&VIA, "\"smtp://[::1]:25\"", smtp("::1", 25));
    check(&VIA, "\"smtp://Relay.example:587\"", smtp("relay.example", 587));
    check(&VIA, "\"smtps://relay.example:465\"", tcp(Protocol::Smtp, true, "relay.example", 465));
    check(&VIA, "\"lmtp://127.0.0.1:24\"", tcp(Protocol::Lmtp, false, "127.0.0.1", 24));
    check(&VIA, "\"lmtp://127.0.0.1:25\"", Err("LMTP is never spoken on port 25"));
    check(&VIA, "\"lmtp+unix:/run/lmtp\"", Ok(Via::Hops([NextHop::Unix("/run/lmtp".into())].into())));
    for text in
        ["mx", "discard", "smtps://a.example:465", "smtp://[::1]:25", "lmtp://127.0.0.1:24", "lmtp+unix:/run/lmtp"]
    {
        let via = read(&VIA, &format!("\"{text}\""));
        assert_eq!(via.map(|via| via.to_string()).as_deref(), Ok(text));
    }
    check(&VIA, "\"smtp://relay.example\"", Err("the port is missing"));
    check(&VIA, "\"http://relay.example:80\"", Err("`http` is no protocol for mail"));
    check(&VIA, "\"10.0.0.5\"", Err("it names no way to get there"));
    check(&VIA, "\"smtp://:25\"", Err("a name has 1 to 253 characters"));
}

#[test]
fn choices() {
    check(&TLS, "\"verified\"", Ok(TlsPolicy::Verified));
    check(&TLS, "\"verify\"", Err("did you mean \"verified\"?"));
    check(&PIPELINING, "\"full\"", Err("no such value"));
    check(&BARE_NEWLINE, "\"normalize\"", Ok(BareNewline::Normalize));
    check(&BARE_NEWLINE, "\"normalise\"", Err("did you mean \"normalize\"?"));
    check(&BARE_NEWLINE, "\"keep\"", Err("no such value"));
    check(&LISTENER_TLS, "\"none\"", Ok(None));
    check(&LISTENER_TLS, "\"starttls\"", Ok(Some(TlsMode::StartTls)));
    check(&LISTENER_TLS, "\"required\"", Ok(Some(TlsMode::Required)));
    check(&LISTENER_TLS, "\"tls\"", Err("no such value"));
    check(&LISTENER_AUTH, "\"maybe\"", Err("no such value"));
    check(&LISTENER_AUTH, "\"required\"", Ok(AuthPolicy::Required));
    check(&MECHANISM, "\"SCRAM-SHA-256\"", Ok(Mechanism::ScramSha256));
    check(&MECHANISM, "\"SCRAM-SHA256\"", Err("did you mean \"SCRAM-SHA-256\"?"));
    check(&EVENTS, "false", Ok(None));
    check(&EVENTS, "\"\"", Ok(None));
    check(&EVENTS, "true", Err("this is true or false"));
}
