//! `posthaste serve`.

use engine::config::defaults;
use std::path::PathBuf;

/// The daemon: SIGTERM drains and ends it, SIGHUP reloads limits and routes, a second SIGTERM ends it at once
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = defaults::CONFIG_FILE)]
    pub config: PathBuf,
}
