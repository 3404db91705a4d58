//! Whole configurations: what they mean, and how every kind of mistake is shown.

use super::*;

const FILE: &str = "/etc/posthaste/posthaste.toml";
const HOST: &str = "hostname = \"mta1.example.net\"\n";
const SHIPPED: &str = include_str!("../../../deploy/posthaste.toml");

#[track_caller]
fn parse(text: &str) -> Config {
    Config::parse(&format!("{HOST}{text}"), FILE).unwrap_or_else(|errors| panic!("{text}\n{errors}"))
}

/// Each mistake as `line:column wrong text: message; label`.
fn mistakes(text: &str) -> Vec<String> {
    let Err(errors) = Config::parse(text, FILE) else { return Vec::new() };
    let show = |mistake: Mistake| match &mistake.place {
        Some(place) => {
            format!("{}:{} {}: {}; {}", place.line, place.column, place.wrong_text(), mistake.message, mistake.label)
        }
        None => mistake.message,
    };
    errors.mistakes.into_iter().map(show).collect()
}

/// The one mistake in a configuration whose first line is a right `hostname`.
#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(mistakes(&format!("{HOST}{text}")), [expected], "{text}");
}

#[test]
fn a_host_name_is_enough() {
    let config = parse("");
    assert_eq!(&*config.hostname, "mta1.example.net");
    assert_eq!(config.postmaster.as_str(), "postmaster@mta1.example.net");
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].allow.len(), 2);
    assert_eq!(config.admin, Some("127.0.0.1:8025".parse().unwrap()));
    assert!(config.delivery.workers >= 1);
    assert_eq!(config.log.events.as_deref(), Some("/var/lib/posthaste/events.jsonl".as_ref()));
    assert_eq!(*config.limits, defaults::limits());
}

#[test]
fn without_a_host_name_nothing_goes() {
    let missing = "`hostname` is missing; it is the one key without a default";
    assert_eq!(mistakes(""), [missing]);
    assert_eq!(
        mistakes("data_dir = 5"),
        [
            missing,
            "1:12 5: `data_dir` must be a path; this is a number; write it in quotes, with a unit where one belongs"
        ]
    );
}

#[test]
fn unknown_keys_are_mistakes_and_the_right_one_is_guessed() {
    check(
        "[limits]\nconections = 5",
        "3:1 conections: unknown key `conections` in [limits]; did you mean `connections`?",
    );
    check("[dns]\ncolour = 5", "3:1 colour: unknown key `colour` in [dns]; ");
    check("[retries]\nexpire = \"3d\"", "2:2 retries: unknown key `retries`; did you mean `retry`?");
    check(
        "[[site]]\nmatch = { domain = [\"a.b\"], mxs = [] }",
        "3:29 mxs: unknown key `mxs` in `match` of [[site]]; did you mean `mx`?",
    );
}

#[test]
fn values_of_the_wrong_kind_are_shown_where_they_stand() {
    check(
        "[dns]\ntimeout = \"5 parsecs\"",
        "3:11 \"5 parsecs\": `timeout` in [dns] must be a duration; `parsecs` is no unit of time",
    );
    check(
        "[dns]\nnameservers = \"127.0.0.1:53\"",
        "3:15 \"127.0.0.1:53\": `nameservers` in [dns] must be a list; this is a string",
    );
    check(
        "[dns]\nnameservers = [\"127.0.0.1:53\", \"::1\"]",
        "3:32 \"::1\": `nameservers` in [dns] must be a name server; the port is missing",
    );
    check("dns = 5", "2:7 5: `dns` must be a table; this is a number; write [dns]");
    check("[listener]\nbind = \"127.0.0.1:1\"", "2:1 [listener]: `listener` is a list of tables; write [[listener]]");
    check(
        "postmaster = \"nobody\"",
        "2:14 \"nobody\": `postmaster` must be a mail address; an address has the form local-part@domain",
    );
}

#[test]
fn what_is_no_toml_is_shown_too() {
    let found = mistakes("hostname = \"a.b\n[dns]\ntimeout = = 5\n");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("1:") && found[1].starts_with("3:"), "{found:#?}");
    let found = mistakes(&format!("{HOST}{HOST}"));
    assert!(found[0].starts_with("2:1 hostname: this is not TOML; duplicate key"), "{found:#?}");
}

