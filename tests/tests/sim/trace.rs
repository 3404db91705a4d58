//! A hash of everything that happened, and the last steps in words for when it went wrong.

use crate::clock::Micros;
use std::collections::VecDeque;
use std::fmt::Write as _;

/// Steps shown with a failure.
const KEPT: usize = 60;
/// Figures of a step that are shown.
const FIGURES: usize = 4;

struct Step {
    at: Micros,
    tag: &'static str,
    figures: [u64; FIGURES],
    count: usize,
}

pub struct Trace {
    hash: u64,
    last: VecDeque<Step>,
    verbose: bool,
}

impl Trace {
    pub fn new(verbose: bool) -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, last: VecDeque::with_capacity(KEPT), verbose }
    }

    /// Every step goes into the hash: two runs of a seed that differ anywhere differ here.
    pub fn note(&mut self, at: Micros, tag: &'static str, figures: &[u64]) {
        self.mix(at);
        tag.bytes().for_each(|byte| self.mix(u64::from(byte)));
        figures.iter().for_each(|figure| self.mix(*figure));
        let mut step = Step { at, tag, figures: [0; FIGURES], count: figures.len().min(FIGURES) };
        step.figures[..step.count].copy_from_slice(&figures[..step.count]);
        if self.verbose {
            eprintln!("{step}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(step);
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn last_steps(&self) -> String {
        self.last.iter().fold(String::new(), |mut text, step| {
            let _ = writeln!(text, "  {step}");
            text
        })
    }

    /// FNV-1a, by words.
    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:14.6} {:<12}", self.at as f64 / 1e6, self.tag)?;
        self.figures[..self.count].iter().try_for_each(|figure| write!(f, " {figure}"))
    }
}
