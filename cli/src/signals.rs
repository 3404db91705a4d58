//! Signals, for commands that run until they are told to end.

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Becomes true at SIGINT or SIGTERM; a second one ends the program at once.
///
/// # Errors
/// The system refuses a handler.
pub fn interrupted() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds the flag set.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// Wakes whoever waits for a signal.
pub struct Bell(UnixStream);

impl Bell {
    /// Rings at these signals, after what was registered for them before: whoever is woken finds that done.
    ///
    /// # Errors
    /// The system refuses a handler or a socket.
    pub fn on(signals: &[i32]) -> io::Result<Bell> {
        let (woken, wake) = UnixStream::pair()?;
        for signal in signals {
            signal_hook::low_level::pipe::register(*signal, wake.try_clone()?)?;
        }
        Ok(Bell(woken))
    }

    /// Until it rings, or this time.
    pub fn wait(&self, until: Option<Instant>) {
        let rest = until.map(|until| until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        // It fails for a timeout of zero only; and how the wait ended makes no difference: what the signal did tells.
        let _ = self.0.set_read_timeout(rest);
        let _ = (&self.0).read(&mut [0; 64]);
    }
}

/// Signals that also wake whoever waits for them.
pub struct Signals {
    stop: Arc<AtomicBool>,
    show: Arc<AtomicBool>,
    bell: Bell,
}

impl Signals {
    /// Catches SIGINT and SIGTERM as [`interrupted`] does, and SIGUSR1.
    ///
    /// # Errors
    /// The system refuses a handler or a socket.
    pub fn catch() -> io::Result<Signals> {
        let (stop, show) = (interrupted()?, Arc::default());
        signal_hook::flag::register(SIGUSR1, Arc::clone(&show))?;
        Ok(Signals { stop, show, bell: Bell::on(&[SIGINT, SIGTERM, SIGUSR1])? })
    }

    /// Whether SIGINT or SIGTERM came.
    pub fn stop(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Whether SIGUSR1 came since this was asked last.
    pub fn take_show(&self) -> bool {
        self.show.swap(false, Relaxed)
    }

    /// Until a signal, or this time.
    pub fn wait(&self, until: Option<Instant>) {
        self.bell.wait(until);
    }
}
