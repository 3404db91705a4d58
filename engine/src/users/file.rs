//! The users file: TOML, written by `posthaste user`, read by the engine.
//!
//! ```toml
//! [[user]]
//! name = "ann"
//! senders = ["ann@example.com", "*@news.example.com"]
//! password = "$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH"
//! scram = "SCRAM-SHA-256$10000:SALT$STOREDKEY:SERVERKEY"
//! ```
//! `cram_md5 = "PASSWORD"` stands where CRAM-MD5 was asked for.

use super::{SenderPattern, User, Users};
use argon2::password_hash::phc::PasswordHash;
use serde::{Deserialize, Serialize};
use smtp::sasl::scram::{KEY_BYTES, Keys};
use smtp::sasl::{decode, encode, prepare};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Written on top.
const HEAD: &str =
    "# Written by `posthaste user add` and `remove`; whoever can read it can guess passwords at leisure.\n\n";

/// What is wrong with a users file.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// It cannot be read or written.
    #[error("the users file {}: {source}", path.display())]
    File {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no TOML, or not of this form.
    #[error("the users file {}: {reason}", path.display())]
    Form {
        /// As configured.
        path: PathBuf,
        /// What, and where.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    user: Vec<WrittenUser>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenUser {
    name: String,
    senders: Vec<String>,
    password: String,
    scram: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cram_md5: Option<String>,
}

impl Users {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong.
    pub fn load(path: &Path) -> Result<Users, UsersError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| UsersError::File { path: path.to_owned(), source })?;
        Users::parse(&text).map_err(|reason| UsersError::Form { path: path.to_owned(), reason })
    }

    /// Writes a file: as a whole or not at all. One that exists keeps its owner and its mode, a new one is its owner's
    /// alone.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, path: &Path) -> Result<(), UsersError> {
        replace(path, self.to_text().as_bytes()).map_err(|source| UsersError::File { path: path.to_owned(), source })
    }

    pub(super) fn parse(text: &str) -> Result<Users, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut users = Users::default();
        for user in written.user {
            let name = user.name.clone();
            let read = User::read(user).map_err(|wrong| format!("user {name:?}: {wrong}"))?;
            if users.put(read) {
                return Err(format!("user {name:?} is there twice"));
            }
        }
        Ok(users)
    }

    pub(super) fn to_text(&self) -> String {
        let written = Written { user: self.iter().map(User::written).collect() };
        HEAD.to_owned() + &toml::to_string(&written).expect("strings and lists of them are TOML")
    }
}

impl User {
    fn read(written: WrittenUser) -> Result<User, String> {
        let senders: Result<Vec<SenderPattern>, _> = written.senders.iter().map(|text| text.parse()).collect();
        Ok(User {
            name: prepare(&written.name).ok_or("this cannot be a name")?.into(),
            senders: senders.map_err(|error: super::sender::SenderError| error.to_string())?,
            password: password(&written.password)?,
            scram: scram(&written.scram).ok_or("`scram` is not SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY")?,
            cram_md5: written.cram_md5.map(Into::into),
        })
    }

    fn written(&self) -> WrittenUser {
        let Keys { salt, iterations, stored_key, server_key } = &self.scram;
        let (salt, stored_key, server_key) = (encode(salt), encode(stored_key), encode(server_key));
        WrittenUser {
            name: self.name.to_string(),
            senders: self.senders.iter().map(ToString::to_string).collect(),
            password: self.password.to_string(),
            scram: format!("SCRAM-SHA-256${iterations}:{salt}${stored_key}:{server_key}"),
            cram_md5: self.cram_md5.as_deref().map(str::to_owned),
        }
    }
}

fn password(text: &str) -> Result<PasswordHash, String> {
    let hash = PasswordHash::new(text).map_err(|error| format!("`password` is no PHC string: {error}"))?;
    let complete = hash.salt.is_some() && hash.hash.is_some();
    let wrong = "`password` is no Argon2id hash: $argon2id$v=19$m=…,t=…,p=…$SALT$HASH";
    if complete && hash.algorithm.as_str() == "argon2id" { Ok(hash) } else { Err(wrong.into()) }
}

fn scram(text: &str) -> Option<Keys> {
    let (cost, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
    let ((iterations, salt), (stored_key, server_key)) = (cost.split_once(':')?, keys.split_once(':')?);
    let key = |text: &str| <[u8; KEY_BYTES]>::try_from(decode(text)?).ok();
    Some(Keys {
        salt: decode(salt)?,
        iterations: iterations.parse().ok()?,
        stored_key: key(stored_key)?,
        server_key: key(server_key)?,
    })
}

/// By way of a file beside it, so that nobody ever reads half of it.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let _ = std::fs::remove_file(beside);
    let mut file = File::create_new(beside)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    if let Ok(old) = std::fs::metadata(path) {
        // Who may not give files away is the owner already, or should be told.
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
        file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(beside, path)
}
