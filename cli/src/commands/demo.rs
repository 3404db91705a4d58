//! `posthaste demo`: the whole thing on one machine, with proof.

use crate::demo::{DemoError, Outcome, Scene, Terms};
use crate::exit::{Exit, Failure};
use crate::{terminal, units};
use indicatif::ProgressBar;
use std::path::PathBuf;

/// Show the real engine at work on this machine, and prove that nothing was lost or doubled
///
/// Starts `posthaste serve` on loopback with a temporary queue that is synced to disk, a local DNS,
/// and a sink that plays the destinations; injects messages over SMTP; ends with throughput, latency,
/// syncs and CPU per message, and with proof by number that nothing was lost or doubled. Leaves
/// nothing behind.
///
/// Examples:
///   posthaste demo
///   posthaste demo --messages 100000 --domains 1000
///   posthaste demo --corpus DIR --json
///
/// Exit codes: 0 everything arrived exactly once, 66 no such corpus, 69 it could not be played,
///             70 something was lost, doubled or corrupted, 75 interrupted
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Demo {
    /// How many messages.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// To how many destination domains; each has its own mail exchanger.
    #[arg(long, value_name = "D", default_value_t = 20)]
    domains: u64,
    /// Of each message: 10KiB, 10240 (octets).
    #[arg(long, value_name = "SIZE", value_parser = units::size, default_value = "10KiB")]
    size: usize,
    /// Ingest connections.
    #[arg(long, value_name = "N", default_value_t = 20)]
    connections: usize,
    /// Send the .eml files of this directory, in turn, and compare every octet that arrives.
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Where the temporary queue is made; it should be a real disk, not a tmpfs. Default: the system's temporary directory.
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// End with one JSON object and print nothing else.
    #[arg(long)]
    json: bool,
}

impl Demo {
    /// 0 when everything arrived exactly once.
    pub fn run(self) -> Result<Exit, Failure> {
        let terms = Terms {
            messages: self.messages,
            domains: self.domains.max(1),
            size: self.size,
            connections: self.connections.max(1),
            corpus: self.corpus.clone(),
            work_dir: self.work_dir.clone(),
        };
        let bar = self.bar();
        let result = Scene::set(&terms).and_then(|scene| {
            scene.play(|progress| {
                bar.set_position(progress.delivered);
                bar.set_message(format!("delivered, {:.0} messages/s", progress.rate));
            })
        });
        bar.finish_and_clear();
        let outcome = result.map_err(|error| {
            let exit = match error {
                DemoError::Corpus { .. } => Exit::NoInput,
                DemoError::Interrupted => Exit::Temporary,
                _ => Exit::Unavailable,
            };
            Failure::new(exit, error.to_string())
        })?;
        self.show(&outcome)?;
        if !outcome.is_proven() {
            return Err(Failure::new(Exit::Software, "the proof failed: see lost, doubled, corrupted"));
        }
        Ok(Exit::Done)
    }

    fn bar(&self) -> ProgressBar {
        if self.json { ProgressBar::hidden() } else { terminal::progress_bar(self.messages) }
    }

    fn show(&self, outcome: &Outcome) -> Result<(), Failure> {
        if self.json { terminal::print_json(outcome) } else { terminal::print(&format!("{outcome}\n")) }
    }
}
