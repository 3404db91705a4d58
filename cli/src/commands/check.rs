//! `posthaste check`.

use crate::exit::{Exit, Failure};
use crate::{daemon, terminal};
use engine::config::{Config, defaults};
use std::path::PathBuf;

/// Read the configuration as `serve` would; show every mistake with its place and what is allowed
#[derive(Debug, clap::Args)]
pub struct Check {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = defaults::CONFIG_FILE)]
    config: PathBuf,
}

impl Check {
    /// Does it.
    pub fn run(self) -> Result<Exit, Failure> {
        let config = daemon::load(&self.config)?;
        terminal::print(&summary(&config))?;
        Ok(Exit::Done)
    }
}

/// What it comes to, in a few lines.
fn summary(config: &Config) -> String {
    let listeners: Vec<String> = config.listeners.iter().map(|listener| listener.bind.to_string()).collect();
    let off = || "off".to_string();
    let rows = [
        ("hostname", config.hostname.to_string()),
        ("data_dir", config.data_dir.display().to_string()),
        ("listeners", listeners.join(", ")),
        ("admin", config.admin.map_or_else(off, |address| address.to_string())),
        ("events", config.log.events.as_ref().map_or_else(off, |path| path.display().to_string())),
        ("workers", config.delivery.workers.to_string()),
        ("sites", format!("{} with limits of their own", config.sites.len())),
        ("routes", format!("{}, then MX", config.routes.len())),
    ];
    let lines = rows.iter().map(|(name, value)| format!("{name:10} {value}\n"));
    lines.collect::<String>() + "The configuration is right.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_one_is_summed_up_and_a_wrong_one_ends_with_78() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let check = |toml: &str| {
            std::fs::write(file.path(), toml).unwrap();
            Check { config: file.path().into() }.run()
        };
        assert_eq!(check("hostname = \"mta.example\"\n[admin]\nbind = \"off\"\n"), Ok(Exit::Done));
        let failure = check("hostname = \"mta.example\"\nhots = 1\n").unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.message.contains(":2:1\n"), "{}", failure.message);
        let config = Config::parse("hostname = \"mta.example\"\n[admin]\nbind = \"off\"\n", "t").unwrap();
        assert!(summary(&config).contains("admin      off\n"), "{}", summary(&config));
    }
}
