//! Users: written and read again, proven and refused.

use super::*;
use smtp::Mailbox;
use smtp::sasl::cram;
use smtp::sasl::server::{Finding, Inquiry};

fn user(name: &str, password: &str, senders: &[&str], cram_md5: bool) -> User {
    let senders = senders.iter().map(|text| text.parse().unwrap()).collect();
    User::new(name, password, senders, cram_md5).unwrap()
}

fn password(user: &str, password: &str) -> Inquiry {
    Inquiry::Password { user: user.into(), password: password.into() }
}

#[test]
fn what_is_written_is_read_and_proves_the_same() {
    let mut users = Users::default();
    assert!(!users.put(user("ann", "se\u{AD}cret", &["ann@example.com", "*@News.example.com"], false)));
    assert!(!users.put(user("bob", "hunter2", &["*"], true)));
    let text = users.to_text();
    assert!(!text.contains("secret") && text.contains("cram_md5 = \"hunter2\""), "{text}");
    let users = Users::parse(&text).unwrap();
    assert_eq!(users.iter().map(User::name).collect::<Vec<_>>(), ["ann", "bob"]);
    let accepted = |inquiry: Inquiry| matches!(users.find(&inquiry, &[0; 32]), Finding::Accepted);
    assert!(accepted(password("ann", "secret")), "SASLprep takes the soft hyphen out");
    assert!(accepted(password("bob", "hunter2")));
    assert!(!accepted(password("ann", "hunter2")) && !accepted(password("eve", "secret")));
    assert!(!accepted(password("ann", "")) && !accepted(password("", "secret")));
    let digest = |user: &str, password: &str| Inquiry::Digest {
        user: user.into(),
        challenge: "<1@a>".into(),
        digest: cram::digest(password, b"<1@a>"),
    };
    assert!(accepted(digest("bob", "hunter2")));
    assert!(!accepted(digest("bob", "hunter3")) && !accepted(digest("ann", "secret")) && !accepted(digest("eve", "")));
    assert!(!accepted(digest("ann", "")), "what is not kept is no empty password");
}

#[test]
fn users_who_do_not_exist_have_keys_too_and_never_get_in() {
    let users = Users::default();
    let keys = |name: &str| match users.find(&Inquiry::Keys { user: name.into() }, &[9; 32]) {
        Finding::Keys(keys) => keys,
        other => panic!("{other:?}"),
    };
    assert!(keys("eve") == keys("eve") && keys("eve") != keys("ann"));
    assert_eq!((keys("eve").salt.len(), keys("eve").iterations), (16, SCRAM_ITERATIONS));
    let proof = Inquiry::Proof { user: "eve".into(), is_right: true };
    assert!(matches!(users.find(&proof, &[9; 32]), Finding::Refused));
}

#[test]
fn senders() {
    let check = |patterns: &[&str], address: &str, expected: bool| {
        let path = ReversePath((!address.is_empty()).then(|| Mailbox::parse(address).unwrap()));
        assert_eq!(user("u", "p", patterns, false).may_send_as(&path), expected, "{patterns:?} {address}");
    };
    check(&["ann@example.com"], "Ann@Example.COM", true);
    check(&["ann@example.com"], "bob@example.com", false);
    check(&["ann@example.com"], "ann@sub.example.com", false);
    check(&["*@example.com"], "bob@example.com", true);
    check(&["*@example.com"], "bob@sub.example.com", false);
    check(&["*@*.example.com"], "bob@sub.example.com", true);
    check(&["*@*.example.com"], "bob@example.com", false);
    check(&["*@*.example.com"], "bob@badexample.com", false);
    check(&["*"], "bob@any.test", true);
    check(&[], "bob@any.test", false);
    check(&[], "", true);
    for bad in ["", "ann", "@example.com", "ann@", "ann@*", "*@*", "a b@example.com"] {
        assert!(bad.parse::<SenderPattern>().is_err(), "{bad}");
    }
    for text in ["*", "*@example.com", "*@*.example.com", "ann@example.com"] {
        assert_eq!(text.parse::<SenderPattern>().unwrap().to_string(), text);
    }
}

#[test]
fn files_with_mistakes_are_refused_and_say_whose() {
    let good = user("ann", "secret", &["*"], false);
    let mut users = Users::default();
    users.put(good);
    let text = users.to_text();
    for (from, to, said) in [
        ("name", "nom", "unknown field `nom`"),
        ("argon2id", "argon2i", "user \"ann\": `password` is no Argon2id hash"),
        ("$argon2id", "plain", "user \"ann\": `password` is no PHC string"),
        ("SCRAM-SHA-256$", "SCRAM-SHA-1$", "user \"ann\": `scram` is not"),
        ("\"*\"", "\"nobody\"", "user \"ann\": \"nobody\" is no sender"),
        ("[[user]]", "[[users]]", "unknown field `users`"),
    ] {
        let error = Users::parse(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let entry = &text[text.find("[[user]]").unwrap()..];
    assert!(Users::parse(&format!("{text}\n{entry}")).unwrap_err().contains("is there twice"));
    assert_eq!(Users::parse("").unwrap().iter().count(), 0);
}

#[test]
fn a_file_is_replaced_as_a_whole_and_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let mut users = Users::default();
    users.save(&path).unwrap();
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    users.put(user("ann", "secret", &["*"], false));
    users.save(&path).unwrap();
    assert_eq!((mode(), Users::load(&path).unwrap().iter().count()), (0o640, 1));
    assert!(users.remove("ann") && !users.remove("ann"));
    assert!(Users::load(&dir.path().join("none")).unwrap_err().to_string().contains("none: No such file"));
}
