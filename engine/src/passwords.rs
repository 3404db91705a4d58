//! Passwords for hosts that want a login: each in a file of its own, whose first line it is. They are read when the engine
//! starts and at every reload, and are nowhere in the configuration, in logs or in what `explain` shows.

use crate::config::{Config, Login};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// More is no password: SASLprep has its own bound, and RFC 4954 §4 one for lines.
const MAX_FILE_BYTES: u64 = 4096;

/// What the files of a configuration hold. Shared by the loops' delivery rooms, replaced at a reload.
#[derive(Default)]
pub(crate) struct Passwords(RwLock<HashMap<PathBuf, Arc<str>>>);

/// Why a password cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("password_file {path} of the [[route]] in {origin}: {reason}")]
pub struct PasswordError {
    /// The file.
    pub path: String,
    /// The route's line.
    pub origin: Arc<str>,
    /// What is wrong.
    pub reason: String,
}

impl Passwords {
    /// Takes what the files hold now.
    pub(crate) fn replace(&self, read: HashMap<PathBuf, Arc<str>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = read;
    }

    /// The password in that file.
    pub(crate) fn get(&self, file: &Path) -> Option<Arc<str>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(file).cloned()
    }
}

/// Reads every password that the configuration names.
///
/// # Errors
/// The first file that cannot be used.
pub(crate) fn read(config: &Config) -> Result<HashMap<PathBuf, Arc<str>>, PasswordError> {
    let mut passwords = HashMap::new();
    for (login, origin) in logins(config) {
        let fail =
            |reason| PasswordError { path: login.password_file.display().to_string(), origin: origin.clone(), reason };
        passwords.insert(login.password_file.clone(), read_one(&login.password_file).map_err(fail)?);
    }
    Ok(passwords)
}

/// What an operator should know of the files: those that cannot be used, and those that too many can read.
pub fn check(config: &Config) -> (Vec<PasswordError>, Vec<String>) {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for (login, origin) in logins(config) {
        let path = login.password_file.display().to_string();
        match read_one(&login.password_file) {
            Err(reason) => errors.push(PasswordError { path, origin: origin.clone(), reason }),
            Ok(_) if is_open_to_others(&login.password_file) => {
                warnings.push(format!(
                    "password_file {path} of the [[route]] in {origin} is open to other users: chmod 640 or 600"
                ));
            }
            Ok(_) => {}
        }
    }
    (errors, warnings)
}

fn logins(config: &Config) -> impl Iterator<Item = (&Login, &Arc<str>)> {
    config.routes.iter().filter_map(|rule| Some((rule.policy.as_ref()?.login.as_ref()?, &rule.origin)))
}

/// The password in a file: its first line.
///
/// # Errors
/// In words, what is wrong with the file.
pub fn read_one(path: &Path) -> Result<Arc<str>, String> {
    let mut text = String::new();
    let read = |text: &mut String| File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(text);
    match read(&mut text) {
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err("it is no UTF-8 text".into()),
        Err(e) => return Err(e.to_string()),
        Ok(bytes) if bytes as u64 > MAX_FILE_BYTES => return Err("it is too long for a password".into()),
        Ok(_) => {}
    }
    match text.lines().next().unwrap_or_default() {
        "" => Err("its first line is empty: it has to be the password".into()),
        password => Ok(password.into()),
    }
}

/// Owner and group are whom the administrator chose; everybody is nobody's choice.
fn is_open_to_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o027 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn config(path: &Path) -> Config {
        let text = format!(
            "hostname = \"a.b\"\n[[route]]\ndomain = [\"*\"]\nvia = \"smtps://h.example:465\"\nuser = \"u\"\npassword_file = \"{}\"",
            path.display()
        );
        Config::parse(&text, "p.toml").unwrap()
    }

    fn check_file(content: &[u8], mode: u32, expected: Result<&str, &str>, warned: bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let config = config(&path);
        let (errors, warnings) = check(&config);
        let reasons: Vec<&str> = errors.iter().map(|error| &*error.reason).collect();
        assert_eq!(
            (reasons, warnings.len()),
            (expected.err().into_iter().collect(), usize::from(warned)),
            "{content:?}"
        );
        let passwords = Passwords::default();
        match read(&config) {
            Ok(read) => passwords.replace(read),
            Err(error) => assert!(error.to_string().contains("the [[route]] in p.toml:2: "), "{error}"),
        }
        assert_eq!(passwords.get(&path).as_deref(), expected.ok());
    }

    #[test]
    fn the_first_line_is_the_password() {
        check_file(b"secret", 0o600, Ok("secret"), false);
        check_file(b" pass word \r\nwhat follows\n", 0o640, Ok(" pass word "), false);
        check_file(b"secret\n", 0o644, Ok("secret"), true);
        check_file(b"secret\n", 0o620, Ok("secret"), true);
        check_file(b"\nsecret", 0o600, Err("its first line is empty: it has to be the password"), false);
        check_file(b"\xff\xfe", 0o600, Err("it is no UTF-8 text"), false);
        check_file(&[b'x'; 5000], 0o600, Err("it is too long for a password"), false);
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error() {
        let (errors, _) = check(&config("/nonexistent/password".as_ref()));
        assert!(errors[0].reason.contains("No such file"), "{errors:?}");
    }
}
