//! Whole configurations: what they mean, and how every kind of mistake is shown.

mod listeners;

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
    check(
        "[queue]\nprepare = \"2GiB\"",
        "3:11 \"2GiB\": `prepare` in [queue] must be a size; more than the journal keeps ready",
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
fn what_cannot_be_together_is_a_mistake() {
    check("[retry]\nschedule = []", "3:12 []: `schedule` in [retry] is empty; ");
    check(
        "[retry]\nschedule = [5]",
        "3:13 5: `schedule` in [retry] must be a duration; this is a number; write it in quotes, with a unit where one belongs",
    );
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
fn each_limit_knows_the_line_that_says_it() {
    let config = parse(
        "[limits]\nconnections = 7\ntls = \"none\"\n[[site]]\nmatch = { domain = [\"a.example\"] }\ntls = \"required\"\nrate = \"9/s\"\n",
    );
    let keys = ["connections", "tls", "rate", "suspend"];
    let (rule, _) = config.site_rule("a.example", [].into_iter()).expect("it has a rule");
    let lines = keys.map(|key| rule.limits.origin_of(key));
    assert_eq!(lines, ["posthaste.toml:3", "posthaste.toml:7", "posthaste.toml:8", "default"]);
    let lines = keys.map(|key| config.limits.origin_of(key));
    assert_eq!(lines, ["posthaste.toml:3", "posthaste.toml:4", "default", "default"]);
}

/// A domain stands in addresses in either form, and in the configuration, too.
#[test]
fn internationalised_domains_match_in_both_forms() {
    for written in ["bücher.example", "xn--bcher-kva.example"] {
        let config = parse(&format!(
            "[[site]]\nmatch = {{ domain = [\"{written}\"] }}\n[[route]]\ndomain = [\"{written}\", \"*.{written}\"]\nvia = \"discard\"\n"
        ));
        for domain in ["bücher.example", "xn--bcher-kva.example"] {
            assert!(
                config.route(domain).is_some() && config.route(&format!("a.{domain}")).is_some(),
                "{written} {domain}"
            );
            assert!(config.site_rule(domain, [].into_iter()).is_some(), "{written} {domain}");
        }
        assert!(config.route("bucher.example").is_none());
    }
}

/// What is written there wrongly names something nevertheless.
#[test]
fn a_wrong_pattern_is_one_mistake() {
    for text in [
        "[[site]]\nmatch = { mx = [\"*google.com\"] }",
        "[[site]]\nmatch = { domain = [\"a b\"] }",
        "[[site]]\nmatch = { domain = \"a.b\" }",
        "[[site]]\nmatch = \"a.b\"",
        "[[route]]\ndomain = [\"a b\"]\nvia = \"mx\"",
        "[[route]]\ndomain = \"a.b\"\nvia = \"mx\"",
    ] {
        let found = mistakes(&format!("{HOST}{text}"));
        assert!(found.len() == 1 && !found[0].contains("matches nothing"), "{text}: {found:?}");
    }
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
    let limits = Arc::make_mut(&mut shipped.limits);
    (limits.origin, limits.lines) = (defaults::limits().origin, defaults::limits().lines);
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
