//! TLS handshakes with hosts that mail is delivered to.

use super::names;
use metrics::{Counter, counter};

/// By result; cheap to clone, for the loops.
#[derive(Clone)]
pub struct Handshakes {
    /// With keys agreed on anew.
    pub full: Counter,
    /// Of a session that was known.
    pub resumed: Counter,
    /// That did not come to an end.
    pub failed: Counter,
}

impl Default for Handshakes {
    /// Registers them with the recorder that is installed now.
    fn default() -> Handshakes {
        let result = |result: &'static str| counter!(names::TLS_HANDSHAKES, "result" => result);
        Handshakes { full: result("full"), resumed: result("resumed"), failed: result("failed") }
    }
}
