//! `posthaste user`: the users file.

use crate::exit::{Exit, Failure};
use crate::{daemon, terminal};
use engine::config::{Config, defaults};
use engine::users::{SenderPattern, User as Known, Users, UsersError};
use serde_json::json;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

/// Say who may submit mail after AUTH
///
/// A running daemon sees a change within a second or two. Passwords are kept as Argon2id hashes
/// and SCRAM keys, from which nobody can log in.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub struct User {
    #[command(subcommand)]
    verb: Verb,
    /// The users file; default: the one that the daemon's configuration names
    #[arg(long, global = true, value_name = "FILE")]
    users: Option<PathBuf>,
    /// The daemon's configuration, to find its users file
    #[arg(long, global = true, value_name = "FILE", default_value = defaults::CONFIG_FILE)]
    config: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Add a user, or give one another password and other senders
    ///
    /// The password is asked for on a terminal; else it is the first line of standard input.
    #[command(verbatim_doc_comment)]
    Add {
        /// What the user logs in with
        name: String,
        /// Sender addresses that the user may use: ann@example.com, *@example.com,
        /// *@*.example.com (any domain below it), or * for all; default: NAME, where it is an address
        #[arg(long = "sender", value_name = "PATTERN")]
        senders: Vec<SenderPattern>,
        /// Keep the password itself too, readable in the file: CRAM-MD5 cannot do without
        #[arg(long)]
        cram_md5: bool,
    },
    /// Show who there is, and as whom each may send
    List {
        /// Print one JSON object a user, on a line of its own
        #[arg(long)]
        json: bool,
    },
    /// Take users away
    Remove {
        /// What they log in with
        #[arg(required = true)]
        names: Vec<String>,
    },
}

const EXAMPLES: &str = "\
Examples:
  posthaste user add ann@example.com
  posthaste user add newsletter --sender '*@news.example.com' < password.txt
  posthaste user list
  posthaste user remove ann@example.com

Exit codes: 0 done, 65 no such user, or a name, password or file that cannot be one, 66 no such file";

impl User {
    /// Does it.
    pub fn run(self) -> Result<Exit, Failure> {
        let file = match self.users {
            Some(file) => file,
            None => daemon::load(&self.config).map(|Config { auth, .. }| auth.users)?,
        };
        match self.verb {
            Verb::Add { name, senders, cram_md5 } => {
                let senders = if senders.is_empty() { own_address(&name)? } else { senders };
                let mut users = if file.exists() { load(&file)? } else { Users::default() };
                let user = Known::new(&name, &password()?, senders, cram_md5);
                let replaced = users.put(user.map_err(|error| Failure::new(Exit::Data, error.to_string()))?);
                users.save(&file).map_err(failure)?;
                terminal::note(&format!(
                    "{name}: {} in {}",
                    if replaced { "replaced" } else { "added" },
                    file.display()
                ));
            }
            Verb::List { json } => list(&load(&file)?, json)?,
            Verb::Remove { names } => {
                let mut users = load(&file)?;
                if let Some(unknown) = names.iter().find(|name| !users.remove(name)) {
                    return Err(Failure::new(Exit::Data, format!("{unknown}: no such user; nothing was changed")));
                }
                users.save(&file).map_err(failure)?;
                for name in &names {
                    terminal::note(&format!("{name}: removed from {}", file.display()));
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn load(file: &std::path::Path) -> Result<Users, Failure> {
    Users::load(file).map_err(failure)
}

fn failure(error: UsersError) -> Failure {
    let exit = match &error {
        UsersError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::NoInput,
        UsersError::File { .. } => Exit::Io,
        UsersError::Form { .. } => Exit::Data,
    };
    Failure::new(exit, error.to_string())
}

fn own_address(name: &str) -> Result<Vec<SenderPattern>, Failure> {
    let is_address = smtp::Mailbox::parse(name).is_ok();
    let own = name.parse().ok().filter(|_| is_address).map(|pattern| vec![pattern]);
    own.ok_or_else(|| {
        let message = format!("`{name}` is no address: say with --sender as whom this user may send");
        Failure::new(Exit::Usage, message)
    })
}

/// Never from the command line, where everybody on the machine can read it.
fn password() -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let mut line = String::new();
        stdin.lock().read_line(&mut line)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let password = rpassword::prompt_password("Password: ")?;
    match rpassword::prompt_password("Once more: ")? == password {
        true => Ok(password),
        false => Err(Failure::new(Exit::Data, "the passwords differ; nothing was changed")),
    }
}

fn list(users: &Users, as_json: bool) -> Result<(), Failure> {
    let senders = |user: &Known| user.senders().iter().map(ToString::to_string).collect::<Vec<_>>();
    if as_json {
        for user in users.iter() {
            let cram_md5 = user.has_cram_md5();
            terminal::print_json(&json!({ "name": user.name(), "senders": senders(user), "cram_md5": cram_md5 }))?;
        }
        return Ok(());
    }
    let kept = |user: &Known| if user.has_cram_md5() { "kept, for CRAM-MD5" } else { "hashed" };
    let rows: Vec<Vec<String>> =
        users.iter().map(|user| vec![user.name().into(), senders(user).join(" "), kept(user).into()]).collect();
    terminal::print(&terminal::table(&["user", "senders", "password"], &rows))
}
