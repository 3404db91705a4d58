//! `posthaste user`, on a real users file, and `posthaste check` beside it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the program with this standard input; its exit code and all that it said.
#[track_caller]
fn run(arguments: &[&str], input: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthaste"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that asks for nothing may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

fn user(dir: &Path, arguments: &[&str], input: &str) -> (i32, String) {
    let file = dir.join("users.toml").display().to_string();
    run(&[&["user", "--users", &file], arguments].concat(), input)
}

#[test]
fn users_are_added_listed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let user = |arguments: &[&str], input: &str| user(dir.path(), arguments, input);
    assert_eq!(user(&["list"], "").0, 66);
    assert_eq!(user(&["add", "ann@example.com"], "secret\n").0, 0);
    assert_eq!(
        user(&["add", "news", "--sender", "*@news.test", "--sender", "x@y.test", "--cram-md5"], "hunter2\n").0,
        0
    );
    let text = std::fs::read_to_string(dir.path().join("users.toml")).unwrap();
    assert!(!text.contains("secret") && text.contains("$argon2id$") && text.contains("hunter2"), "{text}");
    let (code, said) = user(&["list"], "");
    assert_eq!(code, 0);
    assert!(said.contains("ann@example.com") && said.contains("*@news.test x@y.test"), "{said}");
    let (_, said) = user(&["list", "--json"], "");
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[1]["name"], &lines[1]["cram_md5"]), (&"news".into(), &true.into()), "{said}");
    assert_eq!(user(&["remove", "ann@example.com", "nobody"], "").0, 65);
    assert!(user(&["list"], "").1.contains("ann@example.com"), "nothing was changed");
    let (code, said) = user(&["remove", "ann@example.com"], "");
    assert!(code == 0 && said.starts_with("ann@example.com: removed from "), "{said}");
    assert!(!user(&["list"], "").1.contains("ann@example.com"));
}

#[test]
fn what_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, input, code, said) in [
        (&["add", "ann"][..], "secret\n", 64, "say with --sender"),
        (&["add", "ann", "--sender", "nobody"], "secret\n", 64, "is no sender"),
        (&["add", "ann@example.com"], "\n", 65, "the password is empty"),
        (&["add", "\u{7}", "--sender", "*"], "secret\n", 65, "the name is empty"),
    ] {
        let (exit, text) = user(dir.path(), arguments, input);
        assert!(exit == code && text.contains(said), "{arguments:?}: {exit} {text}");
    }
    assert!(!dir.path().join("users.toml").exists());
}

#[test]
fn check_reads_the_users_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("posthaste.toml");
    std::fs::write(&config, "hostname = \"a.b\"\n[[listener]]\nauth = \"required\"\n").unwrap();
    let check = || run(&["check", "--config", config.to_str().unwrap()], "");
    let (code, said) = check();
    assert!(code == 78 && said.contains("users.toml: No such file"), "{said}");
    let arguments = ["user", "--config", config.to_str().unwrap(), "add", "ann@example.com"];
    assert_eq!(run(&arguments, "secret\n").0, 0);
    let (code, said) = check();
    assert!(code == 0 && said.contains("SMTP for whoever authenticates"), "{said}");
}
