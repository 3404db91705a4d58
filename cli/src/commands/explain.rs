//! `posthaste explain`.

use crate::exit::{Exit, Failure};
use crate::{daemon, http, terminal, units};
use admin::control;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Show what would happen to a message for an address, and which configuration line says so
///
/// Route, MX answer, site, source address, limits and TLS policy, as the running daemon sees
/// them now.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:
  posthaste explain user@example.com
  posthaste explain user@example.com --admin 127.0.0.1:8025 --json

Exit codes: 0 done, 65 no address, 69 the daemon cannot be reached, 75 it cannot answer now"
)]
pub struct Explain {
    /// user@domain
    address: String,
    /// The daemon's admin server; default: as its configuration says
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = daemon::parse_address)]
    admin: Option<SocketAddr>,
    /// The daemon's configuration, to find its admin server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// Does it.
    pub fn run(self) -> Result<Exit, Failure> {
        let server = daemon::admin(self.admin, self.config.as_ref())?;
        let path = format!("/api/explain{}", http::query(&[("address", Some(units::unbracketed(&self.address)))]));
        let explanation: control::Explanation = http::get(http::Server::new(server), &path)?;
        if self.json {
            terminal::print_json(&explanation)?;
        } else {
            let row = |fact: &control::Fact| vec![fact.name.clone(), fact.value.clone(), fact.origin.clone()];
            let rows: Vec<Vec<String>> = explanation.facts.iter().map(row).collect();
            terminal::print(&terminal::table(&["WHAT", "HOLDS", "BECAUSE OF"], &rows))?;
        }
        Ok(Exit::Done)
    }
}
