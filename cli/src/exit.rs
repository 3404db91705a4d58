//! Exit codes, from sysexits.h, and failures that end a command with one.

use crate::terminal;
use std::process::ExitCode;

/// At the end of `--help`.
pub const HELP: &str = "\
Exit codes: 0 done, 64 wrong usage, 65 wrong input, 66 no input, 69 unavailable or refused,
            70 a proof failed, 74 input/output error, 75 failed for now: try again,
            78 bad configuration";

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0.
    Done,
    /// 64: wrong arguments.
    Usage,
    /// 65: what was handed over is wrong.
    Data,
    /// 66: a file to be read is not there.
    NoInput,
    /// 69: nobody there, or refused for good.
    Unavailable,
    /// 70: a proof failed: a defect of the program.
    Software,
    /// 74: reading or writing failed.
    Io,
    /// 75: may go better later.
    Temporary,
    /// 78: the configuration has mistakes.
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Usage => 64,
            Exit::Data => 65,
            Exit::NoInput => 66,
            Exit::Unavailable => 69,
            Exit::Software => 70,
            Exit::Io => 74,
            Exit::Temporary => 75,
            Exit::Config => 78,
        })
    }
}

/// Why a command cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code to end with.
    pub exit: Exit,
    /// For the user: what is wrong, and what to do.
    pub message: String,
}

impl Failure {
    /// With a code and a message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }
    /// Tells the user.
    pub fn report(self) -> Exit {
        let text = self.message.trim_end();
        // A configuration's mistakes come rendered, with "error" in front of each.
        if self.exit == Exit::Config {
            terminal::note(text);
        } else {
            terminal::note(&format!("{} {text}", terminal::red("error:")));
        }
        self.exit
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Exit::Io, error.to_string())
    }
}
