//! The house rules that a compiler does not enforce: the arrows between crates, and what pure modules may not name.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a member of the workspace").to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn without_tests(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    files.retain(|file| !file.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs"));
    files
}

/// What stands before the tests.
fn code_of(file: &Path) -> String {
    let text = read(file);
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// Functions with their lines, as they are formatted: a body ends with the brace below its first line.
fn functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some((before, name)) = line.split_once("fn ") else { continue };
        let is_function =
            before.split_whitespace().all(|word| word.starts_with("pub") || word == "const" || word == "in");
        if !is_function || line.ends_with([';', '}']) {
            continue;
        }
        let margin = &before[..before.len() - before.trim_start().len()];
        let is_last = |line: &str| match line.strip_prefix(margin) {
            Some(rest) => rest == "}" || (rest.starts_with(')') && rest.ends_with(';')),
            None => false,
        };
        let end = lines[start..].iter().position(|line| is_last(line));
        let end = end.unwrap_or_else(|| panic!("{line} has an end"));
        found.push((name.split(['(', '<']).next().unwrap_or_default().to_owned(), end + 1));
    }
    found
}

/// Everything in `[dependencies]` of a member that is ours.
fn arrows(member: &str) -> Vec<String> {
    let manifest = read(root().join(member).join("Cargo.toml"));
    let ours = ["smtp", "queue", "dns", "engine", "admin", "bench"];
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| ours.contains(name)).map(str::to_owned).collect()
}

#[test]
fn crates_only_know_those_below_them() {
    let allowed: [(&str, &[&str]); 8] = [
        ("smtp", &[]),
        ("queue", &["smtp"]),
        ("dns", &[]),
        ("engine", &["smtp", "queue", "dns"]),
        ("admin", &["engine", "queue"]),
        ("bench", &["smtp"]),
        ("cli", &["smtp", "queue", "dns", "engine", "admin", "bench"]),
        ("tests", &["smtp", "queue", "dns", "engine", "admin", "bench"]),
    ];
    for (member, may_know) in allowed {
        for known in arrows(member) {
            assert!(may_know.contains(&known.as_str()), "{member} must not depend on {known}");
        }
    }
    assert!(arrows("engine").contains(&"queue".to_owned()), "this test reads the manifests");
}

/// Pure rooms: what they must not name, outside of their tests.
#[test]
fn pure_modules_have_no_socket_clock_thread_or_disk() {
    let forbidden =
        ["mio::", "rustls::", "sled::", "std::thread", "Instant::now", "SystemTime::now", "std::fs", "std::net::Tcp"];
    let engine = root().join("engine/src");
    let mut files: Vec<PathBuf> =
        ["beginning.rs", "verdict.rs", "retry.rs", "limit.rs", "now.rs"].map(|f| engine.join(f)).into();
    for folder in ["dispatch", "notice", "config"] {
        rust_files(&engine.join(folder), &mut files);
    }
    rust_files(&root().join("smtp/src"), &mut files);
    // Where the configuration's file is read, and the processors are counted.
    files.retain(|file| !file.ends_with("config/load.rs"));
    for file in without_tests(files) {
        let code = code_of(&file);
        let code: String = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for word in forbidden {
            assert!(!code.contains(word), "{} names {word}", file.display());
        }
    }
}

/// STYLE: every neighbour in this field has decayed in one file; plan against it.
#[test]
fn files_stay_small() {
    let mut files = Vec::new();
    for member in ["smtp", "queue", "dns", "engine", "admin", "cli", "bench"] {
        rust_files(&root().join(member).join("src"), &mut files);
    }
    for file in without_tests(files) {
        let code = code_of(&file);
        let lines = code.lines().count();
        assert!(lines <= 400, "{} has {lines} lines before its tests: split it by noun", file.display());
        for (name, lines) in functions(&code) {
            assert!(lines <= 60, "{name} in {} has {lines} lines: split it", file.display());
        }
    }
    assert!(read(root().join("cli/src/main.rs")).lines().count() < 80, "main.rs stays under 80 lines");
}

/// A table that names tests which are gone, or never were, shows nothing.
#[test]
fn each_test_that_the_table_of_rfcs_names_exists() {
    let mut files = Vec::new();
    for member in ["smtp", "queue", "dns", "engine", "admin", "cli", "bench", "tests"] {
        rust_files(&root().join(member), &mut files);
    }
    let mut tests = HashSet::new();
    for file in files {
        let text = read(&file);
        let functions = text.split("#[test]").skip(1).filter_map(|behind| behind.split_once("fn "));
        tests.extend(functions.filter_map(|(_, name)| name.split('(').next()).map(str::to_owned));
    }
    let mut named = 0;
    for row in read(root().join("docs/rfc.md")).lines().filter(|line| line.starts_with('|')) {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        for name in last.split('`').skip(1).step_by(2) {
            named += 1;
            assert!(tests.contains(name), "docs/rfc.md names the test `{name}`, which is not there");
        }
    }
    assert!(named > 20, "the table was read");
}

/// A map that names places which are gone leads nowhere.
#[test]
fn each_path_that_the_map_names_exists() {
    let is_there = |path: &str| [root(), root().join("engine/src")].iter().any(|folder| folder.join(path).exists());
    let mut named = 0;
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = read(root().join(page));
        for quoted in text.split('`').skip(1).step_by(2) {
            for path in quoted.split_whitespace().filter(|word| word.contains('/')) {
                named += 1;
                assert!(is_there(path), "{page} names `{path}`, which is not there");
            }
        }
    }
    assert!(named > 30, "the pages were read");
    let members = read(root().join("Cargo.toml"));
    let members = members.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
    let rooms = read(root().join("ARCHITECTURE.md"));
    for member in members.split('"').skip(1).step_by(2) {
        assert!(rooms.contains(&format!("\n| `{member}/` | ")), "ARCHITECTURE.md has no room `{member}/`");
    }
}
