//! Where this room touches the machine: it reads a file and counts cores. Nothing else in it does.

use super::{Config, ConfigErrors, Mistake, meaning, raw};
use std::path::Path;

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every mistake in it; or a single one without a place, when it cannot be read.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Config::parse(&text, &file),
            Err(error) => {
                let mistake = Mistake {
                    place: None,
                    message: format!("cannot read the configuration: {error}"),
                    label: String::new(),
                    help: Some("a readable TOML file in UTF-8; `--config FILE` names another one".into()),
                };
                Err(ConfigErrors { file, mistakes: vec![mistake] })
            }
        }
    }

    /// Checks a text. `file_name` is what errors call it; its last part stands in `origin` (`posthaste.toml:41`).
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str, file_name: &str) -> Result<Config, ConfigErrors> {
        let document = raw::Document::new(text, file_name);
        let root = document.parse();
        let config = root.as_ref().and_then(|root| meaning::config(&document, root.get_ref(), cores()));
        document.finish()?;
        // A mistake is the only way not to get one, and `finish` reports it.
        Ok(config.expect("no mistake, so there is a configuration"))
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
