//! `posthaste serve`: the daemon.

use crate::control::EngineControl;
use crate::demo::Leash;
use crate::exit::{Exit, Failure};
use crate::logging;
use crate::signals::Bell;
use engine::config::{Config, ConfigErrors, defaults};
use engine::shell::Engine;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long a shutdown waits for transactions in flight. Longer than most peers take to answer a final dot, shorter
/// than an init system's patience (systemd: 90 s).
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked at whether the engine still runs.
const LOOK: Duration = Duration::from_secs(1);

/// Run the delivery engine until SIGTERM or SIGINT
///
/// SIGTERM drains: accepts nothing new, finishes transactions in flight, exits 0; what is queued stays queued. A second
/// signal stops at once. SIGHUP reads the configuration again: limits, routes and the retry schedule take effect,
/// listeners and directories do not; the event log is reopened.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Exit codes: 0 drained, 69 a socket, the queue or a file that it needs cannot be had,
            75 stopped at once by a second signal, 78 mistakes in the configuration, or no such file")]
pub struct Serve {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = defaults::CONFIG_FILE)]
    config: PathBuf,
    /// Ends when standard input does, and then removes this directory: `posthaste demo` starts it so.
    #[arg(long, value_name = "DIR", hide = true)]
    scratch: Option<PathBuf>,
}

impl Serve {
    /// Returns when the daemon has ended.
    pub fn run(self) -> Result<Exit, Failure> {
        let config = Config::load(&self.config).map(Arc::new).map_err(|e| bad_configuration(&e))?;
        logging::start(config.log.json);
        warn_of_passwords(&config);
        raise_descriptor_limit();
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        let leash = self.scratch.clone().map(Leash::hold).transpose()?;
        let is_cut = leash.as_ref().map_or_else(Arc::default, Leash::is_cut);
        // The recorder comes before the engine, whose counters belong to it; without an admin server nobody reads it.
        let prometheus = config.admin.is_some().then(admin::install_recorder).transpose().map_err(unavailable)?;
        let engine = Engine::start(config.clone()).map_err(unavailable)?;
        let admin = match config.admin.zip(prometheus) {
            Some((bind, prometheus)) => {
                let control = Arc::new(EngineControl::new(engine.handle().clone()));
                Some(admin::Admin::start(bind, control, prometheus).map_err(unavailable)?)
            }
            None => None,
        };
        announce(&engine, admin.as_ref());
        self.watch(&mut signals, &engine)?;
        tracing::info!("draining: nothing new is accepted, transactions in flight are finished");
        // Without its demo there is nothing to finish, and a directory to be removed behind it.
        let patience = if is_cut.load(Relaxed) { Duration::ZERO } else { PATIENCE };
        std::thread::spawn(move || {
            if signals.forever().any(|signal| signal != SIGHUP && !is_cut.load(Relaxed)) {
                tracing::warn!("a second signal: stopping at once; what is queued is safe");
                std::process::exit(75);
            }
        });
        engine.shut_down(patience).map_err(unavailable)?;
        if let Some(admin) = admin {
            admin.stop();
        }
        tracing::info!("stopped");
        Ok(Exit::Done)
    }

    /// Until the first signal to end, or until the engine ends by itself.
    fn watch(&self, signals: &mut Signals, engine: &Engine) -> io::Result<()> {
        let bell = Bell::on(&[SIGTERM, SIGINT, SIGHUP])?;
        loop {
            for signal in signals.pending() {
                match signal {
                    SIGHUP => self.reload(engine),
                    _ => return Ok(()),
                }
            }
            if engine.is_broken() {
                tracing::error!("a thread ended by itself");
                return Ok(());
            }
            bell.wait(Some(Instant::now() + LOOK));
        }
    }

    fn reload(&self, engine: &Engine) {
        match Config::load(&self.config) {
            Ok(config) => {
                warn_of_passwords(&config);
                let waiting = engine.handle().config().needs_restart(&config);
                match engine.handle().reload(Arc::new(config)) {
                    Ok(()) => {
                        tracing::info!("configuration reloaded");
                        if !waiting.is_empty() {
                            tracing::warn!("changes that take effect with a restart only: {}", waiting.join(", "));
                        }
                    }
                    Err(error) => tracing::error!("the configuration stays as it was: {error}"),
                }
            }
            Err(errors) => tracing::error!("the configuration stays as it was:\n{errors}"),
        }
    }
}

/// Shells and init systems give 1,024 of them, for the sake of programs that cannot count further (`select`), and allow
/// more to those that ask.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("no more than {:?} files and sockets can be open at a time: {error}", limit.current);
    }
}

fn warn_of_passwords(config: &Config) {
    for warning in engine::passwords::check(config).1 {
        tracing::warn!("{warning}");
    }
}

fn bad_configuration(errors: &ConfigErrors) -> Failure {
    Failure::new(Exit::Config, errors.render(crate::terminal::has_colour()))
}

fn unavailable(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Unavailable, error.to_string())
}

fn announce(engine: &Engine, admin: Option<&admin::AdminHandle>) {
    let recovery = engine.recovery();
    if recovery.created {
        tracing::info!("the queue is new");
    }
    if let Some(reason) = &recovery.index_rebuilt {
        tracing::warn!(reason, "the queue's index was rebuilt from the journal");
    }
    if recovery.torn_bytes > 0 {
        tracing::info!(bytes = recovery.torn_bytes, "an unfinished group at the journal's end was cut off");
    }
    for address in engine.addresses() {
        tracing::info!(%address, "accepting mail");
    }
    if let Some(admin) = admin {
        tracing::info!(address = %admin.address(), "metrics, health and queue API");
    }
    tracing::info!(recipients = recovery.recipients, "ready");
}
