//! How `posthaste send` and `posthaste load` log in.

use crate::exit::{Exit, Failure};
use engine::passwords;
use smtp::sasl::client::Credentials;
use std::path::PathBuf;

/// Who to log in as; the strongest mechanism that both sides have is used.
#[derive(Debug, Default, clap::Args)]
pub struct Account {
    /// Log in under this name
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
}

impl Account {
    /// For AUTH; `None`: nobody logs in.
    ///
    /// # Errors
    /// The password file cannot be read.
    pub fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        let (Some(user), Some(file)) = (&self.user, &self.password_file) else { return Ok(None) };
        let password = passwords::read_one(file)
            .map_err(|reason| Failure::new(Exit::NoInput, format!("{}: {reason}", file.display())))?;
        Ok(Some(Credentials { user: user.as_str().into(), password: (*password).into() }))
    }
}
