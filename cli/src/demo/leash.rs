//! What ends the demo's daemon after a demo that could not: the pipe that is the daemon's standard input. It ends when the
//! demo does, also by SIGKILL, on every system.

use signal_hook::consts::SIGTERM;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The daemon's end of it. Dropped when the demo is gone, it takes away the directory that the demo made.
#[derive(Debug)]
pub struct Leash {
    directory: PathBuf,
    is_cut: Arc<AtomicBool>,
}

impl Leash {
    /// From now on the end of standard input is a SIGTERM, which must have its handler.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn hold(directory: PathBuf) -> io::Result<Leash> {
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        let watch = move || {
            // Nothing is said over it, and one that cannot be read holds no longer either.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            cut.store(true, Relaxed);
            // It fails for signals that do not exist.
            let _ = signal_hook::low_level::raise(SIGTERM);
        };
        std::thread::Builder::new().name("leash".into()).spawn(watch)?;
        Ok(Leash { directory, is_cut })
    }

    /// Becomes true when the demo is gone, before the SIGTERM.
    pub fn is_cut(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_cut)
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if self.is_cut.load(Relaxed) {
            // Nobody is left to hear that it cannot be removed.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