#[test]
fn all_mistakes_are_shown_at_once_in_order() {
    let text =
        "hostname = \"localhost\"\n[limits]\nrate = \"fast\"\n[dns]\ntimeout = 5\n[log]\nformat = \"yaml\"\nx = 1\n";
    let lines: Vec<String> = mistakes(text).iter().map(|m| m.split(':').next().unwrap().to_string()).collect();
    assert_eq!(lines, ["1", "3", "5", "7", "8"]);
}

#[test]
fn listeners() {
    check(
        "[[listener]]\nmax_message_size = \"4GiB\"",
        "3:20 \"4GiB\": `max_message_size` in [[listener]] must be a size; 2GiB is the most",
    );
    check(
        "[queue]\nmax_bytes = \"1MiB\"\n[[listener]]\nmax_message_size = \"2MiB\"",
        "5:20 \"2MiB\": such a message never fits into the queue; more than [queue] max_bytes, 1048576 bytes",
    );
    check("[[listener]]\n[[listener]]\n", "3:1 [[listener]]: two listeners on one socket; line 2 has it already");
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

#[test]
fn what_cannot_be_together_is_a_mistake() {
    check("[retry]\nschedule = []", "3:12 []: `schedule` in [retry] is empty; ");
    check(
        "[retry]\nexpire = \"1m\"",
        "3:10 \"1m\": nothing would ever be tried again before `expire`; not longer than the first wait of `schedule`",
    );
    check("[retry]\njitter = 2", "3:10 2: `jitter` in [retry] must be a fraction; out of range");
    check(
        "[delivery]\nip_family = \"ipv4\"\nsource_addresses = [\"2001:db8::1\"]",
        "4:21 \"2001:db8::1\": this source address is never used; `ip_family` excludes it",
    );
}

#[test]
fn sites_take_from_limits_what_they_leave_out() {
    let config = parse(
        "[limits]\nconnections = 7\nrate = \"9/s\"\n[[site]]\nmatch = { domain = [\"a.example\"] }\nrate = \"unlimited\"\n[[site]]\nmatch = { mx = [\"*.google.com\"] }\ntls = \"verified\"\n",
    );
    let show = |domain: &str, mx: &[&str]| {
        let rule = config.site_rule(domain, mx.iter().copied());
        let limits = rule.map_or(&config.limits, |(rule, _)| &rule.limits);
        (limits.connections, limits.rate.map(|rate| rate.count), limits.tls, limits.origin.to_string())
    };
    assert_eq!(
        show("other.example", &["mx.example"]),
        (7, Some(9), TlsPolicy::Opportunistic, "posthaste.toml:2".into())
    );
    assert_eq!(show("a.example", &["mx.google.com"]), (7, None, TlsPolicy::Opportunistic, "posthaste.toml:5".into()));
    assert_eq!(
        show("b.example", &["x.example", "mx.google.com"]),
        (7, Some(9), TlsPolicy::Verified, "posthaste.toml:8".into())
    );
}

#[test]
fn rules_that_never_apply_are_mistakes() {
    check("[[site]]\nrate = \"5/s\"", "2:1 [[site]]: this [[site]] matches nothing; it names no domain and no mx");
    check(
        "[[site]]\nmatch = { mx = [] }",
        "3:9 { mx = [] }: this [[site]] matches nothing; it names no domain and no mx",
    );
    check("[[route]]\nvia = \"mx\"", "2:1 [[route]]: this [[route]] matches nothing; it names no domain");
    check("[[route]]\ndomain = [\"a.b\"]", "2:1 [[route]]: this [[route]] leads nowhere; it has no `via`");
    check(
        "[[route]]\ndomain = [\"*.b\"]\nvia = \"mx\"\n[[route]]\ndomain = [\"c.b\"]\nvia = \"smtp://h:1\"",
        "6:11 \"c.b\": this [[route]] is never used for \"c.b\"; \"*.b\" in line 3 matches first",
    );
}

#[test]
fn routes() {
    let config =
        parse("[[route]]\ndomain = [\"internal.example\", \"*.corp.example\"]\nvia = \"lmtp+unix:/run/lmtp\"\n");
    let show = |domain| config.route(domain).map(|rule| (rule.via.to_string(), rule.origin.to_string()));
    let lmtp = Some(("lmtp+unix:/run/lmtp".to_string(), "posthaste.toml:2".to_string()));
    assert_eq!(show("internal.example"), lmtp);
    assert_eq!(show("a.b.corp.example"), lmtp);
    assert_eq!(show("corp.example"), None);
}

/// What a route with these lines has wrong.
fn check_route(lines: &str, expected: &str) {
    check(&format!("[[route]]\ndomain = [\"a.b\"]\n{lines}"), expected);
}

#[test]
fn a_route_names_hosts_by_preference_and_how_to_speak_there() {
    let config = parse(
        "[[route]]\ndomain = [\"a.b\"]\nvia = [\"smtps://one.example:465\", \"smtp://two.example:587\"]\n\
         tls = \"verified\"\ntls_server_name = \"Mail.Example\"\n[[route]]\ndomain = [\"c.d\"]\nvia = \"discard\"",
    );
    let rule = config.route("a.b").unwrap();
    assert_eq!(rule.via.to_string(), "smtps://one.example:465, then smtp://two.example:587");
    let policy =
        RoutePolicy { tls: Some(TlsPolicy::Verified), tls_server_name: Some("mail.example".into()), login: None };
    assert_eq!(rule.policy.as_deref(), Some(&policy));
    assert_eq!(config.route("c.d").map(|rule| (&rule.via, &rule.policy)), Some((&Via::Discard, &None)));
    check_route("via = []", "4:7 []: this [[route]] leads nowhere; the list is empty");
    check_route(
        "via = [\"smtp://h.example:1\", \"mx\"]",
        "4:30 \"mx\": `via` in [[route]] must be a host to deliver to; \"mx\" is no host: it stands alone, without a list",
    );
    check_route(
        "via = [\"smtp://h.example:1\", \"smtp://h.example:1\"]",
        "4:30 \"smtp://h.example:1\": this host is in the list twice; the first one is used",
    );
    check_route(
        "via = \"discard\"\ntls = \"required\"",
        "5:7 \"required\": this `tls` has no meaning here; nothing is spoken to: this [[route]] throws mail away",
    );
    check_route(
        "via = \"smtps://h.example:465\"\ntls = \"none\"",
        "5:7 \"none\": this `tls` has no meaning here; `smtps` is nothing but TLS",
    );
    check_route(
        "via = \"mx\"\ntls_server_name = \"x.example\"",
        "5:19 \"x.example\": `tls_server_name` has no meaning here; it is for hosts that `via` names: each mail exchanger has its own name",
    );
}

#[test]
fn mail_that_somebody_comes_for_needs_one_who_can() {
    let listener = "[[listener]]\nbind = \"127.0.0.1:366\"\nauth = \"required\"\n";
    let route = "[[route]]\ndomain = [\"a.b\"]\nvia = \"odmr\"\n";
    let config = parse(&format!("{listener}{route}user = \"Ann\""));
    assert_eq!(config.route("a.b").map(|rule| (&rule.via, &rule.policy)), Some((&Via::Odmr("Ann".into()), &None)));
    for (lines, expected) in [
        ("", "5:1 [[route]]: nobody could come for this mail; `user` is missing"),
        (
            "user = \"ann\"\ntls = \"verified\"",
            "9:7 \"verified\": this `tls` has no meaning here; whoever comes for the mail decides: `tls` of the listener says what it may",
        ),
        (
            "user = \"ann\"\npassword_file = \"/p\"",
            "9:17 \"/p\": a login has no meaning here; it is for hosts that `via` names",
        ),
    ] {
        check(&format!("{listener}{route}{lines}"), expected);
    }
    check_route(
        "via = \"odmr\"\nuser = \"ann\"",
        "5:8 \"ann\": nobody could come for this mail; no listener takes ATRN",
    );
    check_route(
        "via = [\"odmr\"]",
        "4:8 \"odmr\": `via` in [[route]] must be a host to deliver to; \"odmr\" is no host: it stands alone, without a list",
    );
}

#[test]
fn a_login_is_whole_and_for_hosts_that_are_named() {
    let config = parse(
        "[[route]]\ndomain = [\"*\"]\nvia = \"smtps://h.example:465\"\nuser = \"alice\"\npassword_file = \"/etc/p\"",
    );
    let login = config.route("a.b").unwrap().policy.as_ref().unwrap().login.clone().unwrap();
    assert_eq!((&*login.user, login.password_file.to_str(), login.in_clear), ("alice", Some("/etc/p"), false));
    let via = "via = \"smtps://h.example:465\"\n";
    check_route(
        &format!("{via}user = \"alice\""),
        "5:8 \"alice\": this [[route]] has half a login; `password_file` is missing",
    );
    check_route(
        &format!("{via}password_file = \"/etc/p\""),
        "5:17 \"/etc/p\": this [[route]] has half a login; `user` is missing",
    );
    check_route(
        "via = \"mx\"\nuser = \"alice\"\npassword_file = \"/etc/p\"",
        "5:8 \"alice\": a login has no meaning here; it is for hosts that `via` names",
    );
    check_route(
        &format!("{via}user = \"alice\"\npassword = \"secret\"\npassword_file = \"/etc/p\""),
        "6:1 password: unknown key `password` in [[route]]; did you mean `password_file`?",
    );
}

#[test]
fn a_route_back_to_a_listener_is_a_mistake() {
    let back = |listener: &str, via: &str| {
        let bind = if listener.is_empty() { String::new() } else { format!("[[listener]]\nbind = \"{listener}\"\n") };
        let text = format!("{HOST}{bind}[[route]]\ndomain = [\"a.b\"]\nvia = \"{via}\"");
        match Config::parse(&text, FILE) {
            Ok(_) => false,
            Err(errors) => {
                assert_eq!(errors.mistakes[0].message, "this [[route]] leads back to this server", "{errors}");
                true
            }
        }
    };
    for (listener, via, expected) in [
        ("", "smtp://127.0.0.1:2525", true),
        ("", "smtp://localhost:2525", true),
        ("", "smtp://127.0.0.1:2526", false),
        ("0.0.0.0:25", "smtp://127.0.0.1:25", true),
        ("0.0.0.0:25", "smtp://mta1.example.net:25", true),
        ("0.0.0.0:25", "smtp://192.0.2.1:25", false),
        ("127.0.0.1:25", "smtp://mta1.example.net:25", false),
        ("unix:/run/in.sock", "lmtp+unix:/run/in.sock", true),
        ("unix:/run/in.sock", "lmtp+unix:/run/out.sock", false),
    ] {
        assert_eq!(back(listener, via), expected, "{listener} {via}");
    }
    check(
        "[[route]]\ndomain = [\"*\"]\nvia = [\"smtp://h.example:1\", \"smtp://127.0.0.1:2525\"]",
        "4:30 \"smtp://127.0.0.1:2525\": this [[route]] leads back to this server; 127.0.0.1:2525 is a [[listener]]: what it accepts would be sent to it again and again",
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_a_way_out() {
    let errors = Config::load("/nonexistent/posthaste.toml".as_ref()).unwrap_err().to_string();
    assert!(errors.starts_with("error: cannot read the configuration: No such file"), "{errors}");
    assert!(errors.contains("--> /nonexistent/posthaste.toml"), "{errors}");
}

/// The shipped file with its examples switched on.
fn with_examples() -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(example) if !example.is_empty() && !example.starts_with(' ') => format!("{example}\n"),
        _ => format!("{line}\n"),
    };
    SHIPPED.lines().map(uncomment).collect()
}

#[test]
fn the_shipped_file_shows_the_defaults() {
    let mut shipped = Config::parse(SHIPPED, FILE).unwrap_or_else(|errors| panic!("{errors}"));
    Arc::make_mut(&mut shipped.limits).origin = defaults::limits().origin;
    assert_eq!(shipped, parse(""));
}

#[test]
fn the_shipped_files_examples_are_right() {
    let config = Config::parse(&with_examples(), FILE).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.listeners.len(), config.sites.len(), config.routes.len()), (3, 2, 1));
}

