//! The program's own log, on standard error, where an init system picks it up. (Mail's log is `[log] events`.)

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts it; `RUST_LOG` chooses levels, `info` without it.
pub fn start(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal() && crate::terminal::has_colour();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json {
        builder.json().init();
    } else {
        builder.with_ansi(colour).init();
    }
}
