//! How a host is spoken to, and the way down from there when it does not keep what it announces: CHUNKING goes first, then
//! pipelining step by step; and HELO takes EHLO's place where that ends the connection.
//!
//! What was learnt is kept with the host for a while, see `bounds::MANNER`. A step down never decides anything about mail:
//! that is tried again like after any other lost connection.

use super::bounds::MANNER;
use smtp::client::{Cause, Pipelining, Stage};
use std::fmt;
use std::time::Instant;

/// How to speak on one connection. What the peer does not announce is not used in any manner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// EHLO; else HELO. (LMTP has only LHLO.)
    pub extended: bool,
    /// BDAT where CHUNKING is announced.
    pub chunking: bool,
    /// The level.
    pub pipelining: Pipelining,
}

impl Manner {
    /// As configured, and nothing known against it.
    pub fn full(pipelining: Pipelining) -> Manner {
        Manner { extended: true, chunking: true, pipelining }
    }

    /// A step down in what is in flight; the last one is its own.
    fn lower(self) -> Manner {
        let pipelining = match self.pipelining {
            pipelining if self.chunking => pipelining,
            Pipelining::Stream => Pipelining::Transaction,
            Pipelining::Transaction | Pipelining::Off => Pipelining::Off,
        };
        Manner { chunking: false, pipelining, ..self }
    }
}

/// Where it differs from the full manner; empty where it does not.
impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.pipelining {
            Pipelining::Off => ", pipelining off",
            Pipelining::Transaction => ", pipelining transaction",
            Pipelining::Stream => "",
        };
        match (self.extended, self.chunking) {
            (false, _) => f.write_str("HELO"),
            (true, false) => write!(f, "no CHUNKING{level}"),
            (true, true) => Ok(()),
        }
    }
}

/// What was learnt of a host.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Learnt {
    manner: Option<(Manner, Instant)>,
}

impl Learnt {
    /// How to speak to the host now, where this level is configured.
    pub(super) fn manner(&self, configured: Pipelining, now: Instant) -> Manner {
        match self.manner {
            Some((manner, until)) if until > now => Manner { pipelining: manner.pipelining.min(configured), ..manner },
            _ => Manner::full(configured),
        }
    }

    /// A connection in this manner came to grief over it. Those that ran side by side count once.
    /// Whether there was a step left.
    pub(super) fn step_down(&mut self, from: Manner, now: Instant) -> bool {
        self.learn(from, from.lower(), now)
    }

    /// A connection in this manner ended at EHLO or HELO: next time the other.
    pub(super) fn change_hello(&mut self, from: Manner, now: Instant) -> bool {
        self.learn(from, Manner { extended: !from.extended, ..from }, now)
    }

    fn learn(&mut self, from: Manner, to: Manner, now: Instant) -> bool {
        let is_news = to != from && self.manner(from.pipelining, now) == from;
        if is_news {
            self.manner = Some((to, now + MANNER));
        }
        is_news
    }
}

/// The end of a connection that was set up speaks against the manner of it. `of_use`: some transaction was answered.
///
/// Replies that do not fit the commands do. A lost connection may have any reason, so it does only if nothing was answered
/// on it but the first commands of all.
pub(super) fn is_misbehaviour(stage: Stage, cause: &Cause, of_use: bool) -> bool {
    let in_mail = matches!(stage, Stage::Mail | Stage::Rcpt | Stage::Data | Stage::Final);
    match cause {
        Cause::Protocol(_) => in_mail || stage == Stage::Idle,
        Cause::Eof | Cause::Timeout | Cause::Io(_) => in_mail && !of_use,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test starts at some instant")]
mod tests {
    use super::*;
    use Pipelining::{Off, Stream, Transaction};

    #[test]
    fn chunking_goes_first_then_level_by_level() {
        let now = Instant::now();
        let mut learnt = Learnt::default();
        let mut seen = Vec::new();
        for _ in 0..5 {
            let manner = learnt.manner(Stream, now);
            seen.push((manner.chunking, manner.pipelining));
            learnt.step_down(manner, now);
            // A connection that was opened before says nothing new.
            learnt.step_down(Manner::full(Stream), now);
        }
        assert_eq!(seen, [(true, Stream), (false, Stream), (false, Transaction), (false, Off), (false, Off)]);
        assert_eq!(learnt.manner(Stream, now + MANNER), Manner::full(Stream));
    }

    #[test]
    fn no_higher_than_configured() {
        let now = Instant::now();
        let mut learnt = Learnt::default();
        learnt.step_down(Manner::full(Stream), now);
        assert_eq!(learnt.manner(Transaction, now).pipelining, Transaction);
        assert_eq!(learnt.manner(Off, now).pipelining, Off);
    }

    #[test]
    fn hello_changes_to_and_fro() {
        let now = Instant::now();
        let mut learnt = Learnt::default();
        learnt.change_hello(Manner::full(Transaction), now);
        assert_eq!(learnt.manner(Transaction, now).to_string(), "HELO");
        learnt.change_hello(learnt.manner(Transaction, now), now);
        assert_eq!(learnt.manner(Transaction, now), Manner::full(Transaction));
    }

    #[test]
    fn what_speaks_against_it() {
        let odd = Cause::Protocol("a reply came without a command");
        for (stage, cause, of_use, expected) in [
            (Stage::Mail, &odd, true, true),
            (Stage::Idle, &odd, true, true),
            (Stage::Greeting, &odd, false, false),
            (Stage::Rcpt, &Cause::Eof, false, true),
            (Stage::Rcpt, &Cause::Eof, true, false),
            (Stage::Final, &Cause::Timeout, false, true),
            (Stage::Idle, &Cause::Eof, false, false),
            (Stage::Mail, &Cause::Replied(smtp::Reply::fixed(421, smtp::EnhancedCode(4, 3, 2), "later")), false, false),
        ] {
            assert_eq!(is_misbehaviour(stage, cause, of_use), expected, "{stage:?} {cause:?} {of_use}");
        }
    }
}
