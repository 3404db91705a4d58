//! Time, as an argument.

use std::time::{Duration, Instant, SystemTime};

/// Both clocks, read once per tick in the shell and passed down; nothing below the shell reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For timers and intervals.
    pub mono: Instant,
    /// Unix time in microseconds: for what is stored, logged or shown.
    pub wall_us: u64,
}

impl Now {
    /// Unix milliseconds.
    pub fn wall_ms(self) -> u64 {
        self.wall_us / 1000
    }
    /// The wall clock.
    pub fn wall(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.wall_us)
    }
    /// The monotonic instant at which the wall clock will show `unix_ms` (now, if that has passed).
    pub fn instant_of(self, unix_ms: u64) -> Instant {
        self.mono + Duration::from_millis(unix_ms.saturating_sub(self.wall_ms()))
    }
}
