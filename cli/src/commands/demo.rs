//! `posthaste demo`.

use std::path::PathBuf;

/// Start the real engine on loopback with a local DNS and a sink, inject mail, and prove that nothing was lost or doubled
#[derive(Debug, clap::Args)]
pub struct Demo {
    /// Messages to inject
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: u64,
    /// Destination domains
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub domains: u64,
    /// Inject the .eml files of this directory instead of generated messages
    #[arg(long, value_name = "DIR")]
    pub corpus: Option<PathBuf>,
    /// One JSON object at the end
    #[arg(long)]
    pub json: bool,
}