/// An unknown key in each section makes its error list all known ones: each must stand in the shipped file's section.
#[test]
fn the_shipped_file_has_every_key() {
    let text = with_examples();
    let mut sections: Vec<(&str, String)> = vec![("", String::new())];
    for line in text.lines() {
        if line.starts_with('[') {
            sections.push((line, String::new()));
        }
        sections.last_mut().unwrap().1 += &format!("\n{line}");
    }
    for header in [
        "",
        "[[listener]]",
        "[auth]",
        "[admin]",
        "[dns]",
        "[delivery]",
        "[retry]",
        "[queue]",
        "[limits]",
        "[[site]]",
        "[[route]]",
        "[log]",
    ] {
        let in_section =
            |key: &str| sections.iter().any(|(title, body)| *title == header && body.contains(&format!("\n{key} = ")));
        let as_table = |key: &str| {
            sections.iter().any(|(title, _)| *title == format!("[{key}]") || *title == format!("[[{key}]]"))
        };
        let errors = Config::parse(&format!("{HOST}{header}\nzzz = 1"), FILE).unwrap_err();
        let unknown = errors.mistakes.iter().find(|m| m.message.contains("unknown key `zzz`")).unwrap();
        for key in unknown.help.as_ref().unwrap().split(", ") {
            assert!(
                in_section(key) || (header.is_empty() && as_table(key)),
                "`{key}` of {header:?} is not in the file"
            );
        }
    }
}
